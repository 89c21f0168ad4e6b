"""Progress and result of an ingestion run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal, Protocol, TypeAlias

from voicerag_core.errors import VoiceRAGError

__all__ = ["Activity", "FileProgress", "FileReport", "Meter", "OnProgress", "kind_of"]

Activity: TypeAlias = Literal[
    "opening", "comparing", "estimating", "reading", "loading", "embedding", "writing", "preparing"
]
"""What a run is doing: opening the store, loading the model that embeds, or preparing the search
when all is written, among others."""


@dataclass(frozen=True, slots=True)
class FileProgress:
    """The progress of a run over files or documents.

    Args:
        step: ``compare``: digests are compared; ``update``: what differs is read and embedded.
        files: Files, or sources of documents, completed in this step.
        files_total: Files of this step.
        bytes: Bytes completed in this step; a file in progress counts in part.
        bytes_total: Bytes of all files of this step.
        passages: Passages embedded so far.
        vectors: Vectors computed so far.
        doing: What begins now, or has just been done.
        passages_total: Passages of this step, estimated from the files read so far; 0: unknown.
    """

    step: Literal["compare", "update"]
    files: int
    files_total: int
    bytes: int
    bytes_total: int
    passages: int = 0
    vectors: int = 0
    doing: Activity = "comparing"
    passages_total: int = 0


OnProgress: TypeAlias = Callable[[FileProgress], None]


@dataclass(frozen=True, slots=True)
class FileReport:
    """The result of a run over files or documents.

    Args:
        new: New files.
        changed: Files whose content, or the way it is split, has changed.
        unchanged: Files that were only compared.
        removed: Sources whose files were deleted.
        skipped: Files in folders that have an unsupported format.
        failures: One error for each file or path that could not be used.
        passages: Passages that were written or deleted; in a dry run, those that would be embedded.
        vectors: Vectors computed.
        notices: Path and text of what was not read of files or had to be guessed: a page without
            text, a hidden sheet, a bad row, an encoding.
        passed_over: Names of skipped files by the ending of their names, in lower case.
    """

    new: int
    changed: int
    unchanged: int
    removed: int
    skipped: int
    failures: tuple[VoiceRAGError, ...]
    passages: int
    vectors: int
    notices: tuple[str, ...] = ()
    passed_over: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Sized(Protocol):
    """A source with a size in bytes."""

    @property
    def source(self) -> str:
        """Its key in the store."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...


def kind_of(source: str) -> str:
    """Return the ending of a source's name, in lower case: files of a kind are alike in density."""
    return PurePath(source).suffix.lower()


@dataclass(slots=True)
class _Kind:
    """Sources of one kind: bytes that are still to be read, and what was read."""

    left: int = 0
    read: int = 0
    passages: int = 0


class Meter:
    """Counts the work of one step and reports it.

    Args:
        step: As in `FileProgress`.
        sources: The sources to process.
        on_progress: Called at the beginning of each activity and after each count.
    """

    def __init__(
        self,
        step: Literal["compare", "update"],
        sources: Sequence[Sized],
        on_progress: OnProgress | None,
    ) -> None:
        self._step = step
        self._files_total = len(sources)
        self._bytes_total = sum(source.size for source in sources)
        self._on_progress = on_progress
        self._files = self._passages = 0
        self._bytes = 0.0
        self._doing: Activity = "comparing"
        self._kinds: dict[str, _Kind] = {}
        for source in sources:
            self._kinds.setdefault(kind_of(source.source), _Kind()).left += source.size
        self.vectors = 0

    def begin(self, doing: Activity) -> None:
        """Report what is done from now on."""
        if doing != self._doing:
            self._doing = doing
            self._report()

    def count_read(self, source: Sized, passages: int) -> None:
        """Note how many passages a source gave when it was read."""
        kind = self._kinds.setdefault(kind_of(source.source), _Kind())
        kind.left -= source.size
        kind.read += source.size
        kind.passages += passages

    def add(self, *, files: int, size: float, passages: int = 0, vectors: int = 0) -> None:
        """Count completed work and report the progress."""
        self._files += files
        self._bytes += size
        self._passages += passages
        self.vectors += vectors
        self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(
                FileProgress(
                    self._step,
                    self._files,
                    self._files_total,
                    round(self._bytes),
                    self._bytes_total,
                    self._passages,
                    self.vectors,
                    self._doing,
                    self._passages_total(),
                )
            )

    def _passages_total(self) -> int:
        """Estimate the passages of all sources; those not read are as dense as others like them."""
        read = sum(kind.read for kind in self._kinds.values())
        passages = sum(kind.passages for kind in self._kinds.values())
        if not passages:
            return 0
        unread = sum(
            kind.left * (kind.passages / kind.read if kind.read else passages / max(1, read))
            for kind in self._kinds.values()
        )
        return passages + round(unread)

"""Stage 1, plan: find the sources that are new, changed or deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from voicerag_core.documents import FoundFiles, OpenFile, open_regular, source_of
from voicerag_core.errors import AudioError, DocumentError, VoiceRAGError
from voicerag_core.ingest.digests import Cutting, documents_digest, file_digest, is_read_anew
from voicerag_core.ingest.progress import Meter, OnProgress
from voicerag_core.types import Document

__all__ = ["FileSource", "Plan", "Source", "TextSource", "plan_documents", "plan_files"]


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file to be read.

    Args:
        source: Its key in the store.
        path: Path of the file.
        size: Bytes.
        open_file: Opens it for reading.
    """

    source: str
    path: Path
    size: int
    open_file: OpenFile = open_regular


@dataclass(frozen=True, slots=True)
class TextSource:
    """Given texts that share one source.

    Args:
        source: Their key in the store.
        documents: At least one.
        size: Bytes of all texts in UTF-8.
    """

    source: str
    documents: tuple[Document, ...]
    size: int


Source: TypeAlias = FileSource | TextSource


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run has to do.

    Args:
        differing: New or changed sources, in the given order.
        known: Keys of the changed sources among them.
        unchanged: Number of unchanged sources.
        vanished: Stored sources whose files were deleted.
        skipped: Number of ignored files.
        failures: One error for each source that cannot be used.
        read_anew: Number of the changed sources that an earlier version read in another way.
    """

    differing: tuple[Source, ...]
    known: Set[str]
    unchanged: int
    vanished: tuple[str, ...] = ()
    skipped: int = 0
    failures: tuple[VoiceRAGError, ...] = ()
    read_anew: int = 0


def plan_files(
    found: FoundFiles,
    known: Mapping[str, str],
    cutting: Cutting,
    *,
    check: Callable[[Path], None] | None = None,
    open_file: OpenFile = open_regular,
    on_progress: OnProgress | None = None,
) -> Plan:
    """Compare files with the store.

    Args:
        found: The files, and the folders that were searched.
        known: Digests of the store by source.
        cutting: How files are split; part of the digest.
        check: Raises `DocumentError` for a file that may not be read.
        open_file: Opens a file for reading.
        on_progress: Called after each file.
    """
    sources = [FileSource(source_of(path), path, _size(path), open_file) for path in found.files]
    plan = _compared(sources, known, cutting, check, on_progress)
    return replace(
        plan,
        vanished=tuple(found.vanished(known)),
        skipped=len(found.skipped),
        failures=(*found.problems, *plan.failures),
    )


def plan_documents(
    documents: Iterable[Document],
    known: Mapping[str, str],
    cutting: Cutting,
    *,
    on_progress: OnProgress | None = None,
) -> Plan:
    """Compare texts with the store; the other arguments are those of `plan_files`.

    Documents that share a source are one unit: they are compared and replaced together.
    """
    texts: dict[str, list[Document]] = {}
    for document in documents:
        texts.setdefault(document.source, []).append(document)
    sources = [
        TextSource(source, tuple(group), sum(_bytes(document.text) for document in group))
        for source, group in texts.items()
    ]
    return _compared(sources, known, cutting, None, on_progress)


def _compared(
    sources: Sequence[Source],
    known: Mapping[str, str],
    cutting: Cutting,
    check: Callable[[Path], None] | None,
    on_progress: OnProgress | None,
) -> Plan:
    meter = Meter("compare", sources, on_progress)
    differing: list[Source] = []
    unchanged = read_anew = 0
    failures: list[VoiceRAGError] = []
    for source in sources:
        try:
            digest = _digest(source, cutting, check)
        except (AudioError, DocumentError) as error:
            failures.append(error)
        else:
            if known.get(source.source) == digest:
                unchanged += 1
            else:
                differing.append(source)
                read_anew += is_read_anew(known.get(source.source, digest), digest)
        meter.add(files=1, size=source.size)
    return Plan(
        tuple(differing),
        known.keys() & {source.source for source in differing},
        unchanged,
        failures=tuple(failures),
        read_anew=read_anew,
    )


def _digest(source: Source, cutting: Cutting, check: Callable[[Path], None] | None) -> str:
    if isinstance(source, TextSource):
        return documents_digest(source.documents, cutting)
    if check is not None:
        check(source.path)
    return file_digest(source.path, cutting, source.open_file)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # digesting it reports why


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))

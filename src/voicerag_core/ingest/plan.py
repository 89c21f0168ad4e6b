"""Stage 1, plan: which sources there are, and which of them are new, changed or gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from voicerag_core.documents import FoundFiles, source_of
from voicerag_core.errors import AudioError, DocumentError, VoiceRAGError
from voicerag_core.ingest.digests import Cutting, documents_digest, file_digest
from voicerag_core.ingest.progress import Meter, OnProgress
from voicerag_core.types import Document

__all__ = ["FileSource", "Plan", "Source", "TextSource", "plan_documents", "plan_files"]


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file to be read.

    Args:
        source: Its key in the store.
        path: Where it lies.
        size: Bytes.
    """

    source: str
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class TextSource:
    """Texts that were given, all of one source.

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
        differing: Sources that are new or changed, in the order given.
        known: Keys of those of them that the store holds in another version.
        unchanged: How many sources are as the store holds them.
        vanished: Sources that the store holds and that are files no longer.
        skipped: How many files were passed over.
        failures: One error for each source that cannot be used.
    """

    differing: tuple[Source, ...]
    known: Set[str]
    unchanged: int
    vanished: tuple[str, ...] = ()
    skipped: int = 0
    failures: tuple[VoiceRAGError, ...] = ()


def plan_files(
    found: FoundFiles,
    known: Mapping[str, str],
    cutting: Cutting,
    *,
    check: Callable[[Path], None] | None = None,
    on_progress: OnProgress | None = None,
) -> Plan:
    """Compare files with what the store holds.

    Args:
        found: The files, and the folders that they were looked for in.
        known: Digests of the store by source.
        cutting: Part of what is compared.
        check: Raises `DocumentError` for a file that may not be read.
        on_progress: Called after each file.
    """
    sources = [FileSource(source_of(path), path, _size(path)) for path in found.files]
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
    """Compare texts with what the store holds; the other arguments are those of `plan_files`.

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
    unchanged = 0
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
        meter.add(files=1, size=source.size)
    return Plan(
        tuple(differing),
        known.keys() & {source.source for source in differing},
        unchanged,
        failures=tuple(failures),
    )


def _digest(source: Source, cutting: Cutting, check: Callable[[Path], None] | None) -> str:
    if isinstance(source, TextSource):
        return documents_digest(source.documents, cutting)
    if check is not None:
        check(source.path)
    return file_digest(source.path, cutting)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # its comparison says why


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))

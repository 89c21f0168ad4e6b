"""Stage 2, read: split sources into passages; those of recordings carry their sound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from voicerag_core.chunking import chunk_document
from voicerag_core.documents import read_file
from voicerag_core.documents.formats import parse
from voicerag_core.errors import AudioError, DocumentError, MissingExtraError, VoiceRAGError
from voicerag_core.ingest.digests import (
    Cutting,
    cut_digest,
    documents_digest,
    file_digest,
    is_recording,
)
from voicerag_core.ingest.plan import FileSource, Source, TextSource
from voicerag_core.recordings import read_recording
from voicerag_core.types import Audio, Document, Passage

__all__ = ["CutDocument", "read_beginning", "read_source", "read_sources"]


_LINES = frozenset({".txt", ".md", ".rst", ".csv", ".tsv", ".jsonl", ".srt", ".vtt"})
"""Files of which the beginning can be read by itself."""


@dataclass(frozen=True, slots=True)
class CutDocument:
    """A source, read and split.

    Args:
        source: Its key in the store.
        digest: Digest of the content that was read.
        passages: In order; empty if the source has no text.
        clips: The sound of each passage at 16 kHz if the source is a recording, otherwise empty.
        size: Bytes of the source.
        notices: What of it was not read or had to be guessed.
    """

    source: str
    digest: str
    passages: tuple[Passage, ...]
    clips: tuple[Audio, ...] = ()
    size: int = 0
    notices: tuple[str, ...] = ()


def read_sources(
    sources: Iterable[Source],
    cutting: Cutting,
    on_failure: Callable[[Source, VoiceRAGError], None],
) -> Iterator[CutDocument]:
    """Read sources one after the other, and pass those that cannot be read to `on_failure`."""
    for source in sources:
        try:
            document = read_source(source, cutting)
        except (AudioError, DocumentError, MissingExtraError) as error:
            on_failure(source, error)
        else:
            yield document


def read_source(source: Source, cutting: Cutting) -> CutDocument:
    """Read a source.

    Raises:
        AudioError: The source is a recording that cannot be read.
        ConfigError: Size and overlap do not fit together.
        DocumentError: The source cannot be read as text.
        MissingExtraError: The extra ``documents`` is not installed, and the file is neither plain
            text nor a table.
    """
    if isinstance(source, TextSource):
        return _cut(source, documents_digest(source.documents, cutting), source.documents, cutting)
    if is_recording(source.path):
        digest = file_digest(
            source.path, cutting, source.open_file
        )  # first: what changes later differs from it
        passages, clips = read_recording(source.path)
        return CutDocument(source.source, digest, tuple(passages), tuple(clips), source.size)
    content = read_file(
        source.path,
        text_column=cutting.text_column,
        encoding=cutting.encoding,
        open_file=source.open_file,
    )
    cut = _cut(source, cut_digest(content.digest, cutting), content.documents, cutting)
    return replace(cut, notices=content.notices)


def read_beginning(source: FileSource, cutting: Cutting, size: int) -> CutDocument | None:
    """Read about the first bytes of a file of lines, up to the end of a line.

    Returns:
        A document of the size that was read; None for a file that can only be read whole.

    Raises:
        DocumentError: The bytes cannot be read as text.
    """
    suffix = source.path.suffix.lower()
    if suffix not in _LINES:
        return None
    try:
        with source.open_file(source.path) as file:
            data = file.read(size)
    except OSError as error:
        raise DocumentError(f"{source.path} cannot be read: {error.strerror or error}") from error
    data = data[: data.rfind(b"\n") + 1] or data
    parsed = parse(
        data, source.source, suffix, text_column=cutting.text_column, encoding=cutting.encoding
    )
    beginning = replace(source, size=len(data))
    return _cut(beginning, "", parsed.documents, cutting)


def _cut(
    source: Source, digest: str, documents: tuple[Document, ...], cutting: Cutting
) -> CutDocument:
    passages = tuple(
        passage
        for document in documents
        for passage in chunk_document(document, size=cutting.size, overlap=cutting.overlap)
    )
    return CutDocument(source.source, digest, passages, size=source.size)

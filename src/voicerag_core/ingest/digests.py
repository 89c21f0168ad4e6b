"""Digests that show whether a source has to be indexed again.

A digest changes with the content and with the way it is split and embedded. Recordings are not
split by characters, so their digests do not depend on `Cutting`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voicerag_core import documents as readers
from voicerag_core.chunking import CHUNK_OVERLAP, CHUNK_SIZE
from voicerag_core.documents import RECORDING_SUFFIXES, OpenFile, open_regular
from voicerag_core.documents.reading import READ_BY
from voicerag_core.errors import AudioError, DocumentError
from voicerag_core.recordings import RECORDING_VERSION
from voicerag_core.types import Document

__all__ = [
    "Cutting",
    "cut_digest",
    "documents_digest",
    "file_digest",
    "is_read_anew",
    "is_recording",
    "text_source",
]


@dataclass(frozen=True, slots=True)
class Cutting:
    """How documents are split and embedded.

    Args:
        size: Maximum length of a passage, in characters.
        overlap: Maximum overlap of passages, in characters.
        sentences: Embed each sentence in addition to the passage.
        text_column: Column of csv and tsv files, key of jsonl files, that holds the text.
        encoding: Encoding of files that are text; None leaves it to the files, and to detection.
    """

    size: int = CHUNK_SIZE
    overlap: int = CHUNK_OVERLAP
    sentences: bool = False
    text_column: str | None = None
    encoding: str | None = None


def cut_digest(content: str, cutting: Cutting) -> str:
    """Return the digest of a text from the digest of its content.

    The version of the readers that a file's digest ends with stays at its end.
    """
    how = f"{content} {cutting.size} {cutting.overlap} {cutting.sentences}"
    _, mark, version = content.partition(READ_BY)
    return hashlib.sha256(how.encode()).hexdigest() + mark + version


def is_read_anew(known: str, digest: str) -> bool:
    """Return whether a file's known digest is that of other readers, which gave other texts."""
    version = digest.partition(READ_BY)[2]
    return bool(version) and known.partition(READ_BY)[2] != version


def file_digest(
    path: str | os.PathLike[str], cutting: Cutting, open_file: OpenFile = open_regular
) -> str:
    """Return the digest of a file, a text or a recording.

    Raises:
        AudioError: The file is a recording and cannot be read.
        DocumentError: The file cannot be read, is too large or of an unknown kind.
    """
    if is_recording(path):
        return _recording_digest(path, open_file)
    content = readers.file_digest(
        path, text_column=cutting.text_column, encoding=cutting.encoding, open_file=open_file
    )
    return cut_digest(content, cutting)


def documents_digest(documents: Sequence[Document], cutting: Cutting) -> str:
    """Return the digest of the texts of one source.

    Raises:
        DocumentError: A text, a title or metadata cannot be stored in a database.
    """
    content = hashlib.sha256()
    for document in documents:
        content.update(_framed(document))
    return cut_digest(content.hexdigest(), cutting)


def text_source(text: str) -> str:
    """Return a source for a text without a name; equal texts have the same source."""
    return f"text:{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:16]}"


def is_recording(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a recording, by its name's ending."""
    return Path(path).suffix.lower() in RECORDING_SUFFIXES


def _recording_digest(path: str | os.PathLike[str], open_file: OpenFile) -> str:
    try:
        with open_file(Path(path)) as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type] # typeshed's name
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}") from error
    return hashlib.sha256(f"recording {RECORDING_VERSION} {content}".encode()).hexdigest()


def _framed(document: Document) -> bytes:
    """Serialize a document to bytes that are unique to it."""
    if not document.source:
        raise DocumentError("a document has no source; give it a stable name, such as a URL")
    if "\0" in document.source + document.title + document.text:
        raise DocumentError(
            f"document {document.source!r} holds a NUL character, which no database keeps; "
            "remove it"
        )
    fields = [document.source, document.title, document.text, dict(document.metadata)]
    fields += [repr(document.blocks)] if document.blocks else []
    try:
        written = json.dumps(fields, allow_nan=False, ensure_ascii=False, sort_keys=True).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentError(
            f"document {document.source!r} cannot be indexed: {error}; its texts must be valid "
            "Unicode and its metadata JSON values"
        ) from error
    return b"%d:%b" % (len(written), written)

"""One file to its texts."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from voicerag_core.documents.finding import check_known, check_name, source_of
from voicerag_core.documents.html import read_html
from voicerag_core.documents.markdown import read_markdown
from voicerag_core.documents.pdf import read_pdf
from voicerag_core.documents.plain import read_rst, read_txt
from voicerag_core.documents.tables import read_csv, read_jsonl
from voicerag_core.errors import DocumentError
from voicerag_core.types import Document

__all__ = ["MAX_BYTES", "FileContent", "file_digest", "read_file"]

MAX_BYTES = 200_000_000
"""Default largest file. A file is held in memory as a whole while it is read."""

READER_VERSION = 1
"""Raised when the readers come to give other texts for the same bytes; part of every digest."""

_TEXT_COLUMN = "text"
_CHUNK_BYTES = 1 << 20
_TABLES = (".jsonl", ".csv", ".tsv")
_READERS = {
    ".txt": read_txt,
    ".md": read_markdown,
    ".rst": read_rst,
    ".html": read_html,
    ".htm": read_html,
    ".pdf": read_pdf,
}


@dataclass(frozen=True, slots=True)
class FileContent:
    """What a file holds: the unit that is replaced as a whole when the file changes.

    Args:
        source: The file's absolute path with slashes.
        digest: Changes when the bytes do, or the way they are read.
        documents: One for a text, one a page with text for a PDF, one a row for a table. The
            source of a part is the file's with ``#page=3``, ``#row=3`` or ``#line=3`` behind it,
            counted from 1 (fragments of RFC 8118, RFC 7111 and RFC 5147); the first row of a csv
            file is its header. A file without text has none.
    """

    source: str
    digest: str
    documents: tuple[Document, ...]


def read_file(
    path: str | os.PathLike[str], *, text_column: str | None = None, max_bytes: int = MAX_BYTES
) -> FileContent:
    """Read a file as text, by the ending of its name.

    Args:
        path: A file whose suffix is one of `SUFFIXES`.
        text_column: Column of a csv or tsv file, or key of a jsonl file, that holds the text;
            "text" by default.
        max_bytes: Largest file to accept.

    Raises:
        DocumentError: The file is missing, too large, of an unknown kind, or cannot be read as
            text; the message says where and what to do.
        MissingExtraError: The extra ``documents`` is not installed, and the file is HTML or PDF.
    """
    given = Path(path)
    suffix = check_known(given)
    source = _checked_source(given)
    digest = _new_digest(suffix, text_column)
    data = b"".join(_chunks(given, max_bytes))
    digest.update(data)
    column = text_column or _TEXT_COLUMN
    if suffix == ".jsonl":
        documents = read_jsonl(source, data, text_key=column)
    elif suffix in _TABLES:
        delimiter = "\t" if suffix == ".tsv" else None
        documents = read_csv(source, data, text_column=column, delimiter=delimiter)
    else:
        documents = _READERS[suffix](source, data)
    return FileContent(source, digest.hexdigest(), tuple(documents))


def file_digest(
    path: str | os.PathLike[str], *, text_column: str | None = None, max_bytes: int = MAX_BYTES
) -> str:
    """Return the digest that `read_file` with the same arguments would give, without reading text.

    It does not know how the texts are cut and embedded; a caller for whom that can change adds
    it to what it compares.

    Raises:
        DocumentError: The file is missing, unreadable, too large or of an unknown kind.
    """
    given = Path(path)
    digest = _new_digest(check_known(given), text_column)
    for chunk in _chunks(given, max_bytes):
        digest.update(chunk)
    return digest.hexdigest()


def _checked_source(path: Path) -> str:
    source = source_of(path)
    check_name(Path(source))
    return source


def _new_digest(suffix: str, text_column: str | None) -> hashlib._Hash:
    column = (text_column or _TEXT_COLUMN) if suffix in _TABLES else ""
    return hashlib.sha256(f"{READER_VERSION}\0{suffix}\0{column}\0".encode())


def _chunks(path: Path, max_bytes: int) -> Iterator[bytes]:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise DocumentError(f"{path} is {kind}; a file is read here")
        size = 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > max_bytes:
                    raise DocumentError(
                        f"{path} is larger than {max_bytes:,} bytes; split it, "
                        "or allow more with max_bytes"
                    )
                yield chunk
    except OSError as e:
        raise DocumentError(f"{path} cannot be read: {e.strerror or e}") from e
    except ValueError as e:
        if isinstance(e, DocumentError):
            raise
        raise DocumentError(f"{str(path)!a} cannot be read: {e}") from e

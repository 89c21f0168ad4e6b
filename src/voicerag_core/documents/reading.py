"""One file to its texts."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from voicerag_core.documents.apart import parse_apart
from voicerag_core.documents.decoding import check_encoding
from voicerag_core.documents.finding import check_known, check_name, source_of
from voicerag_core.documents.formats import FORMATS, check_installed, parse
from voicerag_core.documents.tables import TEXT_COLUMN
from voicerag_core.errors import DocumentError
from voicerag_core.types import Document

__all__ = [
    "MAX_BYTES",
    "FileContent",
    "OpenFile",
    "as_regular",
    "file_digest",
    "open_regular",
    "read_file",
]

MAX_BYTES = 200_000_000
"""Default largest file. A file is held in memory as a whole while it is read."""

READER_VERSION = 8
"""Raised when the readers come to give other texts for the same bytes; part of every digest."""

READ_BY = ".r"
"""Stands in a digest before the version of the readers."""

_CHUNK_BYTES = 1 << 20
_TABLES = (".jsonl", ".csv", ".tsv")
_SAY_THEIR_ENCODING = (".pdf", ".docx", ".pptx", ".xlsx", ".odt")


@dataclass(frozen=True, slots=True)
class FileContent:
    """What a file holds: the unit that is replaced as a whole when the file changes.

    Args:
        source: The file's absolute path with slashes.
        digest: Changes when the bytes do, or the way they are read; it ends with the version of
            the readers.
        documents: The whole file as one, in reading order; a table that has a column of texts gives
            one a row. The source of a row is the file's with ``#row=3`` or ``#line=3`` behind it,
            counted from 1 (fragments of RFC 7111 and RFC 5147); the first row of a csv file is its
            header. A file without text has none.
        notices: What of the file was not read or had to be guessed: a page without text, a hidden
            sheet, a bad row, an encoding.
    """

    source: str
    digest: str
    documents: tuple[Document, ...]
    notices: tuple[str, ...] = ()


OpenFile: TypeAlias = Callable[[Path], BinaryIO]
"""Opens a file for reading; raises `DocumentError` or `OSError` if it may or can not be read."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file; a pipe, a device or a socket is refused before it could block.

    Raises:
        DocumentError: It is not a regular file.
        OSError: It cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    return as_regular(handle, path)


def as_regular(handle: int, path: Path) -> BinaryIO:
    """Return an open descriptor as a file; it is closed if it is not a regular one.

    Raises:
        DocumentError: It is not a regular file.
    """
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise DocumentError(f"{path} is {kind}; a file is read here")
    return os.fdopen(handle, "rb")


def read_file(
    path: str | os.PathLike[str],
    *,
    text_column: str | None = None,
    encoding: str | None = None,
    max_bytes: int = MAX_BYTES,
    open_file: OpenFile = open_regular,
) -> FileContent:
    """Read a file as text, by the ending of its name.

    Web pages, PDF, office files, books, mails and long texts in Markdown, reStructuredText or
    notebooks are parsed in a process of its own with bounded memory and time, which is started at
    the first of them and serves many.

    Args:
        path: A file whose suffix is one of `SUFFIXES`.
        text_column: Column of a csv or tsv file, or key of a jsonl file, that holds the text;
            "text" by default, and when there is none, all columns are the text.
        encoding: Encoding of files that are text; a byte order mark comes before it. By default
            it is what the file states, UTF-8, or detected.
        max_bytes: Largest file to accept.
        open_file: Opens the file for reading.

    Raises:
        ConfigError: There is no such encoding.
        DocumentError: The file is missing, too large, of an unknown kind, cannot be read as text,
            or took too much memory or time; the message says where and what to do.
        MissingExtraError: The extra ``documents`` is not installed, and the file is neither plain
            text nor a table.
    """
    given = Path(path)
    suffix = check_known(given)
    source = _checked_source(given)
    check_installed(suffix, source)
    digest = _new_digest(suffix, text_column, encoding)
    data = b"".join(_chunks(given, max_bytes, open_file))
    digest.update(data)
    apart = FORMATS[suffix].apart
    read = parse if apart is None or len(data) < apart else parse_apart
    parsed = read(data, source, suffix, text_column=text_column, encoding=encoding)
    return FileContent(source, _stated(digest), parsed.documents, parsed.notices)


def file_digest(
    path: str | os.PathLike[str],
    *,
    text_column: str | None = None,
    encoding: str | None = None,
    max_bytes: int = MAX_BYTES,
    open_file: OpenFile = open_regular,
) -> str:
    """Return the digest that `read_file` with the same arguments would give, without reading text.

    It does not know how the texts are cut and embedded; a caller for whom that can change adds
    it to what it compares.

    Raises:
        ConfigError: There is no such encoding.
        DocumentError: The file is missing, unreadable, too large or of an unknown kind.
    """
    given = Path(path)
    digest = _new_digest(check_known(given), text_column, encoding)
    for chunk in _chunks(given, max_bytes, open_file):
        digest.update(chunk)
    return _stated(digest)


def _stated(digest: hashlib._Hash) -> str:
    """Return a digest with the version of the readers behind it."""
    return f"{digest.hexdigest()}{READ_BY}{READER_VERSION}"


def _checked_source(path: Path) -> str:
    source = source_of(path)
    check_name(Path(source))
    return source


def _new_digest(suffix: str, text_column: str | None, encoding: str | None) -> hashlib._Hash:
    column = (text_column or TEXT_COLUMN) if suffix in _TABLES else ""
    known = f"{check_encoding(encoding)}\0" if encoding else ""
    known = "" if suffix in _SAY_THEIR_ENCODING else known
    return hashlib.sha256(f"{READER_VERSION}\0{suffix}\0{column}\0{known}".encode())


def _chunks(path: Path, max_bytes: int, open_file: OpenFile) -> Iterator[bytes]:
    try:
        size = 0
        with open_file(path) as file:
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

"""Bytes to text, strictly, and the plain text formats."""

from __future__ import annotations

import codecs
import itertools
import math
import re
from pathlib import PurePosixPath

from voicerag_core.errors import DocumentError
from voicerag_core.types import Document, JSONValue

__all__ = ["check_value", "decode", "file_title", "one_line", "read_rst", "read_txt"]

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks (The Unicode Standard, section 23.8)."""

_AUDIO = re.compile(rb"RIFF....WAVE|fLaC|OggS|ID3|FORM....AIF|\xff[\xfb\xf3\xf2\xfa]", re.DOTALL)
_OTHER = (
    (re.compile(rb"PK\x03\x04"), "a zip archive or an office document"),
    (re.compile(rb"\xd0\xcf\x11\xe0"), "an old office document"),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP", re.DOTALL), "an image"),
    (re.compile(rb"....ftyp", re.DOTALL), "a video or an m4a recording"),
    (re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd"), "a compressed file"),
)
"""First bytes of kinds of files that are often given by mistake."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1{2,}")
"""The line under (and over) a section title of reStructuredText."""


def decode(source: str, data: bytes, *, encoding: str | None = None) -> str:
    r"""Decode text strictly: by byte order mark, else by `encoding`, else as UTF-8.

    Args:
        source: Names the file in errors.
        data: The file's bytes.
        encoding: What the file says of itself, a name that Python knows.

    Returns:
        The text without mark, lines ended by ``\n``.

    Raises:
        DocumentError: The bytes are not text in that encoding.
    """
    if data.startswith(b"%PDF-"):
        raise DocumentError(f"{source} is a PDF file by its first bytes; name it .pdf")
    start, chosen = 0, encoding or "utf-8"
    for mark, marked in _BOMS:
        if data.startswith(mark):
            start, chosen = len(mark), marked
            break
    try:
        text = data[start:].decode(chosen)
    except UnicodeDecodeError as e:
        raise DocumentError(_undecodable(source, data, start + e.start, chosen)) from e
    _check_text(text, source, _not_text(data))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check_text(text: str, where: str, hint: str = "") -> None:
    """Refuse the characters that no database keeps and no voice reads.

    Raises:
        DocumentError: A zero character or half of a surrogate pair is in the text.
    """
    if "\0" in text:
        raise DocumentError(
            f"{where} has a zero character at position {text.index(chr(0))}; "
            + (hint or "it may be UTF-16 without a byte order mark, or not text; save it as UTF-8")
        )
    if lone := _LONE_SURROGATE.search(text):
        raise DocumentError(
            f"{where} has half of a surrogate pair ({lone[0]!a}) at position {lone.start()}; "
            "write the whole character"
        )


def check_value(value: JSONValue, where: str) -> None:
    """Refuse what JSON in a database cannot hold.

    Raises:
        DocumentError: A number that is not finite, or text with a zero or half a character.
    """
    if isinstance(value, str):
        _check_text(value, where, "remove it")
    elif isinstance(value, float) and not math.isfinite(value):
        raise DocumentError(f"{where} has a number that JSON cannot hold; write it as text")
    elif isinstance(value, list):
        for item in value:
            check_value(item, where)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key, where, "remove it")
            check_value(item, where)


def one_line(text: str) -> str:
    """Put a title on one line, with single spaces."""
    return " ".join(text.split())


def file_title(source: str) -> str:
    """Return the title of a file that names none: its name without the ending."""
    return PurePosixPath(source).stem


def read_txt(source: str, data: bytes) -> list[Document]:
    """Read plain text."""
    text = decode(source, data)
    return [Document(source, text, file_title(source))] if text.strip() else []


def read_rst(source: str, data: bytes) -> list[Document]:
    """Read reStructuredText; the first section title is the title, adornments are left out."""
    lines = decode(source, data).split("\n")
    title = file_title(source)
    for line, below in itertools.pairwise(lines):
        heading = line.strip()
        if heading and _is_adornment(below) and not _is_adornment(line):
            title = heading
            break
    text = "\n".join("" if _is_adornment(line) else line for line in lines)
    return [Document(source, text, title)] if text.strip() else []


def _is_adornment(line: str) -> bool:
    return _ADORNMENT.fullmatch(line.rstrip()) is not None


def _undecodable(source: str, data: bytes, position: int, encoding: str) -> str:
    if hint := _not_text(data):
        return f"{source} is not text: {hint}"
    line = data.count(b"\n", 0, position) + 1
    return (
        f"{source} is not {encoding.upper()}: byte 0x{data[position]:02X} at position {position} "
        f"(line {line}); open it with the encoding it was written in and save it as UTF-8"
    )


def _not_text(data: bytes) -> str:
    """Say what a file is that is not text, or "" when its first bytes do not tell."""
    if _AUDIO.match(data):
        return "it is audio by its first bytes; give it as a question, or index a transcript"
    for pattern, kind in _OTHER:
        if pattern.match(data):
            return f"it is {kind} by its first bytes; save it as text, HTML or PDF"
    return ""

"""Bytes to text: by mark, by what the file states, as UTF-8, else by detection."""

from __future__ import annotations

import codecs
import re

from voicerag_core.documents.elements import Notice
from voicerag_core.errors import ConfigError, DocumentError

__all__ = ["check_encoding", "check_text", "decode"]

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks (The Unicode Standard, section 23.8)."""

_WEB_ENCODINGS = {
    "iso-8859-1": "cp1252", "latin1": "cp1252", "ascii": "cp1252", "us-ascii": "cp1252",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc-kr": "cp949",
    "iso-8859-9": "cp1254", "tis-620": "cp874", "utf-16": "utf-8", "utf-16le": "utf-8",
    "utf-16be": "utf-8",
}  # fmt: skip
"""Labels that mean another encoding on the web (WHATWG Encoding Standard, section 4.2)."""

_AUDIO = re.compile(rb"RIFF....WAVE|fLaC|OggS|ID3|FORM....AIF|\xff[\xfb\xf3\xf2\xfa]", re.DOTALL)
_OTHER = (
    (re.compile(rb"%PDF-"), "a PDF file", "name it .pdf"),
    (re.compile(rb"PK\x03\x04"), "a zip archive or an office document",
     "give it the ending of its kind, such as .docx, .xlsx, .pptx, .odt or .epub"),
    (re.compile(rb"\xd0\xcf\x11\xe0"), "an old office document or a mail of Outlook",
     "save it as .docx, .xlsx or .pptx, or name it .msg if it is a mail"),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP", re.DOTALL), "an image",
     "run text recognition (OCR) on it first"),
    (re.compile(rb"....ftyp", re.DOTALL), "a video or an m4a recording",
     "give it as a question, or index a transcript"),
    (re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd"), "a compressed file",
     "unpack it first"),
)  # fmt: skip
"""First bytes of kinds of files that are often given by mistake."""

_MAX_BAD = 0.02
"""Share of bytes that may be lost in a text that is UTF-8 otherwise."""

_MOST_LOST = 0.2
"""Share of characters that may be lost in a text whose encoding is known."""

_SAMPLE_BYTES = 200_000
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_MAX_CONTROL = 0.01
_WESTERN_MARKS = frozenset(
    "\u20ac\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2022\u2026\u2122"
    "\xa0\xa3\xa7\xa9\xab\xae\xb0\xb1\xb2\xb3\xb4\xb5\xb7\xbb\xbc\xbd\xbe\xbf\xd7"
)
_COMMON_WESTERN = frozenset(
    "\xe4\xf6\xfc\xdf\xc4\xd6\xdc\xe9\xe8\xea\xe0\xe2\xe7\xee\xef\xf4\xfb\xf9\xf1\xf3\xed"
    "\xe1\xfa\xe5\xe6\xf8\xc5\xc6\xd8\xc9\xc0\xc7\xe3\xf5\xec\xf2\xeb"
)


_CANDIDATES = (
    "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "iso8859_2",
    "koi8_r", "mac_roman", "cp874", "big5", "gb18030", "cp932", "euc_jp", "cp949",
)  # fmt: skip
"""Encodings in which texts are found; rarer ones would be guessed by mistake."""


def check_encoding(encoding: str) -> str:
    """Return the name of an encoding of text as Python knows it.

    Raises:
        ConfigError: There is none of that name.
    """
    try:
        info = codecs.lookup(encoding)
        b"a".decode(info.name)
    except (LookupError, ValueError, TypeError) as e:
        raise ConfigError(
            f"there is no encoding {encoding!r}; names are such as utf-8, cp1252 and gb18030"
        ) from e
    return info.name


def decode(
    data: bytes, source: str, *, encoding: str | None = None, stated: str | None = None
) -> tuple[str, list[Notice]]:
    r"""Decode text.

    In this order: by its byte order mark; as `encoding` says; as the file states; as UTF-8; as
    UTF-16 when every other byte is zero; as UTF-8 with a few bytes lost; by detection.

    Args:
        data: The file's bytes.
        source: Names the file in errors.
        encoding: What the caller knows; a byte order mark comes before it.
        stated: What the file says of itself.

    Returns:
        The text without mark, lines ended by ``\n``, and what was lost or guessed.

    Raises:
        DocumentError: The bytes are no text.
    """
    text, notices = _decoded(data, source, encoding, stated)
    if "\0" in text:
        text = _without_zeros(text, data, source)
        notices.append(Notice("zero characters were left out"))
    return text.replace("\r\n", "\n").replace("\r", "\n"), notices


def check_text(text: str, where: str) -> None:
    """Refuse the characters that no database keeps.

    Raises:
        DocumentError: A zero character or half of a surrogate pair is in the text.
    """
    for character in text:
        if character == "\0" or "\ud800" <= character <= "\udfff":
            kind = "a zero character" if character == "\0" else "half of a surrogate pair"
            raise DocumentError(
                f"{where} has {kind} at position {text.index(character)}; remove it"
            )


def _decoded(
    data: bytes, source: str, encoding: str | None, stated: str | None
) -> tuple[str, list[Notice]]:
    for mark, marked in _BOMS:
        if data.startswith(mark):
            return _lossy(data[len(mark) :], source, marked)
    if encoding is not None:
        return _lossy(data, source, encoding)
    _refuse_other_kinds(data, source)
    if stated and (known := _known(stated)) and known != "utf-8":
        try:
            return data.decode(known), []
        except UnicodeDecodeError:
            pass  # it states what it is not
    try:
        return _utf8_or_16(data), []
    except UnicodeDecodeError as e:
        error = e
    kept = data.decode("utf-8", "replace")
    lost = kept.count("\ufffd")
    right = sum(character > "\x7f" for character in kept[: 4 * _SAMPLE_BYTES]) - lost
    if right > lost and lost <= _MAX_BAD * len(kept):
        return kept, [Notice(_lost(data, lost, error.start))]
    return _detected(data, source, error)


def _utf8_or_16(data: bytes) -> str:
    """Decode strictly as UTF-8, or as UTF-16 without a mark when the zeros show it."""
    head = data[:_SAMPLE_BYTES]
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = head[offset::2].count(0), head[1 - offset :: 2].count(0)
        if len(head) >= 4 and zeros > 0.4 * len(head[offset::2]) and others * 20 < zeros:  # noqa: PLR2004
            return data[: len(data) & ~1].decode(name)
    return data.decode("utf-8")


def _lossy(data: bytes, source: str, encoding: str) -> tuple[str, list[Notice]]:
    """Decode text of which little may be lost.

    Raises:
        DocumentError: Much is no text in that encoding.
    """
    try:
        return data.decode(encoding), []
    except UnicodeDecodeError as e:
        text = data.decode(encoding, "replace")
        lost = text.count("\ufffd")
        if lost > _MOST_LOST * len(text):
            raise DocumentError(
                f"{source} is no text in {encoding.upper()}: {lost} of {len(text)} characters "
                "cannot be decoded; name its encoding (--encoding), or save it as UTF-8"
            ) from e
        return text, [Notice(_lost(data, lost, e.start, encoding))]


def _lost(data: bytes, lost: int, position: int, encoding: str = "UTF-8") -> str:
    line = data.count(b"\n", 0, position) + 1
    places = "one place" if lost == 1 else f"{lost} places"
    return f"{places} not {encoding.upper()} (the first in line {line}); the characters are lost"


def _known(label: str) -> str | None:
    try:
        return codecs.lookup(_WEB_ENCODINGS.get(label, label)).name
    except LookupError:
        return None


def _detected(data: bytes, source: str, error: UnicodeDecodeError) -> tuple[str, list[Notice]]:
    name = _western(data) or _japanese(data) or _guessed(data)
    if name is None and sum(byte > 0x7F for byte in data[:_SAMPLE_BYTES]) < 0.3 * len(data):  # noqa: PLR2004
        name = "cp1252"
    if name is None:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError(
            f"{source} is no text in any encoding that was recognised (byte "
            f"0x{data[error.start]:02X} in line {line}); name its encoding (--encoding), or save "
            "it as UTF-8"
        ) from error
    text, notices = _lossy(data, source, name)
    if len(_CONTROL.findall(text[:_SAMPLE_BYTES])) > _MAX_CONTROL * len(text[:_SAMPLE_BYTES]):
        raise DocumentError(f"{source} is no text; its bytes are those of another kind of file")
    shown = name.replace("cp125", "windows-125").replace("_", "-")
    notices.append(Notice(f"not UTF-8; read as {shown} (--encoding names another)"))
    return text, notices


def _western(data: bytes) -> str | None:
    """Return windows-1252 when what is not ASCII looks like words of western Europe.

    Detection by statistics is unsure on short texts with few such letters.
    """
    try:
        text = data[:_SAMPLE_BYTES].decode("cp1252")
    except UnicodeDecodeError:
        return None
    foreign = [i for i, character in enumerate(text) if character > "\x7f"]
    fitting = 0
    for i in foreign:
        character = text[i]
        if character in _WESTERN_MARKS:
            fitting += 1
        elif character in _COMMON_WESTERN:
            around = text[max(0, i - 1) : i] + text[i + 1 : i + 2]
            fitting += not around.strip() or any(c.isascii() and c.isalpha() for c in around)
    return "cp1252" if foreign and fitting >= 0.95 * len(foreign) else None


def _japanese(data: bytes) -> str | None:
    """Return an encoding of Japanese when it gives much Kana."""
    for name in ("euc_jp", "cp932"):
        try:
            text = data[:_SAMPLE_BYTES].decode(name)
        except UnicodeDecodeError:
            continue
        kana = sum("\u3041" <= character <= "\u30fe" for character in text)
        if kana > _LEAST_KANA * sum(character > "\x7f" for character in text):
            return name
    return None


_LEAST_KANA = 0.25


def _guessed(data: bytes) -> str | None:
    try:
        from charset_normalizer import from_bytes
    except ModuleNotFoundError:
        return None
    best = from_bytes(data[:_SAMPLE_BYTES], cp_isolation=list(_CANDIDATES)).best()
    return best.encoding if best is not None else None


def _without_zeros(text: str, data: bytes, source: str) -> str:
    """Drop zero characters from a text that has few.

    Raises:
        DocumentError: There are so many that it is no text.
    """
    _refuse_other_kinds(data, source)
    if text.count("\0") > _MAX_CONTROL * len(text):
        raise DocumentError(
            f"{source} has a zero character at position {text.index(chr(0))} and many more; it "
            "may be no text, or in UTF-16 that was damaged; save it as UTF-8"
        )
    return text.replace("\0", "")


def _refuse_other_kinds(data: bytes, source: str) -> None:
    """Refuse what is not text by its first bytes.

    Raises:
        DocumentError: It is a PDF, an archive, an image, sound and the like.
    """
    if _AUDIO.match(data):
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            raise DocumentError(
                f"{source} is not text: it is audio by its first bytes; give it as a question, "
                "or index a transcript"
            ) from None
    for pattern, kind, advice in _OTHER:
        if pattern.match(data):
            raise DocumentError(f"{source} is not text: it is {kind} by its first bytes; {advice}")

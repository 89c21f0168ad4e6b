"""One form for characters that are written in several ways."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["normalised", "raised", "tidy", "tidy_lines"]

_LINE_BREAKS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_SPACES = (
    "\t\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f"
    "\u3000"
)
_NOTHING = (
    "\xad\u061c\u180e\u200b\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff\ufff9\ufffa\ufffb"
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""Soft hyphen, zero-width spaces, and marks of direction."""

_TABLE: dict[int, str | None] = {
    **{code: None for code in range(0x20) if code not in (0x0A,)},
    **dict.fromkeys(range(0x7F, 0xA0)),
    **dict.fromkeys(map(ord, _LINE_BREAKS), "\n"),
    **dict.fromkeys(map(ord, _SPACES), " "),
    **dict.fromkeys(map(ord, _NOTHING)),
    **dict.fromkeys(map(ord, "\u2010\u2011"), "-"),
    **dict.fromkeys(range(0xE000, 0xF900)),  # for private use: icons and bullets of a font
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}

_COMPATIBILITY = re.compile(
    "[\u0132\u0133\u013f\u0140\u0149\u01c4-\u01cc\u01f1-\u01f3\u2025-\u2026\u2160-\u217f\u2e80-\u2fdf\u3131-\u318e"
    "\u32c0-\u33ff\uf900-\ufaff\ufb00-\ufdff\ufe30-\ufeff\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff61-\uffdc"
    "\U0001d400-\U0001d7ff\U0001f130-\U0001f149\U0002f800-\U0002fa1f]+"
)
"""Ligatures, presentation forms, letters and figures of full width, letters of mathematics, Roman
numerals, squared units. Full-width punctuation stays: it is how Chinese and Japanese are written.
Superscripts and fractions stay: their plain forms would be other numbers."""

_JOINERS = re.compile("(?<=[\x00-\u02ff])[\u200c\u200d]|[\u200c\u200d](?=[\x00-\u02ff]|$)")
"""Zero-width joiners next to Latin letters, where they do nothing."""

_PLAIN = re.compile(r"[\n\x20-\x7e]*")
_BLANKS = re.compile(r"[^\S\n]+")
_AROUND_BREAK = re.compile(r" *\n[ \n]*")

_RAISED = str.maketrans("0123456789+-\u2212=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿ")
_NUMBER = re.compile(r"[+\-\u2212]?\d+")
_BASE = re.compile(r"(?:^|[^\w.,])(\d[\d.,]*)$")
_YEAR = re.compile(r"(?:1[0-9]|20)\d\d$")
_UNIT = re.compile(r"(?:^|[^A-Za-z])(?:[kcdmµn]?m|in|ft|yd|mi|s|sec|h|[A-Za-z])$")


def normalised(text: str) -> str:
    r"""Return text in one form of Unicode: composed, without ligatures and invisible characters.

    Ligatures and other compatibility forms become plain letters, all kinds of spaces a space, all
    kinds of line breaks ``\n``; soft hyphens, zero-width spaces, marks of direction, icons and
    control characters go. Superscripts, fractions and full-width punctuation stay.
    """
    if _PLAIN.fullmatch(text):
        return text
    text = _JOINERS.sub("", text.replace("\r\n", "\n").translate(_TABLE))
    text = _COMPATIBILITY.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    return unicodedata.normalize("NFC", text)


def tidy(text: str) -> str:
    """Return normalised text on one line, with single spaces."""
    return " ".join(normalised(text).split())


def tidy_lines(text: str) -> str:
    """Return normalised text with its lines, single spaces, and no empty lines."""
    return _AROUND_BREAK.sub("\n", _BLANKS.sub(" ", normalised(text))).strip()


def raised(before: str, text: str) -> str:
    """Return raised characters as they are to follow the text before them.

    An exponent becomes ``^6``, the power of a unit ``²``; letters are put on the line ("10th");
    a number behind a word, a year or a sentence is the mark of a note and left out.

    Args:
        before: The text before, at least its last word.
        text: What is raised.
    """
    words = tidy(text)
    if not words:
        return ""
    if not _NUMBER.fullmatch(words):
        return words if words.isalpha() else "" if _is_note_mark(words) else f"^{words}"
    if words[0] in "+-\u2212" and before[-1:].isalnum():
        return f"^{words}".replace("\u2212", "-")
    if base := _BASE.search(before):
        figures = base[1].rstrip(".,")
        is_note = figures != base[1] or _YEAR.match(figures) or len(figures) > _LONGEST_BASE
        return "" if is_note else f"^{words}"
    return words.translate(_RAISED) if _UNIT.search(before) and len(words) == 1 else ""


_LONGEST_BASE = 4


def _is_note_mark(words: str) -> bool:
    return all(not character.isalnum() for character in words) or (
        words[0] in "[(" and words[-1] in "])"
    )

"""Titles as they are read: without the escapes and marks of the format that they come from."""

from __future__ import annotations

import html
import re

from voicerag_core.documents.unicode import tidy

__all__ = ["plain_title", "without_markdown"]

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_LONGEST = 1000
"""Characters of a title that are read; what is longer is none, and would take long."""
_MOST_ESCAPED = 3
"""How many times a title may have been escaped: once by each program that it went through."""
_PAIR = re.compile(r"<([A-Za-z][\w-]*)(?:\s[^<>]*)?>([^<>]*)</\1\s*>")
_EMPTY = re.compile(r"<(?:br|hr|img|wbr|input|i|b|a|span)(?:\s[^<>]*)?/?>", re.IGNORECASE)

_MARKS = (
    (re.compile(r"\s*\{[#.:][^{}]*\}\s*$"), ""),  # an anchor: "Fees {#fees}"
    (re.compile(r"\{[%{].*?[%}]\}"), " "),
    (re.compile(r"!\[([^\]]*)\]\([^()]*\)"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\([^()\s]*(?:\([^()]*\)[^()\s]*)?(?:\s+\"[^\"]*\")?\)"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\[[^\]]*\]"), r"\1"),
    (re.compile(r"(\*\*\*|\*\*|\*|~~)(?=\S)(.+?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"(?<!\w)(___|__|_)(?=\S)(.+?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"(`++)\s?(.+?)\s?\1"), r"\2"),
    (re.compile(r"^#{1,6}\s+"), ""),
)
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_HIDDEN = {code: 0xE000 + code for code in range(0x21, 0x7F)}
"""Where escaped characters wait, in Unicode's private area, until the marks are gone."""
_SHOWN = {hidden: code for code, hidden in _HIDDEN.items()}


def plain_title(text: str) -> str:
    """Return a title on one line, with its entities as characters and without tags."""
    text = text[:_LONGEST]
    for _ in range(_MOST_ESCAPED):
        if not _ENTITY.search(text):
            break
        text = html.unescape(text)
    while (bare := _PAIR.sub(r"\2", text)) != text:
        text = bare
    return tidy(_EMPTY.sub(" ", text)).removesuffix("¶").rstrip()


def without_markdown(text: str) -> str:
    """Return a title in Markdown without its marks: "Use **new** keys" is "Use new keys"."""
    text = text[:_LONGEST]
    text = _ESCAPED.sub(lambda match: match[1].translate(_HIDDEN), text)
    for mark, instead in _MARKS:
        text = mark.sub(instead, text)
    return text.translate(_SHOWN)

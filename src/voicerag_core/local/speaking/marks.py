"""Marks of writing that are not said: Markdown, HTML, links, emoji, invisible characters."""

from __future__ import annotations

import html
import re
import unicodedata

from voicerag_core.local.caveats import without_caveats

__all__ = ["without_marks"]

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f"
    "\ufeff\U000e0000-\U000e007f]"
)
"""Soft hyphens, joiners, marks of direction and of presentation: nothing stands in their place."""

_COMPATIBLE = re.compile("[\ufb00-\ufb06\uff01-\uff5e\u3300-\u33ff\u2103\u2109\u2116\u2126\u212a]+")
"""Ligatures, full-width forms, and units in one character."""

_EQUIVALENTS = str.maketrans(
    {
        "\u2010": "-",
        "\u2011": "-",
        "\u2012": "\u2013",
        "\u2212": "-",
        "\u00b5": "\u03bc",
        "\u2032": "'",
        "\u2033": '"',
        "\u2044": "/",
        "\u2215": "/",
    }
)

FIRST_EMOJI = "\U0001f000"

_TERMINAL = (".", "!", "?", ":", ";", ",", "\u3002")

_TAGS = (
    "a|abbr|article|aside|b|blockquote|button|caption|center|cite|code|dd|del|details|dfn|dl|dt|em|"
    "figcaption|figure|font|footer|form|h[1-6]|header|i|img|input|ins|kbd|label|main|mark|nav|ol|"
    "option|picture|pre|q|s|samp|section|select|small|source|span|strike|strong|sub|summary|sup|"
    "table|tbody|tfoot|th|thead|time|tt|u|ul|var|video"
)

_MARKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?<=\d)\s?[\u2605\u2b50]\ufe0f?(?![\u2605\u2606])"), " stars"),
    (re.compile(r"(?i)(?<=\d)<sup>(-?\d+)</sup>"), r"^\1"),
    (re.compile(r"(\d)\*\*(?=-?\d)"), r"\1^"),  # a power in code, no emphasis
    (re.compile(r"(?ms)^ {0,3}(```+|~~~+).*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)"), " "),
    (re.compile(r"(?m)^\s*\|?(?:\s*:?-{3,}:?\s*\|)+(?:\s*:?-{3,}:?)?\s*$"), " "),
    (re.compile(r"(?m)^\s*(?:[-*_=]\s*){3,}$"), " "),
    (re.compile(r"(?m)^\s*\.\. [\w-]+::.*$"), " "),
    (re.compile(r"<(?:https?://|mailto:)([^<>\s]+)>"), r"\1"),
    (re.compile(r"(?s)<!--.*?-->"), " "),
    (re.compile(r"(?i)<(?:br|p|/p|li|/li|td|/td|tr|/tr|div|/div|hr)\s*/?>"), " "),
    (re.compile(rf"(?i)</?(?:{_TAGS})(?:\s[^<>]*)?/?>"), ""),
    (re.compile(r"!\[([^\]]*)\]\([^()\s]*(?:\s+\"[^\"]*\")?\)"), " "),
    (re.compile(r"\[\[(?:[^\]|]*\|)?([^\]|]+)\]\]"), r"\1"),
    (re.compile(r"\[([^\]]*)\]\([^()\s]*(?:\([^()]*\)[^()\s]*)?(?:\s+\"[^\"]*\")?\)"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\[[^\]]*\]"), r"\1"),
    (re.compile(r":[a-z]+:`([^`<]+?)(?:\s*<[^`]*>)?`"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`]*>`__?"), r"\1"),
    (re.compile(r"(?<=[\w.,;:!?)\"'])\s?\[\^?\d+(?:\s?[,\u2013-]\s?\d+)*\]"), ""),  # note marks
    (re.compile(r"(?m)^(\s*(?:[-*+]\s+)?)\[[ xX]\]\s+"), r"\1"),
    (re.compile(r"(?<![\w:]):[a-z][a-z0-9_+-]*[a-z0-9]:(?![\w:`])"), " "),  # the name of an emoji
    (re.compile(r"\[![A-Z]+\][+-]?"), ""),
    (re.compile(r"``?([^`]+)``?"), r"\1"),
    (re.compile(r"\*\*|__(?=\w)|(?<=\w)__|~~|(?<!\s)==|==(?!\s)"), ""),
    (re.compile(r"(?<![\w*])\*(?=[^\s*])|(?<=[^\s*])\*(?![\w*])"), ""),
    (re.compile(r"(?<!\w)_(?=\S)|(?<=\S)_(?!\w)"), ""),
    (re.compile(r"\\([!-/:-@\[-`{-~])"), r"\1"),
)

_URL = re.compile(
    r"(?i)\b(?:https?://|ftp://|www\.)(?:www\.)?([\w.-]*\w)(?::\d+)?(?:[/?#][^\s<>]*)?"
)
_ITEM = re.compile(r"^\s*(?:[-*+\u2022\u2023\u25aa\u25cf\u25e6\u00b7]\s+|#{1,6}\s+|>(?![=\d])\s?)+")
_BEFORE_DOT = re.compile(r"(?<=\w)\s+(?=[.,;!?](?:\s|$))")
_EMPTY_LINES = re.compile(r"\n\s*\n")
_HEADING_END = re.compile(r"\s+#+\s*$")


def without_marks(text: str) -> str:
    """Return the words of a text, on one line, without what only the eye sees."""
    text = without_caveats(text)
    text = html.unescape(text) if "&" in text else text
    text = _COMPATIBLE.sub(lambda found: unicodedata.normalize("NFKC", found.group()), text)
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text)).translate(_EQUIVALENTS)
    text = _EMPTY_LINES.sub("\n\n", text)  # many of them would take the marks long
    for mark, instead in _MARKS:
        text = mark.sub(instead, text)
    text = _URL.sub(_host, text)
    lines = [_line(line) for line in text.splitlines()]
    words = "".join(_seen(letter) for letter in " ".join(line for line in lines if line))
    return _BEFORE_DOT.sub("", words)


def _line(line: str) -> str:
    """Return a line without the mark of a list item or heading, which then ends as a sentence."""
    words = _HEADING_END.sub("", _ITEM.sub("", line)).strip()
    if not _ITEM.match(line) or not words or words.endswith(_TERMINAL):
        return words
    return f"{words}." if any(letter.isalnum() for letter in words) else ""


def _host(found: re.Match[str]) -> str:
    """Return the name of a site, for a whole address is never taken in by listening."""
    ending = re.search(r"[.,;:!?)\]]+$", found.group())
    return found.group(1) + (ending.group() if ending and "/" in found.group()[8:] else "")


def _seen(letter: str) -> str:
    """Return a blank for emoji and other pictures, and every other character as it is."""
    kind = unicodedata.category(letter)
    if kind == "So" and letter not in "\u00b0\u2116":
        return " "
    if kind == "Sk" and letter >= FIRST_EMOJI:
        return ""
    return " " if kind == "Zs" else letter

"""Where sentences end."""

from __future__ import annotations

import itertools
import re

__all__ = ["sentence_spans", "split_sentences"]

_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_SPACE = re.compile(r"\s")
_BEFORE_FIGURE = re.compile(r"(?<=[\u3002\uff01\uff1f])(?=\d)")
"""A Chinese sentence may begin with a figure, which sentencex does not know."""
_EMPTY_LINE = re.compile(r"\n\s*\n")

_OPEN_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'\u201c/])(?:approx|avg|ca|cf|circa|ed|eds|e\.g|eg|esp|est|excl|fig|figs|i\.e|ie"
    r"|incl|max|min|misc|nr|p|pp|para|resp|sec|sect|tab|tel|temp|vol|vols|vs|viz|mr|mrs|ms|dr|prof"
    r"|st|ch|eq|eqs|ref|refs|ext|dept|abbr|adj|alt|attn|std|opt|qty|ref|rev|ver|no|nos|art)\.$",
    re.IGNORECASE,
)
"""Abbreviations that a sentence goes on behind, at the end of what was taken for a sentence."""

_ALSO_WORDS = frozenset({"no", "ed", "art", "min", "max", "st", "ms", "ref", "ch", "fig", "tab"})
"""Those of them that are words or end sentences, too: a sentence goes on when a figure follows, or
a lower-case letter, or when they are written with a capital."""

_LAST_WORD = re.compile(r"([\w.]+)\.$")
_SHORT_WORD = re.compile(r"(?:^|[^\w-])[^\W\d_]{1,6}\.$")
"""What may be an abbreviation that the list does not know."""

_NAME = re.compile(r"[\"'(\[\u201c]*\w*(?:[A-Z_\d]|\.\w)")
"""A word with a capital, a figure or a dot in it, such as pg_dump or iPhone: it may begin a
sentence though its first letter is small."""

_MARKER = re.compile(r"\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,4})[.)]")
"""The number of a step or an item."""

_GOES_ON = re.compile(r"[\"'(\[\u201c]*[a-z\u00df-\u00f6\u00f8-\u00ff,;:)]")
_FIGURE = re.compile(r"[\"'(\[\u201c]*[\d\u20ac$\u00a3#\u00a7]")
_ENDS_SURELY = re.compile(r"[!?\u3002\uff01\uff1f][\"'\u201d\u2019)\]]*$|[.][\"'\u201d\u2019)\]]+$")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Find the sentences of English, Chinese or mixed text.

    A line break inside a paragraph does not end a sentence, an empty line does. Sentences are
    found with sentencex; a dot behind an abbreviation that a sentence goes on behind ("approx.",
    "excl."), or inside a name or a number ("requests.Timeout", "2.32.5"), ends none.

    Returns:
        Start and end of each sentence in characters, without surrounding white space, in order.
    """
    import sentencex

    spans: list[tuple[int, int]] = []
    language = "zh" if _CJK.search(text) else "en"
    borders = [0, *(border.end() for border in _EMPTY_LINE.finditer(text)), len(text)]
    for block_start, block_end in itertools.pairwise(borders):
        flat = _SPACE.sub(" ", text[block_start:block_end])
        position = 0
        found: list[tuple[int, int]] = []
        sentences = (
            part
            for sentence in sentencex.segment(language, flat)
            for part in _BEFORE_FIGURE.split(sentence)
        )
        for sentence in sentences:
            words = sentence.strip()
            if not words:
                continue
            start = flat.index(words, position)
            position = start + len(words)
            if found and _is_one(flat, found[-1], start):
                found[-1] = found[-1][0], position
            else:
                found.append((start, position))
        spans += [(block_start + start, block_start + end) for start, end in found]
    return spans


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, each on one line."""
    return [_SPACE.sub(" ", text[start:end]) for start, end in sentence_spans(text)]


def _is_one(flat: str, before: tuple[int, int], start: int) -> bool:
    """Whether what begins at `start` goes on with the sentence that was found before it."""
    end = before[1]
    tail = flat[max(before[0], end - 40) : end]
    if _MARKER.fullmatch(flat, *before):
        return True
    if start == end:  # no space between them: a name, a version, an address
        is_word = flat[start].isalnum() and not _CJK.match(flat[start])
        return not _ENDS_SURELY.search(tail) and is_word and not _CJK.search(flat[end - 1])
    if not tail.endswith("."):
        return False
    if _GOES_ON.match(flat, start):
        return _SHORT_WORD.search(tail) is not None and not _NAME.match(flat, start)
    return _OPEN_ABBREVIATION.search(tail) is not None and _is_open(tail, flat, start)


def _is_open(tail: str, flat: str, start: int) -> bool:
    """Whether an abbreviation that may end a sentence goes on with what begins at `start`."""
    last = _LAST_WORD.search(tail)
    word = last[1] if last else ""
    if word.lower() in _ALSO_WORDS and not word[:1].isupper():
        return _FIGURE.match(flat, start) is not None
    return word.lower() != "no" or _FIGURE.match(flat, start) is not None

"""What the reader's network is given of a passage: windows of whole sentences.

A window is the title and headings above its first sentence, then its sentences, with a mark in
front of each block that says of what kind it is. Headings and marks are read and never chosen.
`training.reader` makes its examples with the functions here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from voicerag_core.local.reading.features import Candidate
from voicerag_core.types import Passage

__all__ = ["MARKS", "Tokens", "Window", "heading_line", "read_passage", "windows"]

MARKS = {
    "heading": 1001,  # #
    "question": 1094,  # inverted question mark
    "text": 1086,  # pilcrow
    "lead": 1585,  # arrow to the right
    "item": 1528,  # bullet
    "row": 1064,  # |
    "field": 1027,  # =
    "code": 1036,  # `
    "note": 1526,  # dagger
}
"""Token in front of a block of each kind; running text has none at the start of a window."""

MOST_HEADING_TOKENS = 48
"""Of a window's headings, the last are kept."""

Tokens: TypeAlias = Callable[[str], tuple[list[int], NDArray[np.int64]]]
"""From a text to its token ids, and [T, 2] the characters of each."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a passage as the network reads it.

    Args:
        ids: Its tokens.
        sentences: Indices of its sentences.
        spans: First and one past the last token of each sentence.
    """

    ids: list[int]
    sentences: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A sentence as tokens, with the mark of its block when it opens one."""

    ids: list[int]
    mark: int | None


def windows(
    tokens: Tokens, passages: Sequence[Passage], sentences: Sequence[Candidate], room: int
) -> Iterator[Window]:
    """Split each passage into windows of whole sentences.

    Args:
        tokens: Of a text.
        passages: The passages of the sentences.
        sentences: In order, those of one passage together.
        room: Most tokens of a window.
    """
    numbers: dict[int, list[int]] = {}
    for number, sentence in enumerate(sentences):
        numbers.setdefault(sentence.passage, []).append(number)
    for index, own in numbers.items():
        ordered = [sentences[i] for i in own]
        pieces = [_Piece(*one) for one in read_passage(tokens, passages[index], ordered)]
        begun = 0
        while begun < len(own):
            head = tokens(heading_line(passages[index], ordered[begun]))[0][-MOST_HEADING_TOKENS:]
            at, size = begun, len(head)
            while at < len(own):
                size += len(pieces[at].ids) + (pieces[at].mark is not None)
                if size > room and at > begun:
                    break
                at += 1
            yield _joined(head, pieces[begun:at], own[begun:at], room)
            begun = at


def read_passage(
    tokens: Tokens, passage: Passage, sentences: Sequence[Candidate]
) -> list[tuple[list[int], int | None]]:
    """Return the tokens of each sentence of a passage, and the mark in front of it or None."""
    ids, places = tokens(passage.text)
    found = []
    block = -1
    for sentence in sentences:
        first, last = _touched(places, sentence.start, sentence.end)
        opens = sentence.block != block
        found.append((ids[first:last], MARKS[sentence.kind] if opens else None))
        block = sentence.block
    return found


def heading_line(passage: Passage, sentence: Candidate) -> str:
    """Return the title and the headings above a sentence on one line, each once; "" for none.

    Running text without a heading has no title in front either: all paragraphs of an article share
    it, and each would seem to be about what is asked of one of them.
    """
    if not sentence.path and sentence.kind in ("text", "note"):
        return ""
    title = passage.title.partition("#")[0].rpartition("/")[2]
    names = [name for name in dict.fromkeys((title, *sentence.path)) if name]
    if sentence.text in names:
        names.remove(sentence.text)
    return " > ".join(names) + ":" if names else ""


def _joined(head: list[int], pieces: Sequence[_Piece], numbers: list[int], room: int) -> Window:
    ids = list(head)
    spans = []
    for number, piece in enumerate(pieces):
        if piece.mark is not None and (number or piece.mark != MARKS["text"]):
            ids.append(piece.mark)
        spans.append((min(len(ids), room), min(len(ids) + len(piece.ids), room)))
        ids += piece.ids
    return Window(ids[:room], tuple(numbers), tuple(spans))


def _touched(places: NDArray[np.int64], start: int, end: int) -> tuple[int, int]:
    """Return first and one past the last token that touch the characters start..end."""
    touched = np.flatnonzero((places[:, 1] > start) & (places[:, 0] < end))
    if not len(touched):
        at = int(np.searchsorted(places[:, 0], start))
        return at, at
    return int(touched[0]), int(touched[-1]) + 1

"""Cut an answer into pieces to speak, while it is still being written.

The text arrives in pieces of any size. What is spoken does not depend on where they end: the text
is looked at word by word, and a sentence is taken when the next one has begun and no code block,
link, tag or other mark is open in it. Marks are removed before sentences are found, so that a list,
a table or a code block is known by its lines.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from voicerag_core.languages import ANY, ENGLISH
from voicerag_core.local.replies import replies_in
from voicerag_core.local.speaking.marks import without_marks
from voicerag_core.local.speaking.segments import (
    FIRST_WORDS,
    GROWTH,
    bounded,
    clause_length,
    speakable,
    spoken_line,
)
from voicerag_core.sentences import sentence_spans, split_sentences

__all__ = ["MOST_ITEMS", "SpeechStream", "speech_segments", "spoken_sentences"]

MOST_ITEMS = 8
"""Items of a list or rows of a table that are spoken; of more, how many more there are. Numbered
steps are all spoken."""

SHORT_BLOCK = 120
"""Characters of a paragraph of one sentence that counts as an item when others like it follow."""

_WORD_END = re.compile(r"(?<=\S)\s")
_FENCE = re.compile(r"^ {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)$")
_BULLET = re.compile(r"\s*[-*+\u2022\u2023\u25aa\u25cf\u25e6\u00b7]\s")
_NUMBERED = re.compile(r"\s*\(?(?:\d{1,3}|[a-zA-Z])[.)]\s")
_ROW = re.compile(r"\s*\|")
_HEADING = re.compile(r"\s*#{1,6}\s")
_QUOTED = re.compile(r"\s*>\s")
_BLOCK_START = (_BULLET, _NUMBERED, _ROW, _HEADING, _QUOTED)
_ENDED = re.compile(r"[.!?:\u2026\u3002\uff01\uff1f][\"'\u201d\u2019)\]*_`]*\s")
_OPEN = re.compile(r"\[[^\]]*\Z|\]\([^)]*\Z|<[A-Za-z/!][^<>]*\Z")


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A stretch of the text that can be spoken.

    Args:
        text: As it is written.
        opens: Whether a block begins with it.
        closes: Whether a block ends with it.
    """

    text: str
    opens: bool
    closes: bool


class SpeechStream:
    """Turns a text that arrives in pieces into lines to speak, the first ones short.

    Args:
        first_words: Most words of the first line, where a border allows.
        most_items: Items of a list that are spoken.
        language: Code of the text's language.
    """

    def __init__(
        self,
        first_words: int = FIRST_WORDS,
        most_items: int = MOST_ITEMS,
        language: str = ENGLISH,
    ) -> None:
        self._language = language
        self._sentences_in = None if language in {ENGLISH, ANY} else language
        self._most_items = most_items
        self._text = ""
        self._looked = 0
        self._opens = True
        self._limit = first_words
        self._items = 0
        self._held: list[list[str]] = []
        self._holds = False

    def feed(self, text: str) -> list[str]:
        """Take the next piece of the text, and return what can be spoken now."""
        self._text += text
        said: list[str] = []
        while (end := _WORD_END.search(self._text, self._looked)) is not None:
            self._looked = end.end()
            if taken := _settled(self._text[: self._looked], self._sentences_in):
                said += self._take(*taken)
        return said

    def rest(self) -> list[str]:
        """Return what is left to be spoken; the text is complete."""
        said = self.feed("\n")
        if self._text.strip():
            said += self._take(len(self._text), closes=True)
        return said + self._list_ended()

    def _take(self, end: int, closes: bool) -> list[str]:
        chunk = _Chunk(self._text[:end], self._opens, closes)
        self._text = self._text[end:]
        self._looked = max(0, self._looked - end)
        self._opens = closes
        return self._listed(chunk)

    def _listed(self, chunk: _Chunk) -> list[str]:
        """Return the lines of a chunk, unless too many items of its list came before it."""
        if _is_rule(chunk.text):
            return []
        if not chunk.opens:
            lines = self._lines(chunk.text)
            if self._holds:
                self._held[-1] += lines
                return []
            return lines
        if not _is_item(chunk):
            return self._list_ended() + self._lines(chunk.text)
        self._items += 1
        self._holds = self._items > self._most_items
        lines = self._lines(chunk.text)
        if self._holds:
            self._held.append(lines)
            return []
        return lines

    def _list_ended(self) -> list[str]:
        """Return what stands for the items that were not spoken."""
        held = [lines for lines in self._held if lines]
        self._items, self._held, self._holds = 0, [], False
        if len(held) > 1:
            return [replies_in(self._language).more.format(count=len(held))]
        return held[0] if held else []

    def _lines(self, text: str) -> list[str]:
        pieces: list[str] = []
        for sentence in split_sentences(without_marks(text), self._sentences_in):
            words = speakable(sentence).split()
            while words:
                length = clause_length(words, self._limit)
                pieces.append(" ".join(words[:length]))
                words = words[length:]
                self._limit = max(self._limit, GROWTH * length)
        return [
            piece
            for part in pieces
            for piece in bounded(part)
            if spoken_line(piece, self._language)
        ]


def spoken_sentences(text: str, language: str = ENGLISH) -> list[str]:
    """Return all that is to be said of a text, sentence by sentence."""
    stream = SpeechStream(sys.maxsize, sys.maxsize, language)
    return stream.feed(text) + stream.rest()


def speech_segments(text: str) -> list[str]:
    """Cut an answer into pieces to be spoken in order.

    Pieces are whole sentences; the first sentences are cut at clause borders, or else before a
    conjunction or preposition, so that sound starts early and then does not stop, and so is
    whatever is longer than `segments.MAX_CHARACTERS`. Joined with spaces they give the text back,
    without its marks and without what cannot be spoken.
    """
    stream = SpeechStream()
    return stream.feed(text) + stream.rest()


def _is_rule(text: str) -> bool:
    """Whether a text is only the line below a table's header, or one between paragraphs."""
    return "---" in text and not text.strip("-|: \t\n")


def _is_item(chunk: _Chunk) -> bool:
    """Whether a block that begins with a chunk is one of many: an item, a row, a short line."""
    text = chunk.text.strip()
    if _NUMBERED.match(text):
        return False
    if _BULLET.match(text) or _ROW.match(text):
        return True
    return chunk.closes and len(text) <= SHORT_BLOCK and not text.endswith(":")


def _settled(text: str, language: str | None) -> tuple[int, bool] | None:
    """Return how much of a text can be spoken before its last word, and whether a block ends there.

    The text ends behind a word. None: nothing yet.
    """
    last_line = text.rfind("\n", 0, len(text) - 1) + 1
    fence = _open_fence(text)
    if fence is not None:
        return (fence, True) if text[:fence].strip() else None
    start = _last_block(text, last_line)
    if start and text[:start].strip():
        return start, True
    body = text[start:]
    if not _ENDED.search(body):
        return None
    begins = [begin for begin, _ in sentence_spans(body, language)]
    if len(begins) < 2 or _is_open(body[: begins[-1]]):  # noqa: PLR2004
        return None
    return start + begins[-1], False


def _last_block(text: str, last_line: int) -> int:
    """Return where the last block begins that the text shows: 0 for one that began before."""
    line = text[last_line:]
    if not last_line or not line.strip():
        return 0
    before = text[:last_line].rstrip(" \t")
    is_new = before.endswith("\n\n") or bool(re.search(r"\n[ \t]*\n\Z", before))
    is_new = is_new or any(mark.match(line) for mark in _BLOCK_START)
    first_of_buffer = text[: last_line - 1].rpartition("\n")[2]
    is_new = is_new or bool(_HEADING.match(first_of_buffer) or _FENCE.match(first_of_buffer))
    is_new = is_new or (bool(_ROW.match(first_of_buffer)) and not _ROW.match(line))
    return last_line if is_new else 0


def _open_fence(text: str) -> int | None:
    """Return where a code block begins that is still open, or None."""
    begun: tuple[int, str] | None = None
    position = 0
    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line.rstrip("\n"))
        if found and begun is None:
            begun = position, found[1]
        elif found and begun is not None and found[1].startswith(begun[1]):
            begun = None if not found[2].strip() and line.endswith("\n") else begun
        position += len(line)
    return None if begun is None else begun[0]


def _is_open(text: str) -> bool:
    """Whether a link, a tag, a comment or code is open at the end of a text."""
    comment = text.rfind("<!--")
    if comment >= 0 and "-->" not in text[comment:]:
        return True
    return text.count("`") % 2 == 1 or _OPEN.search(text) is not None

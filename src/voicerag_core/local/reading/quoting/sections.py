"""Quotes of what stands below a heading, a question of the documents or a term."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from voicerag_core.local.reading.features import DATE, Candidate
from voicerag_core.local.reading.quoting.at_hand import HEADINGS, LISTED, MOST_IN_PARAGRAPH, AtHand
from voicerag_core.local.reading.quoting.lists import Lists
from voicerag_core.local.reading.quoting.quotes import Part, Quote, part_of, whole_block
from voicerag_core.local.reading.quoting.samples import Samples
from voicerag_core.passages import PassageBlock
from voicerag_core.sentences import sentence_spans

__all__ = ["Sections"]

MOST_FACTS = 4
"""Fields of a term that are quoted with it; more of them are a form."""

_STATES = re.compile(
    r"\b(?:is|are|must|may|can|cannot|never|always|only|no|not|don't|needs?|costs?|opens?|closes?|ends?"
    r"|starts?|begins?)\b|[a-z] \d",
    re.IGNORECASE,
)
"""A heading with such a word says something itself: "Orders close at noon"."""

LEAST_STATED = 3
"""Words that carry meaning in a heading that says something, one of them not in the question."""


class Sections:
    """Makes quotes of sections.

    Args:
        near: The passages.
        lists: Quotes the lists in them.
        samples: Quotes the code in them.
    """

    def __init__(self, near: AtHand, lists: Lists, samples: Samples) -> None:
        self._near = near
        self._lists = lists
        self._samples = samples

    def dated_heading(self, sentence: Candidate) -> Part | None:
        """Return the nearest heading above a sentence that holds a date, if it is at hand."""
        for depth in range(len(sentence.path), 0, -1):
            if not DATE.search(sentence.path[depth - 1]):
                continue
            for passage in (sentence.passage, *range(len(self._near.passages))):
                for block in self._near.blocks[passage]:
                    path = self._path_below(passage, block)
                    if block.kind == "heading" and path == sentence.path[:depth]:
                        return whole_block(passage, block)
        return None

    def heading(self, sentence: Candidate) -> Quote | None:
        """Quote what stands below a heading, or its date when that is asked for."""
        if self._near.asked.date and DATE.search(sentence.text):
            return Quote((part_of(sentence),))
        below = list(self._below(sentence.passage, sentence.block))
        blocks = self._near.blocks[sentence.passage]
        if self._near.asked.many and (titles := self._lists.titles(sentence.passage, below)):
            return Quote(titles)
        path = self._path_below(sentence.passage, blocks[sentence.block])
        if self._near.asked.how_to and (steps := self._lists.steps(sentence.passage, path)):
            return steps
        told = [i for i in below if blocks[i].kind not in (*HEADINGS, "note")]
        quote = self._told(sentence, told) if told else None
        if quote is not None and self._states(sentence) and part_of(sentence) not in quote.parts:
            return Quote((part_of(sentence), *quote.parts))
        return quote

    def _states(self, heading: Candidate) -> bool:
        """Whether a heading says something that the question does not."""
        words = set(heading.words)
        return (
            heading.kind == "heading"
            and len(words) >= LEAST_STATED
            and not words <= self._near.asked.words
            and _STATES.search(heading.text) is not None
        )

    def _told(self, heading: Candidate, told: Sequence[int]) -> Quote | None:
        """Quote what a section begins with; code only where it has nothing else."""
        passage, first = heading.passage, told[0]
        blocks = self._near.blocks[passage]
        if blocks[first].kind == "code":
            text = next((i for i in told if blocks[i].kind == "text"), None)
            if text is None:
                return Quote((part_of(heading), whole_block(passage, blocks[first])))
            first = text
        if blocks[first].kind == "field" and heading.kind == "heading":
            return self._described(heading, told)
        if blocks[first].kind != "text":
            return self._lists.announced(passage, first)
        parts = tuple(self._opening(passage, first))
        follows = first + 1
        if self._near.asked.long and follows in told and blocks[follows].kind in ("lead", *LISTED):
            listed = self._lists.announced(passage, follows)
            parts += listed.parts if listed else ()
        elif self._near.asked.how_to and follows in told and blocks[follows].kind == "code":
            parts += (self._samples.line(passage, blocks[follows]),)
        return Quote(parts)

    def _described(self, term: Candidate, told: Sequence[int]) -> Quote | None:
        """Quote a term with its fields, such as its default, and the paragraph behind them."""
        passage = term.passage
        blocks = self._near.blocks[passage]
        fields = [i for i in told if blocks[i].kind == "field"]
        if len(fields) > MOST_FACTS:
            return self._lists.announced(passage, told[0])
        parts = [part_of(term), *(whole_block(passage, blocks[i]) for i in fields)]
        if (text := next((i for i in told if blocks[i].kind == "text"), None)) is not None:
            parts += self._opening(passage, text)
        return Quote(tuple(parts))

    def _below(self, passage: int, heading: int) -> Iterator[int]:
        """Yield the blocks of a heading's section."""
        blocks = self._near.blocks[passage]
        path = self._path_below(passage, blocks[heading])
        for i in range(heading + 1, len(blocks)):
            if blocks[i].path[: len(path)] != path:
                return
            yield i

    def _path_below(self, passage: int, heading: PassageBlock) -> tuple[str, ...]:
        """Return the headings above what stands below a heading."""
        return (*heading.path, " ".join(self._near.text_of(passage, heading).split()))

    def _opening(self, passage: int, number: int) -> Iterator[Part]:
        """Yield a paragraph, or the sentences that a long one begins with."""
        block = self._near.blocks[passage][number]
        if block.end - block.start <= MOST_IN_PARAGRAPH:
            yield whole_block(passage, block)
            return
        text = self._near.text_of(passage, block)
        for start, end in sentence_spans(text):
            if start and end > MOST_IN_PARAGRAPH:
                return
            yield Part(passage, block.start + start, block.start + end)

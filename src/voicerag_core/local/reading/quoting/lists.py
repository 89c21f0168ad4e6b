"""Quotes of lists and tables: items with what announces them, steps, rows, fields, titles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from voicerag_core.local.reading.features import Candidate
from voicerag_core.local.reading.forms import instructs, names_option
from voicerag_core.local.reading.quoting.at_hand import LISTED, AtHand
from voicerag_core.local.reading.quoting.quotes import Part, Quote, part_of, whole_block
from voicerag_core.local.reading.quoting.samples import Samples
from voicerag_core.passages import PassageBlock

__all__ = ["MOST_ITEMS", "Lists"]

MOST_ITEMS = 14
"""Items, rows or titles of a quote."""

SHORT_ITEM = 25
"""Characters of an item that is quoted with what announces it."""

LEAST_LISTED = 3
"""Titles of a section's parts that are quoted as a list, and items that may be steps."""

MOSTLY = 0.75
"""Share of a list's items that instruct, from which on they are steps."""

_ORDER = re.compile(r"\(?(?:\d{1,3}|[a-z])[.)]\s")


class Lists:
    """Makes quotes of lists and tables.

    Args:
        near: The passages.
        samples: Quotes the code that a lead-in announces.
    """

    def __init__(self, near: AtHand, samples: Samples) -> None:
        self._near = near
        self._samples = samples

    def rows(self, rows: Sequence[int]) -> Quote:
        """Quote rows of tables, as many as there is room for."""
        parts: list[Part] = []
        room = self._near.room
        for row in rows[:MOST_ITEMS]:
            part = part_of(self._near.sentences[row])
            room -= part.end - part.start
            if room < 0 and parts:
                break
            parts.append(part)
        return Quote(tuple(parts))

    def value(self, sentence: Candidate) -> Quote:
        """Quote a row or a field, that with its term when it names a value alone."""
        blocks = self._near.blocks[sentence.passage]
        above = sentence.block - 1
        while above >= 0 and blocks[above].kind == "field":
            above -= 1
        short = sentence.kind == "field" and sentence.end - sentence.start < SHORT_ITEM
        if not short or above < 0 or blocks[above].kind != "heading":
            return Quote((part_of(sentence),))
        return Quote((whole_block(sentence.passage, blocks[above]), part_of(sentence)))

    def announced(self, passage: int, number: int) -> Quote | None:
        """Quote a list from its lead-in or its first item on."""
        if self._near.blocks[passage][number].kind == "lead":
            return self.led_by(passage, number)
        return self.run(passage, number, before=())

    def titles(self, passage: int, below: Sequence[int]) -> tuple[Part, ...]:
        """Return the titles of a section's parts when it has several."""
        blocks = self._near.blocks[passage]
        heads = [i for i in below if blocks[i].kind == "heading"]
        least = min((len(blocks[i].path) for i in heads), default=0)
        own = [i for i in heads if len(blocks[i].path) == least]
        if len(own) < LEAST_LISTED:
            return ()
        return tuple(
            Part(passage, blocks[i].start, blocks[i].end, "item") for i in own[:MOST_ITEMS]
        )

    def led_by(self, passage: int, lead: int) -> Quote | None:
        """Quote a lead-in with what it announces."""
        blocks = self._near.blocks[passage]
        head = (whole_block(passage, blocks[lead], "text"),)
        if lead + 1 < len(blocks) and blocks[lead + 1].kind == "code":
            return Quote((*head, self._samples.line(passage, blocks[lead + 1])))
        return self.run(passage, lead + 1, before=head)

    def run(self, passage: int, first: int, *, before: tuple[Part, ...]) -> Quote | None:
        """Quote the items or rows from a block on, as many as there is room for."""
        parts = list(before)
        room = self._near.room - sum(part.end - part.start for part in before)
        for at, block in self._listed(passage, first):
            room -= block.end - block.start
            if (room < 0 and len(parts) > len(before)) or len(parts) - len(before) >= MOST_ITEMS:
                break
            parts.append(whole_block(at, block))
        return Quote(tuple(parts)) if len(parts) > len(before) else None

    def _listed(self, passage: int, first: int) -> Iterator[tuple[int, PassageBlock]]:
        """Yield the items of a list, those of the passage that goes on with it included."""
        blocks = self._near.blocks[passage]
        kind = blocks[first].kind if first < len(blocks) else "item"
        for i in range(first, len(blocks)):
            if blocks[i].kind != kind or kind not in LISTED:
                return
            yield passage, blocks[i]
        following = self._following(passage)
        if following is None or not self._near.passages[following].metadata.get("lead"):
            return
        for block in self._near.blocks[following]:
            if block.kind not in LISTED:
                return
            yield following, block

    def _following(self, passage: int) -> int | None:
        """Return the passage that comes next in the document, if it is at hand."""
        own = self._near.passages[passage]
        position = own.metadata.get("position")
        if not isinstance(position, int):
            return None
        base = own.source.partition("#")[0]
        for index, other in enumerate(self._near.passages):
            next_one = other.metadata.get("position") == position + 1
            if next_one and other.source.partition("#")[0] == base:
                return index
        return None

    def item(self, sentence: Candidate) -> Quote | None:
        """Quote an item, with its list when several things are asked for."""
        blocks = self._near.blocks[sentence.passage]
        if inner := self._inner(sentence.passage, sentence.block):
            return inner
        first = sentence.block
        while first > 0 and blocks[first - 1].kind == "item":
            first -= 1
        lead = first - 1 if first and blocks[first - 1].kind in ("lead", "text") else None
        same_section = lead is not None and blocks[lead].path == blocks[first].path
        head: tuple[Part, ...] = ()
        if lead is not None and same_section and blocks[lead].kind == "lead":
            head = (whole_block(sentence.passage, blocks[lead], "text"),)
        is_told = (
            bool(head) or self._is_ordered(sentence.passage, first) or self._instructs(sentence)
        )
        if self._near.asked.many or (self._near.asked.how_to and is_told):
            whole = self.run(sentence.passage, first, before=head)
            if whole is not None and any(_covers(part, sentence) for part in whole.parts):
                return whole
        short = sentence.end - sentence.start < SHORT_ITEM or sentence.text[:1].islower()
        outer = self._outer(sentence.passage, sentence.block)
        before = (outer or head) if short else ()
        return Quote((*before, part_of(sentence)))

    def _instructs(self, sentence: Candidate) -> bool:
        """Whether nearly all items of a list are instructions, hence steps; options are not."""
        if names_option(sentence.text):
            return False
        own = [
            instructs(one.text)
            for one in self._near.sentences
            if one.kind == "item" and one.passage == sentence.passage and one.path == sentence.path
        ]
        return len(own) >= LEAST_LISTED and sum(own) >= MOSTLY * len(own)

    def _inner(self, passage: int, number: int) -> Quote | None:
        """Quote an item that announces a list in its list, or None for other items."""
        blocks = self._near.blocks[passage]
        if not self._announces(passage, number):
            return None
        parts = [whole_block(passage, blocks[number])]
        room = self._near.room
        for block in blocks[number + 1 :]:
            room -= block.end - block.start
            if block.kind != "item" or block.level <= blocks[number].level or room < 0:
                break
            parts.append(whole_block(passage, block))
        return Quote(tuple(parts)) if len(parts) > 1 else None

    def _outer(self, passage: int, number: int) -> tuple[Part, ...]:
        """Return the item that announces the list in which an item lies, or nothing."""
        blocks = self._near.blocks[passage]
        for i in range(number - 1, -1, -1):
            if blocks[i].kind != "item":
                return ()
            if blocks[i].level < blocks[number].level:
                return (whole_block(passage, blocks[i]),) if self._announces(passage, i) else ()
        return ()

    def _announces(self, passage: int, number: int) -> bool:
        """Whether an item ends in a colon, or is no sentence and has items of its own."""
        blocks = self._near.blocks[passage]
        block = blocks[number]
        text = self._near.text_of(passage, block).rstrip()
        if text.endswith((":", "：")):
            return True
        inner = blocks[number + 1] if number + 1 < len(blocks) else None
        has_own = inner is not None and inner.kind == "item" and inner.level > block.level
        return has_own and not text.endswith((".", "!", "?", ";", "。"))

    def steps(self, passage: int, path: tuple[str, ...]) -> Quote | None:
        """Quote the numbered steps of a section."""
        blocks = self._near.blocks[passage]
        for i, block in enumerate(blocks):
            if block.kind == "item" and block.path == path and self._is_ordered(passage, i):
                lead = i > 0 and blocks[i - 1].kind == "lead"
                head = (whole_block(passage, blocks[i - 1], "text"),) if lead else ()
                return self.run(passage, i, before=head)
        return None

    def _is_ordered(self, passage: int, item: int) -> bool:
        block = self._near.blocks[passage][item]
        return _ORDER.match(self._near.passages[passage].text, block.start) is not None

    def behind(self, sentence: Candidate) -> Quote | None:
        """Quote a sentence with the list, or the titles of the parts, that follow its block."""
        passage, follows = sentence.passage, sentence.block + 1
        blocks = self._near.blocks[passage]
        if follows >= len(blocks):
            return None
        head = (part_of(sentence),)
        kind = blocks[follows].kind
        if kind == "code":
            return Quote((*head, self._samples.line(passage, blocks[follows])))
        if blocks[follows].path != sentence.path:
            return None
        if kind in LISTED:
            return self.run(passage, follows, before=head)
        parts: tuple[Part, ...] = ()
        if kind == "lead" and (listed := self.led_by(passage, follows)):
            parts = listed.parts
        elif kind == "heading":
            depth = len(sentence.path)
            numbers = range(follows, len(blocks))
            below = [i for i in numbers if blocks[i].path[:depth] == sentence.path]
            parts = self.titles(passage, below)
        return Quote(head + parts) if parts else None


def _covers(part: Part, sentence: Candidate) -> bool:
    return part.passage == sentence.passage and part.start <= sentence.start < part.end

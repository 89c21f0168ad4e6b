"""What is quoted: stretches of passages, with the text that they make."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from voicerag_core.local.reading.features import Candidate
from voicerag_core.passages import PassageBlock
from voicerag_core.types import Citation, Passage

__all__ = ["Part", "Quote", "part_of", "whole_block"]

_PROMPT = re.compile(r"^(?:>>> |\.\.\. ?|\$ |PS> )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a passage that is quoted.

    Args:
        passage: Index of the passage.
        start: First character in the passage's text.
        end: One past the last.
        kind: Of its block.
    """

    passage: int
    start: int
    end: int
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Quote:
    """What answers.

    Args:
        parts: In the order of the text.
    """

    parts: tuple[Part, ...]

    def text(self, passages: Sequence[Passage]) -> str:
        """Return the words: sentences on one line, items, rows and code apart."""
        said = ""
        before = ""
        for part in self.parts:
            words = passages[part.passage].text[part.start : part.end]
            words = _PROMPT.sub("", words) if part.kind == "code" else " ".join(words.split())
            prose = part.kind in ("text", "note") and before in ("text", "note", "heading")
            gap = " " if prose else "\n\n"
            if before == "heading" and not said.endswith((":", ".", "?")):
                gap = ": " if part.kind != "code" else ":\n\n"
            said += (gap if said else "") + words
            before = part.kind
        return said

    def citations(self, passages: Sequence[Passage]) -> tuple[Citation, ...]:
        """Return the places, in the order of the text."""
        return tuple(Citation(passages[p.passage].id, p.start, p.end) for p in self.parts)


def part_of(sentence: Candidate) -> Part:
    """Return the stretch that a sentence is."""
    return Part(sentence.passage, sentence.start, sentence.end, sentence.kind)


def whole_block(passage: int, block: PassageBlock, kind: str = "") -> Part:
    """Return the stretch that a block of a passage is, as another kind if one is given."""
    return Part(passage, block.start, block.end, kind or block.kind)

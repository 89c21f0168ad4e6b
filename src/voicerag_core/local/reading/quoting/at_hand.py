"""The passages that a quote is made of: their blocks and sentences, and how long it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voicerag_core.local.reading.features import Candidate
from voicerag_core.local.reading.questions import Asked
from voicerag_core.passages import PassageBlock, passage_blocks
from voicerag_core.types import Passage

__all__ = ["HEADINGS", "LISTED", "MOST_IN_PARAGRAPH", "AtHand"]

MOST_CHARACTERS = 650
MOST_CHARACTERS_LONG = 1200
"""Of a lead-in with its list; the second when a list or a way to do something is asked for."""

MOST_IN_PARAGRAPH = 300
"""Characters of a paragraph that is quoted whole; of a longer one, sentences."""

HEADINGS = ("heading", "question")
LISTED = ("item", "row", "field")


@dataclass(frozen=True, slots=True)
class AtHand:
    """Passages with their sentences, and what the question asks of them.

    Args:
        passages: Best first.
        sentences: `voicerag_core.local.reading.features.candidates` of them, or of the first ones:
            the others may go on with a list.
        asked: What the question asks for.
        blocks: Of each passage.
        room: Characters of a quote with a list.
    """

    passages: Sequence[Passage]
    sentences: Sequence[Candidate]
    asked: Asked
    blocks: Sequence[Sequence[PassageBlock]]
    room: int

    @classmethod
    def of(
        cls, passages: Sequence[Passage], sentences: Sequence[Candidate], asked: Asked
    ) -> AtHand:
        """Return passages with their blocks."""
        blocks = [passage_blocks(passage) for passage in passages]
        room = MOST_CHARACTERS_LONG if asked.long else MOST_CHARACTERS
        return cls(passages, sentences, asked, blocks, room)

    def text_of(self, passage: int, block: PassageBlock) -> str:
        """Return the text of a block of a passage."""
        return self.passages[passage].text[block.start : block.end]

    def is_last(self, sentence: Candidate) -> bool:
        """Tell whether a sentence is the last of its block."""
        block = self.blocks[sentence.passage][sentence.block]
        return not self.passages[sentence.passage].text[sentence.end : block.end].strip()

    def neighbour(self, chosen: int, step: int) -> Candidate | None:
        """Return the sentence of running text before or behind one, in the same section."""
        at = chosen + step
        if not 0 <= at < len(self.sentences):
            return None
        own, other = self.sentences[chosen], self.sentences[at]
        if other.passage != own.passage or other.path != own.path:
            return None
        if other.kind not in ("text", "lead", "note") or other.text.rstrip().endswith(("?", "？")):
            return None
        return other

"""What a reader finds in passages."""

from __future__ import annotations

from dataclasses import dataclass

from voicerag_core.types import Citation, Passage

__all__ = ["Reading"]


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer found in the passages.

    Args:
        text: What answers, as it stands there; "" when nothing does.
        citations: Its places, in the order of the text.
        score: Probability that the passages answer the question, 0..1.
        answered: False if the passages do not answer.
        closest: The passage closest to an answer, or None if there was no text.
    """

    text: str
    citations: tuple[Citation, ...]
    score: float
    answered: bool
    closest: Passage | None

"""What a writer of answers would search for next."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Protocol, runtime_checkable

from voicerag_core.ports import AnswerWriter
from voicerag_core.sentences import sentence_spans
from voicerag_core.types import Answer, Passage

__all__ = ["AsksInWords", "further_query"]


@runtime_checkable
class AsksInWords(Protocol):
    """An `AnswerWriter` that can say what it still needs to know."""

    def further_query(
        self, question: str, passages: Sequence[Passage], *, only_unsure: bool
    ) -> str | None:
        """Return what to search for next, or None; see `AsksFurther.further_query`."""
        ...


def further_query(
    writer: AnswerWriter, question: str, passages: Sequence[Passage], *, only_unsure: bool
) -> str | None:
    """Return what a writer would search for next.

    One that does not say so itself answers, and the first sentence of its answer is joined to the
    question; where it declines there is none.

    Args:
        writer: Any.
        question: In words.
        passages: What the first search found, best first, at least one.
        only_unsure: Return None where the passages answer the question.

    Raises:
        ModelError: The writer failed.
    """
    if isinstance(writer, AsksInWords):
        return writer.further_query(question, passages, only_unsure=only_unsure)
    with closing(writer.answer(question, passages)) as pieces:
        answer = sum(pieces, Answer())
    if only_unsure or not answer.answered:
        return None
    spans = sentence_spans(answer.text)
    first = answer.text[slice(*spans[0])] if spans else answer.text
    return f"{question} {first}".strip()

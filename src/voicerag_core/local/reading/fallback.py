"""Answers by one writer, and by another one where the first fails."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace

from voicerag_core.errors import ModelError
from voicerag_core.languages import ENGLISH
from voicerag_core.local.reading.further import further_query
from voicerag_core.local.reading.language import language_of
from voicerag_core.local.replies import ENGLISH_REPLIES, Replies, replies_in
from voicerag_core.ports import AnswerWriter, SamplingWriter
from voicerag_core.types import Answer, Passage, Sampling, Turn

__all__ = ["BROKE_OFF", "NO_MODEL", "FallbackWriter"]

NO_MODEL = ENGLISH_REPLIES.no_model
BROKE_OFF = ENGLISH_REPLIES.broke_off

_logger = logging.getLogger(__name__)


class FallbackWriter:
    """Lets one writer answer, and another one where the first fails; the answer says so.

    What the first has already said cannot be taken back, so the other's answer follows it.

    Args:
        first: Usually a `ChatReader`.
        second: Usually a `Reader`.
        language: Code of the questions' language, or "auto".
    """

    def __init__(
        self, first: AnswerWriter, second: AnswerWriter, *, language: str = ENGLISH
    ) -> None:
        self._language = language
        self.follows_instructions = bool(getattr(first, "follows_instructions", False))
        self._first = first
        self._second = second

    def sampled(self, sampling: Sampling) -> FallbackWriter:
        """Return the same writers, the first with another sampling if it takes one."""
        if not isinstance(self._first, SamplingWriter):
            return self
        return FallbackWriter(self._first.sampled(sampling), self._second, language=self._language)

    def answer(
        self,
        question: str,
        passages: Sequence[Passage],
        *,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Generator[Answer, None, None]:
        """Stream the answer; see `AnswerWriter.answer`.

        Raises:
            ModelError: Both writers failed.
        """
        said = False
        pieces = self._first.answer(question, passages, history=history, instructions=instructions)
        with closing(pieces):
            try:
                for piece in pieces:
                    said = said or bool(piece.text.strip())
                    yield piece
            except ModelError as error:
                _logger.warning("the chat model failed, and the reader answers instead: %s", error)
            else:
                return
        replies = replies_in(language_of(question, self._language))
        note = f" {replies.broke_off} " if said else f"{replies.no_model} "
        yield from _noted(note, self._second.answer(question, passages, history=history), replies)

    def further_query(
        self, question: str, passages: Sequence[Passage], *, only_unsure: bool
    ) -> str | None:
        """Return what the first writer would search for next, or the second if that fails.

        Raises:
            ModelError: Both writers failed.
        """
        try:
            return further_query(self._first, question, passages, only_unsure=only_unsure)
        except ModelError as error:
            _logger.warning("the chat model failed, and the reader asks instead: %s", error)
            return further_query(self._second, question, passages, only_unsure=only_unsure)


def _noted(
    note: str, pieces: Generator[Answer, None, None], replies: Replies
) -> Generator[Answer, None, None]:
    """Put a note before the first text, and word an answer that has none."""
    with closing(pieces):
        for piece in pieces:
            words = piece.text if piece.text.strip() else ""
            if not note or (not words and piece.answered):
                yield piece
                continue
            yield replace(piece, text=note + (words or replies.not_answered))
            note = ""
    if note:
        yield Answer(note + replies.not_answered, answered=False)

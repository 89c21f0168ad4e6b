"""Answers by one writer, and by another one where the first fails."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace

from voicerag_core.errors import ModelError
from voicerag_core.local.reading.reader import NOT_ANSWERED
from voicerag_core.ports import AnswerWriter
from voicerag_core.types import Answer, Passage, Turn

__all__ = ["BROKE_OFF", "NO_MODEL", "FallbackWriter"]

NO_MODEL = "The chat model did not answer, so this is quoted from the documents."
BROKE_OFF = "The chat model broke off here. Quoted from the documents:"

_logger = logging.getLogger(__name__)


class FallbackWriter:
    """Lets one writer answer, and another one where the first fails; the answer says so.

    What the first has already said cannot be taken back, so the other's answer follows it.

    Args:
        first: Usually a `ChatReader`.
        second: Usually a `Reader`.
    """

    def __init__(self, first: AnswerWriter, second: AnswerWriter) -> None:
        self._first = first
        self._second = second

    def answer(
        self, question: str, passages: Sequence[Passage], *, history: Sequence[Turn] = ()
    ) -> Generator[Answer, None, None]:
        """Stream the answer; see `AnswerWriter.answer`.

        Raises:
            ModelError: Both writers failed.
        """
        said = False
        pieces = self._first.answer(question, passages, history=history)
        with closing(pieces):
            try:
                for piece in pieces:
                    said = said or bool(piece.text.strip())
                    yield piece
            except ModelError as error:
                _logger.warning("the chat model failed, and the reader answers instead: %s", error)
            else:
                return
        note = f" {BROKE_OFF} " if said else f"{NO_MODEL} "
        yield from _noted(note, self._second.answer(question, passages, history=history))


def _noted(note: str, pieces: Generator[Answer, None, None]) -> Generator[Answer, None, None]:
    """Put a note before the first text, and word an answer that has none."""
    with closing(pieces):
        for piece in pieces:
            words = piece.text if piece.text.strip() else ""
            if not note or (not words and piece.answered):
                yield piece
                continue
            yield replace(piece, text=note + (words or NOT_ANSWERED))
            note = ""
    if note:
        yield Answer(note + NOT_ANSWERED, answered=False)

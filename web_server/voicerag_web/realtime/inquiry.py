"""What a session asks of the work below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from voicerag_core import Audio, Question, Turn
from voicerag_web.realtime.config import OwnConfig
from voicerag_web.realtime.items import Exchange

__all__ = ["Inquiry", "SessionLimits", "Work"]


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The limits of a session.

    Args:
        question_seconds: Longest spoken question.
        question_chars: Longest typed question.
        items: Items that are kept.
    """

    question_seconds: float = 30.0
    question_chars: int = 4000
    items: int = 200


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question for the documents.

    Args:
        question: Spoken or typed.
        history: Earlier turns, oldest first.
        speaks: Answer in speech.
        instructions: The manner of answering.
        most_tokens: Most tokens of the answer; None is the server's.
        options: How passages are searched.
        transcribe: Make a transcript whether the answer needs it or not.
        prepared: Number of a search that began before the question was over.
    """

    question: Question
    history: tuple[Turn, ...]
    speaks: bool
    instructions: str
    most_tokens: int | None
    options: OwnConfig
    transcribe: bool = False
    prepared: int | None = None


class Work(Protocol):
    """What takes time. Its results come back to the session by number."""

    def answer(self, number: int, asked: Inquiry) -> Exchange:
        """Answer a question: `Session.piece` and `Session.ended` follow."""
        ...

    def say(self, number: int, text: str, *, speaks: bool) -> None:
        """Say a text: `Session.piece` and `Session.ended` follow."""
        ...

    def transcribe(self, number: int, audio: Audio) -> None:
        """Transcribe a clip: `Session.transcribed` follows."""
        ...

    def prepare(self, number: int, asked: Inquiry) -> None:
        """Begin to search for a question that may not be over."""
        ...

    def stop(self, number: int) -> None:
        """Give up an answer, a transcript or a search."""
        ...

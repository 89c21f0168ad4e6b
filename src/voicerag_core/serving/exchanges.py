"""One question of a longer conversation, and its answer as far as it was heard."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from threading import Lock

from voicerag_core.serving.asking import Asking
from voicerag_core.serving.jobs import Job
from voicerag_core.serving.values import Query
from voicerag_core.types import Answer, Question, Turn

__all__ = ["Exchange"]


class Exchange:
    """A question and its answer. Thread-safe; answered once.

    Args:
        asking: Answers.
        tenant: Whose documents are asked.
        query: The question and its history.
        speak: Answer in speech as well.
    """

    def __init__(self, asking: Asking, tenant: str, query: Query, *, speak: bool) -> None:
        self._asking, self._tenant, self._query, self._speak = asking, tenant, query, speak
        self._lock = Lock()
        self._question: Question = query.source.audio or query.source.text or ""
        self._answer: Answer | None = None
        self._seconds = 0.0
        self._heard: float | None = None

    def stream(self, job: Job) -> Generator[Answer, None, None]:
        """Answer in pieces; see `Asking.stream`."""
        for piece in self._asking.stream(job, self._tenant, self._query, speak=self._speak):
            with self._lock:
                if self._heard is None:
                    self._answer = (self._answer or Answer()) + replace(piece, audio=None)
                    self._seconds += 0.0 if piece.audio is None else piece.audio.seconds
            yield piece

    @property
    def turn(self) -> Turn | None:
        """Both, the answer as far as it was heard; None before its first piece."""
        with self._lock:
            if self._answer is None:
                return None
            answer = self._answer
            if self._heard is not None:
                share = min(1.0, self._heard / self._seconds) if self._seconds else 0.0
                words = answer.text.split()
                answer = replace(answer, text=" ".join(words[: int(share * len(words))]))
            asked = answer.transcript or self._question
            return Turn(asked, answer)

    def truncate(self, seconds: float) -> Turn | None:
        """Keep of the answer only what was heard: its first seconds of speech."""
        with self._lock:
            self._heard = seconds if self._heard is None else min(seconds, self._heard)
        return self.turn

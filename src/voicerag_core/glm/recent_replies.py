"""What is known of the latest replies, found again by a turn of a history."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

from voicerag_core.types import Question, Turn

__all__ = ["RecentReplies"]

REMEMBERED_TURNS = 32

_T = TypeVar("_T")


class RecentReplies(Generic[_T]):
    """Keeps a value for each of the latest replies, by their question and text. Thread-safe.

    A history may hold less of a reply than was written: then the reply is found by its beginning.

    Args:
        models: Whose replies they are; 32 are kept for each.
    """

    def __init__(self, models: int = 1) -> None:
        self._most = models * REMEMBERED_TURNS
        self._replies: OrderedDict[tuple[Question, str], _T] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, question: Question, text: str, value: _T) -> None:
        """Keep a value for a reply, complete or not.

        Args:
            question: As it was asked.
            text: The text of the reply so far.
            value: What is kept.
        """
        with self._lock:
            self._replies[question, text] = value
            self._replies.move_to_end((question, text))
            while len(self._replies) > self._most:
                self._replies.popitem(last=False)

    def find(self, turn: Turn) -> _T | None:
        """Return the value of a turn, or else of the newest reply that begins with its text."""
        with self._lock:
            exact = self._replies.get((turn.question, turn.answer.text))
            if exact is not None:
                return exact
            for (question, text), value in reversed(self._replies.items()):
                if text.startswith(turn.answer.text) and question == turn.question:
                    return value
        return None

"""One reply at a time on a device, in the order in which they were asked for."""

from __future__ import annotations

import threading
from collections import deque

from voicerag_core.cancellation import check_cancelled
from voicerag_core.closing import Closing
from voicerag_core.errors import GenerationError

__all__ = ["Turns"]

POLL_SECONDS = 0.05
"""How often one who waits looks whether its call was called off."""


class Turns:
    """A first-come-first-served lock that knows which thread last worked with it.

    A reply is a generator: it may be begun in one thread and go on in another, and its lock with
    it. What cannot work is one thread that begins a second reply while its first is unfinished:
    it would wait for itself, and gets an error instead.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._holder: Turn | None = None
        self._thread = 0

    def take(self) -> Turn:
        """Wait for a turn.

        Raises:
            CancelledError: The call was called off while it waited.
            GenerationError: This thread holds an unfinished reply.
        """
        turn = Turn(self)
        me = threading.get_ident()
        with self._changed:
            self._waiting.append(turn)
            try:
                while self._holder is not None or self._waiting[0] is not turn:
                    if self._holder is not None and self._thread == me:
                        raise GenerationError(
                            "this thread has an answer that is neither finished nor closed, and "
                            "the device serves one at a time; close it before asking again"
                        )
                    check_cancelled()
                    self._changed.wait(POLL_SECONDS)
            except BaseException:
                self._waiting.remove(turn)
                self._changed.notify_all()
                raise
            self._waiting.popleft()
            self._holder, self._thread = turn, me
        return turn

    def _touch(self, turn: Turn) -> None:
        if self._holder is turn:
            self._thread = threading.get_ident()

    def _give_back(self, turn: Turn) -> None:
        with self._changed:
            if self._holder is turn:
                self._holder = None
                self._changed.notify_all()


class Turn(Closing):
    """The right to use the device, until it is given back."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def touch(self) -> None:
        """Note that the running thread works with it now."""
        self._turns._touch(self)

    def close(self) -> None:
        """Give it back; once is enough."""
        self._turns._give_back(self)

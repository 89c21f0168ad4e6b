"""One reply at a time on a device, in the order in which they were asked for."""

from __future__ import annotations

import threading
from collections import deque

from voicerag_core.cancellation import check_cancelled
from voicerag_core.closing import Closing
from voicerag_core.errors import GenerationError

__all__ = ["FairLock"]

POLL_SECONDS = 0.05
"""How often a waiting thread checks whether its call was cancelled."""


class FairLock:
    """A first-come-first-served lock that knows which thread last worked with it.

    A reply is a generator: it may start in one thread and continue in another, and so does its
    hold on the lock. A thread that starts a second reply while its first is unfinished would wait
    for itself, and gets an error instead.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._holder: Ticket | None = None
        self._thread = 0

    def acquire(self) -> Ticket:
        """Wait until it is this caller's turn, and return the ticket that holds the lock.

        Raises:
            CancelledError: The call was cancelled while it waited.
            GenerationError: This thread holds an unfinished reply.
        """
        ticket = Ticket(self)
        me = threading.get_ident()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._holder is not None or self._waiting[0] is not ticket:
                    if self._holder is not None and self._thread == me:
                        raise GenerationError(
                            "this thread has an answer that is neither finished nor closed, and "
                            "the device serves one at a time; close it before asking again"
                        )
                    check_cancelled()
                    self._changed.wait(POLL_SECONDS)
            except BaseException:
                self._waiting.remove(ticket)
                self._changed.notify_all()
                raise
            self._waiting.popleft()
            self._holder, self._thread = ticket, me
        return ticket

    def _touch(self, ticket: Ticket) -> None:
        if self._holder is ticket:
            self._thread = threading.get_ident()

    def _release(self, ticket: Ticket) -> None:
        with self._changed:
            if self._holder is ticket:
                self._holder = None
                self._changed.notify_all()


class Ticket(Closing):
    """Holds the lock until it is released."""

    def __init__(self, lock: FairLock) -> None:
        self._lock = lock

    def touch(self) -> None:
        """Note that the running thread works with it now."""
        self._lock._touch(self)

    def close(self) -> None:
        """Release the lock; once is enough."""
        self._lock._release(self)

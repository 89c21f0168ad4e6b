"""Cancel work that runs in another thread, so that no further stage of it starts.

The core is synchronous. To make it cancellable, run it in a thread inside `Cancellation.active`;
the pipeline checks for cancellation between its stages, and interrupts what can be interrupted,
such as a statement on the database server.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from voicerag_core.errors import CancelledError

__all__ = ["Cancellation", "check_cancelled", "interruptible"]

_current: ContextVar[Cancellation | None] = ContextVar("voicerag_cancellation", default=None)

_logger = logging.getLogger(__name__)


class Cancellation:
    """Lets a call be cancelled from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._interrupts: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled.is_set()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the pipeline check this cancellation inside the block."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def cancel(self) -> None:
        """Cancel the call; returns at once, and interrupts running work from a separate thread."""
        if self.cancelled:
            return
        self._cancelled.set()
        with self._lock:
            running = bool(self._interrupts)
        if running:
            threading.Thread(target=self._interrupt, name="voicerag-cancel", daemon=True).start()

    def _interrupt(self) -> None:
        with self._lock:
            for interrupt in self._interrupts:
                try:
                    interrupt()
                except Exception as error:  # noqa: BLE001 - the work ends by itself
                    _logger.debug("an interrupt failed: %s", error)


def check_cancelled() -> None:
    """Return unless the running call was cancelled.

    Raises:
        CancelledError: It was.
    """
    current = _current.get()
    if current is not None and current.cancelled:
        raise CancelledError("the call was cancelled; no further stage of it runs")


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """Let `interrupt` end the block from another thread; it is never called after the block.

    Raises:
        CancelledError: The running call was already cancelled.
    """
    current = _current.get()
    if current is None:
        yield
        return
    with current._lock:
        check_cancelled()
        current._interrupts.append(interrupt)
    try:
        yield
    finally:
        with current._lock:
            current._interrupts.remove(interrupt)

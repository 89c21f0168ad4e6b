"""Calling off work that runs in another thread, so that no new stage of it starts.

The core is synchronous. Whoever runs it in a thread and stops waiting enters a `Cancellation`
there; the pipeline asks between its stages whether it was called off, and what can be
interrupted, such as a statement on the database server, is.
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
    """A call that may be called off from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._interrupts: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether it was called off."""
        return self._cancelled.is_set()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let the pipeline listen to this one inside the block."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def cancel(self) -> None:
        """Call it off; returns at once, and interrupts what runs from a thread of its own."""
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
    """Go on, unless the running call was called off.

    Raises:
        CancelledError: It was.
    """
    current = _current.get()
    if current is not None and current.cancelled:
        raise CancelledError("the call was cancelled; no further stage of it runs")


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """Run a block that `interrupt` can end from another thread; never called after the block.

    Raises:
        CancelledError: The running call was called off already.
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

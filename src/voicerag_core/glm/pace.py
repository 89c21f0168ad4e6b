"""How a reply is handed from the language model to the thread that makes its sound."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Pace"]


class Pace:
    """How many ids a reader waits for, what wakes it before, and how far the model has come.

    Every wake-up of a reader takes Python's lock from the thread that runs the model, and with 64
    readers there would be 64 at each of its steps. So a reader is told when it has something to do.

    Args:
        wanted: Asked before each waiting: how many more ids are waited for, at least 1.
        in_text: Asked before each waiting: whether the first speech token ends it.
    """

    def __init__(
        self, wanted: Callable[[], int] = lambda: 1, *, in_text: Callable[[], bool] = lambda: False
    ) -> None:
        self.wanted, self.in_text = wanted, in_text
        self.ring: Callable[[], None] | None = None
        """Set by the model: ends the waiting."""
        self.progress: Callable[[], tuple[int, float]] | None = None
        """Set by the model: ids that were written and not handed over, and when the last one came,
        by `Turns.free`."""

    def wake(self) -> None:
        """Let the reader have at once what has come, be it nothing; from any thread."""
        if self.ring is not None:
            self.ring()

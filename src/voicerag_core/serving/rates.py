"""How often a caller may call: a token bucket for each."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

__all__ = ["CallRate"]

MOST_CALLERS: Final = 10_000
"""Buckets that are kept; the one that was used longest ago makes room."""


class CallRate:
    """Limits the calls of each caller. For one thread.

    Args:
        calls_per_minute: Calls that a caller may make in a minute, and at once.
        clock: Returns seconds.
    """

    def __init__(
        self, calls_per_minute: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = float(calls_per_minute)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Take one call from a caller's bucket; return the seconds to wait if it is empty."""
        now = self._clock()
        left, when = self._left.pop(caller, (self._most, now))
        left = min(self._most, left + (now - when) * self._most / 60)
        wait = 0.0 if left >= 1 else (1 - left) * 60 / self._most
        self._left[caller] = (left - 1 if left >= 1 else left, now)
        while len(self._left) > MOST_CALLERS:
            self._left.popitem(last=False)
        return wait

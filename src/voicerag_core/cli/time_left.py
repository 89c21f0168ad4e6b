"""The time that is left of a long task, from its measured rate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

__all__ = ["TimeLeft", "duration"]

SMOOTHING_SECONDS = 60.0
"""Work done longer ago than this counts little for the rate."""

LEAST_SECONDS = 3.0
"""Nothing is said before the rate was measured for so long."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


class TimeLeft:
    """Estimates the time left of a task from the rate of its recent work.

    The rate is work over time, both weighted by exp(-age / `SMOOTHING_SECONDS`), so that one slow
    or quick piece changes it little. While a piece takes longer than the one before, the estimate
    grows instead of running out.

    Args:
        clock: Seconds.
        rate: Work per second as measured before, if it was.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, rate: float = 0.0) -> None:
        self._clock = clock
        self._work = rate * LEAST_SECONDS
        self._time = LEAST_SECONDS if rate else 0.0
        self._done = self._total = 0.0
        self._last: float | None = None
        self._step = 0.0

    def begin(self) -> None:
        """Start the clock; the time until then, such as that of loading a model, is no work."""
        self._last = self._clock()

    def update(self, done: float, total: float) -> None:
        """Note how much is done, and of how much.

        Args:
            done: Work done since the beginning, in any unit.
            total: All work in that unit; it may change.
        """
        self._total = total
        now = self._clock()
        if self._last is None:
            self._last = now
        if done <= self._done:
            return
        self._step = now - self._last
        fade = math.exp(-self._step / SMOOTHING_SECONDS)
        self._work = self._work * fade + (done - self._done)
        self._time = self._time * fade + self._step
        self._done, self._last = done, now

    def seconds(self) -> float | None:
        """Return the seconds left; None when too little was measured."""
        if self._last is None or self._time < LEAST_SECONDS or not self._work:
            return None
        left = max(0.0, self._total - self._done)
        since = self._clock() - self._last
        if since > self._step:  # this piece is slower than the last: count its time so far
            late = since - self._step
            return left * (self._time + late) / self._work - min(since, self._step)
        return max(0.0, left * self._time / self._work - since)


def duration(seconds: float) -> str:
    """Return a time in words, as exact as an estimate may be: "about 3 h 20 min"."""
    if seconds < _MINUTE:
        return "less than a minute"
    if seconds < 90 * _MINUTE:
        return f"about {math.ceil(seconds / _MINUTE)} min"
    if seconds < 2 * _DAY:
        hours, minutes = divmod(round(seconds / (10 * _MINUTE)) * 10, _MINUTE)
        return f"about {hours} h {minutes} min" if minutes else f"about {hours} h"
    return f"about {round(seconds / _DAY)} days"

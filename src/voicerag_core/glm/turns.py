"""Whose turn it is on a device that the language model shares with the networks of speech."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["Turns", "turns_on"]

NEWEST_WEIGHT = 0.2
"""Of the latest step in the running mean of what steps take."""


class Turns:
    """Lets sound that is wanted at once go before the steps of the language model.

    The networks of speech are thousands of small kernels in a row. Beside the large kernels of a
    language model each of them waits, whatever the priorities of their streams: on an H200 the
    first blocks of 16 replies take 54 ms alone, 161 ms beside steps of 16 replies and 447 ms
    beside prompts that are being read, and the language model loses about the time that it would
    have lost by waiting (benchmarks/results/glm_many_callers.md). So it waits.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = 0
        self._since = 0.0  # when the turn was taken
        self._held = 0.0  # seconds for which it was taken before
        self.reading = False
        """Whether prompts are being read, whose first sounds are not made yet."""
        self.reading_steps = 0
        """Steps that the prompts which have come need to be read."""
        self._seconds: dict[bool, float] = {}

    @property
    def taken(self) -> bool:
        """Whether sound is being made that is wanted at once."""
        return self._taken > 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Keep the language model from starting steps in the block."""
        with self._changed:
            self._taken += 1
            if self._taken == 1:
                self._since = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                self._taken -= 1
                if not self._taken:
                    self._held += time.monotonic() - self._since
                self._changed.notify_all()

    def free(self) -> float:
        """Return a time in seconds that stands still while the turn is taken.

        The language model writes nothing then, so whoever waits for ids waits by this clock.
        """
        with self._changed:
            now = time.monotonic()
            return now - self._held - (now - self._since if self._taken else 0.0)

    def stepped(self, seconds: float, *, reading: bool) -> None:
        """Note how long a step of the language model took.

        Args:
            seconds: On the device.
            reading: Whether it also read prompts.
        """
        known = self._seconds.get(reading, seconds)
        self._seconds[reading] = known + NEWEST_WEIGHT * (seconds - known)

    def seconds_for(self, ids: int) -> float | None:
        """Return the seconds in which every reply gets so many ids; None if no step was seen.

        Prompts that have not come yet, and turns that will be taken, are not counted.
        """
        known = self._seconds
        if not known:
            return None
        slow = min(ids, self.reading_steps)
        usual = next(iter(known.values()))
        return slow * known.get(True, usual) + (ids - slow) * known.get(False, usual)

    def wait(self, seconds: float) -> None:
        """Wait until nobody takes the turn, so many seconds at most."""
        until = time.monotonic() + seconds
        with self._changed:
            while self._taken and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)


_lock = threading.Lock()
_turns: dict[tuple[str, int | None], Turns] = {}


def turns_on(device: torch.device) -> Turns:
    """Return the turns of a device, which all networks of this process on it share."""
    index: int | None = device.index
    if device.type == "cuda" and index is None:
        index = torch.cuda.current_device()
    with _lock:
        return _turns.setdefault((device.type, index), Turns())

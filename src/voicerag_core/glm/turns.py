"""Whose turn it is on a device that the language model shares with the networks of speech."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

__all__ = ["Playing", "Turns", "alive", "turns_on", "work_done"]

T = TypeVar("T")

NEWEST_WEIGHT = 0.2
"""Of the latest step in the running mean of what steps take."""
MANY_TOKENS = 256
"""Steps that read fewer tokens of prompts do not tell what a token takes."""


class Playing(Protocol):
    """Replies that are heard while they are made."""

    def spare(self, step: float) -> float:
        """Return for how many seconds the language model may do something else.

        Args:
            step: Seconds in which every reply gets an id.

        Returns:
            Below 0 when one of them stops anyway; inf when none is heard.
        """
        ...


class Turns:
    """Lets sound that is wanted at once go before the steps of the language model.

    The networks of speech are thousands of small kernels in a row. Beside the large kernels of a
    language model each of them waits, whatever the priorities of their streams: on an H200 the
    first blocks of 16 replies take 54 ms alone, 161 ms beside steps of 16 replies and 447 ms
    beside prompts that are being read, and the language model loses about the time that it would
    have lost by waiting. So it waits.
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
        self.asking = 0
        """Questions whose clips are being encoded, or wait for that."""
        self._seconds: dict[bool, float] = {}
        self._each: float | None = None  # seconds that a token of a prompt adds to a step
        self._playing: weakref.WeakSet[Playing] = weakref.WeakSet()
        self.done = 0
        """Steps of networks that have ended; what two threads add at once may count once."""

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
            self.worked()

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Note that a question is coming whose clip is encoded in the block."""
        with self._changed:
            self.asking += 1
        try:
            yield
        finally:
            with self._changed:
                self.asking -= 1

    def free(self) -> float:
        """Return a time in seconds that stands still while the turn is taken.

        The language model writes nothing then, so whoever waits for ids waits by this clock.
        """
        with self._changed:
            now = time.monotonic()
            return now - self._held - (now - self._since if self._taken else 0.0)

    def stepped(self, seconds: float, *, reading: bool, tokens: int = 0) -> None:
        """Note how long a step of the language model took.

        Args:
            seconds: On the device.
            reading: Whether it also read prompts.
            tokens: How many of their tokens.
        """
        self.worked()
        known = self._seconds.get(reading, seconds)
        self._seconds[reading] = known + NEWEST_WEIGHT * (seconds - known)
        if tokens >= MANY_TOKENS and False in self._seconds:
            each = max(0.0, seconds - self._seconds[False]) / tokens
            known = each if self._each is None else self._each
            self._each = known + NEWEST_WEIGHT * (each - known)

    def worked(self) -> None:
        """Note that a network got on."""
        self.done += 1

    def heard(self, playing: Playing) -> None:
        """Note who knows of replies that are heard; forgotten with it."""
        self._playing.add(playing)

    def readable(self) -> float:
        """Return how many tokens of prompts a step may read so that no reply that is heard stops.

        inf when none is heard, or not enough steps were seen.
        """
        return max(0.0, self.spare() / self._each) if self._each else math.inf

    def reads(self, tokens: int) -> float:
        """Return the seconds in which so many tokens of prompts are read; 0 when none was read."""
        return tokens * (self._each or 0.0)

    def spare(self) -> float:
        """Return for how many seconds nothing needs to be done for replies that are heard.

        Below 0 when one of them stops anyway; inf when none is heard, or no step was seen.
        """
        step = self._seconds.get(False)
        if step is None:
            return math.inf
        return min((one.spare(step) for one in alive(self._playing)), default=math.inf)

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


def alive(known: weakref.WeakSet[T]) -> tuple[T, ...]:
    """Return what is in a set that other threads change meanwhile."""
    while True:
        try:
            return tuple(known)
        except RuntimeError:  # it changed its size
            continue


_lock = threading.Lock()
_turns: dict[tuple[str, int | None], Turns] = {}


def turns_on(device: torch.device) -> Turns:
    """Return the turns of a device, which all networks of this process on it share."""
    index: int | None = device.index
    if device.type == "cuda" and index is None:
        index = torch.cuda.current_device()
    with _lock:
        return _turns.setdefault((device.type, index), Turns())


def work_done() -> int:
    """Return how many steps of networks have ended on the devices of this process."""
    with _lock:
        return sum(one.done for one in _turns.values())

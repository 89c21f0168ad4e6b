"""When the first sound of a reply may be played, so that the next comes before it ends."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from voicerag_core.glm.decoder.schedule import Schedule

__all__ = ["INTERRUPTED", "Playout"]

BLOCKS_AHEAD = 2
"""Blocks that are expected to come in time before the first sound is played: the first is short,
and the third takes three times the ids of the second."""
MOST_HELD = 0.8
"""Seconds for which the first sound is held back at most; a model slower than speech stops later
anyway."""
RECENT = 16
"""Ids whose pace counts."""
DECODING_AGAIN = 2.0
"""The next blocks may take this many times the first one's time to be decoded."""
INTERRUPTED = 1.25
"""Ids may take this many times as long as the language model's steps: it also waits for sound, and
for the clips of others."""


class Playout:
    """Says whether the first sound can be played, from the pace of the ids and of the decoding.

    Args:
        schedule: How the reply is cut.
        token_rate: Speech tokens per second.
        ids_until: See `SpeechTokenDecoder.open_stream`.
        seconds_for: Returns the seconds in which so many more ids are expected; None, which may
            also be returned: the pace of the latest ids tells.
        clock: Seconds.
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        token_rate: float,
        ids_until: Callable[[int], int],
        seconds_for: Callable[[int], float | None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._schedule, self._rate = schedule, token_rate
        self._ids_until, self._seconds_for, self._clock = ids_until, seconds_for, clock
        self._times: deque[float] = deque(maxlen=RECENT)
        self.decoding = 0.0
        """Seconds of the block that took longest to be decoded."""
        self._since: float | None = None
        self.started = False
        """Whether the first sound was played."""

    def ids_came(self, count: int = 1) -> None:
        """Note that the model wrote ids."""
        self._times.extend([self._clock()] * min(count, RECENT))

    def decoded(self, seconds: float) -> None:
        """Note how long a block was decoded."""
        self.decoding = max(self.decoding, seconds)

    def ready(self, held: float, *, blocks: int, missing: int) -> bool:
        """Return whether sound that is held may be played; once it may, all that follows may.

        Args:
            held: Seconds of sound.
            blocks: How many were decoded for it.
            missing: Speech tokens until the next block is complete; 0 while that is decoded.
        """
        now = self._clock()
        if self._since is None:
            self._since = now
        late = now - self._since >= MOST_HELD
        self.started = self.started or late or self._safe(held, blocks, missing)
        return self.started

    def _safe(self, held: float, blocks: int, missing: int) -> bool:
        for number in range(blocks, blocks + BLOCKS_AHEAD):
            ids = self._seconds_until(self._ids_until(missing))
            if ids + DECODING_AGAIN * self.decoding > held:
                return False
            held += self._schedule.block(number) / self._rate
            missing += self._schedule.block(number + 1)
        return True

    def _seconds_until(self, ids: int) -> float:
        """Return the seconds in which so many more ids are expected."""
        steps = self._seconds_for(ids)
        if steps is not None:
            return INTERRUPTED * steps
        span = self._times[-1] - self._times[0] if self._times else 0.0
        return ids * span / max(1, len(self._times) - 1)

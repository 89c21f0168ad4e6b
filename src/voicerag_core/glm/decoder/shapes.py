"""The lengths and batch sizes that the decoder prepares, so that it meets no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from voicerag_core.glm.decoder.hift import PITCH_REACH
from voicerag_core.glm.decoder.schedule import Schedule

__all__ = [
    "BATCHES",
    "FLOW_FRAMES",
    "VOCODER_FRAMES",
    "Shapes",
    "batch_size",
    "batches",
    "largest_batch",
]

BATCHES = (1, 2, 4, 8, 16, 32)
"""Rows of a batch; one that is not full repeats a row."""
ALIGNED = 8
"""Lengths are multiples of this, as the GPU's attention and matrix kernels prefer."""
GAP = 176
"""Most frames between two prepared lengths: 2 s."""
FLOW_FRAMES = 8320
"""Most frames of a batch in the flow: 8 windows of 12 s, which keep an H200 busy for a fifth of a
second."""
VOCODER_FRAMES = 4096
"""Most frames of a batch in the vocoder, which takes 0.3 MB each."""
FULL = 0.75
"""A batch is padded to the next size when at least this part of it is used."""
FEW_FRAMES = 2400
"""Batches of up to so many frames take little longer than the smallest on an H200, so two of them
take longer than one that is half empty."""
WINDOW_PERIOD = 64
"""Blocks after which the rounding of tokens to frames repeats: 64 tokens are 441 frames."""


def batch_size(waiting: int, largest: int, frames: int = FEW_FRAMES) -> int:
    """Return the rows of the batch to make for so many blocks; it may be fewer, or more.

    Args:
        waiting: Blocks.
        largest: Most rows.
        frames: Of a row.
    """
    below = max(size for size in BATCHES if size <= min(waiting, largest))
    above = next((size for size in BATCHES if size > below and size <= largest), below)
    few = waiting > below and above * frames <= FEW_FRAMES
    return above if few or waiting >= FULL * above else below


def largest_batch(frames: int, most: int) -> int:
    """Return the most rows of a batch of rows of so many frames."""
    return max(size for size in BATCHES if size == 1 or size * frames <= most)


def batches(lengths: Iterable[int], most: int) -> list[tuple[int, int]]:
    """Return the rows and frames of all batches of these lengths."""
    return [
        (rows, length)
        for length in lengths
        for rows in BATCHES
        if rows <= largest_batch(length, most)
    ]


@dataclass(frozen=True, slots=True)
class Shapes:
    """Prepared lengths, in mel frames.

    Args:
        windows: Tokens and frames of the windows of an endless reply.
        flow: Lengths to which other windows are padded, ascending.
        vocoder: Lengths of the vocoder's mel, ascending.
    """

    windows: frozenset[tuple[int, int]]
    flow: tuple[int, ...]
    vocoder: tuple[int, ...]

    @classmethod
    def of(
        cls,
        schedule: Schedule,
        frames: Callable[[int], int],
        *,
        block: int,
        overlap: int,
        reach: int,
    ) -> Shapes:
        """Find the lengths that the replies of a schedule can have.

        Args:
            schedule: How replies are cut.
            frames: Gives the mel frames of a reply of so many tokens.
            block: Tokens of the encoder's block.
            overlap: Frames that two blocks share.
            reach: Frames on each side that the vocoder needs.
        """
        enough = len(schedule.block_tokens) + WINDOW_PERIOD
        windows = set()
        pushed: set[int] = set()
        longest = spoken = 0
        for first, stop in schedule.windows(block, enough):
            windows.add((stop - first, frames(stop) - frames(first)))
            start = max(0, spoken - reach - PITCH_REACH)
            pushed.add(frames(stop) - overlap - start)
            longest = max(longest, frames(stop) - start)  # when the reply ends with it
            spoken = max(spoken, frames(stop) - overlap - PITCH_REACH - reach)
        return cls(
            frozenset(windows),
            spread(length for _, length in windows),
            spread(pushed | {longest}),
        )

    def flow_length(self, frames: int) -> int:
        """Return the length to which a window is padded."""
        return _fitting(frames, self.flow)

    def vocoder_length(self, frames: int) -> int:
        """Return the length to which the vocoder's mel is padded."""
        return _fitting(frames, self.vocoder)


def spread(lengths: Iterable[int]) -> tuple[int, ...]:
    """Round lengths up, and put others between them where they are far apart."""
    found: list[int] = []
    below = 0
    for length in sorted({_aligned(one) for one in lengths}):
        parts = -(-(length - below) // GAP) if found else 1
        found += [_aligned(below + (length - below) * part // parts) for part in range(1, parts)]
        found.append(length)
        below = length
    return tuple(found)


def _fitting(frames: int, lengths: tuple[int, ...]) -> int:
    return next((one for one in lengths if one >= frames), -(-frames // GAP) * GAP)


def _aligned(frames: int) -> int:
    return -(-frames // ALIGNED) * ALIGNED

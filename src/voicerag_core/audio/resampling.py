"""Conversion between sample rates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import AudioError
from voicerag_core.types import Audio

__all__ = ["BlockResampler", "LiveResampler", "resample"]

QUALITY = "HQ"


def resample(audio: Audio, sample_rate: int) -> Audio:
    """Convert to another rate with soxr's high-quality filter."""
    if sample_rate <= 0:
        raise AudioError(f"a sample rate is above 0 Hz, not {sample_rate}")
    if audio.sample_rate == sample_rate:
        return audio
    import soxr

    converted = soxr.resample(audio.samples, audio.sample_rate, sample_rate, quality=QUALITY)
    return Audio(np.ascontiguousarray(converted, dtype=np.float32), sample_rate)


class BlockResampler:
    """Converts mono sound block by block, so that only the converted sound is kept.

    Args:
        rate: Of what is given, in Hz.
        sample_rate: Of what is wanted, in Hz.
    """

    def __init__(self, rate: int, sample_rate: int) -> None:
        self._kept: list[NDArray[np.float32]] = []
        self._stream = None
        if rate != sample_rate:
            import soxr

            self._stream = soxr.ResampleStream(
                rate, sample_rate, 1, dtype="float32", quality=QUALITY
            )

    def add(self, block: NDArray[np.float32]) -> None:
        """Take the next samples, shape [N]."""
        self._kept.append(block if self._stream is None else self._stream.resample_chunk(block))

    def samples(self) -> NDArray[np.float32]:
        """Return everything converted, shape [T]; nothing can be added after it."""
        if self._stream is not None:
            self._kept.append(self._stream.resample_chunk(np.zeros(0, np.float32), last=True))
        kept, self._kept = self._kept, []
        return np.concatenate(kept) if kept else np.zeros(0, np.float32)


class LiveResampler:
    """Converts mono sound as it comes; what is given out adds up to the whole, without joints.

    Args:
        rate: Of what is given, in Hz.
        sample_rate: Of what is wanted, in Hz.
    """

    def __init__(self, rate: int, sample_rate: int) -> None:
        self._stream = None
        if rate != sample_rate:
            import soxr

            self._stream = soxr.ResampleStream(
                rate, sample_rate, 1, dtype="float32", quality=QUALITY
            )

    def push(self, block: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        """Take the next samples, shape [N]; return those that are converted by now.

        Args:
            block: At the rate that is given.
            last: Whether no more follow.
        """
        if self._stream is None:
            return block
        converted: NDArray[np.float32] = self._stream.resample_chunk(block, last=last)
        return converted

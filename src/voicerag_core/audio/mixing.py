"""Decoded blocks of several channels to one channel at the wanted rate, within limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicerag_core.audio.checks import (
    check_form,
    check_length,
    check_levels,
    check_measures,
)
from voicerag_core.audio.resampling import BlockResampler
from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import AudioError
from voicerag_core.types import Audio

__all__ = ["BLOCK_VALUES", "Decoded", "Decoder", "check_amount", "read_mono"]

BLOCK_VALUES = 1 << 18
"""Samples of all channels in one block: 1 MiB of float32."""

MAX_VALUES_PER_SECOND = 16 * 48_000
"""Most samples of all channels that are decoded per second of the limit: 16 channels at 48 kHz, 4
at 192 kHz. Sound that has more a second may last less, in proportion."""

CANCELLED_SHARE = 0.25
"""The mean of channels that have nothing in common has the sum of their powers over the square of
their number. With less than this share of it, 6 dB below, the channels cancel each other."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Sound on its way out of a decoder.

    Args:
        sample_rate: In Hz, as the file says.
        channels: As the file says.
        blocks: Float32 arrays of shape [N, channels], in order. They end with the sound, or with
            an `AudioError` when the file is damaged.
    """

    sample_rate: int
    channels: int
    blocks: Iterator[NDArray[np.float32]]


Decoder = Callable[[], AbstractContextManager[Decoded]]
"""Begins to decode a file from its start; may be called again."""


def read_mono(decoder: Decoder, name: str, max_seconds: float, sample_rate: int) -> Audio:
    """Decode a file to one checked channel.

    Channels are averaged. Where the mean is next to nothing because channels are in opposite
    phase, the loudest channel is taken instead. Sound beyond full scale is scaled down to it.

    Raises:
        AudioError: Empty, not finite, silent, too short, too long, or damaged.
    """
    with decoder() as sound:
        check_form(sound.sample_rate, sound.channels, name)
        mean = _Mixture(sound, sample_rate)
        mean.read(name, max_seconds)
    if (loudest := mean.channel_instead()) is None:
        return mean.audio(name, max_seconds)
    with decoder() as sound:
        single = _Mixture(sound, sample_rate, channel=loudest)
        single.read(name, max_seconds)
    return single.audio(name, max_seconds)


def check_amount(frames: int, channels: int, rate: int, max_seconds: float, name: str) -> None:
    """Refuse more samples than sound of `max_seconds` has; a false rate makes a file seem short."""
    if frames * channels > MAX_VALUES_PER_SECOND * max_seconds:
        raise AudioError(
            f"{name} holds too much sound: {channels} channels at {rate} Hz for "
            f"{frames / rate:.1f} s; give it as one channel at 16000 Hz"
        )


class _Mixture:
    """One channel made of a decoded file, and what is known of the levels.

    Args:
        sound: The file.
        sample_rate: Hz to convert to.
        channel: The channel to take; None takes the mean of all.
    """

    def __init__(self, sound: Decoded, sample_rate: int, *, channel: int | None = None) -> None:
        self._sound = sound
        self._channel = channel
        self._sample_rate = sample_rate
        self._converted = BlockResampler(sound.sample_rate, sample_rate)
        self._frames = 0
        self._peak = 0.0
        # Of each channel, and last of their mean.
        self._sums = np.zeros(sound.channels + 1)
        self._squares = np.zeros(sound.channels + 1)

    def read(self, name: str, max_seconds: float) -> None:
        """Take in every block, and stop at the first that passes a limit."""
        rate, channels = self._sound.sample_rate, self._sound.channels
        for block in self._sound.blocks:
            check_cancelled()
            self._frames += len(block)
            check_length(self._frames / rate, max_seconds, name)
            check_amount(self._frames, channels, rate, max_seconds, name)
            check_levels(float(np.abs(block).max(initial=0.0)), name)
            self._add(block)

    def _add(self, block: NDArray[np.float32]) -> None:
        mean = block.mean(axis=1, dtype=np.float32)
        if block.shape[1] > 1:
            values = np.column_stack((block, mean)).astype(np.float64)
            self._sums += values.sum(axis=0)
            self._squares += np.square(values).sum(axis=0)
        taken = mean if self._channel is None else np.ascontiguousarray(block[:, self._channel])
        self._peak = max(self._peak, float(np.abs(taken).max(initial=0.0)))
        self._converted.add(taken)

    def channel_instead(self) -> int | None:
        """Return the channel to take because the mean cancels; None: the mean is good."""
        channels = self._sound.channels
        if channels == 1 or self._channel is not None or not self._frames:
            return None
        # Without the constant part, which a cheap recorder adds to each channel alike.
        powers = self._squares / self._frames - np.square(self._sums / self._frames)
        of_channels = powers[:-1]
        if powers[-1] >= CANCELLED_SHARE * of_channels.sum() / channels**2:
            return None
        return int(of_channels.argmax())

    def audio(self, name: str, max_seconds: float) -> Audio:
        """Return the channel, checked and converted."""
        rate = self._sound.sample_rate
        samples = self._converted.samples()
        if self._peak > 1:
            samples /= np.float32(self._peak)
        check_measures(self._frames / rate, self._peak, max_seconds, name)
        return Audio(samples, self._sample_rate)

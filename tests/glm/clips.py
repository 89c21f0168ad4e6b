"""Clips of sound that any machine makes bit by bit: no library function but the raw generator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SEGMENT = 1600
"""Samples of 100 ms at 16 kHz that have one timbre."""


def clip(samples: int, seed: int) -> NDArray[np.float32]:
    """Make a clip whose timbre and loudness change every 100 ms: three sawtooths and noise.

    Args:
        samples: Length, at 16 kHz.
        seed: Of PCG64, whose raw integers give periods (20 to 419 samples), loudness and noise.

    Returns:
        Shape [samples], float32, within -1..1.
    """
    generator = np.random.PCG64(seed)
    segments = -(-samples // SEGMENT)
    choices = generator.random_raw(segments * 8).reshape(segments, 8)
    noise = _unit(generator.random_raw(segments * SEGMENT)).reshape(segments, SEGMENT)
    time = np.arange(segments * SEGMENT, dtype=np.uint64).reshape(segments, SEGMENT)
    sound = noise * (_unit(choices[:, 3:4]) + 0.5) * 0.2
    for voice in range(3):
        period = choices[:, voice : voice + 1] % np.uint64(400) + np.uint64(20)
        sawtooth = (time % period) / period - 0.5
        sound = sound + sawtooth * (_unit(choices[:, voice + 4 : voice + 5]) + 0.5) * 0.5
    loudness = 2.0 ** -(choices[:, 7:8] % np.uint64(6)).astype(np.float64)
    return (sound * loudness).reshape(-1)[:samples].astype(np.float32)


def _unit(raw: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers in -0.5..0.5."""
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53 - 0.5

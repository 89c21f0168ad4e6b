"""Whisper's mel filter bank, and the constants of its log-mel features.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022),
section 2.2, and openai/whisper @ c0d2f62, whisper/audio.py, for every constant. The filter bank
is the one that file loads from disk, librosa's default: Slaney's mel scale with filters of equal
area (Slaney, "Auditory Toolbox", Interval Research report 1998-010).
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DYNAMIC_RANGE",
    "HOP_SAMPLES",
    "POWER_FLOOR",
    "SAMPLE_RATE_HZ",
    "WINDOW_SAMPLES",
    "mel_filters",
]

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 400
"""25 ms, Hann, also the length of the Fourier transform."""
HOP_SAMPLES = 160
"""10 ms."""
POWER_FLOOR = 1e-10
DYNAMIC_RANGE = 8.0
"""Powers of ten kept below the loudest value of the clip."""

LINEAR_HZ_PER_MEL = 200.0 / 3.0
"""Slope of Slaney's scale below `BREAK_HZ`."""
BREAK_HZ = 1000.0
LOG_STEP = np.log(6.4) / 27.0
"""Above `BREAK_HZ` one mel multiplies the frequency by exp(`LOG_STEP`)."""


@functools.cache
def mel_filters(bands: int) -> NDArray[np.float32]:
    """Return the filter bank, shape [bands, 201]: triangles of equal area, evenly spaced in mel."""
    top_mel = BREAK_HZ / LINEAR_HZ_PER_MEL + np.log(SAMPLE_RATE_HZ / 2 / BREAK_HZ) / LOG_STEP
    corners = _hz_of(np.linspace(0.0, top_mel, bands + 2))[:, None]
    bins = np.fft.rfftfreq(WINDOW_SAMPLES, 1.0 / SAMPLE_RATE_HZ)[None, :]
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * 2.0 / (corners[2:] - corners[:-2])).astype(np.float32)


def _hz_of(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    break_mel = BREAK_HZ / LINEAR_HZ_PER_MEL
    return np.where(
        mels < break_mel,
        mels * LINEAR_HZ_PER_MEL,
        BREAK_HZ * np.exp(LOG_STEP * (mels - break_mel)),
    )

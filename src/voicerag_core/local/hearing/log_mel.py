"""Whisper's input features in numpy.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022),
section 2.2, and openai/whisper @ c0d2f62, whisper/audio.py, for every constant. The filter bank
is the one that file loads from disk, librosa's default: Slaney's mel scale with filters of equal
area (Slaney, "Auditory Toolbox", Interval Research report 1998-010).
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from voicerag_core.types import Samples

__all__ = ["FRAMES_PER_SECOND", "MELS", "SAMPLE_RATE_HZ", "log_mel", "mel_filters"]

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 400
"""25 ms, Hann, also the length of the Fourier transform."""
HOP_SAMPLES = 160
"""10 ms."""
FRAMES_PER_SECOND = SAMPLE_RATE_HZ // HOP_SAMPLES
MELS = 80
POWER_FLOOR = 1e-10
DYNAMIC_RANGE = 8.0
"""Powers of ten kept below the loudest value of the clip."""

LINEAR_HZ_PER_MEL = 200.0 / 3.0
"""Slope of Slaney's scale below `BREAK_HZ`."""
BREAK_HZ = 1000.0
LOG_STEP = np.log(6.4) / 27.0
"""Above `BREAK_HZ` one mel multiplies the frequency by exp(`LOG_STEP`)."""


def log_mel(samples: Samples) -> NDArray[np.float32]:
    """Compute the log-mel spectrogram of a clip, scaled as Whisper was trained.

    Args:
        samples: Shape [T], float32, 16 kHz, at least 201 samples, padding included.

    Returns:
        Shape [80, T // 160], float32, about -1..1.5; the floor depends on the clip's loudest value.
    """
    edges = np.pad(samples, WINDOW_SAMPLES // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(edges, WINDOW_SAMPLES)[::HOP_SAMPLES]
    frames = frames[: len(samples) // HOP_SAMPLES]
    spectrum = np.fft.rfft(frames * _hann(), axis=-1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    levels: NDArray[np.float32] = np.log10(np.maximum(mel_filters() @ power.T, POWER_FLOOR))
    levels = np.maximum(levels, levels.max() - DYNAMIC_RANGE)
    scaled: NDArray[np.float32] = (levels + 4.0) / 4.0
    return scaled


@functools.cache
def mel_filters() -> NDArray[np.float32]:
    """Return the filter bank, shape [80, 201]: triangles of equal area, evenly spaced in mel."""
    top_mel = _mel_of(SAMPLE_RATE_HZ / 2)
    corners = _hz_of(np.linspace(0.0, top_mel, MELS + 2))[:, None]
    bins = np.fft.rfftfreq(WINDOW_SAMPLES, 1.0 / SAMPLE_RATE_HZ)[None, :]
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * 2.0 / (corners[2:] - corners[:-2])).astype(np.float32)


@functools.cache
def _hann() -> NDArray[np.float32]:
    """Return the periodic Hann window."""
    return np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)


def _mel_of(hz: float) -> float:
    """Convert a frequency at or above `BREAK_HZ`."""
    return float(BREAK_HZ / LINEAR_HZ_PER_MEL + np.log(hz / BREAK_HZ) / LOG_STEP)


def _hz_of(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    break_mel = BREAK_HZ / LINEAR_HZ_PER_MEL
    return np.where(
        mels < break_mel,
        mels * LINEAR_HZ_PER_MEL,
        BREAK_HZ * np.exp(LOG_STEP * (mels - break_mel)),
    )

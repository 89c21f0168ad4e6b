"""Whisper's input features in numpy.

The constants, with their source, and the filters are those of `voicerag_core.mel`.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from voicerag_core.mel import (
    DYNAMIC_RANGE,
    HOP_SAMPLES,
    POWER_FLOOR,
    WINDOW_SAMPLES,
    mel_filters,
)
from voicerag_core.types import Samples

__all__ = ["MELS", "log_mel"]

MELS = 80
"""Bands of most models; large-v3 and turbo have 128."""


def log_mel(
    samples: Samples, *, bands: int = MELS, length: int | None = None
) -> NDArray[np.float32]:
    """Compute the log-mel spectrogram of a clip, scaled as Whisper was trained.

    Args:
        samples: Shape [T], float32, 16 kHz, at least 201 samples, padding included.
        bands: Mel bands of the model.
        length: Samples with the silence that is thought behind the clip, T at least; None: T. The
            result is that of the clip padded with zeros, but silent frames cost next to nothing.

    Returns:
        Shape [bands, length // 160], float32, about -1..1.5; the floor depends on the clip's
        loudest value.
    """
    whole = len(samples) if length is None else length
    heard = min(whole, len(samples) + WINDOW_SAMPLES)
    edges = np.pad(np.pad(samples, (0, heard - len(samples))), WINDOW_SAMPLES // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(edges, WINDOW_SAMPLES)[::HOP_SAMPLES]
    frames = frames[: heard // HOP_SAMPLES]
    spectrum = np.fft.rfft(frames * _hann(), axis=-1)
    power = np.zeros((whole // HOP_SAMPLES, spectrum.shape[1]), np.float32)
    power[: len(spectrum)] = spectrum.real**2 + spectrum.imag**2
    levels: NDArray[np.float32] = np.log10(np.maximum(mel_filters(bands) @ power.T, POWER_FLOOR))
    levels = np.maximum(levels, levels.max() - DYNAMIC_RANGE)
    scaled: NDArray[np.float32] = (levels + 4.0) / 4.0
    return scaled


@functools.cache
def _hann() -> NDArray[np.float32]:
    """Return the periodic Hann window."""
    return np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)

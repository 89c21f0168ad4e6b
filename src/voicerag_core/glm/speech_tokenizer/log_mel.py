"""The log-mel features that the speech tokenizer takes.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022),
section 2.2; `WhisperFeatureExtractor` of transformers 4.57.3 for the constants and for how the
end of a clip is padded; the filters are Slaney's ("Auditory Toolbox", Interval Research report
1998-010), triangles of equal area.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray

from voicerag_core.types import Samples

__all__ = ["HOP_SAMPLES", "SAMPLE_RATE_HZ", "log_mel", "mel_filters"]

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


def log_mel(
    samples: Samples,
    *,
    bands: int,
    multiple: int,
    reflect: bool = True,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Compute the features of one piece of sound.

    Args:
        samples: Shape [T], float32, 16 kHz, T at least 1.
        bands: Mel bands.
        multiple: Samples to a multiple of which the piece is filled with zeros.
        reflect: What the last windows see beyond that: the end mirrored, or more zeros.
        device: Where they are computed and stay.

    Returns:
        Shape [bands, frames], float32, a frame per 10 ms, about -1..1.5; the floor depends on
        the loudest value of the piece.
    """
    wave = torch.tensor(samples, device=device)
    filled = -len(samples) % multiple
    half = WINDOW_SAMPLES // 2
    wave = torch.nn.functional.pad(wave, (0, filled if reflect else filled + HOP_SAMPLES * 2))
    wave = torch.nn.functional.pad(wave[None], (half, half), mode="reflect")[0]
    spectrum = torch.stft(
        wave,
        WINDOW_SAMPLES,
        HOP_SAMPLES,
        window=torch.hann_window(WINDOW_SAMPLES, device=wave.device),
        center=False,
        return_complex=True,
    )
    power = spectrum[:, : (len(samples) + filled) // HOP_SAMPLES].abs() ** 2
    filters = torch.from_numpy(mel_filters(bands)).to(device)
    levels = (filters @ power).clamp(min=POWER_FLOOR).log10()
    levels = torch.maximum(levels, levels.max() - DYNAMIC_RANGE)
    return (levels + 4.0) / 4.0


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

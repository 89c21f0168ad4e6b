"""The log-mel features that the speech tokenizer takes.

Source: `WhisperFeatureExtractor` of transformers 4.57.3 for how the end of a clip is padded; the
constants and filters are those of `voicerag_core.mel`.
"""

from __future__ import annotations

import numpy as np
import torch

from voicerag_core.mel import (
    DYNAMIC_RANGE,
    HOP_SAMPLES,
    POWER_FLOOR,
    WINDOW_SAMPLES,
    mel_filters,
)
from voicerag_core.types import Samples

__all__ = ["levels", "log_mel", "mirrored"]


def mirrored(samples: Samples, *, multiple: int, reflect: bool = True) -> Samples:
    """Return a piece of sound with what the windows at its ends see beyond it.

    Args:
        samples: Shape [T], float32, 16 kHz, T at least 1.
        multiple: Samples to a multiple of which the piece is filled with zeros.
        reflect: What the last windows see beyond that: the end mirrored, or more zeros.

    Returns:
        Shape [L + 400], L the multiple.
    """
    half = WINDOW_SAMPLES // 2
    wave = np.pad(samples, (0, -len(samples) % multiple))
    if reflect:
        return np.pad(wave, half, mode="reflect")
    return np.pad(np.pad(wave, (half, 0), mode="reflect"), (0, half))


def levels(
    waves: torch.Tensor,
    filters: torch.Tensor,
    window: torch.Tensor,
    frames: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute the features of pieces of sound.

    Args:
        waves: Shape [N, T * 160 + 400], float32, rows of `mirrored`, with anything behind.
        filters: Of `mel_filters`.
        window: Hann's, shape [400].
        frames: Shape [N], int64: frames of each piece; None: T.

    Returns:
        Shape [N, bands, T], float32, a frame per 10 ms, about -1..1.5; the floor depends on
        the loudest value of the piece. Zero beyond its frames.
    """
    spectrum = torch.stft(
        waves, WINDOW_SAMPLES, HOP_SAMPLES, window=window, center=False, return_complex=True
    )
    power = spectrum[..., :-1].abs() ** 2
    made = (filters @ power).clamp(min=POWER_FLOOR).log10()
    if frames is None:
        loudest = made.amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(made, loudest - DYNAMIC_RANGE) + 4.0) / 4.0
    beyond = (torch.arange(made.shape[-1], device=made.device) >= frames[:, None])[:, None]
    loudest = made.masked_fill(beyond, -torch.inf).amax(dim=(1, 2), keepdim=True)
    made = (torch.maximum(made, loudest - DYNAMIC_RANGE) + 4.0) / 4.0
    return made.masked_fill(beyond, 0.0)


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
        Shape [bands, frames]; see `levels`.
    """
    wave = torch.from_numpy(mirrored(samples, multiple=multiple, reflect=reflect)).to(device)
    filters = torch.from_numpy(mel_filters(bands)).to(device)
    return levels(wave[None], filters, torch.hann_window(WINDOW_SAMPLES, device=device))[0]

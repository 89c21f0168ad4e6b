"""The log-mel features that the speech tokenizer takes.

Source: `WhisperFeatureExtractor` of transformers 4.57.3 for how the end of a clip is padded; the
constants and filters are those of `voicerag_core.mel`.
"""

from __future__ import annotations

import torch

from voicerag_core.mel import (
    DYNAMIC_RANGE,
    HOP_SAMPLES,
    POWER_FLOOR,
    WINDOW_SAMPLES,
    mel_filters,
)
from voicerag_core.types import Samples

__all__ = ["log_mel"]


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

"""Kaldi's log mel filter bank, as the speech encoder takes it.

Source of all constants: facebookresearch/SONAR v0.5.0, sonar/inference_pipelines/speech.py
(WaveformToFbankConverter with num_mel_bins 80, waveform_scale 2^15, standardize), and the defaults
of kaldi's FbankOptions (feat/feature-window.h, feat/mel-computations.h); dither is off.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voicerag_core.errors import AudioError
from voicerag_core.types import Samples

__all__ = ["MEL_BINS", "MIN_SAMPLES", "STACKED", "fbank", "frame_count", "stacked_features"]

RATE_HZ = 16_000
WINDOW = 400
"""25 ms."""
HOP = 160
"""10 ms."""
FFT = 512
MEL_BINS = 80
LOWEST_HZ, HIGHEST_HZ = 20.0, 8000.0
PRE_EMPHASIS = 0.97
SCALE = 2.0**15
"""Kaldi reads 16-bit integers."""
STACKED = 2
"""Frames that make one position of the encoder; a last frame without partner is dropped."""
MIN_SAMPLES = WINDOW + HOP
"""Two frames, 35 ms: one position; a single frame has no spread to be standardised by."""


def frame_count(samples: int) -> int:
    """Return the number of frames of 25 ms, 10 ms apart, within a clip."""
    return 0 if samples < WINDOW else 1 + (samples - WINDOW) // HOP


def fbank(samples: Samples, device: torch.device | str = "cpu") -> Tensor:
    """Compute the features of a clip, internally in float64: quiet bins need the precision.

    Args:
        samples: [T], float32, nominal range -1..1, 16 kHz, at least `MIN_SAMPLES` long.
        device: Where they are computed.

    Returns:
        [frames, 80], float32, each bin with mean 0 and spread 1 over the clip.

    Raises:
        AudioError: A bin does not change over the clip, as in silence or a constant.
    """
    window, filters = _window(device), _filters(device)
    frames = torch.from_numpy(samples).to(device, torch.float64).mul(SCALE).unfold(0, WINDOW, HOP)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = torch.cat((frames[:, :1], frames[:, :-1]), dim=1)
    spectrum = torch.fft.rfft((frames - PRE_EMPHASIS * before) * window, n=FFT)
    power = spectrum.abs().square()[:, : FFT // 2]  # kaldi's filters leave the last bin out
    logs = (power @ filters).clamp_min(torch.finfo(torch.float32).eps).log()
    spread, mean = torch.std_mean(logs, dim=0)
    if not bool((spread > 0).all()):
        raise AudioError(
            "the clip is silent or constant: its spectrum never changes, so nothing can be said of "
            "it; check the microphone or the file"
        )
    standardised: Tensor = ((logs - mean) / spread).float()
    return standardised


def stacked_features(clips: Sequence[Samples], device: torch.device | str) -> list[Tensor]:
    """Make the encoder's input of each clip, as [positions, 160] in float32."""
    features = []
    for clip in clips:
        frames = fbank(clip, device)
        positions = len(frames) // STACKED
        features.append(frames[: positions * STACKED].reshape(positions, STACKED * MEL_BINS))
    return features


@functools.cache
def _window(device: torch.device | str) -> Tensor:
    """Kaldi's povey window: a Hann window to the power of 0.85."""
    angle = 2 * math.pi * np.arange(WINDOW) / (WINDOW - 1)
    return torch.from_numpy((0.5 - 0.5 * np.cos(angle)) ** 0.85).to(device)


@functools.cache
def _filters(device: torch.device | str) -> Tensor:
    """Triangles on the mel scale, [FFT / 2, 80]."""
    lowest, highest = _mel(np.array([LOWEST_HZ, HIGHEST_HZ]))
    step = (highest - lowest) / (MEL_BINS + 1)
    left = lowest + step * np.arange(MEL_BINS)[None]
    bins = _mel(np.arange(FFT // 2, dtype=np.float64) * (RATE_HZ / FFT))[:, None]
    rising, falling = (bins - left) / step, (left + 2 * step - bins) / step
    return torch.from_numpy(np.minimum(rising, falling).clip(min=0)).to(device)


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    mel: NDArray[np.float64] = 1127.0 * np.log1p(hertz / 700.0)
    return mel

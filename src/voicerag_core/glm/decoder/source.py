"""The harmonic source of the vocoder, whose phase continues from block to block."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from voicerag_core.glm.weights.configs import HiFTConfig

__all__ = ["NoiseTable", "draw_offsets", "harmonics", "noise_level"]

UNVOICED = 1 / 3
"""Noise of an unvoiced frame, in sine amplitudes. Source: Wang et al., "Neural source-filter
waveform models" (2019), equation 2; cosyvoice/hifigan/generator.py of THUDM/GLM-4-Voice @ eb00ce9,
`SineGen`, for this module."""


class NoiseTable:
    """Standard normal values by frame, the same on every device and for any cut of a reply.

    The values of a frame depend only on its number. The table repeats after its length, which is
    longer than any window.

    Args:
        values: Values per frame.
        frames: Frames before it repeats.
        seed: Of a separate generator; the global one is neither read nor set.
        device: Where the values are wanted.
    """

    def __init__(
        self, values: int, frames: int, *, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.values = torch.randn(frames, values, generator=generator).to(device)

    def rows(self, start: int, stop: int) -> Tensor:
        """Return frames start to stop, shape [stop - start, values], float32."""
        length = len(self.values)
        at = start % length
        if at + stop - start <= length:
            return self.values[at : at + stop - start]
        return self.values[torch.arange(start, stop, device=self.values.device) % length]


def draw_offsets(config: HiFTConfig, generator: torch.Generator) -> Tensor:
    """Draw the phase at which each overtone starts, shape [harmonics + 1], radians, first 0."""
    uniform = torch.rand(config.harmonics + 1, generator=generator)
    offsets = -torch.pi + uniform * (2 * torch.pi)
    offsets[0] = 0.0
    return offsets


def harmonics(
    hz: Tensor,
    phase: Tensor,
    offsets: Tensor,
    noise: Tensor,
    *,
    config: HiFTConfig,
    sample_rate: int,
) -> tuple[Tensor, Tensor]:
    """Make sines at the pitch and its multiples, with noise, continuing from a phase.

    The phase is summed in float64 over frames, in each of which the pitch is constant.

    Args:
        hz: Pitch, shape [..., T], float64; where it is 0 the phase stands still.
        phase: Shape [..., harmonics + 1], float64, cycles run through so far, 0..1.
        offsets: Of `draw_offsets`.
        noise: Standard normal, shape [..., T, harmonics + 1, S], float32, S samples per frame.
        config: Amplitudes.
        sample_rate: Hz.

    Returns:
        Shape [..., harmonics + 1, T * S], float32, and the phase after it.
    """
    frames, tones, samples = noise.shape[-3:]
    multiples = torch.arange(1, tones + 1, device=hz.device, dtype=torch.float64)
    cycles = hz[..., None] * multiples / sample_rate
    whole = cycles * samples
    ends = phase[..., None, :] + whole.cumsum(-2)
    within = torch.arange(1, samples + 1, device=hz.device, dtype=torch.float64)
    turns = (ends - whole)[..., None] + cycles[..., None] * within
    angle = ((turns % 1.0) * (2 * math.pi)).float() + offsets[:, None]
    voiced = (hz > config.voiced_hz).float()[..., None, None]
    waves = config.sine_amplitude * angle.sin() * voiced
    made = waves + noise_level(voiced, config) * noise
    last = ends[..., -1, :] % 1.0 if frames else phase
    return made.transpose(-3, -2).flatten(-2), last


def noise_level(voiced: Tensor, config: HiFTConfig) -> Tensor:
    """Return the standard deviation of the source's noise; `voiced` is 1 where voiced, else 0."""
    return voiced * config.noise_std + (1 - voiced) * config.sine_amplitude * UNVOICED

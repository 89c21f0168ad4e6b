"""Augmented log-mel features of clips in GPU memory: rooms, telephones, noise, vocal tracts.

The clean features equal `voicerag_core.local.hearing.log_mel` (the export compares them).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RATE = 16_000
WINDOW, HOP, BINS, MELS = 400, 160, 201, 80
TAIL = 8_000
"""Zeros appended to every clip, in samples: Whisper's states near the end differ less from those of
its 30 s windows."""
STEP = 8_000
LENGTHS = (2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 16, 18, 20, 24, 25, 27, 30, 32, 36)
"""A batch is one of these many steps long, and every length has its own number of clips: a
Fourier plan is made for each pair, and
making one costs more than a training step. Products of 2, 3 and 5 alone, which transform
fastest."""
ROOM = STEP
SLOWEST = 0.87
LEAD = 0.3
WARPS = np.linspace(0.86, 1.16, 11)
"""Vocal tract lengths, relative (Jaitly and Hinton 2013, VTLP)."""


@dataclass
class Odds:
    """Probability of each augmentation."""

    speed: float = 0.5
    room: float = 0.3
    noise: float = 0.5
    telephone: float = 0.1
    colour: float = 0.5
    warp: float = 0.5
    masks: float = 0.5


def steps_of(samples: int) -> int | None:
    """Return the fewest steps that fit a clip at every speed with lead and tail, or None."""
    most = samples / SLOWEST + LEAD * RATE + TAIL
    return next((length for length in LENGTHS if length * STEP >= most), None)


class Clips:
    """Clips of one sample rate in one buffer on the GPU.

    Args:
        capacity: Samples of int16 to reserve.
        device: Device of the buffer.
    """

    def __init__(self, capacity: int, device: torch.device) -> None:
        self.buffer = torch.zeros(capacity, dtype=torch.int16, device=device)
        self.used = 0
        self.starts: list[int] = []
        self.sizes: list[int] = []

    def add(self, samples: np.ndarray) -> bool:
        """Append a clip, int16 [T]; False when the buffer is full."""
        if self.used + len(samples) + 1 > len(self.buffer):
            return False
        self.buffer[self.used : self.used + len(samples)] = torch.from_numpy(samples).to(
            self.buffer.device, non_blocking=True
        )
        self.starts.append(self.used)
        self.sizes.append(len(samples))
        self.used += len(samples)
        return True


class Sound:
    """Samples batches of waveforms, clean and augmented, and their features."""

    def __init__(
        self,
        filters: np.ndarray,
        noises: list[np.ndarray],
        device: torch.device,
        odds: Odds,
        seed: int,
    ) -> None:
        self.device, self.odds = device, odds
        self.generator = torch.Generator(device).manual_seed(seed)
        self.window = torch.hann_window(WINDOW, device=device)
        warped = [_warped(filters, warp) for warp in WARPS]
        self.filters = torch.from_numpy(np.stack([filters, *warped])).to(device)
        self.noises = torch.from_numpy(
            np.concatenate(noises) if noises else np.zeros(0, np.int16)
        ).to(device)

    def draw(
        self, clips: Clips, chosen: list[int], *, changed: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cut clips out of the buffer.

        Returns:
            Clean waves [B, N], changed waves [B, N] (the same tensor unless `changed`), sizes
            [B] in samples, the tail
            included and a multiple of 320.
        """
        starts = torch.tensor([clips.starts[i] for i in chosen], device=self.device)
        sizes = torch.tensor([clips.sizes[i] for i in chosen], device=self.device)
        speed = torch.ones(len(chosen), device=self.device)
        lead = torch.zeros(len(chosen), dtype=torch.long, device=self.device)
        if changed:
            speed = torch.where(
                self._chance(len(chosen), self.odds.speed),
                self._uniform(len(chosen), SLOWEST, 1.15),
                speed,
            )
            lead = (self._uniform(len(chosen), 0.0, LEAD) * RATE).long()
        lengths = (sizes / speed).long() + lead
        total = max(steps_of(clips.sizes[i]) or LENGTHS[-1] for i in chosen) * STEP
        place = (torch.arange(total, device=self.device) - lead[:, None]) * speed[:, None]
        inside = (place >= 0) & (place < (sizes - 1)[:, None])
        place = place.clamp(min=0).minimum((sizes - 2)[:, None].float())
        low = place.long()
        share = place - low
        low = low + starts[:, None]
        waves = clips.buffer[low].float() * (1 - share) + clips.buffer[low + 1].float() * share
        clean = waves * inside / 32768.0
        padded = ((lengths + TAIL + 319) // 320) * 320
        if not changed:
            return clean, clean, padded
        gain = 10 ** (self._uniform(len(chosen), -24.0, 0.0) / 20)[:, None]
        clean = clean / clean.abs().amax(1, keepdim=True).clamp(min=1e-3) * gain
        return clean, self._spoil(clean, lengths), padded

    def features(self, waves: Tensor, sizes: Tensor, *, changed: bool) -> tuple[Tensor, Tensor]:
        """Return log-mel [B, 80, T] and frames [B]; each clip floored by its own loudest value."""
        edge = WINDOW // 2
        padded = torch.cat(
            [waves[:, 1 : edge + 1].flip(1), waves, torch.zeros_like(waves[:, :edge])], 1
        )
        spectrum = torch.stft(
            padded, WINDOW, HOP, window=self.window, center=False, return_complex=True
        )[..., : waves.shape[1] // HOP]
        power = spectrum.real**2 + spectrum.imag**2
        which = torch.zeros(len(waves), dtype=torch.long, device=self.device)
        if changed:
            drawn = torch.randint(
                1, len(self.filters), (len(waves),), generator=self.generator, device=self.device
            )
            which = torch.where(self._chance(len(waves), self.odds.warp), drawn, which)
        levels = torch.bmm(self.filters[which], power).clamp(min=1e-10).log10()
        frames = sizes // HOP
        valid = torch.arange(levels.shape[-1], device=self.device) < frames[:, None]
        loudest = levels.masked_fill(~valid[:, None], -10.0).amax((1, 2), keepdim=True)
        mel = (levels.maximum(loudest - 8.0) + 4.0) / 4.0
        mel = mel * valid[:, None]
        return (self._mask(mel, frames) if changed else mel), frames

    def _spoil(self, waves: Tensor, lengths: Tensor) -> Tensor:
        count, total = waves.shape
        size = next(length for length in (*LENGTHS, 40) if length * STEP >= total + ROOM) * STEP
        spectrum = torch.fft.rfft(waves, size)
        hertz = torch.fft.rfftfreq(size, 1 / RATE, device=self.device)
        response = torch.where(
            self._chance(count, self.odds.colour)[:, None],
            self._colour(count, hertz),
            torch.ones(1, device=self.device),
        )
        phone = self._chance(count, self.odds.telephone)
        band = ((hertz > 300) & (hertz < 3400)).float() + 0.01
        response = torch.where(phone[:, None], response * band, response)
        rooms = torch.fft.rfft(self._rooms(count), size)
        spectrum = spectrum * response
        spectrum = torch.where(
            self._chance(count, self.odds.room)[:, None], spectrum * rooms, spectrum
        )
        spoiled = torch.fft.irfft(spectrum, size)[:, :total]
        noisy = self._chance(count, self.odds.noise)[:, None]
        noise = self._noise(waves, size)
        ratio = 10 ** (self._uniform(count, 2.0, 30.0) / 20)[:, None]
        level = (
            spoiled.square().mean(1, keepdim=True).sqrt()
            / noise.square().mean(1, keepdim=True).sqrt().clamp(min=1e-6)
            / ratio
        )
        spoiled = torch.where(noisy, spoiled + noise * level, spoiled)
        loud = spoiled.abs().amax(1, keepdim=True).clamp(min=1e-4)
        scaled = spoiled / loud
        coded = torch.sign(scaled) * (torch.log1p(255 * scaled.abs()) / math.log(256))
        coded = torch.round(coded * 127) / 127
        coded = torch.sign(coded) * (torch.expm1(coded.abs() * math.log(256)) / 255) * loud
        spoiled = torch.where(phone[:, None], coded, spoiled)
        return spoiled * (torch.arange(total, device=self.device) < lengths[:, None])

    def _colour(self, count: int, hertz: Tensor) -> Tensor:
        """Sample smooth frequency responses within 12 dB, as of microphones and speakers."""
        knots = torch.randn(count, 1, 8, generator=self.generator, device=self.device) * 5.0
        smooth = torch.nn.functional.interpolate(
            knots, len(hertz), mode="linear", align_corners=True
        )[:, 0]
        return 10 ** (smooth.clamp(-12, 12) / 20)

    def _rooms(self, count: int) -> Tensor:
        """Sample impulse responses: direct sound, exponentially decaying noise (RT60 0.1-0.7 s)."""
        time = torch.arange(ROOM, device=self.device) / RATE
        decay = torch.exp(-6.9 * time / self._uniform(count, 0.1, 0.7)[:, None])
        tail = torch.randn(count, ROOM, generator=self.generator, device=self.device) * decay
        tail = (
            tail
            / tail.square().sum(1, keepdim=True).sqrt()
            * self._uniform(count, 0.2, 0.9)[:, None]
        )
        tail[:, 0] = 1.0
        return tail

    def _noise(self, waves: Tensor, size: int) -> Tensor:
        """Choose recorded noise, coloured noise or babble from the batch for each clip."""
        count, total = waves.shape
        made = torch.randn(count, size, generator=self.generator, device=self.device)
        slope = self._uniform(count, 0.0, 1.2)[:, None]
        hertz = torch.fft.rfftfreq(size, 1 / RATE, device=self.device).clamp(min=30.0)
        made = torch.fft.irfft(torch.fft.rfft(made) * (hertz / 30.0) ** -slope, size)[:, :total]
        babble = sum(
            waves[torch.randperm(count, generator=self.generator, device=self.device)]
            for _ in range(5)
        )
        kind = torch.randint(0, 4, (count,), generator=self.generator, device=self.device)[:, None]
        noise = torch.where(kind == 0, made, torch.as_tensor(babble))
        if len(self.noises):
            start = torch.randint(
                0, len(self.noises), (count, 1), generator=self.generator, device=self.device
            )
            recorded = self.noises[
                (start + torch.arange(total, device=self.device)) % len(self.noises)
            ].float()
            noise = torch.where(kind >= 2, recorded, noise)
        return noise

    def _mask(self, mel: Tensor, frames: Tensor) -> Tensor:
        """Mask two frequency bands and two time spans (Park et al. 2019, SpecAugment)."""
        count = len(mel)
        channel = torch.arange(MELS, device=self.device)
        time = torch.arange(mel.shape[-1], device=self.device)
        keep = torch.ones_like(mel, dtype=torch.bool)
        for _ in range(2):
            start, width = self._uniform(count, 0, MELS - 14), self._uniform(count, 0, 14)
            keep &= ~((channel >= start[:, None]) & (channel < (start + width)[:, None]))[
                :, :, None
            ]
            start, width = self._uniform(count, 0, 1) * frames, self._uniform(count, 0, 25)
            keep &= ~((time >= start[:, None]) & (time < (start + width)[:, None]))[:, None]
        keep |= ~self._chance(count, self.odds.masks)[:, None, None]
        return mel * keep

    def _chance(self, count: int, odds: float) -> Tensor:
        return torch.rand(count, generator=self.generator, device=self.device) < odds

    def _uniform(self, count: int, low: float, high: float) -> Tensor:
        return torch.rand(count, generator=self.generator, device=self.device) * (high - low) + low


def _warped(filters: np.ndarray, warp: float) -> np.ndarray:
    """Read the filters as if every frequency were `warp` times as high."""
    bins = np.arange(BINS, dtype=np.float64)
    return np.stack([np.interp(bins / warp, bins, row, right=0.0) for row in filters]).astype(
        np.float32
    )

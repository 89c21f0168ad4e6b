"""A vocoder for one reply; its sound does not depend on how the mel is split over calls."""

from __future__ import annotations

import torch
from torch import Tensor

from voicerag_core.glm.decoder.hift import PITCH_REACH, HiFT
from voicerag_core.glm.decoder.source import NoiseTable, draw_offsets, harmonics

__all__ = ["NOISE_FRAMES", "VocoderStream"]

NOISE_FRAMES = 1024
"""Frames before the noise of the source repeats; 11.9 s at 22,050 Hz."""


class VocoderStream:
    """Turns the mel of one reply into sound, piece by piece.

    Each frame is computed with all the mel and source that it depends on, so the pieces equal one
    call with the whole mel. The phase of the source is continuous; memory does not grow.

    Args:
        hift: Shared; not changed.
        sample_rate: Hz.
        noise: Rows of (harmonics + 1) * hop_samples values.
        seed: Of the phases at which the overtones start.
    """

    def __init__(self, hift: HiFT, *, sample_rate: int, noise: NoiseTable, seed: int) -> None:
        self._hift = hift
        self._rate = sample_rate
        self._noise = noise
        device = hift.window.device
        config = hift.config
        generator = torch.Generator().manual_seed(seed)
        self._offsets = draw_offsets(config, generator).to(device)
        self._phase = torch.zeros(config.harmonics + 1, dtype=torch.float64, device=device)
        self._mel = torch.zeros(1, config.mels, 0, device=device)
        self._source = torch.zeros(1, 1, 0, device=device)
        self._start = 0  # frame at which the kept mel and source begin
        self._voiced = 0  # frames whose source is made
        self._spoken = 0  # frames whose sound was returned

    @property
    def delay(self) -> int:
        """Frames of mel after a sample that must be known before it is returned."""
        return self._hift.reach + PITCH_REACH

    @torch.inference_mode()
    def push(self, mel: Tensor, *, last: bool = False) -> Tensor:
        """Take mel and return the sound that no later mel can change.

        Args:
            mel: Shape [1, mels, T], float32, T may be 0.
            last: No more mel follows; everything is returned.

        Returns:
            Shape [L], float32, possibly empty.
        """
        self._mel = torch.cat((self._mel, mel), dim=-1)
        known = self._start + self._mel.shape[-1]
        self._extend_source(known if last else max(self._voiced, known - PITCH_REACH))
        ready = known if last else max(self._spoken, self._voiced - self._hift.reach)
        if ready == self._spoken:
            return mel.new_zeros(0)
        hop = self._hift.hop_samples
        whole: Tensor = self._hift(self._mel[:, :, : self._voiced - self._start], self._source)[0]
        made = whole[(self._spoken - self._start) * hop : (ready - self._start) * hop]
        self._spoken = ready
        self._forget(max(0, ready - self._hift.reach - PITCH_REACH))
        return made

    def _extend_source(self, stop: int) -> None:
        """Make the source of frames up to `stop`."""
        if stop <= self._voiced:
            return
        config, hop = self._hift.config, self._hift.hop_samples
        begin = max(0, self._voiced - PITCH_REACH - self._start)
        hz = self._hift.exact_pitch(self._mel[:, :, begin:])[0]
        hz = hz[self._voiced - self._start - begin : stop - self._start - begin]
        noise = self._noise.rows(self._voiced, stop).view(-1, config.harmonics + 1, hop)
        sines, self._phase = harmonics(
            hz, self._phase, self._offsets, noise, config=config, sample_rate=self._rate
        )
        self._source = torch.cat((self._source, self._hift.excitation(sines[None])), dim=-1)
        self._voiced = stop

    def _forget(self, start: int) -> None:
        """Drop mel and source before a frame."""
        frames = start - self._start
        if frames > 0:
            self._mel = self._mel[:, :, frames:].clone()
            self._source = self._source[:, :, frames * self._hift.hop_samples :].clone()
            self._start = start

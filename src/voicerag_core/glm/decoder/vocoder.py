"""A vocoder for one reply; its sound does not depend on how the mel is split over calls."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from voicerag_core.glm.decoder.hift import PITCH_REACH, HiFT
from voicerag_core.glm.decoder.rows import copied, copy_rows
from voicerag_core.glm.decoder.source import NoiseTable, harmonics

__all__ = ["NOISE_FRAMES", "VocoderBatch", "VocoderStream", "speak"]

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
        offsets: Phases at which the overtones start, of `draw_offsets`.
    """

    def __init__(self, hift: HiFT, *, sample_rate: int, noise: NoiseTable, offsets: Tensor) -> None:
        self._hift = hift
        self._rate = sample_rate
        self._noise = noise
        device = hift.window.device
        config = hift.config
        self._offsets = offsets
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
        voiced, ready = self._reached(mel.shape[-1], last=last)
        self._mel = torch.cat((self._mel, mel), dim=-1)
        self._extend_source(voiced)
        if ready == self._spoken:
            return mel.new_zeros(0)
        hop = self._hift.hop_samples
        whole: Tensor = self._hift(self._mel[:, :, : self._voiced - self._start], self._source)[0]
        made = whole[(self._spoken - self._start) * hop : (ready - self._start) * hop]
        self._spoken = ready
        self._forget(max(0, ready - self._hift.reach - PITCH_REACH))
        return made

    def frames(self, more: int) -> int:
        """Return the frames of mel that a pass with `more` of them takes."""
        return self._mel.shape[-1] + more

    def _reached(self, more: int, *, last: bool) -> tuple[int, int]:
        """Return the frames whose source, and whose sound, `more` frames of mel decide."""
        known = self._start + self._mel.shape[-1] + more
        if last:
            return known, known
        voiced = max(self._voiced, known - PITCH_REACH)
        return voiced, max(self._spoken, voiced - self._hift.reach)

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


class VocoderBatch:
    """Tensors of one vocoder pass over several replies; they stay in place, so it can be recorded.

    Args:
        hift: Shared; not changed.
        noise: As of `VocoderStream`.
        offsets: Phases at which the overtones start, of all replies.
        rows: Replies.
        frames: Mel frames of a row; shorter ones are padded.
        sample_rate: Hz.
    """

    def __init__(
        self,
        hift: HiFT,
        noise: NoiseTable,
        offsets: Tensor,
        *,
        rows: int,
        frames: int,
        sample_rate: int,
    ) -> None:
        self._hift, self._noise, self._offsets, self._rate = hift, noise, offsets, sample_rate
        config, device = hift.config, hift.window.device
        length = frames * hift.hop_samples
        self.mel = torch.zeros(rows, config.mels, frames, device=device)
        self.source = torch.zeros(rows, 1, length, device=device)
        self.phase = torch.zeros(rows, config.harmonics + 1, dtype=torch.float64, device=device)
        self.numbers = torch.zeros(4, rows, dtype=torch.int64, device=device)
        """Of each row: its first frame in the reply; and, counted from there, where its new source
        begins and ends, and where its mel ends."""
        self.sound = torch.zeros(rows, length, device=device)

    @torch.inference_mode()
    def run(self) -> None:
        """Extend `source` and `phase`, and make `sound`."""
        rows, _, frames = self.mel.shape
        hop, config = self._hift.hop_samples, self._hift.config
        first, begin, stop, end = self.numbers
        place = torch.arange(frames, device=self.mel.device)
        new = (place >= begin[:, None]) & (place < stop[:, None])
        hz = self._hift.exact_pitch(self.mel, (place < end[:, None])[:, None])
        values = self._noise.values
        noise = values[(first[:, None] + place) % len(values)]
        sines, phase = harmonics(
            hz.masked_fill(~new, 0.0),
            self.phase,
            self._offsets,
            noise.view(rows, frames, config.harmonics + 1, hop),
            config=config,
            sample_rate=self._rate,
        )
        fresh = new[:, None].repeat_interleave(hop, dim=2, output_size=frames * hop)
        source = torch.where(fresh, self._hift.excitation(sines), self.source)
        self.sound.copy_(self._hift(self.mel, source, end))
        self.source.copy_(source)
        self.phase.copy_(phase)


@torch.inference_mode()
def speak(
    batch: VocoderBatch,
    run: Callable[[], None],
    replies: Sequence[tuple[VocoderStream, Tensor, bool]],
) -> list[tuple[Tensor, VocoderStream]]:
    """Push mel of several replies in one pass.

    Args:
        batch: Of as many rows, or more, and frames enough for each.
        run: Does `batch.run`, or replays it.
        replies: Vocoder, mel, and whether it is the last; see `VocoderStream.push`.

    Returns:
        For each reply its sound and the vocoder that continues it; the one given is unchanged.
    """
    frames, hop = batch.mel.shape[-1], batch.sound.shape[-1] // batch.mel.shape[-1]
    numbers = np.zeros((4, len(batch.mel)), np.int64)
    numbers[3] = frames
    ends = [stream._reached(mel.shape[-1], last=last) for stream, mel, last in replies]
    batch.mel.zero_()
    mels: list[tuple[Tensor, Tensor]] = []
    sources: list[tuple[Tensor, Tensor]] = []
    for row, ((stream, mel, last), (voiced, _)) in enumerate(zip(replies, ends, strict=True)):
        kept, known = stream._mel.shape[-1], stream.frames(mel.shape[-1])
        mels += [
            (batch.mel[row, :, :kept], stream._mel[0]),
            (batch.mel[row, :, kept:known], mel[0]),
        ]
        source = stream._source[0, 0]
        sources.append((batch.source[row, 0, : len(source)], source))
        start = stream._start
        end = known if last else frames
        numbers[:, row] = start, stream._voiced - start, voiced - start, end
    phases = batch.phase[: len(replies)].unbind()
    copy_rows(phases, [stream._phase for stream, _, _ in replies])
    for pairs in (mels, sources):
        copy_rows(*zip(*pairs, strict=True))
    batch.numbers.copy_(torch.from_numpy(numbers))
    run()
    made, sound, mel_left, source_left = [], [], [], []
    for row, ((stream, mel, _), (voiced, ready)) in enumerate(zip(replies, ends, strict=True)):
        after = copy.copy(stream)
        start, known = stream._start, stream.frames(mel.shape[-1])
        after._voiced, after._spoken = voiced, ready
        after._start = max(start, ready - stream._hift.reach - PITCH_REACH)
        gone = after._start - start
        sound.append(batch.sound[row, (stream._spoken - start) * hop : (ready - start) * hop])
        mel_left.append(batch.mel[row : row + 1, :, gone:known])
        source_left.append(batch.source[row, 0, gone * hop : (voiced - start) * hop])
        made.append(after)
    left = zip(made, copied(mel_left), copied(source_left), copied(phases), strict=True)
    for after, known_mel, source, phase in left:
        after._mel, after._source, after._phase = known_mel, source[None, None], phase
    return list(zip(copied(sound), made, strict=True))

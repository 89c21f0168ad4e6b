"""One spoken reply: speech tokens in as they are generated, samples out as soon as final."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from voicerag_core.cancellation import check_cancelled
from voicerag_core.closing import Closing
from voicerag_core.errors import GenerationError
from voicerag_core.glm.decoder.networks import DecoderNetworks
from voicerag_core.glm.decoder.schedule import Schedule, checked_tokens, cross_fade
from voicerag_core.glm.decoder.vocoder import VocoderStream
from voicerag_core.types import Samples

__all__ = ["DecoderStream"]


class DecoderStream(Closing):
    """Decodes one reply; made by `SpeechDecoder.open_stream`. For one thread at a time.

    The sound depends only on the tokens and the schedule, not on how the tokens are split over
    calls. Every token becomes sound: n tokens give `SpeechDecoder.samples` (n) samples. Memory is
    bounded.

    Args:
        networks: Shared.
        schedule: How the reply is cut.
    """

    def __init__(self, networks: DecoderNetworks, schedule: Schedule) -> None:
        schedule.check(networks.config.flow.block_tokens)
        self._networks = networks
        self._schedule = schedule
        self._vocoder: VocoderStream | None = networks.vocoder_stream()
        self._tokens: list[int] = []  # from `_first` on
        self._first = 0
        self._decoded = 0  # tokens whose mel was made
        self._blocks = 0
        mels = networks.config.flow.mels
        empty = torch.zeros(1, mels, 0, device=networks.device)
        self._past = empty  # final mel of the history, before the frames in `_held`
        self._held = empty  # mel that the next block makes again

    @property
    def closed(self) -> bool:
        """Whether it was closed or finished."""
        return self._vocoder is None

    def close(self) -> None:
        """Stop and release the state; nothing more can be decoded. May be called again."""
        self._vocoder = None
        self._tokens.clear()
        self._past = self._held = self._past[:, :, :0].clone()

    def push(self, tokens: Iterable[int]) -> Samples:
        """Take more speech tokens and return the sound that has become final.

        Args:
            tokens: 0 up to the size of the vocabulary.

        Returns:
            Shape [L], float32, at `SpeechDecoder.sample_rate`; often empty.

        Raises:
            GenerationError: A token is out of range, or the stream is closed.
            CancelledError: The running call was cancelled; the stream is closed.
        """
        self._open()
        self._tokens += checked_tokens(tokens, self._networks.config.flow.vocab_size)
        made: list[Samples] = []
        while len(self._tokens) - (self._decoded - self._first) >= self._next_block:
            made.append(self._decode(self._decoded + self._next_block, last=False))
        return np.concatenate(made) if made else np.zeros(0, np.float32)

    def finish(self) -> Samples:
        """Return the rest of the sound and close; empty when there were no tokens.

        Raises:
            GenerationError: The stream is closed.
            CancelledError: The running call was cancelled; the stream is closed.
        """
        self._open()
        try:
            return self._decode(self._first + len(self._tokens), last=True)
        finally:
            self.close()

    @property
    def _next_block(self) -> int:
        return self._schedule.block(self._blocks)

    def _open(self) -> VocoderStream:
        if self._vocoder is None:
            raise GenerationError("this stream is closed; open one for each reply")
        return self._vocoder

    def _decode(self, stop: int, *, last: bool) -> Samples:
        """Decode tokens up to `stop` and return what became final."""
        vocoder = self._open()
        try:
            check_cancelled()
            with self._networks.exclusive():
                mel = self._held if stop == self._decoded else self._faded(stop)
                keep = 0 if last else min(self._networks.overlap_frames, mel.shape[-1])
                cut = mel.shape[-1] - keep
                final, self._held = mel[:, :, :cut], mel[:, :, cut:]
                sound = vocoder.push(final, last=last).cpu().numpy()
        except BaseException:
            self.close()
            raise
        self._blocks += 1
        self._decoded = stop
        self._past = torch.cat((self._past, final), dim=-1)
        self._forget()
        return sound

    def _faded(self, stop: int) -> Tensor:
        """Make the mel of a block and fade the held frames into it; shape [1, mels, T]."""
        flow = self._networks.flow
        window = torch.tensor([self._tokens[: stop - self._first]], device=self._networks.device)
        begin = flow.frames(self._first)
        noise = self._networks.flow_noise(begin, flow.frames(stop))
        mel = flow.mel(window, noise, known=self._past, sampler=self._networks.sampler)
        made = mel[:, :, self._past.shape[-1] :]
        overlap = self._held.shape[-1]
        return torch.cat((cross_fade(self._held, made[:, :, :overlap]), made[:, :, overlap:]), -1)

    def _forget(self) -> None:
        """Drop tokens and mel before the history of the next block."""
        block = self._networks.config.flow.block_tokens
        first = max(0, self._decoded - self._schedule.history_tokens) // block * block
        if first > self._first:
            flow = self._networks.flow
            frames = flow.frames(first) - flow.frames(self._first)
            self._tokens = self._tokens[first - self._first :]
            self._past = self._past[:, :, frames:].clone()
            self._first = first

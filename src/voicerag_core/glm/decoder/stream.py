"""One spoken reply: speech tokens in as they are generated, sound out as early as it is final."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import ConfigError, GenerationError
from voicerag_core.glm.decoder.vocoder import VocoderStream
from voicerag_core.types import Samples

if TYPE_CHECKING:
    from voicerag_core.glm.decoder.decoder import SpeechDecoder

__all__ = ["DecoderStream", "Schedule", "checked_tokens", "cross_fade"]

OVERLAP_TOKENS = 5
"""Tokens at the end of a block whose mel the next block makes again, and that are faded from one
to the other; 34 frames. Source: flow_inference.py of THUDM/GLM-4-Voice @ eb00ce9,
`token_overlap_len`."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a reply is cut into blocks; all numbers are multiples of the encoder's block of 10.

    Args:
        block_tokens: Tokens of the first, second, ... block; the last number goes on for ever.
            The first sound is made from the first block; longer blocks cost less in all.
        history_tokens: Tokens before a block that are decoded with it, so that it goes on from
            them; at 12.5 tokens a second. Without the bound a reply of n tokens costs O(n²).
    """

    block_tokens: tuple[int, ...] = (10, 10, 20, 40, 100)
    history_tokens: int = 50

    def check(self, block: int) -> None:
        """Compare with the encoder's block.

        Raises:
            ConfigError: A number is not a multiple of it, or there is none.
        """
        sizes = (*self.block_tokens, self.history_tokens)
        if not self.block_tokens or any(size % block or size < block for size in sizes):
            raise ConfigError(
                f"blocks of {self.block_tokens} tokens after {self.history_tokens} of history: "
                f"each number must be a positive multiple of {block}, the encoder's block"
            )

    def windows(self, block: int, count: int) -> Iterator[tuple[int, int]]:
        """Yield the first token and the one after the last of the windows decoded.

        Args:
            block: Tokens of the encoder's block.
            count: How many windows.
        """
        stop = 0
        for index in range(count):
            first = max(0, stop - self.history_tokens) // block * block
            stop += self.block(index)
            yield first, stop

    def block(self, index: int) -> int:
        """Return the tokens of a block, from 0."""
        return self.block_tokens[min(index, len(self.block_tokens) - 1)]


class DecoderStream:
    """Decodes one reply; made by `SpeechDecoder.open_stream`. For one thread at a time.

    The sound depends on the tokens and the schedule alone, not on how the tokens are handed over.
    Every token becomes sound: n tokens give `SpeechDecoder.samples` (n) samples. Memory is bounded.

    Args:
        decoder: Shared.
        schedule: How the reply is cut.
    """

    def __init__(self, decoder: SpeechDecoder, schedule: Schedule) -> None:
        schedule.check(decoder.config.flow.block_tokens)
        self._decoder = decoder
        self._schedule = schedule
        self._vocoder: VocoderStream | None = decoder.vocoder_stream()
        self._tokens: list[int] = []  # from `_first` on
        self._first = 0
        self._decoded = 0  # tokens whose mel was made
        self._blocks = 0
        mels = decoder.config.flow.mels
        empty = torch.zeros(1, mels, 0, device=decoder.device)
        self._past = empty  # final mel of the history, up to the frames in `_held`
        self._held = empty  # mel that the next block makes again

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed or finished."""
        return self._vocoder is None

    def close(self) -> None:
        """Stop, and let go of what is held; nothing more can be decoded. May be called again."""
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
            CancelledError: The running call was called off; the stream is closed.
        """
        self._open()
        self._tokens += checked_tokens(tokens, self._decoder.config.flow.vocab_size)
        made: list[Samples] = []
        while len(self._tokens) - (self._decoded - self._first) >= self._next_block:
            made.append(self._decode(self._decoded + self._next_block, last=False))
        return np.concatenate(made) if made else np.zeros(0, np.float32)

    def finish(self) -> Samples:
        """Return the rest of the sound and close; empty when there were no tokens.

        Raises:
            GenerationError: The stream is closed.
            CancelledError: The running call was called off; the stream is closed.
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
            with self._decoder.exclusive():
                mel = self._held if stop == self._decoded else self._faded(stop)
                keep = 0 if last else min(self._decoder.overlap_frames, mel.shape[-1])
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
        flow = self._decoder.flow
        window = torch.tensor([self._tokens[: stop - self._first]], device=self._decoder.device)
        begin = flow.frames(self._first)
        noise = self._decoder.flow_noise(begin, flow.frames(stop))
        mel = flow.mel(window, noise, known=self._past, sampler=self._decoder.sampler)
        made = mel[:, :, self._past.shape[-1] :]
        overlap = self._held.shape[-1]
        return torch.cat((cross_fade(self._held, made[:, :, :overlap]), made[:, :, overlap:]), -1)

    def _forget(self) -> None:
        """Drop tokens and mel before the history of the next block."""
        block = self._decoder.config.flow.block_tokens
        first = max(0, self._decoded - self._schedule.history_tokens) // block * block
        if first > self._first:
            flow = self._decoder.flow
            frames = flow.frames(first) - flow.frames(self._first)
            self._tokens = self._tokens[first - self._first :]
            self._past = self._past[:, :, frames:].clone()
            self._first = first


def cross_fade(old: Tensor, new: Tensor) -> Tensor:
    """Fade from one mel to another of the same shape with the halves of a Hann window.

    The two weights of a frame sum to one, so equal inputs are returned as they are.

    Args:
        old: Shape [B, mels, T].
        new: The same.
    """
    frames = old.shape[-1]
    if frames == 0:
        return new
    place = (torch.arange(frames, device=old.device) + 0.5) / frames
    rise = 0.5 - 0.5 * torch.cos(torch.pi * place)
    return old + rise * (new - old)


def checked_tokens(tokens: Iterable[int], vocab_size: int) -> Sequence[int]:
    """Return speech tokens as a list.

    Raises:
        GenerationError: One is out of range.
    """
    checked = [int(token) for token in tokens]
    wrong = next((token for token in checked if not 0 <= token < vocab_size), None)
    if wrong is not None:
        raise GenerationError(
            f"{wrong} is no speech token; expected 0 to {vocab_size - 1}, which is the id in the "
            "language model's vocabulary less that of <|audio_0|>"
        )
    return checked

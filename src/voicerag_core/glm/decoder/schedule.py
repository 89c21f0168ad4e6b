"""How a reply is cut into blocks, and how the mel of one block is joined to that of the next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from voicerag_core.errors import ConfigError, GenerationError

__all__ = ["OVERLAP_TOKENS", "Schedule", "checked_tokens", "cross_fade", "overlap_frames"]

OVERLAP_TOKENS = 5
"""Tokens at the end of a block that the next block decodes again, cross-faded; 34 frames.

Source: flow_inference.py of THUDM/GLM-4-Voice @ eb00ce9, `token_overlap_len`.
"""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a reply is cut into blocks; all numbers are multiples of the encoder's block of 10.

    Args:
        block_tokens: Tokens of the first, second, ... block; the last number repeats. The first
            sound comes from the first block; longer blocks cost less overall.
        history_tokens: Tokens before a block that are decoded with it, so that it continues from
            them, at 12.5 tokens per second. Without the bound a reply of n tokens costs O(n²).
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


def overlap_frames(token_rate: float, sample_rate: int, hop_samples: int) -> int:
    """Return the mel frames of the tokens that two blocks share.

    Args:
        token_rate: Speech tokens per second.
        sample_rate: Hz.
        hop_samples: Samples of one mel frame.
    """
    return math.floor(OVERLAP_TOKENS / token_rate * sample_rate / hop_samples)


def cross_fade(old: Tensor, new: Tensor) -> Tensor:
    """Fade from one mel to another of the same shape with the halves of a Hann window.

    The two weights of a frame sum to one, so equal inputs are returned unchanged.

    Args:
        old: Shape [B, mels, T].
        new: The same.
    """
    frames = old.shape[-1]
    if frames == 0:
        return new
    return old + _rise(frames, old.device) * (new - old)


@lru_cache
def _rise(frames: int, device: torch.device) -> Tensor:
    place = (torch.arange(frames, device=device) + 0.5) / frames
    return 0.5 - 0.5 * torch.cos(torch.pi * place)


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

"""Sampling of the next token: temperature and nucleus on the device, noise from the reply's seed.

The noise is drawn on the CPU from a generator that belongs to the reply, so a seed gives the same
ids on every device, and nothing else in the process is reseeded. `sample` synchronises nothing and
has fixed shapes: it can be part of a CUDA graph.
"""

from __future__ import annotations

import numpy as np
import torch

from voicerag_core.errors import ConfigError, GenerationError
from voicerag_core.types import Sampling

__all__ = ["NOT_FINITE", "UNDECIDED", "checked_sampling", "finite", "sample", "uniform_noise"]

NOT_FINITE = -1
"""Returned by `sample` instead of an id when the scores are not numbers."""

UNDECIDED = -2
"""Returned by `sample_top` where only `sample` can decide."""


def finite(token: int) -> int:
    """Return a sampled id.

    Raises:
        GenerationError: It is `NOT_FINITE`.
    """
    if token == NOT_FINITE:
        raise GenerationError(
            "the model's scores are not numbers: its weights are damaged (load them with "
            "check_finite=True to find the tensor), or float16 overflowed where bfloat16 was needed"
        )
    return token


def checked_sampling(sampling: Sampling) -> Sampling:
    """Return the parameters if one can sample with them.

    Raises:
        ConfigError: A value is out of its range.
    """
    problem = None
    if not (np.isfinite(sampling.temperature) and sampling.temperature >= 0):
        problem = f"temperature is at least 0, not {sampling.temperature}"
    elif not 0 < sampling.top_p <= 1:
        problem = f"top_p is above 0 and at most 1, not {sampling.top_p}"
    elif sampling.max_new_tokens < 1:
        problem = f"max_new_tokens is at least 1, not {sampling.max_new_tokens}"
    if problem:
        raise ConfigError(f"sampling: {problem}")
    return sampling


def uniform_noise(sampling: Sampling, batch: int = 1) -> torch.Tensor:
    """Draw the noise of a whole reply.

    Args:
        sampling: Its seed repeats the noise; None draws it anew.
        batch: Replies.

    Returns:
        [max_new_tokens, batch] float32 in 0..1, on the CPU.
    """
    numbers = np.random.default_rng(sampling.seed).random(
        (sampling.max_new_tokens, batch), np.float32
    )
    return torch.from_numpy(numbers)


def sample(
    logits: torch.Tensor,
    allowed: torch.Tensor,
    noise: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
) -> torch.Tensor:
    """Sample an id per row from the smallest set of likeliest allowed ids with a mass of `top_p`.

    Args:
        logits: [B, V], any float.
        allowed: [B, V] or [V] bool.
        noise: [B] float32 in 0..1, uniform.
        temperature: Scalar tensor or [B]; 0 takes the likeliest id.
        top_p: Scalar tensor or [B], in 0..1.

    Returns:
        [B] int64; `NOT_FINITE` where a score was not a number.

    Source: the nucleus is that of Holtzman et al. 2020, section 3.1, with at least one id, as
    transformers' TopPLogitsWarper has it.
    """
    scores = logits.float()
    broken = ~torch.isfinite(scores).all(dim=-1)
    scores = scores.masked_fill(~allowed, -torch.inf)
    temperature, top_p = temperature.reshape(-1, 1), top_p.reshape(-1, 1)
    greedy = temperature <= 0
    masses = torch.softmax(scores / torch.where(greedy, 1.0, temperature), dim=-1)
    masses, order = masses.sort(dim=-1, descending=True, stable=True)
    before = masses.cumsum(dim=-1) - masses
    kept = (before < torch.where(greedy, 0.0, top_p)) & (masses > 0)
    kept[:, 0] = True
    reached = (masses * kept).cumsum(dim=-1)
    target = noise[:, None] * reached[:, -1:]
    place = (reached <= target).sum(dim=-1, keepdim=True)
    place = torch.minimum(place, kept.sum(dim=-1, keepdim=True) - 1)
    ids = order.gather(1, place)[:, 0]
    return torch.where(broken, NOT_FINITE, ids)

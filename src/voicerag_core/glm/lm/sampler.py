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

__all__ = [
    "NOT_FINITE",
    "UNDECIDED",
    "checked_sampling",
    "finite",
    "sample",
    "sample_top",
    "uniform_noise",
]

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
    masses, broken = _masses(logits, allowed, temperature)
    masses, order = masses.sort(dim=-1, descending=True, stable=True)
    ids, _ = _drawn(masses, order, noise, temperature, top_p)
    return torch.where(broken, NOT_FINITE, ids)


def sample_top(
    logits: torch.Tensor,
    allowed: torch.Tensor,
    noise: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
    *,
    most: int = 1024,
) -> torch.Tensor:
    """Sample as `sample` does, from the likeliest ids alone: for many rows, a sort takes too long.

    Args:
        logits: See `sample`, also for what else is not named here.
        allowed: As above.
        noise: As above.
        temperature: As above.
        top_p: As above.
        most: Ids that are looked at.

    Returns:
        [B] int64; `UNDECIDED` where the nucleus may hold more than these ids.
    """
    masses, broken = _masses(logits, allowed, temperature)
    most = min(most, masses.shape[-1])
    top, order = masses.topk(most, dim=-1)
    order, places = order.sort(dim=-1)  # ids of one mass in their order, as a stable sort has them
    top, places = top.gather(1, places).sort(dim=-1, descending=True, stable=True)
    ids, kept = _drawn(top, order.gather(1, places), noise, temperature, top_p)
    at_edge = kept & (top == top[:, -1:])
    undecided = at_edge.any(dim=-1) & (most < masses.shape[-1])
    return torch.where(broken, NOT_FINITE, torch.where(undecided, UNDECIDED, ids))


def _masses(
    logits: torch.Tensor, allowed: torch.Tensor, temperature: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the probabilities [B, V], and which rows [B] have scores that are no numbers."""
    scores = logits.float()
    broken = ~torch.isfinite(scores).all(dim=-1)
    temperature = temperature.reshape(-1, 1)
    scores = scores.masked_fill(~allowed, -torch.inf)
    return torch.softmax(scores / torch.where(temperature <= 0, 1.0, temperature), dim=-1), broken


def _drawn(
    masses: torch.Tensor,
    order: torch.Tensor,
    noise: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw from falling masses [B, K] of the ids `order`; return also which are in the nucleus."""
    before = masses.cumsum(dim=-1) - masses
    share = torch.where(temperature <= 0, 0.0, top_p).reshape(-1, 1)
    kept = (before < share) & (masses > 0)
    kept[:, 0] = True
    reached = (masses * kept).cumsum(dim=-1)
    target = noise[:, None] * reached[:, -1:]
    place = (reached <= target).sum(dim=-1, keepdim=True)
    place = torch.minimum(place, kept.sum(dim=-1, keepdim=True) - 1)
    return order.gather(1, place)[:, 0], kept

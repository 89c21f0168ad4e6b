"""Drawing the next token: temperature and nucleus on the device, random numbers of its own.

The random numbers are drawn on the CPU from a generator that belongs to the reply, so a seed gives
the same draws on every device, and nothing else in the process is reseeded. `pick` synchronises
nothing and has fixed shapes: it can be part of a CUDA graph.
"""

from __future__ import annotations

import numpy as np
import torch

from voicerag_core.errors import ConfigError
from voicerag_core.types import Sampling

__all__ = ["NOT_FINITE", "checked_sampling", "draws", "pick"]

NOT_FINITE = -1
"""Given by `pick` instead of an id when the scores are not numbers."""


def checked_sampling(sampling: Sampling) -> Sampling:
    """Refuse what cannot be drawn with.

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


def draws(sampling: Sampling, batch: int = 1) -> torch.Tensor:
    """Draw the uniform numbers of a whole reply.

    Args:
        sampling: Its seed repeats them; None draws fresh ones.
        batch: Replies.

    Returns:
        [max_new_tokens, batch] float32 in 0..1, on the CPU.
    """
    numbers = np.random.default_rng(sampling.seed).random(
        (sampling.max_new_tokens, batch), np.float32
    )
    return torch.from_numpy(numbers)


def pick(
    logits: torch.Tensor,
    legal: torch.Tensor,
    uniform: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
) -> torch.Tensor:
    """Draw an id a row from the smallest set of likeliest legal ids whose mass reaches `top_p`.

    Args:
        logits: [B, V], any float.
        legal: [B, V] or [V] bool.
        uniform: [B] float32 in 0..1.
        temperature: Scalar tensor; 0 takes the likeliest id.
        top_p: Scalar tensor in 0..1.

    Returns:
        [B] int64; `NOT_FINITE` where a score was not a number.

    Source: the nucleus is that of Holtzman et al. 2020, section 3.1, with at least one id, as
    transformers' TopPLogitsWarper has it.
    """
    scores = logits.float()
    broken = ~torch.isfinite(scores).all(dim=-1)
    scores = scores.masked_fill(~legal, -torch.inf)
    greedy = temperature <= 0
    masses = torch.softmax(scores / torch.where(greedy, 1.0, temperature), dim=-1)
    masses, order = masses.sort(dim=-1, descending=True, stable=True)
    before = masses.cumsum(dim=-1) - masses
    kept = (before < torch.where(greedy, 0.0, top_p)) & (masses > 0)
    kept[:, 0] = True
    reached = (masses * kept).cumsum(dim=-1)
    target = uniform[:, None] * reached[:, -1:]
    place = (reached <= target).sum(dim=-1, keepdim=True)
    place = torch.minimum(place, kept.sum(dim=-1, keepdim=True) - 1)
    ids = order.gather(1, place)[:, 0]
    return torch.where(broken, NOT_FINITE, ids)

"""One vector out of two, and one ranking out of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from voicerag_core.types import Embedding, Hit

__all__ = ["SPEECH_SHARE", "fused", "mixed"]

SPEECH_SHARE = 0.75
"""Part of the speech vector in the vector that ``hybrid`` searches by; the rest is the
transcript's. Chosen by training/thresholds/adaptive.py on development questions."""


def mixed(speech: Embedding, transcript: Embedding) -> Embedding:
    """Return the weighted mean of two unit vectors, [D], L2-normalised.

    Args:
        speech: Vector of the sound.
        transcript: Vector of its words.
    """
    # The store fuses one ranking by vector with one ranking by words. Were speech and transcript
    # ranked on their own, the transcript would have two of three votes (its vector and its words)
    # and outvote the sound exactly where the recogniser misheard. Both vectors lie in one space, so
    # their mean is a vector of it, and one look into the index serves both.
    mean = SPEECH_SHARE * speech + (1 - SPEECH_SHARE) * transcript
    # Opposite vectors can cancel each other out; the floor keeps the division finite.
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)


RANK_OFFSET = 5
"""Added to ranks, from 0, before their reciprocals are summed: chosen with the weights."""


def fused(first: Sequence[Hit], second: Sequence[Hit], weight: float) -> tuple[Hit, ...]:
    """Return one ranking out of two by reciprocal ranks, each passage once.

    A passage of both keeps the score of the first.

    Args:
        first: Best first.
        second: Best first.
        weight: Of the second ranking; that of the first is 1.
    """
    hits: dict[str, Hit] = {}
    votes: dict[str, float] = {}
    for ranking, share in ((first, 1.0), (second, weight)):
        for place, hit in enumerate(ranking):
            hits.setdefault(hit.passage.id, hit)
            vote = share / (RANK_OFFSET + place)
            votes[hit.passage.id] = votes.get(hit.passage.id, 0.0) + vote
    order = sorted(votes, key=lambda passage: -votes[passage])
    return tuple(replace(hits[name], rank=rank) for rank, name in enumerate(order, 1))

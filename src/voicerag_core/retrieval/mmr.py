"""Re-ranking for variety: maximal marginal relevance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voicerag_core.errors import ConfigError, StoreError
from voicerag_core.types import Embedding, Hit

__all__ = ["MMR_CANDIDATES", "maximal_marginal_relevance"]

MMR_CANDIDATES = 4
"""Candidates fetched for each hit asked, before the re-ranking."""


def maximal_marginal_relevance(
    embedding: Embedding, hits: Sequence[Hit], *, limit: int, diversity: float = 0.5
) -> tuple[Hit, ...]:
    """Pick hits one by one, each near the question and far from those picked before.

    The next hit is the one with the greatest (1 - d) * cos(question, hit) - d * max over the
    picked of cos(picked, hit).

    Args:
        embedding: The question's vector, [D], L2-normalised.
        hits: Candidates with their vectors, as ``PassageStore.search(..., with_vectors=True)``.
        limit: Most hits to give.
        diversity: d in the formula, 0..1; 0 keeps the order by similarity.

    Raises:
        ConfigError: `diversity` is not in 0..1.
        StoreError: A hit carries no vector.

    Source: Carbonell and Goldstein, SIGIR 1998, section 2, with lambda = 1 - d.
    """
    if not 0 <= diversity <= 1:
        raise ConfigError(f"diversity lies in 0..1, not {diversity}")
    if not hits:
        return ()
    vectors = []
    for hit in hits:
        if hit.embedding is None:
            raise StoreError(
                f"passage {hit.passage.id!r} came without its vector; search with_vectors=True"
            )
        vectors.append(hit.embedding)
    matrix = np.stack(vectors)
    relevance = matrix @ embedding
    redundancy = np.full(len(hits), -np.inf)
    picked: list[int] = []
    while len(picked) < min(limit, len(hits)):
        gain = (1 - diversity) * relevance
        if picked:
            gain = gain - diversity * redundancy
        gain[picked] = -np.inf
        best = int(np.argmax(gain))
        picked.append(best)
        redundancy = np.maximum(redundancy, matrix @ matrix[best])
    return tuple(hits[i] for i in picked)

"""Made-up rows whose vectors lie in clusters, as those of real texts do, for any number of rows.

One centre for 50 rows; a row is its centre plus noise of 0.7 of a unit normal in each dimension,
normalised. Questions are further draws from the clusters, not stored rows. Rows are drawn in
batches, each from its own seed, so that a million need no memory at once and every part of a run
sees the same ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicerag_core.types import Embeddings, Passage

__all__ = ["BATCH", "OWNERS", "Clustered", "Rows"]

BATCH = 5000
OWNERS = 100
_PER_CENTRE = 50
_NOISE = 0.7
_SEED = 20261129
_WORDS = np.array([f"w{i}" for i in range(5000)])


@dataclass(frozen=True)
class Rows:
    """Some rows.

    Args:
        ids: UUIDs.
        texts: Of a dozen words.
        owner: A number below `OWNERS`; each owns 1 %.
        vectors: [N, D], normalised.
    """

    ids: list[str]
    texts: list[str]
    owner: NDArray[np.int64]
    vectors: Embeddings

    def passages(self) -> list[Passage]:
        """Return them as passages."""
        return [
            Passage(key, text, {"owner": int(owner)})
            for key, text, owner in zip(self.ids, self.texts, self.owner, strict=True)
        ]


class Clustered:
    """Rows and questions.

    Args:
        rows: How many.
        dim: Width of the vectors.
    """

    def __init__(self, rows: int, dim: int) -> None:
        self.rows = rows
        self.dim = dim
        random = np.random.default_rng(_SEED)
        self._centres = random.standard_normal((max(1, rows // _PER_CENTRE), dim), np.float32)

    def batches(self, start: int = 0) -> Iterator[Rows]:
        """Yield all rows from `start` on, a multiple of `BATCH`."""
        for first in range(start, self.rows, BATCH):
            yield self._batch(first, min(BATCH, self.rows - first))

    def questions(self, count: int) -> Embeddings:
        """Return vectors [count, D] of no stored row."""
        return self._drawn(np.random.default_rng([_SEED, 1]), count)

    def nearest(
        self, questions: Embeddings, limit: int, owner: int | None = None
    ) -> NDArray[np.int64]:
        """Return the numbers of the nearest rows [count, limit], of one owner or of all."""
        scores = np.full((len(questions), limit), -np.inf, np.float32)
        numbers = np.zeros((len(questions), limit), np.int64)
        for first, rows in zip(range(0, self.rows, BATCH), self.batches(), strict=True):
            found = questions @ rows.vectors.T
            if owner is not None:
                found[:, rows.owner != owner] = -np.inf
            here = np.arange(first, first + len(rows.ids))
            scores = np.concatenate([scores, found], axis=1)
            numbers = np.concatenate([numbers, np.broadcast_to(here, found.shape)], axis=1)
            best = np.argpartition(-scores, limit - 1, axis=1)[:, :limit]
            scores = np.take_along_axis(scores, best, axis=1)
            numbers = np.take_along_axis(numbers, best, axis=1)
        return numbers

    def _batch(self, first: int, count: int) -> Rows:
        random = np.random.default_rng([_SEED, 2, first])
        words = random.choice(_WORDS, (count, 12))
        return Rows(
            ids=[key_of(number) for number in range(first, first + count)],
            texts=[" ".join(row) for row in words],
            owner=(np.arange(first, first + count) * 37) % OWNERS,
            vectors=self._drawn(random, count),
        )

    def _drawn(self, random: np.random.Generator, count: int) -> Embeddings:
        chosen = self._centres[random.integers(0, len(self._centres), count)]
        rows = chosen + _NOISE * random.standard_normal((count, self.dim), np.float32)
        unit: Embeddings = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


def key_of(number: int) -> str:
    """Return the id of a row."""
    return str(uuid.UUID(int=number + 1))

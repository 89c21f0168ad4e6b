"""Rows whose vectors are of real texts: the sentences of the evaluation sets, and their questions.

Each sentence of the passages of XQuAD, HeySQuAD, HotpotQA and RGB is a row, once, in an order that
is drawn; its vector is that of MiniLM, as are those of the questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.store.clustered import BATCH, OWNERS, Rows, key_of
from voicerag_core.evaluation.datasets import load_set
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.sentences import split_sentences
from voicerag_core.types import Embeddings

__all__ = ["RealTexts"]

SETS = ("xquad-en", "heysquad-original", "hotpotqa", "rgb-en")
LEAST_CHARACTERS = 20
_SEED = 20261130


class RealTexts:
    """Rows and questions, as `Clustered` has them.

    Args:
        data: Folder of the sets.
    """

    def __init__(self, data: Path) -> None:
        sets = [load_set(name, data) for name in SETS]
        texts = sorted(
            {
                sentence
                for one in sets
                for passage in one.passages
                for sentence in split_sentences(passage.text)
                if len(sentence) >= LEAST_CHARACTERS
            }
        )
        random = np.random.default_rng(_SEED)
        self._texts = [texts[place] for place in random.permutation(len(texts))]
        asked = sorted({question.text for one in sets for question in one.questions})
        self._asked = [asked[place] for place in random.permutation(len(asked))]
        self._embedder = MiniLMEmbedder()
        self._vectors = self._embedder.embed_passages(self._texts)
        self.rows, self.dim = self._vectors.shape

    def batches(self) -> Iterator[Rows]:
        """Yield all rows."""
        owner = (np.arange(self.rows) * 37) % OWNERS
        for first in range(0, self.rows, BATCH):
            part = slice(first, min(first + BATCH, self.rows))
            ids = [key_of(number) for number in range(part.start, part.stop)]
            yield Rows(ids, self._texts[part], owner[part], self._vectors[part])

    def questions(self, count: int) -> Embeddings:
        """Return the vectors [count, D] of questions."""
        return self._embedder.embed_passages(self._asked[:count])

    def nearest(
        self, questions: Embeddings, limit: int, owner: int | None = None
    ) -> NDArray[np.int64]:
        """Return the numbers of the nearest rows [count, limit], of one owner or of all."""
        scores = questions @ self._vectors.T
        if owner is not None:
            scores[:, (np.arange(self.rows) * 37) % OWNERS != owner] = -np.inf
        best: NDArray[np.int64] = np.argsort(-scores, axis=1, kind="stable")[:, :limit]
        return best

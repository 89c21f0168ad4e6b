"""Rows whose vectors are of real texts: those of the evaluation sets, and their questions.

A row is a sentence of the passages of XQuAD, HeySQuAD, HotpotQA and RGB, or a passage as the
product cuts them, once each, in an order that is drawn; its vector is that of MiniLM, as are those
of the questions. The sets hold 8,154 different sentences and a third as many passages: the
sentences are the most rows of real English text that they give, the passages are rows as people
store them, with three times as many words for one vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.store.clustered import BATCH, OWNERS, Rows, key_of
from voicerag_core.chunking import chunk_document
from voicerag_core.evaluation.datasets import load_set
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.sentences import split_sentences
from voicerag_core.types import Document, Embeddings

__all__ = ["RealTexts"]

SETS = ("xquad-en", "heysquad-original", "hotpotqa", "rgb-en")
LEAST_CHARACTERS = 20
_SEED = 20261130


class RealTexts:
    """Rows and questions, as `Clustered` has them.

    Args:
        data: Folder of the sets.
        passages: Rows are passages, not sentences.
    """

    def __init__(self, data: Path, *, passages: bool = False) -> None:
        sets = [load_set(name, data) for name in SETS]
        cut = _passages if passages else split_sentences
        texts = sorted(
            {
                text
                for one in sets
                for passage in one.passages
                for text in cut(passage.text)
                if len(text) >= LEAST_CHARACTERS
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


def _passages(text: str) -> list[str]:
    """Cut a text as it is cut when it is stored."""
    return [passage.text for passage in chunk_document(Document("text", text))]

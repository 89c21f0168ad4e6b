"""A text embedding model that is given as functions, as the frameworks have them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import ModelError, VoiceRAGError
from voicerag_core.types import Embeddings

__all__ = ["FunctionEmbedder"]

Vectors: TypeAlias = Sequence[Sequence[float]]

BATCH = 32
"""Texts per call; a cancelled caller waits for no further one."""
SAME = 0.9999
"""Cosine above which two vectors of one text are the same, but for rounding."""


class FunctionEmbedder:
    """A `TextEmbedder` made of a function for documents and one for questions.

    If both give the same vector for a text, several questions are embedded by one call of the
    function for documents. Thread-safe if the functions are.

    Args:
        documents: Embeds texts of documents, one vector each.
        question: Embeds one question.
        model_id: Name of the vector space; written beside the vectors.
        query_prefix: Put before questions, for a model that expects it and does not add it itself;
            part of the id.
        passage_prefix: Put before texts of documents.
    """

    def __init__(
        self,
        documents: Callable[[list[str]], Vectors],
        question: Callable[[str], Sequence[float]],
        *,
        model_id: str,
        query_prefix: str = "",
        passage_prefix: str = "",
    ) -> None:
        prefixes = f"+{query_prefix!r}+{passage_prefix!r}" if query_prefix or passage_prefix else ""
        self.model_id = model_id + prefixes
        self._documents = documents
        self._question = question
        self._query_prefix = query_prefix
        self._passage_prefix = passage_prefix
        self._dim: int | None = None
        self._one_side: bool | None = None
        self._lock = threading.Lock()

    @property
    def dim(self) -> int:
        """Width of the vectors; the first look at it embeds a word.

        Raises:
            ModelError: The model failed.
        """
        with self._lock:
            known = self._dim
        return self._rows(["width"], self._documents).shape[1] if known is None else known

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """Embed N texts of documents as [N, D], L2-normalised.

        Raises:
            ModelError: The model failed, or its vectors are not finite or of several widths.
        """
        return self._rows([self._passage_prefix + text for text in texts], self._documents)

    def embed_questions(self, texts: Sequence[str]) -> Embeddings:
        """Embed N questions as [N, D], L2-normalised.

        Raises:
            ModelError: The model failed, or its vectors are not finite or of several widths.
        """
        asked = [self._query_prefix + text for text in texts]
        if len(asked) < 2:  # noqa: PLR2004
            return self._rows(asked, self._one_by_one)
        if self._one_side is None:
            together = self._rows(asked, self._documents)
            first = self._rows(asked[:1], self._one_by_one)
            self._one_side = bool(first[0] @ together[0] > SAME)
            if self._one_side:
                return together
        return self._rows(asked, self._documents if self._one_side else self._one_by_one)

    def _one_by_one(self, texts: list[str]) -> Vectors:
        return [self._question(text) for text in texts]

    def _rows(self, texts: list[str], embed: Callable[[list[str]], Vectors]) -> Embeddings:
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        vectors: list[Sequence[float]] = []
        for start in range(0, len(texts), BATCH):
            check_cancelled()
            try:
                vectors += embed(texts[start : start + BATCH])
            except VoiceRAGError:
                raise
            except Exception as error:
                raise ModelError(f"the embedding model {self.model_id} failed: {error}") from error
        return self._checked(vectors, len(texts))

    def _checked(self, vectors: Sequence[Sequence[float]], wanted: int) -> Embeddings:
        widths = sorted({len(vector) for vector in vectors})
        if len(vectors) != wanted or len(widths) != 1:
            raise ModelError(
                f"the embedding model {self.model_id} gave {len(vectors)} vectors of width "
                f"{', '.join(map(str, widths))} for {wanted} texts; one of one width is due for "
                "each"
            )
        rows = np.asarray(vectors, np.float32)
        with self._lock:
            if self._dim not in (None, widths[0]):
                raise ModelError(
                    f"the embedding model {self.model_id} gave vectors of width {self._dim} before "
                    f"and of {widths[0]} now; its settings changed"
                )
            self._dim = widths[0]
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(norms).all():
            raise ModelError(f"the embedding model {self.model_id} gave values that are not finite")
        scaled: Embeddings = (rows / np.maximum(norms, 1e-12)).astype(np.float32)
        return scaled

"""Whether an embedder and its vectors fit a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from voicerag_core.errors import EmbeddingMismatchError
from voicerag_core.store.existing.opening import OpenedTable
from voicerag_core.store.existing.probe import (
    ModelMatch,
    chosen_texts,
    compare_vectors,
    likely_models,
)
from voicerag_core.types import Embedding, Embeddings

__all__ = ["EmbedsPassages", "compared", "fitting"]


class EmbedsPassages(Protocol):
    """The side of an embedder that makes the vectors of documents."""

    @property
    def model_id(self) -> str:
        """Name of the vector space."""
        ...

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        ...

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """Embed N texts of documents as [N, D]."""
        ...


def compared(table: OpenedTable, embedder: EmbedsPassages) -> ModelMatch:
    """Embed some texts of a table again, and compare.

    Raises:
        EmbeddingMismatchError: The embedder's vectors are of another width.
    """
    width = table.width
    if not table.sample.texts or width is None:
        return ModelMatch("unknown", 0.0, 0)
    if embedder.dim != width and not table.sample.content <= embedder.dim < width:
        raise _other_width(table, embedder.dim, width)
    rows = chosen_texts(table.sample.texts)
    stored = table.sample.vectors[rows, : embedder.dim]
    stored = stored / np.maximum(np.linalg.norm(stored, axis=1, keepdims=True), 1e-12)
    texts = [table.sample.texts[row] for row in rows]
    return compare_vectors(embedder.embed_passages(texts), stored)


def fitting(table: OpenedTable, embedding: Embedding) -> Embedding:
    """Return a query vector of the width of the column; where that is padded, it is too.

    Raises:
        EmbeddingMismatchError: It is of another width.
    """
    width = table.width
    given = embedding.shape[0] if embedding.ndim == 1 else -1
    if width is None or given == width:
        return embedding
    if table.sample.content < width and table.sample.content <= given < width:
        padded: Embedding = np.pad(embedding, (0, width - given))
        return padded
    raise _other_width(table, given, width)


def _other_width(table: OpenedTable, given: int, width: int) -> EmbeddingMismatchError:
    likely = likely_models(table.sample.content or width)
    return EmbeddingMismatchError(
        f"{table.column.full_name} holds vectors of width {width}, and the question's has width "
        f"{given}; give the embedder that filled the table"
        + (f" (models of this width: {likely})" if likely else "")
    )

"""What one actor does: whole documents, from the file to the database."""

from __future__ import annotations

import pickle
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from voicerag_core.ingest import BatchEmbedding, Cutting, index_sources
from voicerag_core.settings import Settings
from voicerag_core.stack import open_parts, open_store

__all__ = ["Worker"]


class Worker:
    """Holds models and a store of its own for as long as the actor lives.

    Args:
        settings: Which ones.
        cutting: How documents are split.
    """

    def __init__(self, settings: Settings, cutting: Cutting) -> None:
        self._opened = ExitStack()
        parts = self._opened.enter_context(open_parts(settings))
        self._store = self._opened.enter_context(
            open_store(settings, parts.embedder, auto_index=False)
        )
        self._embed = BatchEmbedding(parts.embedder, cutting.sentences)
        self._cutting = cutting

    def __call__(self, batch: dict[str, NDArray[np.object_]]) -> dict[str, NDArray[np.object_]]:
        """Index the documents of a batch; rows are pickled `Source` in, pickled `Indexed` out."""
        sources = [pickle.loads(row) for row in batch["source"]]  # noqa: S301 - from our driver
        done = index_sources(self._store, self._embed, sources, self._cutting)
        rows = [pickle.dumps(one) for one in done]
        column = np.empty(len(rows), dtype=object)
        column[:] = rows
        return {"indexed": column}

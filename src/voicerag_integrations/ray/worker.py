"""What one actor does: whole documents, from the file to the database."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from voicerag_core import VoiceRAGError
from voicerag_core.ingest import BatchEmbedding, Cutting, index_sources
from voicerag_core.ports import DocumentStore
from voicerag_core.settings import Settings
from voicerag_core.stack import open_parts, open_store

__all__ = ["Worker"]


class Worker:
    """Holds models and a store of its own for as long as the actor lives.

    Args:
        settings: Which ones; they are opened by the first batch.
        cutting: How documents are split.
    """

    def __init__(self, settings: Settings, cutting: Cutting) -> None:
        self._settings = settings
        self._cutting = cutting
        self._open = ExitStack()
        self._parts: tuple[DocumentStore, BatchEmbedding] | None = None

    def __call__(self, batch: dict[str, NDArray[np.object_]]) -> dict[str, NDArray[np.object_]]:
        """Index the documents of a batch; pickled `Source` in, pickled `Indexed` out.

        An error of ours goes out, too, as the last row: Ray would keep no more than its text, and
        start an actor again and again that cannot open its parts.
        """
        rows: list[bytes] = []
        try:
            rows.extend(self._indexed(batch["source"]))
        except VoiceRAGError as error:
            rows.append(_pickled(error))
        column = np.empty(len(rows), dtype=object)
        column[:] = rows
        return {"indexed": column}

    def _indexed(self, rows: NDArray[np.object_]) -> Iterator[bytes]:
        sources = [pickle.loads(row) for row in rows]  # noqa: S301 - from our driver
        store, embed = self._opened()
        for one in index_sources(store, embed, sources, self._cutting):
            yield pickle.dumps(one)

    def _opened(self) -> tuple[DocumentStore, BatchEmbedding]:
        if self._parts is None:
            parts = self._open.enter_context(open_parts(self._settings))
            store = self._open.enter_context(
                open_store(self._settings, parts.embedder, auto_index=False)
            )
            self._parts = store, BatchEmbedding(parts.embedder, self._cutting.sentences)
        return self._parts


def _pickled(error: VoiceRAGError) -> bytes:
    """Pickle an error; one that cannot be made again from its arguments by its text alone."""
    try:
        data = pickle.dumps(error)
        pickle.loads(data)  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever a constructor raises
        return pickle.dumps(VoiceRAGError(str(error)))
    return data

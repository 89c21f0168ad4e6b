"""Reranking by any cross-encoder that was exported to ONNX."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import CheckpointError
from voicerag_core.local.model_folder import LoadedModel, ModelFolder
from voicerag_core.local.threads import model_threads

__all__ = ["CrossEncoder"]

BATCH = 4
"""Pairs of one run: the longest decides over the time of all."""


class CrossEncoder:
    """A `Reranker` of a folder: one network reads question and passage together. Thread-safe.

    Args:
        folder: With tokenizer.json, an .onnx file and config.json.
        threads: Threads of one call; None uses the cores available, at most 4.

    Raises:
        CheckpointError: The folder holds no such model.
    """

    def __init__(self, folder: Path, *, threads: int | None = None) -> None:
        self._folder = ModelFolder(folder, "the reranker", "VOICERAG_RERANKER")
        self._threads = model_threads(threads)
        self._lock = threading.Lock()
        self._loaded: LoadedModel | None = None

    def warm(self) -> None:
        """Load the model now.

        Raises:
            MissingExtraError: The extra ``local`` is not installed.
            CheckpointError: A file cannot be used.
        """
        self._model()

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return for each of N texts how well it answers the question, [N]; more is better.

        Raises:
            ModelError: The model cannot be loaded or failed.
            CancelledError: The running call was cancelled; the current batch ends first.
        """
        scores = np.zeros(len(texts), np.float32)
        if not texts:
            return scores
        model = self._model()
        pairs = [model.tokenize(question, text) for text in texts]
        order = sorted(range(len(texts)), key=lambda i: len(pairs[i].ids))
        for start in range(0, len(order), BATCH):
            check_cancelled()
            batch = order[start : start + BATCH]
            outputs, _ = model.run([pairs[i] for i in batch])
            scores[batch] = self._logits(next(iter(outputs.values())))
        return scores

    def _logits(self, found: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the one score of each pair; of two classes the second is "relevant"."""
        if found.ndim == 2 and found.shape[1] in (1, 2):  # noqa: PLR2004
            logits: NDArray[np.float32] = found[:, -1] - (found[:, 0] if found.shape[1] > 1 else 0)
            return logits
        raise CheckpointError(
            f"{self._folder.network} gives values of shape {list(found.shape)}; a reranker gives "
            "one score a pair (a cross-encoder, exported for text classification)"
        )

    def _model(self) -> LoadedModel:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._folder.load(self._threads)
            return self._loaded

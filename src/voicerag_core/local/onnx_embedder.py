"""Text embeddings by any encoder in the form of sentence-transformers, exported to ONNX."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import CheckpointError
from voicerag_core.local.model_folder import LoadedModel, ModelFolder, Tokens
from voicerag_core.local.threads import model_threads
from voicerag_core.types import Embeddings

__all__ = ["OnnxEmbedder"]

MAX_BATCH = 16
MAX_BATCH_TOKENS = 1024
"""Tokens of a batch, including padding."""
QUERY_PROMPTS = ("query", "s2p_query", "question")
PASSAGE_PROMPTS = ("passage", "document", "corpus")
"""Names of prompts in the configuration files of published models."""
POOLINGS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")


class OnnxEmbedder:
    """A `TextEmbedder` of a folder. Thread-safe.

    Pooling, length and prefixes are read from the folder; the model is loaded by the first call
    that needs it. The vectors are L2-normalised in any case.

    Args:
        folder: With tokenizer.json, an .onnx file and the configuration of sentence-transformers.
        name: Name of the model in its id; None: that of the folder.
        query_prefix: Put before questions; None: as the folder says, else `usual`.
        passage_prefix: Put before texts of documents; None: as the folder says, else `usual`.
        usual: Prefixes of questions and documents if neither says anything.
        threads: Threads of one call; None uses the cores available, at most 4.

    Raises:
        CheckpointError: The folder holds no such model, or one of an unknown form.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str | None = None,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        usual: tuple[str, str] = ("", ""),
        threads: int | None = None,
    ) -> None:
        self._folder = ModelFolder(folder, "the embedding model", "VOICERAG_EMBEDDER")
        self._poolings = _poolings(self._folder)
        query, passage = _prompts(self._folder)
        self.query_prefix = _first(query_prefix, query, usual[0])
        self.passage_prefix = _first(passage_prefix, passage, usual[1])
        self._name = name or folder.resolve().name
        self._threads = model_threads(threads)
        self._lock = threading.Lock()
        self._loaded: LoadedModel | None = None
        self._model_id: str | None = None
        self._dim: int | None = None

    @property
    def model_id(self) -> str:
        """Name, network and prefixes: a change of any of them is another vector space."""
        with self._lock:
            if self._model_id is None:
                prefixes = ""
                if self.query_prefix or self.passage_prefix:
                    prefixes = f"+{self.query_prefix!r}+{self.passage_prefix!r}"
                self._model_id = f"{self._name}@{self._folder.fingerprint()}{prefixes}"
            return self._model_id

    @property
    def dim(self) -> int:
        """Width of the vectors; the first look at it may load the model.

        Raises:
            ModelError: The model cannot be loaded or failed.
        """
        with self._lock:
            known = self._dim
        return self._rows(["width"]).shape[1] if known is None else known

    def warm(self) -> None:
        """Load the model now.

        Raises:
            MissingExtraError: The extra ``local`` is not installed.
            CheckpointError: A file cannot be used.
        """
        self._model()

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """Embed N texts of documents as [N, D], L2-normalised.

        Raises:
            ModelError: The model cannot be loaded or failed.
        """
        return self._rows([self.passage_prefix + text for text in texts])

    def embed_questions(self, texts: Sequence[str]) -> Embeddings:
        """Embed N questions as [N, D], L2-normalised.

        Raises:
            ModelError: The model cannot be loaded or failed.
        """
        return self._rows([self.query_prefix + text for text in texts])

    def _model(self) -> LoadedModel:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._folder.load(self._threads)
            return self._loaded

    def _rows(self, texts: Sequence[str]) -> Embeddings:
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        model = self._model()
        tokens = [model.tokenize(text) for text in texts]
        rows: list[Embeddings] = [np.empty(0, np.float32)] * len(texts)
        for batch in _batches(tokens):
            check_cancelled()
            vectors = self._vectors(model, [tokens[i] for i in batch])
            for place, row in zip(batch, vectors, strict=True):
                rows[place] = row
        found = np.stack(rows)
        with self._lock:
            self._dim = found.shape[1]
        return found

    def _vectors(self, model: LoadedModel, batch: Sequence[Tokens]) -> Embeddings:
        outputs, mask = model.run(batch)
        pooled = _pooled(outputs, mask, self._poolings, self._folder)
        norms = np.linalg.norm(pooled, axis=1, keepdims=True)
        unit: Embeddings = (pooled / np.maximum(norms, 1e-12)).astype(np.float32)
        return unit


def _first(*given: str | None) -> str:
    return next(value for value in given if value is not None)


def _prompts(folder: ModelFolder) -> tuple[str | None, str | None]:
    """Return the prefixes of questions and documents that a folder names."""
    prompts = folder.values("config_sentence_transformers.json").get("prompts")
    if not isinstance(prompts, dict):
        prompts = {}

    def named(names: Sequence[str]) -> str | None:
        found = (prompts[name] for name in names if isinstance(prompts.get(name), str))
        # Newer versions write an empty prompt where none was given.
        return next((text for text in found if text), None)

    query, passage = named(QUERY_PROMPTS), named(PASSAGE_PROMPTS)
    return query, passage if passage is not None or query is None else ""


def _poolings(folder: ModelFolder) -> tuple[str, ...]:
    """Return how a folder makes one vector of the tokens'; the mean, if it does not say.

    Raises:
        CheckpointError: A way that is not known here.
    """
    path = "1_Pooling"
    for module in folder.entries("modules.json"):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            path = str(module.get("path") or path)
        elif kind not in ("Transformer", "Normalize"):
            raise CheckpointError(
                f"{folder.folder} has the module {kind!r}, which is not known here; known are "
                "Transformer, Pooling and Normalize. Ask the model over HTTP instead "
                "(VOICERAG_EMBEDDER=http)"
            )
    config = folder.values(f"{path}/config.json")
    if config.get("include_prompt") is False:
        raise CheckpointError(
            f"{folder.folder} leaves its prompt out of the pooling (include_prompt), which is not "
            "known here; ask the model over HTTP instead (VOICERAG_EMBEDDER=http)"
        )
    chosen = [name.removeprefix("pooling_mode_") for name, on in config.items() if on is True]
    wanted = tuple(name for name in chosen if name in POOLINGS)
    if unknown := [n for n in chosen if n not in POOLINGS and f"pooling_mode_{n}" in config]:
        raise CheckpointError(
            f"{folder.folder} pools by {unknown[0]}, which is not known here; known are "
            f"{', '.join(POOLINGS)}"
        )
    return wanted or ("mean_tokens",)


def _pooled(
    outputs: Mapping[str, NDArray[Any]],
    mask: NDArray[np.int64],
    poolings: Sequence[str],
    folder: ModelFolder,
) -> NDArray[np.float32]:
    """Make one vector a text of the outputs of the network."""
    states = next((value for value in outputs.values() if value.ndim == 3), None)  # noqa: PLR2004
    if states is None:
        ready = outputs.get("sentence_embedding", next(iter(outputs.values())))
        if ready.ndim == 2:  # noqa: PLR2004 - pooled by the network itself
            return ready.astype(np.float32)
        raise CheckpointError(
            f"{folder.network} has the outputs {sorted(outputs)}; expected is one of shape "
            "[texts, tokens, width], such as last_hidden_state"
        )
    states = states.astype(np.float32)
    weights = mask.astype(np.float32)[:, :, None]
    counts = np.maximum(weights.sum(axis=1), 1e-9)
    total = (states * weights).sum(axis=1)
    rows = np.arange(len(states))
    by_name: dict[str, NDArray[np.float32]] = {
        "cls_token": states[:, 0],
        "mean_tokens": total / counts,
        "mean_sqrt_len_tokens": total / np.sqrt(counts),
        "max_tokens": np.where(weights > 0, states, -np.inf).max(axis=1),
        "lasttoken": states[rows, np.maximum(mask.sum(axis=1) - 1, 0)],
    }
    return np.concatenate([by_name[name] for name in poolings], axis=1)


def _batches(tokens: Sequence[Tokens]) -> Iterator[list[int]]:
    """Yield the indices of the texts, longest first, in batches of bounded size."""
    order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i].ids))
    at = 0
    while at < len(order):
        longest = max(1, len(tokens[order[at]].ids))
        size = max(1, min(MAX_BATCH, MAX_BATCH_TOKENS // longest))
        yield order[at : at + size]
        at += size

"""Text embeddings by all-MiniLM-L6-v2 on onnxruntime."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import CheckpointError, ConfigError, MissingExtraError, ModelError
from voicerag_core.local.onnx_session import open_session
from voicerag_core.local.threads import model_threads
from voicerag_core.local.weights.files import weight_path
from voicerag_core.ports import Transcriber
from voicerag_core.types import Audio, Embeddings

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

__all__ = ["MiniLMEmbedder"]

MODEL_ID = "all-MiniLM-L6-v2-onnx-int8-mean"
"""Model, quantisation and pooling: a change of any of the three is another vector space."""

DIM = 384
MAX_TOKENS = 256
"""Maximum input of the model, including special tokens.

Source: sentence-transformers/all-MiniLM-L6-v2, sentence_bert_config.json. The packaged
tokenizer.json says 128 with fixed padding to 128; both are overridden.
"""
MAX_BATCH = 16
MAX_BATCH_TOKENS = 512
"""Tokens of a batch, including padding: sixteen texts of 256 tokens would need 0.7 GB at once, two
need 0.1 GB and are as fast per token."""
INPUTS = {"input_ids", "attention_mask", "token_type_ids"}


class MiniLMEmbedder:
    """Embedder of the local stack: English text, 384 dimensions; speech through its transcript.

    The model is loaded by the first call that needs it. Thread-safe.

    Args:
        transcriber: Transcribes clips for `embed_speech`; None embeds text only.
        threads: Threads of one call, at least 1; None uses the cores available to this process, at
            most 4.

    Raises:
        ConfigError: `threads` is below 1.
    """

    def __init__(self, transcriber: Transcriber | None = None, threads: int | None = None) -> None:
        self._transcriber = transcriber
        self._threads = model_threads(threads)
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    @property
    def model_id(self) -> str:
        """Model, quantisation and pooling."""
        return MODEL_ID

    @property
    def dim(self) -> int:
        """Width of the vectors, 384."""
        return DIM

    @property
    def needs_transcriber(self) -> bool:
        """True: speech is embedded by its transcript."""
        return True

    def warm(self) -> None:
        """Load tokenizer and model now.

        Raises:
            MissingExtraError: The extra ``local`` is not installed.
            CheckpointError: A weight file is absent, altered or of another form.
        """
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self._threads)

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """Embed N texts; texts longer than 256 tokens are truncated.

        Args:
            texts: Any strings, empty ones too.

        Returns:
            Shape [N, 384], float32, L2-normalised.

        Raises:
            ModelError: The model cannot be loaded or failed.
            CancelledError: The running call was cancelled; the current batch ends first.
        """
        rows = np.zeros((len(texts), DIM), np.float32)
        if not texts:
            return rows
        self.warm()
        assert self._loaded is not None
        tokens = [self._loaded.tokenize(text) for text in texts]
        for batch in _batches_by_length(tokens):
            check_cancelled()
            rows[batch] = self._loaded.embed([tokens[i] for i in batch])
        return rows

    def embed_questions(self, texts: Sequence[str]) -> Embeddings:
        """Embed N questions, which this model treats as any other text; see `embed_passages`."""
        return self.embed_passages(texts)

    def embed_speech(self, clips: Sequence[Audio]) -> Embeddings:
        """Transcribe N clips at 16 kHz and embed the text, as [N, 384].

        Raises:
            ConfigError: The embedder has no transcriber.
            AudioError: A clip is not at 16 kHz, or contains no speech.
            ModelError: The model cannot be loaded or failed.
        """
        if self._transcriber is None:
            raise ConfigError(
                "MiniLMEmbedder was made without a transcriber and cannot embed speech; "
                "give it one: MiniLMEmbedder(WhisperTranscriber())"
            )
        return self.embed_passages([self._transcriber.transcribe(clip).text for clip in clips])


def _batches_by_length(tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the indices of the inputs, longest first, in batches of bounded size."""
    order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
    at = 0
    while at < len(order):
        size = max(1, min(MAX_BATCH, MAX_BATCH_TOKENS // len(tokens[order[at]])))
        yield order[at : at + size]
        at += size


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Tokenizer and model in memory."""

    tokenizer: tokenizers.Tokenizer
    session: onnxruntime.InferenceSession

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of a text with [CLS] and [SEP], 256 at most."""
        # A lone surrogate (a file name, a broken JSON escape) has no UTF-8 form.
        clean = text.encode("utf-8", "replace").decode("utf-8")
        ids: list[int] = self.tokenizer.encode(clean).ids
        return ids

    def embed(self, tokens: Sequence[Sequence[int]]) -> Embeddings:
        """Run one batch: mean over each row's own tokens, then unit length.

        Source: all-MiniLM-L6-v2, 1_Pooling/config.json (pooling_mode_mean_tokens), modules.json.
        """
        ids = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
        mask = np.zeros_like(ids)
        for row, own in enumerate(tokens):
            ids[row, : len(own)] = own
            mask[row, : len(own)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        try:
            states = self.session.run(["last_hidden_state"], feed)[0]
        except Exception as error:
            raise ModelError(f"MiniLM failed on a batch of {len(tokens)} texts: {error}") from error
        weights = mask.astype(np.float32)[:, :, None]
        means = (states * weights).sum(axis=1) / weights.sum(axis=1)
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        rows: Embeddings = (means / np.maximum(norms, 1e-12)).astype(np.float32)
        return rows


def _load(threads: int) -> _Loaded:
    """Read tokenizer and weights."""
    try:
        import tokenizers
    except ImportError as error:
        raise MissingExtraError("local", "the MiniLM embedder") from error
    weights = weight_path("minilm-int8/model.onnx")
    vocabulary = weight_path("minilm-tokenizer/minilm_tokenizer.json")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(vocabulary))
    except Exception as error:
        raise CheckpointError(
            f"MiniLM's tokenizer cannot be loaded from {vocabulary}: {error}; "
            "reinstall the extra 'local'"
        ) from error
    session = open_session(weights, "MiniLM", threads=threads)
    found = {entry.name for entry in session.get_inputs()}
    if found != INPUTS:
        raise CheckpointError(
            f"{weights} takes the inputs {sorted(found)}, but MiniLM takes {sorted(INPUTS)}"
        )
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return _Loaded(tokenizer, session)

"""A voicerag embedder as a LlamaIndex embedding model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation.events.embedding import (
    EmbeddingEndEvent,
    EmbeddingStartEvent,
)

from voicerag_core import Audio, ConfigError, Embedder, check_cancelled
from voicerag_core.aio import run_in_thread
from voicerag_integrations.llamaindex.bundle import ClipSource, read_clip
from voicerag_integrations.llamaindex.events import dispatcher

__all__ = ["VoiceRAGEmbedding"]

_BATCH = 16
"""Texts per call to the embedder; small, so that a call of a cancelled caller ends soon."""


class VoiceRAGEmbedding(BaseEmbedding):
    """Embeds text and speech in one space, as a LlamaIndex `BaseEmbedding`.

    Works wherever a `BaseEmbedding` does, including `IngestionPipeline`. ``to_dict`` contains the
    settings and the model's name, never the model; ``from_dict(data, embedder=...)`` restores it
    and rejects a different model.

    Args:
        embedder: Computes the vectors.
        model_name: Name of the model; checked against the embedder if both are given.
        embed_batch_size: Texts per call.
        num_workers: Concurrent batches of the async methods.
        embeddings_cache: A key-value store for computed vectors.
        callback_manager: Notified of every call.

    Raises:
        ConfigError: The name is not that of the embedder.
    """

    _embedder: Embedder | None = PrivateAttr(default=None)

    def __init__(
        self,
        embedder: Embedder | None = None,
        *,
        model_name: str | None = None,
        embed_batch_size: int = _BATCH,
        num_workers: int | None = None,
        embeddings_cache: Any | None = None,  # noqa: ANN401 - as in the base class
        callback_manager: CallbackManager | None = None,
    ) -> None:
        if embedder is not None and model_name not in (None, embedder.model_id):
            raise ConfigError(
                f"the settings are of the embedding model {model_name!r}, and the embedder is "
                f"{embedder.model_id!r}; give the embedder that made the vectors"
            )
        super().__init__(
            model_name=model_name or (embedder.model_id if embedder else "unknown"),
            embed_batch_size=embed_batch_size,
            num_workers=num_workers,
            embeddings_cache=embeddings_cache,
            callback_manager=callback_manager or CallbackManager([]),
        )
        self._embedder = embedder

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which the settings are serialized."""
        return "VoiceRAGEmbedding"

    @property
    def embedder(self) -> Embedder:
        """The embedder.

        Raises:
            ConfigError: There is none, as after ``from_dict`` without it.
        """
        if self._embedder is None:
            raise ConfigError(
                f"this VoiceRAGEmbedding knows the name of its model ({self.model_name!r}) and not "
                "the model; load it with from_dict(data, embedder=...)"
            )
        return self._embedder

    def get_audio_embedding(self, clip: ClipSource) -> list[float]:
        """Embed speech.

        Raises:
            AudioError: The clip cannot be used.
        """
        return self.get_audio_embedding_batch([clip])[0]

    def get_audio_embedding_batch(self, clips: Sequence[ClipSource]) -> list[list[float]]:
        """Embed clips of speech, in order.

        Raises:
            AudioError: A clip cannot be used.
        """
        payload = {"class_name": self.class_name(), "model_name": self.model_name}
        dispatcher.event(EmbeddingStartEvent(model_dict=payload))
        with self.callback_manager.event(
            CBEventType.EMBEDDING, payload={EventPayload.SERIALIZED: payload}
        ) as event:
            read = [read_clip(clip) for clip in clips]
            vectors: list[list[float]] = []
            for first in range(0, len(read), self.embed_batch_size):
                vectors += self._speech(read[first : first + self.embed_batch_size])
            chunks = [f"[audio, {clip.seconds:.2f} s]" for clip in read]
            event.on_end(
                payload={EventPayload.CHUNKS: chunks, EventPayload.EMBEDDINGS: vectors},
            )
        dispatcher.event(EmbeddingEndEvent(chunks=chunks, embeddings=vectors))
        return vectors

    async def aget_audio_embedding(self, clip: ClipSource) -> list[float]:
        """Embed speech."""
        return await run_in_thread(lambda: self.get_audio_embedding(clip))

    async def aget_audio_embedding_batch(self, clips: Sequence[ClipSource]) -> list[list[float]]:
        """Embed clips of speech, in order."""
        return await run_in_thread(lambda: self.get_audio_embedding_batch(clips))

    def _speech(self, clips: Sequence[Audio]) -> list[list[float]]:
        check_cancelled()
        rows: list[list[float]] = self.embedder.embed_speech(clips).tolist()
        return rows

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        check_cancelled()
        rows: list[list[float]] = self.embedder.embed_passages(texts).tolist()
        return rows

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        if not query.strip():
            raise ConfigError(
                "the question is empty; give words, or embed its sound with get_audio_embedding"
            )
        check_cancelled()
        vector: list[float] = self.embedder.embed_questions([query])[0].tolist()
        return vector

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await run_in_thread(lambda: self._get_text_embeddings(texts))

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await run_in_thread(lambda: self._get_text_embedding(text))

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await run_in_thread(lambda: self._get_query_embedding(query))

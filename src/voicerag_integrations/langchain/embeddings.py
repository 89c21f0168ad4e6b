"""A voicerag embedder as LangChain embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from langchain_core.embeddings import Embeddings

from voicerag_core import (
    MAX_SECONDS,
    SPEECH_RATE_HZ,
    ConfigError,
    Embedder,
    VoiceRAG,
    check_audio,
    check_cancelled,
    resample,
)
from voicerag_core import Embeddings as Vectors
from voicerag_core.aio import run_in_thread
from voicerag_integrations.langchain.questions import VoiceInput, read_question

__all__ = ["VoiceRAGEmbeddings"]

_BATCH: Final = 16
"""Texts per native call; no further call starts once the caller is cancelled."""


class VoiceRAGEmbeddings(Embeddings):
    """Text and speech in one vector space, L2-normalised.

    Thread-safe.

    Args:
        embedder: An embedder, or a `VoiceRAG` whose embedder is used.
    """

    def __init__(self, embedder: Embedder | VoiceRAG) -> None:
        self.embedder: Embedder
        self._max_seconds = MAX_SECONDS
        if isinstance(embedder, VoiceRAG):
            self.embedder = embedder.embedder
            self._max_seconds = embedder.max_question_seconds
        else:
            self.embedder = embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts, one vector per text."""
        vectors: list[list[float]] = self.embed_array(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed a typed question."""
        check_cancelled()
        vector: list[float] = self.embedder.embed_questions([text])[0].tolist()
        return vector

    def embed_audio(self, clip: VoiceInput) -> list[float]:
        """Embed a spoken question, as path, bytes, `Audio`, audio block or message.

        Raises:
            AudioError: The sound cannot be read, or contains no speech.
        """
        question = read_question(clip, max_seconds=self._max_seconds).question
        if isinstance(question, str):
            raise ConfigError(
                "words were given where a spoken question was expected; embed_query embeds words, "
                "and a sound file is given as a pathlib.Path or as its bytes"
            )
        speech = resample(check_audio(question, max_seconds=self._max_seconds), SPEECH_RATE_HZ)
        check_cancelled()
        vector: list[float] = self.embedder.embed_speech([speech])[0].tolist()
        return vector

    def embed_array(self, texts: Sequence[str]) -> Vectors:
        """Embed N texts as an array, [N, D] float32, L2-normalised."""
        rows = []
        for start in range(0, len(texts), _BATCH):
            check_cancelled()
            rows.append(self.embedder.embed_passages(texts[start : start + _BATCH]))
        return np.concatenate(rows) if rows else self.embedder.embed_passages([])

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts in a thread."""
        return await run_in_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a typed question in a thread."""
        return await run_in_thread(self.embed_query, text)

    async def aembed_audio(self, clip: VoiceInput) -> list[float]:
        """Embed a spoken question in a thread."""
        return await run_in_thread(self.embed_audio, clip)

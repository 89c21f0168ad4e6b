"""Parts that all strategies of a run share, so that nothing is computed twice."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from voicerag_core.ports import Embedder, Transcriber, VocabularyTranscriber
from voicerag_core.types import Audio, Embeddings, Transcription, Vocabulary

__all__ = ["RememberedTexts", "SharedTranscriber"]


class SharedTranscriber:
    """Transcribes each clip once for all strategies, and keeps the time that it took.

    Args:
        transcriber: Transcribes.
    """

    def __init__(self, transcriber: Transcriber) -> None:
        self._transcriber = transcriber
        self._known: tuple[Audio, Vocabulary | None, Transcription, float] | None = None

    @property
    def seconds(self) -> float:
        """Of the last transcription, whoever asked for it."""
        return 0.0 if self._known is None else self._known[3]

    def transcribe(self, audio: Audio) -> Transcription:
        """See `Transcriber.transcribe`."""
        return self._once(audio, None)

    def transcribe_with(self, audio: Audio, vocabulary: Vocabulary) -> Transcription:
        """See `VocabularyTranscriber.transcribe_with`."""
        return self._once(audio, vocabulary)

    def _once(self, audio: Audio, vocabulary: Vocabulary | None) -> Transcription:
        known = self._known
        if known is not None and known[0] == audio and known[1] is vocabulary:
            return known[2]
        inner: object = self._transcriber
        start = time.perf_counter()
        if vocabulary is not None and isinstance(inner, VocabularyTranscriber):
            heard = inner.transcribe_with(audio, vocabulary)
        else:
            heard = self._transcriber.transcribe(audio)
        self._known = (audio, vocabulary, heard, time.perf_counter() - start)
        return heard


class RememberedTexts:
    """Embeds texts, each once: a question's own store has passages of other stores.

    Args:
        embedder: Makes what is not known yet.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._rows: dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]] = {}

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """See `TextEmbedder.embed_passages`."""
        fresh = list(dict.fromkeys(text for text in texts if text not in self._rows))
        if fresh:
            rows = self._embedder.embed_passages(fresh)
            self._rows.update(zip(fresh, rows, strict=True))
        if not texts:
            empty: Embeddings = np.zeros((0, self._embedder.dim), np.float32)
            return empty
        return np.stack([self._rows[text] for text in texts])

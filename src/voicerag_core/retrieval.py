"""Ways from a question to passages, and a re-ranking for variety."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import ConfigError, StoreError
from voicerag_core.filters import Filter
from voicerag_core.ports import Embedder, PassageStore, Transcriber
from voicerag_core.types import Audio, Embedding, Hit, Question, Retrieved

__all__ = ["STRATEGIES", "Search", "Strategy", "maximal_marginal_relevance"]

Strategy: TypeAlias = Literal["e2e", "asr", "hybrid"]
"""``e2e``: the speech vector finds the passages, nothing is transcribed. ``asr``: the transcript
is embedded as text. ``hybrid``: the question's vector and its words, fused into one ranking."""

STRATEGIES: tuple[Strategy, ...] = ("e2e", "asr", "hybrid")

MMR_CANDIDATES = 4
"""Candidates fetched for each hit asked, before the re-ranking for variety."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search, ready to run: the parts that take part in it and its limits.

    Args:
        embedder: Makes the question's vector.
        store: Is searched.
        transcriber: Needed by ``asr`` and, for spoken questions, by ``hybrid``.
        strategy: How a spoken question becomes a search; typed ones are embedded as text, and
            with ``hybrid`` also searched by their words.
        limit: Most hits, at least 1.
        where: Metadata filter.
        min_score: Least cosine similarity.
        diversity: 0..1; above 0 re-ranks for variety, 1 looks at variety alone.
    """

    embedder: Embedder
    store: PassageStore
    transcriber: Transcriber | None
    strategy: Strategy
    limit: int
    where: Filter | None = None
    min_score: float | None = None
    diversity: float = 0.0
    _timings: dict[str, float] = field(default_factory=dict)

    def run(self, question: Question | Embedding) -> Retrieved:
        """Find the passages for a question, or for a vector that the caller has already."""
        transcript: str | None = None
        words: str | None = None
        if isinstance(question, Audio):
            transcript, embedding = self._hear(question)
            words = transcript
        elif isinstance(question, str):
            words = question
            with self._timed("embed"):
                embedding = self.embedder.embed_texts([question])[0]
        else:
            embedding = question
        with self._timed("search"):
            hits = self._hits(embedding, words if self.strategy == "hybrid" else None)
        return Retrieved(hits, transcript, embedding, dict(self._timings))

    def _hear(self, audio: Audio) -> tuple[str | None, Embedding]:
        """Give a spoken question's vector, and its transcript where the strategy needs one."""
        transcript: str | None = None
        if self.strategy in ("asr", "hybrid"):
            if self.transcriber is None:
                raise ConfigError(
                    f"strategy {self.strategy!r} turns a spoken question into words, and this "
                    "VoiceRAG has no transcriber; give it one or use strategy 'e2e'"
                )
            with self._timed("transcribe"):
                transcript = self.transcriber.transcribe(audio)
        with self._timed("embed"):
            if transcript is not None and (self.strategy == "asr" or self.embedder.transcribes):
                return transcript, self.embedder.embed_texts([transcript])[0]
            if self.embedder.transcribes:
                raise ConfigError(
                    f"strategy 'e2e' finds passages without a transcript, and the embedder "
                    f"{self.embedder.model_id!r} makes one; use strategy 'asr' or an embedder "
                    "with a speech encoder"
                )
            return transcript, self.embedder.embed_speech([audio])[0]

    def _hits(self, embedding: Embedding, words: str | None) -> tuple[Hit, ...]:
        if self.diversity == 0:
            return self.store.search(
                embedding,
                text=words,
                limit=self.limit,
                where=self.where,
                min_score=self.min_score,
            )
        candidates = self.store.search(
            embedding,
            text=words,
            limit=self.limit * MMR_CANDIDATES,
            where=self.where,
            min_score=self.min_score,
            with_vectors=True,
        )
        return maximal_marginal_relevance(
            embedding, candidates, limit=self.limit, diversity=self.diversity
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        check_cancelled()
        start = time.perf_counter()
        yield
        self._timings[stage] = time.perf_counter() - start


def maximal_marginal_relevance(
    embedding: Embedding, hits: Sequence[Hit], *, limit: int, diversity: float = 0.5
) -> tuple[Hit, ...]:
    """Pick hits one by one, each near the question and far from those picked before.

    The next hit is the one with the greatest (1 - d) * cos(question, hit) - d * max over the
    picked of cos(picked, hit).

    Args:
        embedding: The question's vector, [D], L2-normalised.
        hits: Candidates with their vectors, as ``PassageStore.search(..., with_vectors=True)``.
        limit: Most hits to give.
        diversity: d in the formula, 0..1; 0 keeps the order by similarity.

    Raises:
        ConfigError: `diversity` is not in 0..1.
        StoreError: A hit carries no vector.

    Source: Carbonell and Goldstein, SIGIR 1998, section 2, with lambda = 1 - d.
    """
    if not 0 <= diversity <= 1:
        raise ConfigError(f"diversity lies in 0..1, not {diversity}")
    if not hits:
        return ()
    vectors = []
    for hit in hits:
        if hit.embedding is None:
            raise StoreError(
                f"passage {hit.passage.id!r} came without its vector; search with_vectors=True"
            )
        vectors.append(hit.embedding)
    matrix = np.stack(vectors)
    relevance = matrix @ embedding
    redundancy = np.full(len(hits), -np.inf)
    picked: list[int] = []
    while len(picked) < min(limit, len(hits)):
        gain = (1 - diversity) * relevance
        if picked:
            gain = gain - diversity * redundancy
        gain[picked] = -np.inf
        best = int(np.argmax(gain))
        picked.append(best)
        redundancy = np.maximum(redundancy, matrix @ matrix[best])
    return tuple(hits[i] for i in picked)

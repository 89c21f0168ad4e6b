"""Ways from a question to passages, and a re-ranking for variety."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import AudioError, ConfigError, StoreError
from voicerag_core.filters import Filter
from voicerag_core.ports import Embedder, PassageStore, SelfAssessingEmbedder, Transcriber
from voicerag_core.types import Audio, Embedding, Hit, Question, Retrieved

__all__ = ["STRATEGIES", "Search", "Strategy", "maximal_marginal_relevance"]

Strategy: TypeAlias = Literal["e2e", "asr", "hybrid", "adaptive"]
"""``e2e``: the speech vector finds the passages, nothing is transcribed. ``asr``: the transcript
is embedded as text. ``hybrid``: the vector of speech and transcript, and the words, fused into one
ranking. ``adaptive``: as ``e2e``, and where that is unsure as ``hybrid``."""

STRATEGIES: tuple[Strategy, ...] = ("e2e", "asr", "hybrid", "adaptive")

MMR_CANDIDATES = 4
"""Candidates fetched for each hit asked, before the re-ranking for variety."""

SPEECH_SHARE = 0.75
"""Part of the speech vector in the vector that ``hybrid`` searches by; the rest is the
transcript's. Chosen by training/thresholds/adaptive.py on development questions."""

SURE_CONFIDENCE = 0.75
SURE_GAP = 0.02
"""Least confidence of the embedder, and least lead in cosine similarity of the best passage over
the next, at which ``adaptive`` does without a transcript. Chosen by
training/thresholds/adaptive.py on development questions."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search, ready to run: the parts that take part in it and its limits.

    Args:
        embedder: Makes the question's vector.
        store: Is searched.
        transcriber: Needed for spoken questions by every strategy but ``e2e``.
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
        if isinstance(question, Audio):
            return self._by_sound(question)
        if isinstance(question, str):
            with self._timed("embed"):
                embedding = self.embedder.embed_texts([question])[0]
            words = question if self.strategy == "hybrid" else None
            return self._found(embedding, words=words)
        return self._found(question)

    def _by_sound(self, audio: Audio) -> Retrieved:
        self._check_parts()
        if self.strategy == "e2e":
            with self._timed("embed"):
                embedding = self.embedder.embed_speech([audio])[0]
            return self._found(embedding)
        if self.strategy == "adaptive":
            return self._adaptive(audio)
        transcript = self._transcript(audio)
        if self.strategy == "hybrid" and not self.embedder.transcribes:
            return self._fused(transcript, self._speech_vector(audio)[0])
        with self._timed("embed"):
            embedding = self.embedder.embed_texts([transcript])[0]
        words = transcript if self.strategy == "hybrid" else None
        return self._found(embedding, words=words, transcript=transcript)

    def _adaptive(self, audio: Audio) -> Retrieved:
        """Search by the speech vector, and ask the transcriber too where that is not sure."""
        embedding, confidence = self._speech_vector(audio)
        if embedding is not None and confidence >= SURE_CONFIDENCE:
            with self._timed("search"):
                candidates = self._candidates(embedding, None, least=2)
            if _lead(candidates) >= SURE_GAP:
                hits = self._varied(embedding, candidates)
                return Retrieved(hits, None, embedding, dict(self._timings))
        return self._fused(self._transcript(audio), embedding)

    def _fused(self, transcript: str, speech: Embedding | None) -> Retrieved:
        """Search by the words and by one vector, that of the transcript and the speech."""
        with self._timed("embed"):
            embedding = self.embedder.embed_texts([transcript])[0]
        if speech is not None:
            mixed = SPEECH_SHARE * speech + (1 - SPEECH_SHARE) * embedding
            embedding = (mixed / max(float(np.linalg.norm(mixed)), 1e-12)).astype(np.float32)
        return self._found(embedding, words=transcript, transcript=transcript)

    def _found(
        self, embedding: Embedding, *, words: str | None = None, transcript: str | None = None
    ) -> Retrieved:
        with self._timed("search"):
            hits = self._varied(embedding, self._candidates(embedding, words))
        return Retrieved(hits, transcript, embedding, dict(self._timings))

    def _check_parts(self) -> None:
        """Refuse a strategy that the parts cannot carry out for a spoken question."""
        if self.strategy != "e2e" and self.transcriber is None:
            raise ConfigError(
                f"strategy {self.strategy!r} turns a spoken question into words, and this "
                "VoiceRAG has no transcriber; give it one or use strategy 'e2e'"
            )
        if self.strategy in ("e2e", "adaptive") and self.embedder.transcribes:
            raise ConfigError(
                f"strategy {self.strategy!r} finds passages without a transcript, and the embedder "
                f"{self.embedder.model_id!r} makes one; use strategy 'asr' or an embedder "
                "with a speech encoder"
            )

    def _transcript(self, audio: Audio) -> str:
        assert self.transcriber is not None
        with self._timed("transcribe"):
            return self.transcriber.transcribe(audio)

    def _speech_vector(self, audio: Audio) -> tuple[Embedding | None, float]:
        """Return the speech vector and its confidence, or None where the embedder heard nothing."""
        with self._timed("embed"):
            embedder: object = self.embedder
            try:
                if isinstance(embedder, SelfAssessingEmbedder):
                    rows, confidences = embedder.embed_speech_scored([audio])
                    return rows[0], float(confidences[0])
                return self.embedder.embed_speech([audio])[0], 1.0
            except AudioError:
                return None, 0.0

    def _candidates(
        self, embedding: Embedding, words: str | None, *, least: int = 1
    ) -> tuple[Hit, ...]:
        """Return what the store finds: all that is asked, and more where it is picked from."""
        varied = self.diversity > 0
        return self.store.search(
            embedding,
            text=words,
            limit=self.limit * MMR_CANDIDATES if varied else max(self.limit, least),
            where=self.where,
            min_score=self.min_score,
            with_vectors=varied,
        )

    def _varied(self, embedding: Embedding, candidates: tuple[Hit, ...]) -> tuple[Hit, ...]:
        if self.diversity == 0:
            return candidates[: self.limit]
        return maximal_marginal_relevance(
            embedding, candidates, limit=self.limit, diversity=self.diversity
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        check_cancelled()
        start = time.perf_counter()
        yield
        spent = time.perf_counter() - start
        self._timings[stage] = self._timings.get(stage, 0.0) + spent


def _lead(hits: Sequence[Hit]) -> float:
    """Say by how much the best passage leads; without a second one by all of its score."""
    if not hits:
        return 0.0
    return hits[0].score - (hits[1].score if len(hits) > 1 else 0.0)


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

"""The steps that a search is made of, each timed, and each a place where it can be called off."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voicerag_core import telemetry
from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import AudioError, CheckpointError, ConfigError, ModelError
from voicerag_core.filters import Filter
from voicerag_core.follow_ups import follows_up, turn_before
from voicerag_core.passages import searched_text
from voicerag_core.ports import (
    AsksFurther,
    CalibratedStore,
    Embedder,
    PassageReranker,
    PassageStore,
    Reranker,
    RewordingTranscriber,
    SelfAssessingEmbedder,
    Transcriber,
    VocabularyEmbedder,
    VocabularyTranscriber,
    WordStore,
)
from voicerag_core.retrieval.fusion import fused
from voicerag_core.retrieval.mmr import MMR_CANDIDATES, maximal_marginal_relevance
from voicerag_core.types import (
    Audio,
    Embedding,
    Embeddings,
    Found,
    Hit,
    Passage,
    Question,
    Retrieved,
    Thresholds,
    Transcription,
    Turn,
    Vocabulary,
    Wording,
)

__all__ = ["NOT_RERANKED", "Search"]

NOT_RERANKED = "The reranker failed, so the passages stand in the order in which they were found."

_logger = logging.getLogger(__name__)

SECOND_ROUND_WEIGHT = 1.0
"""Of the second round's ranking, beside 1 for the first: both count alike."""
LEANING, ASIDE, UNTOLD = 2.0, 0.5, 1.0
"""Weight of the ranking for the question together with the turn before it, beside 1 for the
question alone: where it leans on that turn, where it seems to stand alone, and where its words are
not known. The first two were chosen on the even follow-ups of benchmarks/conversation; first
questions behind another turn are found as without it (benchmarks/results/conversation.md)."""

DEEP = 20
"""Passages of either ranking, at least, that are fused."""


@dataclass(frozen=True, slots=True)
class _Context:
    """A second search, for the question together with the turn before it.

    Args:
        embedding: Its vector.
        words: Its words; None searches by the vector alone.
        weight: Its weight beside the search for the question alone.
    """

    embedding: Embedding
    words: str | None
    weight: float


class Search:
    """One search: the parts that take part in it, its limits, and the time of its stages.

    Args:
        embedder: Makes the question's vector.
        store: Is searched.
        transcriber: Turns a spoken question into words; None where no strategy needs them.
        limit: Most hits, at least 1.
        where: Metadata filter.
        min_score: Least cosine similarity.
        diversity: 0..1; above 0 re-ranks for variety, 1 looks at variety alone.
        reranker: Sorts what was found anew; None leaves it as it is.
        reranked: Most hits that it sorts.
        rerank_fallback: Keep the order found, with a note, where the reranker fails.
        model: Says what to search for in a second round; None: nothing does.
        only_unsure: Let it do so only where the passages do not seem to answer.
        history: Earlier turns, oldest first.
        on_found: Is told what the sound of a question found, where its words are needed too.
    """

    def __init__(
        self,
        embedder: Embedder,
        store: PassageStore,
        transcriber: Transcriber | None,
        *,
        limit: int,
        where: Filter | None = None,
        min_score: float | None = None,
        diversity: float = 0.0,
        reranker: Reranker | None = None,
        reranked: int = 0,
        rerank_fallback: bool = False,
        model: AsksFurther | None = None,
        only_unsure: bool = False,
        history: Sequence[Turn] = (),
        on_found: Callable[[Found], None] | None = None,
    ) -> None:
        self.model = model
        self._on_found = on_found
        self._only_unsure = only_unsure
        self.history = tuple(history)
        self._reranker = reranker
        self._reranked = reranked
        self._rerank_fallback = rerank_fallback
        self._notes: tuple[str, ...] = ()
        self.embedder = embedder
        self.transcriber = transcriber
        self.timings: dict[str, float] = {}
        """Seconds by stage, so far."""
        self._store = store
        self._limit = limit
        self._where = where
        self._min_score = min_score
        self._diversity = diversity

    def transcribe(self, audio: Audio) -> Transcription:
        """Turn a spoken question into words.

        Raises:
            ConfigError: There is no transcriber.
        """
        if self.transcriber is None:
            raise ConfigError(
                "this VoiceRAG has no transcriber to turn a spoken question into words"
            )
        with self._timed("transcribe"):
            transcriber: object = self.transcriber
            if isinstance(transcriber, VocabularyTranscriber):
                vocabulary = self._vocabulary()
                if vocabulary is not None:
                    return transcriber.transcribe_with(audio, vocabulary)
            return self.transcriber.transcribe(audio)

    def other_wordings(self, audio: Audio, heard: Transcription) -> tuple[Wording, ...]:
        """Return what else a clip may say, likeliest first.

        Args:
            audio: The question.
            heard: Its transcription.
        """
        transcriber: object = self.transcriber
        if not isinstance(transcriber, RewordingTranscriber):
            return tuple(map(Wording, heard.others))
        with self._timed("reword"):
            return transcriber.other_wordings(audio, heard, self._vocabulary())

    def embed_text(self, text: str) -> Embedding:
        """Make the vector of words."""
        with self._timed("embed"):
            row: Embedding = self.embedder.embed_questions([text])[0]
            return row

    def embed_speech(self, audio: Audio) -> Embedding:
        """Make the vector of sound.

        Raises:
            AudioError: The embedder heard no speech.
        """
        with self._timed("embed"):
            expecting = self._expecting(audio)
            rows = self.embedder.embed_speech([audio]) if expecting is None else expecting[0]
            row: Embedding = rows[0]
            return row

    def judge_speech(self, audio: Audio) -> tuple[Embedding | None, float]:
        """Make the vector of sound and its confidence; None and 0 where no speech was heard.

        An embedder that does not assess itself is taken to be sure.
        """
        with self._timed("embed"):
            embedder: object = self.embedder
            try:
                expecting = self._expecting(audio)
                if expecting is not None:
                    return expecting[0][0], float(expecting[1][0])
                if isinstance(embedder, SelfAssessingEmbedder):
                    rows, confidences = embedder.embed_speech_scored([audio])
                    return rows[0], float(confidences[0])
                return self.embedder.embed_speech([audio])[0], 1.0
            except AudioError:
                return None, 0.0

    def candidates(self, embedding: Embedding, *, least: int = 1) -> tuple[Hit, ...]:
        """Search by a vector alone: all hits that are asked, more where they are picked from.

        Args:
            embedding: The question's vector.
            least: Least hits to ask the store for, whatever the limit.
        """
        with self._timed("search") as told:
            hits = self._ask(embedding, None, least)
            told.set(voicerag__hits=len(hits))
            return hits

    def tell_early(
        self, embedding: Embedding | None, candidates: tuple[Hit, ...] | None = None
    ) -> None:
        """Tell what the sound found, if somebody listens; the words of the question follow.

        Args:
            embedding: The vector of sound; None: no speech was heard.
            candidates: What it found; None searches.
        """
        if self._on_found is None or embedding is None:
            return
        hits = self.candidates(embedding) if candidates is None else candidates
        self._on_found(Found(self._picked(embedding, hits), final=False))

    def retrieved(self, embedding: Embedding, candidates: tuple[Hit, ...]) -> Retrieved:
        """Finish a search without words by candidates that are known already."""
        return Retrieved(self._picked(embedding, candidates), None, embedding, dict(self.timings))

    def find(
        self,
        embedding: Embedding,
        *,
        words: str | None = None,
        transcription: Transcription | None = None,
    ) -> Retrieved:
        """Search the store, and finish.

        Args:
            embedding: The question's vector.
            words: Search by these words, too, in the same ranking.
            transcription: How the question was heard, if it was.
        """
        reranks = self._reranker is not None and words is not None
        least = self._reranked if reranks else 1
        context = self._context(embedding, words)
        with self._timed("search") as told:
            found = self._ask(embedding, words, least if context is None else max(least, DEEP))
            if context is not None:
                also = self._ask(context.embedding, context.words, max(least, DEEP))
                found = fused(found, also, context.weight)
            told.set(voicerag__hits=len(found))
        asked = words if context is None or context.weight < 1 else context.words
        hits = self._picked(embedding, self._sorted(asked, found))
        return Retrieved(hits, transcription, embedding, dict(self.timings), notes=self._notes)

    def further_query(self, question: Question, found: Retrieved) -> str | None:
        """Let the model say, in a sentence, what to search for next; None: nothing.

        Raises:
            ConfigError: There is no model that can.
        """
        if self.model is None:
            raise ConfigError("this VoiceRAG has no model that says what it still needs to know")
        with self._timed("further_query"):
            return self.model.further_query(
                question,
                [hit.passage for hit in found.hits],
                transcript=found.transcription,
                only_unsure=self._only_unsure,
            )

    def joined(self, first: Retrieved, second: Retrieved) -> Retrieved:
        """Fuse two rounds; what the second one found says so."""
        again = {hit.passage.id for hit in second.hits}
        hits = tuple(
            replace(hit, matched_by=(*hit.matched_by, "second_round"))
            if hit.passage.id in again
            else hit
            for hit in fused(first.hits, second.hits, SECOND_ROUND_WEIGHT)[: self._limit]
        )
        return replace(first, hits=hits, timings=dict(self.timings), notes=self._notes)

    def thresholds(self) -> Thresholds:
        """Return the thresholds that were chosen for the collection, if the store keeps any."""
        store: object = self._store
        return store.thresholds() if isinstance(store, CalibratedStore) else Thresholds()

    def _context(self, embedding: Embedding, words: str | None) -> _Context | None:
        """Return the search for the question together with the turn before it, or None."""
        if not self.history:
            return None
        before = turn_before(self.history)
        if before is None:
            last = self.history[-1].question
            if not isinstance(last, Audio):
                return None
            return _Context(_halfway(embedding, self.embed_speech(last)), None, UNTOLD)
        if words is None:
            earlier = self.embed_text(before.words)
            return _Context(_halfway(embedding, earlier), None, UNTOLD)
        together = f"{before.words} {words}"
        weight = LEANING if follows_up(words) else ASIDE
        return _Context(self.embed_text(together), together, weight)

    def _sorted(self, words: str | None, hits: tuple[Hit, ...]) -> tuple[Hit, ...]:
        """Sort hits by what the reranker says, if there is one and words to ask with.

        Raises:
            ModelError: It failed, and may not; or it cannot be loaded.
        """
        if self._reranker is None or words is None or self._diversity > 0 or not hits:
            return hits
        first, rest = hits[: self._reranked], hits[self._reranked :]
        try:
            with self._timed("rerank"):
                scores = _scores(self._reranker, words, [hit.passage for hit in first])
        except CheckpointError:
            raise
        except ModelError as error:
            if not self._rerank_fallback:
                raise
            _logger.warning("the reranker failed, and the order found is kept: %s", error)
            self._notes = (NOT_RERANKED,)
            return hits
        order = sorted(range(len(first)), key=lambda place: -scores[place])
        return (*(first[place] for place in order), *rest)

    def _expecting(self, audio: Audio) -> tuple[Embeddings, NDArray[np.float32]] | None:
        """Embed a clip with the words of the store, if both the embedder and the store know how."""
        embedder: object = self.embedder
        if not isinstance(embedder, VocabularyEmbedder):
            return None
        vocabulary = self._vocabulary()
        return None if vocabulary is None else embedder.embed_speech_with([audio], vocabulary)

    def _vocabulary(self) -> Vocabulary | None:
        """Return the words of the store, if it knows them."""
        store: object = self._store
        return store.vocabulary() if isinstance(store, WordStore) else None

    def _ask(self, embedding: Embedding, words: str | None, least: int) -> tuple[Hit, ...]:
        varied = self._diversity > 0
        return self._store.search(
            embedding,
            text=words,
            limit=self._limit * MMR_CANDIDATES if varied else max(self._limit, least),
            where=self._where,
            min_score=self._min_score,
            with_vectors=varied,
        )

    def _picked(self, embedding: Embedding, candidates: tuple[Hit, ...]) -> tuple[Hit, ...]:
        if self._diversity == 0:
            return candidates[: self._limit]
        return maximal_marginal_relevance(
            embedding, candidates, limit=self._limit, diversity=self._diversity
        )

    def _told(self, stage: str) -> telemetry.Attributes:
        """Return what telemetry says of a stage, besides its time."""
        if stage == "embed":
            return {
                "gen_ai.operation.name": "embeddings",
                "gen_ai.request.model": self.embedder.model_id,
                "gen_ai.embeddings.dimension.count": self.embedder.dim,
            }
        if stage == "search":
            return {"db.operation.name": "search", "voicerag.limit": self._limit}
        return {}

    @contextmanager
    def _timed(self, stage: str) -> Iterator[telemetry.Stage]:
        check_cancelled()
        start = time.perf_counter()
        with telemetry.stage(f"voicerag.{stage}", self._told(stage)) as told:
            yield told
        spent = time.perf_counter() - start
        self.timings[stage] = self.timings.get(stage, 0.0) + spent


def _scores(reranker: Reranker, words: str, passages: Sequence[Passage]) -> NDArray[np.float32]:
    """Return how well passages answer, [N]."""
    known: object = reranker
    if isinstance(known, PassageReranker):
        return known.score_passages(words, passages)
    return reranker.score(words, [searched_text(passage) for passage in passages])


def _halfway(one: Embedding, other: Embedding) -> Embedding:
    """Return the mean of two unit vectors, [D], L2-normalised."""
    mean = one + other
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)

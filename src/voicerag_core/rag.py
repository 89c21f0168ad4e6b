"""The pipeline: index, retrieve, respond, ask."""

from __future__ import annotations

import itertools
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import overload

import numpy as np
from numpy.typing import NDArray

from voicerag_core.audio import MAX_SECONDS, SPEECH_RATE_HZ, check_audio, resample
from voicerag_core.cancellation import check_cancelled
from voicerag_core.chunking import split_sentences
from voicerag_core.errors import ConfigError, EmptyCollectionError
from voicerag_core.filters import Filter
from voicerag_core.observation import answer_told, question_stage, reading_told
from voicerag_core.passages import searched_text
from voicerag_core.ports import (
    RERANKED,
    AsksFurther,
    CalibratedStore,
    DocumentStore,
    Embedder,
    PassageReranker,
    PassageStore,
    ReadsOn,
    ReadsWords,
    Reranker,
    SelfAssessingModel,
    Transcriber,
    VoiceModel,
)
from voicerag_core.retrieval import STRATEGIES, Search, find_passages
from voicerag_core.retrieval.looking_again import close_pieces, looking_again, looks, new_hits
from voicerag_core.types import (
    Answer,
    Audio,
    Embedding,
    Embeddings,
    Found,
    Hit,
    Passage,
    Question,
    Retrieved,
    Sampling,
    SecondRound,
    Strategy,
    Transcription,
    Turn,
)

__all__ = ["IndexProgress", "VoiceRAG", "checked_instructions", "embed_passages"]

MAX_INSTRUCTIONS = 8000
"""Most characters of instructions."""
INDEX_BATCH = 32
"""Passages embedded and written together by `VoiceRAG.index`."""


@dataclass(frozen=True, slots=True)
class _Manner:
    """What a model is told besides question and passages: sampling, history, instructions."""

    sampling: Sampling
    history: Sequence[Turn]
    instructions: str


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """The progress of an indexing run.

    Args:
        passages: Passages compared so far.
        changed: Those of them that were new or changed.
        vectors: Vectors computed so far.
    """

    passages: int
    changed: int
    vectors: int


class VoiceRAG:
    """Find passages for a spoken or typed question, and answer it in text and speech.

    Thread-safe if its parts are, which the ports require of embedder, store and transcriber; a
    model may answer one question at a time.

    Args:
        embedder: Makes the vectors of passages and questions.
        store: Keeps and finds the passages; opened for the embedder's model and width.
        model: Makes the answer.
        transcriber: Turns spoken questions into words for the strategies that need them.
        strategy: How a spoken question is searched unless a call says otherwise.
        limit: Passages found for a question unless a call says otherwise.
        sentence_vectors: Index one vector per sentence in addition to that of the passage.
        max_question_seconds: Longest spoken question.
        reranker: Sorts the passages found anew, wherever the question is known in words; a question
            that is searched by its sound alone is not sorted. None leaves them as they were found.
        reranked: Passages that it sorts for a question.
        rerank_fallback: Keep the order found, with a note, where the reranker fails; otherwise the
            question fails.
        second_round: When the strategy ``two_round`` searches again: always, or only where the
            model finds that the passages do not answer.
        instructions: The manner of answering unless a call says otherwise; "" has none.
        sampling: How a generating model samples unless a call says otherwise.

    Raises:
        ConfigError: The strategy is unknown, the limit is below 1, or the instructions are too
            long.
    """

    def __init__(
        self,
        embedder: Embedder,
        store: PassageStore,
        model: VoiceModel,
        transcriber: Transcriber | None = None,
        *,
        strategy: Strategy = "e2e",
        limit: int = 4,
        sentence_vectors: bool = False,
        max_question_seconds: float = MAX_SECONDS,
        reranker: Reranker | None = None,
        reranked: int = RERANKED,
        rerank_fallback: bool = False,
        second_round: SecondRound = "always",
        instructions: str = "",
        sampling: Sampling | None = None,
    ) -> None:
        self.embedder = embedder
        self.store = store
        self.model = model
        self.transcriber = transcriber
        self.strategy = _checked_strategy(strategy)
        self.limit = _checked_limit(limit)
        self.sentence_vectors = sentence_vectors
        self.max_question_seconds = max_question_seconds
        self.reranker = reranker
        self.reranked = reranked
        self.rerank_fallback = rerank_fallback
        self.second_round = second_round
        self.instructions = checked_instructions(instructions)
        self.sampling = sampling or Sampling()

    def index(
        self,
        passages: Iterable[Passage],
        *,
        batch_size: int = INDEX_BATCH,
        on_progress: Callable[[IndexProgress], None] | None = None,
    ) -> int:
        """Embed passages and store them, batch by batch; each batch is one transaction.

        Passages that the store already holds unchanged are neither embedded nor written. An
        interrupted run leaves whole batches; running it again completes it.

        Args:
            passages: May be a generator; only one batch is held at a time.
            batch_size: Passages per batch, at least 1.
            on_progress: Called after each batch.

        Returns:
            How many passages were new or changed.
        """
        if batch_size < 1:
            raise ConfigError(f"a batch holds at least 1 passage, not {batch_size}")
        seen = changed = vectors = 0
        for batch in _batches(passages, batch_size):
            known = {passage.id: passage for passage in self.store.get([p.id for p in batch])}
            fresh = [passage for passage in batch if known.get(passage.id) != passage]
            if fresh:
                embeddings, owners = self.embed_passages(fresh)
                changed += self.store.add(fresh, embeddings, owners=owners)
                vectors += len(embeddings)
            seen += len(batch)
            if on_progress is not None:
                on_progress(IndexProgress(seen, changed, vectors))
        return changed

    @property
    def document_store(self) -> DocumentStore:
        """The store, if it keeps documents.

        Raises:
            ConfigError: It does not.
        """
        if not isinstance(self.store, DocumentStore):
            raise ConfigError(
                f"{type(self.store).__name__} keeps passages but no documents; index passages, "
                "or use a store with the methods of voicerag_core.DocumentStore"
            )
        return self.store

    def embed_passages(self, passages: Sequence[Passage]) -> tuple[Embeddings, NDArray[np.int64]]:
        """Compute the vectors of passages and, if enabled, of their sentences.

        Returns:
            Vectors [M, D] and owners [M]: row i belongs to ``passages[owners[i]]``.
        """
        return embed_passages(self.embedder, passages, sentences=self.sentence_vectors)

    def retrieve(
        self,
        question: Question | Embedding,
        *,
        limit: int | None = None,
        where: Filter | None = None,
        min_score: float | None = None,
        strategy: Strategy | None = None,
        diversity: float = 0.0,
        history: Sequence[Turn] = (),
    ) -> Retrieved:
        """Find the passages for a spoken or typed question, or for a vector.

        A question that goes on from an earlier one ("and when was he born?") is searched together
        with that one, too.

        Args:
            question: Audio of any rate, text, or a vector [D].
            limit: Maximum number of hits.
            where: Metadata filter.
            min_score: Minimum cosine similarity of a hit.
            strategy: How a spoken question is searched.
            diversity: 0..1; above 0 re-ranks by maximal marginal relevance.
            history: Earlier turns, oldest first.

        Raises:
            AudioError: The clip cannot be used, or contains no speech.
            ConfigError: The question is empty, or the strategy does not fit the parts.
            StoreError: The store failed.
        """
        checked = self.checked(question)
        shown = self.limit if limit is None else _checked_limit(limit)
        search = self._search(
            shown, where=where, min_score=min_score, diversity=diversity, history=history
        )
        chosen = self._strategy(strategy)
        with question_stage(checked, chosen) as told:
            found = _shown(find_passages(search, chosen, checked), shown)
            told.set(voicerag__hits=len(found.hits))
            return found

    def prepare(
        self,
        question: Question,
        *,
        limit: int | None = None,
        where: Filter | None = None,
        min_score: float | None = None,
        strategy: Strategy | None = None,
        history: Sequence[Turn] = (),
        on_found: Callable[[Found], None] | None = None,
    ) -> Retrieved:
        """Do all that comes before the answer: search, and transcribe if the model reads words.

        `stream` goes on from the result. It can be thrown away, when the question was not over yet.

        Args:
            question: Spoken or typed.
            limit: As in `retrieve`, and so are the next three and `history`.
            where: Metadata filter.
            min_score: Minimum cosine similarity of a hit.
            strategy: How a spoken question is searched.
            history: Earlier turns, oldest first.
            on_found: Is told the passages as soon as they are known, on the thread of the call:
                those found by sound, if the search also needs the words, and those that stay.

        Raises:
            AudioError: The clip cannot be used, or contains no speech.
            ConfigError: The question is empty, or the strategy does not fit the parts.
            StoreError: The store failed.
        """
        checked = self.checked(question)
        shown = self.limit if limit is None else _checked_limit(limit)
        search = self._search(
            shown,
            where=where,
            min_score=min_score,
            history=history,
            on_found=_first_of(on_found, shown),
        )
        found = _shown(find_passages(search, self._strategy(strategy), checked), shown)
        if on_found is not None:
            on_found(Found(found.hits, final=True))
        if found.transcription is None and isinstance(checked, Audio) and self._needs_words():
            check_cancelled()
            heard = search.transcribe(checked)
            found = replace(found, transcription=heard, by_sound=True, timings=dict(search.timings))
        return found

    def respond(
        self,
        question: Question,
        retrieved: Retrieved,
        *,
        sampling: Sampling | None = None,
        history: Sequence[Turn] = (),
        instructions: str | None = None,
    ) -> Iterator[Answer]:
        """Stream the answer: first a piece with the hits, then text and speech as generated.

        `Answer.transcript` of the first piece holds the transcript of a spoken question if the
        search needed it; otherwise the model may transcribe it and put the transcript into a piece
        before its first text. Closing the iterator stops the stages below it.

        Args:
            question: Spoken or typed.
            retrieved: What `retrieve` found for it.
            sampling: For models that generate; None takes that of the pipeline.
            history: Earlier turns, oldest first.
            instructions: The manner of answering: emotion, tone, pace, dialect, role. They add to
                the rules for passages and never take their place. None takes those of the
                pipeline, "" has none.

        Raises:
            ConfigError: The instructions are too long.
            EmptyCollectionError: Nothing was found because nothing has been indexed.
            ModelError: The model failed.
        """
        checked = self.checked(question)
        search = self._search(self.limit, where=None, min_score=None, history=history)
        said = self._said_how(sampling, history, instructions)
        yield from self._respond(checked, retrieved, search, said)

    def stream(
        self,
        question: Question,
        *,
        limit: int | None = None,
        where: Filter | None = None,
        min_score: float | None = None,
        strategy: Strategy | None = None,
        sampling: Sampling | None = None,
        history: Sequence[Turn] = (),
        instructions: str | None = None,
        prepared: Retrieved | None = None,
        on_found: Callable[[Found], None] | None = None,
    ) -> Iterator[Answer]:
        """Retrieve and respond in one call: the pieces of `ask`, the first with the hits.

        The question is checked and resampled once. Where the model reads words and finds no answer
        to a spoken question in hits that were found by its sound, its transcript alone is searched
        for; after that up to five other wordings that the recogniser proposes, of which an answer
        has to be surer. What ``adaptive`` found by the sound alone is read after what the words of
        the transcript find. A piece then brings the hits that are new and the time of these
        searches, ``search_again``. `Answer.transcript` stays the transcript. Closing the iterator
        stops the stages below it.

        Args:
            question: Spoken or typed.
            limit: As in `retrieve`, and so are the next three and `history`.
            where: Metadata filter.
            min_score: Minimum cosine similarity of a hit.
            strategy: How a spoken question is searched.
            sampling: As in `respond`, and so are `instructions`.
            history: Earlier turns, oldest first.
            instructions: The manner of answering.
            prepared: What `prepare` found for this question with the same arguments; None searches.
            on_found: Is told what the sound of the question found, where its words are needed too;
                what stays is in the first piece.

        Raises:
            AudioError: The clip cannot be used, or contains no speech.
            ConfigError: The question is empty, the instructions are too long, or the strategy does
                not fit the parts.
            StoreError: The store failed.
            EmptyCollectionError: Nothing has been indexed.
            ModelError: The model failed.
        """
        checked = self.checked(question)
        said = self._said_how(sampling, history, instructions)
        shown = self.limit if limit is None else _checked_limit(limit)
        search = self._search(
            shown,
            where=where,
            min_score=min_score,
            history=history,
            on_found=_first_of(on_found, shown),
        )
        chosen = self._strategy(strategy)

        def pieces() -> Iterator[Answer]:
            retrieved = prepared
            if retrieved is None:
                retrieved = _shown(find_passages(search, chosen, checked), shown)
            yield from self._respond(
                checked,
                retrieved,
                search,
                said,
                again=shown,
                words_first=chosen == "adaptive" and self._reads_on() > 0,
            )

        yield from answer_told(pieces(), checked, chosen)

    def ask(
        self,
        question: Question,
        *,
        limit: int | None = None,
        where: Filter | None = None,
        min_score: float | None = None,
        strategy: Strategy | None = None,
        sampling: Sampling | None = None,
        history: Sequence[Turn] = (),
        instructions: str | None = None,
    ) -> Answer:
        """Answer a question: the sum of `stream`, with the same arguments.

        That is the sum of ``respond(question, retrieve(question))`` but for the second search.
        """
        pieces = self.stream(
            question,
            limit=limit,
            where=where,
            min_score=min_score,
            strategy=strategy,
            sampling=sampling,
            history=history,
            instructions=instructions,
        )
        return sum(pieces, Answer())

    def _said_how(
        self, sampling: Sampling | None, history: Sequence[Turn], instructions: str | None
    ) -> _Manner:
        """Return what the model is told besides question and passages."""
        return _Manner(
            sampling or self.sampling,
            # A model knows an earlier question by its sound, which is that of its own rate.
            [
                replace(turn, question=resample(turn.question, SPEECH_RATE_HZ))
                if isinstance(turn.question, Audio)
                else turn
                for turn in history
            ],
            self.instructions if instructions is None else checked_instructions(instructions),
        )

    def _strategy(self, strategy: Strategy | None) -> Strategy:
        return self.strategy if strategy is None else _checked_strategy(strategy)

    def _search(
        self,
        shown: int,
        *,
        where: Filter | None,
        min_score: float | None,
        diversity: float = 0.0,
        history: Sequence[Turn] = (),
        on_found: Callable[[Found], None] | None = None,
    ) -> Search:
        """Make a search for as many hits as are shown, and more if the model reads on."""
        most = self._reads_on()
        return Search(
            self.embedder,
            self.store,
            self.transcriber,
            limit=shown if diversity else max(shown, most),
            where=where,
            min_score=min_score,
            diversity=diversity,
            reranker=self.reranker,
            reranked=self.reranked,
            rerank_fallback=self.rerank_fallback,
            model=self.model if isinstance(self.model, AsksFurther) else None,
            only_unsure=self.second_round == "unsure",
            history=history,
            on_found=on_found,
        )

    def _respond(
        self,
        question: Question,
        retrieved: Retrieved,
        search: Search,
        manner: _Manner,
        *,
        again: int = 0,
        words_first: bool = False,
    ) -> Iterator[Answer]:
        """Answer a checked question.

        Args:
            question: Checked.
            retrieved: What was found.
            search: Transcribes the question, and searches again.
            manner: What the model is told besides.
            again: Hits to show of a second search; 0 makes none.
            words_first: Whether what the words find is read before what the sound found.
        """
        start = time.perf_counter()
        if not retrieved.hits:
            self._refuse_empty_store()
        heard = retrieved.transcription
        yield Answer(
            hits=retrieved.hits,
            transcript=None if heard is None else heard.text,
            timings=retrieved.timings,
            notes=retrieved.notes,
        )
        check_cancelled()
        if heard is None and isinstance(question, Audio) and self._needs_words():
            heard = search.transcribe(question)
            yield Answer(
                transcript=heard.text, timings={"transcribe": search.timings["transcribe"]}
            )
            check_cancelled()

        if again and heard is not None and isinstance(question, Audio) and self._needs_words():
            yield from looking_again(
                looks(question, heard, retrieved, search, again, words_first=words_first),
                retrieved,
                lambda found, look: self._read(
                    question,
                    found,
                    look.heard,
                    manner,
                    more=found.more
                    if look.joins
                    else new_hits((*found.hits, *found.more), retrieved),
                    least=look.least,
                ),
            )
        else:
            yield from self._read(question, retrieved, heard, manner, more=retrieved.more)
        yield Answer(timings={"respond": time.perf_counter() - start})

    def _read(
        self,
        question: Question,
        found: Retrieved,
        heard: Transcription | None,
        manner: _Manner,
        *,
        more: Sequence[Hit],
        least: float = 0.0,
    ) -> Iterator[Answer]:
        """Let the model answer from what was found.

        Args:
            question: Checked.
            found: The hits, and those behind them.
            heard: The question in words, as far as they are known.
            manner: What the model is told besides.
            more: Hits that join the pieces which cite them.
            least: Least probability of an answer, if that is more than usual.
        """
        respond = self._calibrated_model(least).respond
        if manner.instructions:
            respond = partial(respond, instructions=manner.instructions)
        pieces = respond(
            question,
            [hit.passage for hit in self._to_read(found)],
            sampling=manner.sampling,
            transcript=heard,
            history=manner.history,
        )
        return _with_cited(reading_told(pieces), more)

    def _to_read(self, found: Retrieved) -> Sequence[Hit]:
        """Return the hits in the order in which the model reads them.

        One that reads on weighs itself how well a passage was found and how well it answers, by
        the network that a `PassageReranker` sorted with: it gets the order of the search.
        """
        hits = (*found.hits, *found.more)
        reranker: object = self.reranker
        by_its_network = isinstance(reranker, PassageReranker) and "rerank" in found.timings
        if by_its_network and self._reads_on():
            return sorted(hits, key=lambda hit: hit.rank)
        return hits

    def _refuse_empty_store(self) -> None:
        """Raise if nothing was found because there is nothing.

        Raises:
            EmptyCollectionError: Nothing has been indexed.
        """
        if self.store.count() > 0:
            return
        why = getattr(self.store, "why_empty", None)
        raise EmptyCollectionError(
            "the knowledge base is empty: nothing has been indexed for this collection and "
            "tenant; index documents first (voicerag index PATHS...)"
            if why is None
            else why()
        )

    def _calibrated_model(self, at_least: float = 0.0) -> VoiceModel:
        """Return the model, which declines as was chosen for the collection.

        Args:
            at_least: Least probability of an answer, if that is more; 0 leaves it as it is.
        """
        model: object = self.model
        store: object = self.store
        if not isinstance(model, SelfAssessingModel):
            return self.model
        chosen = store.thresholds().answered if isinstance(store, CalibratedStore) else None
        least = max(chosen or 0.0, at_least)
        return model.declining_below(least) if least else self.model

    def _reads_on(self) -> int:
        """Return how many passages a model looks at that reads them itself; 0 for another."""
        return self.model.most_passages if isinstance(self.model, ReadsOn) else 0

    def _needs_words(self) -> bool:
        """Whether the model wants a transcript that this pipeline can make."""
        model: object = self.model
        wants = isinstance(model, ReadsWords) and model.reads_words
        return wants and self.transcriber is not None

    @overload
    def checked(self, question: Audio) -> Audio: ...
    @overload
    def checked(self, question: Question) -> Question: ...
    @overload
    def checked(self, question: Embedding) -> Embedding: ...
    def checked(self, question: Question | Embedding) -> Question | Embedding:
        """Return a question as the parts take it: speech at their rate.

        Raises:
            AudioError: The clip cannot be used.
            ConfigError: The question is empty, or the vector is not of the embedder's space.
        """
        if isinstance(question, Audio):
            audio = check_audio(
                question, max_seconds=self.max_question_seconds, name="the question"
            )
            return resample(audio, SPEECH_RATE_HZ)
        if isinstance(question, str):
            if not question.strip():
                raise ConfigError("the question is empty; give words or audio")
            return question
        if question.shape != (self.embedder.dim,) or not np.isfinite(question).all():
            raise ConfigError(
                f"a ready vector has shape [{self.embedder.dim}] and finite values, "
                f"not shape {list(question.shape)}"
            )
        return np.asarray(question, np.float32)


def embed_passages(
    embedder: Embedder, passages: Sequence[Passage], *, sentences: bool
) -> tuple[Embeddings, NDArray[np.int64]]:
    """Compute the vectors of passages and, with `sentences`, of their sentences.

    The vector of the whole sees the title and the headings above it, too.

    Returns:
        Vectors [M, D] and owners [M]: row i belongs to ``passages[owners[i]]``.
    """
    texts: list[str] = []
    owners: list[int] = []
    for row, passage in enumerate(passages):
        parts = split_sentences(passage.text) if sentences else []
        vectors = [searched_text(passage), *(parts if len(parts) > 1 else [])]
        texts += vectors
        owners += [row] * len(vectors)
    return embedder.embed_passages(texts), np.asarray(owners, np.int64)


def _with_cited(pieces: Iterator[Answer], more: Sequence[Hit]) -> Iterator[Answer]:
    """Add to the pieces those of some hits that they cite."""
    by_id = {hit.passage.id: hit for hit in more}
    try:
        for piece in pieces:
            cited = dict.fromkeys(place.passage_id for place in piece.citations)
            hits = tuple(by_id[name] for name in cited if name in by_id)
            yield replace(piece, hits=piece.hits + hits) if hits else piece
    finally:
        close_pieces(pieces)


def _shown(found: Retrieved, most: int) -> Retrieved:
    """Keep the first hits as such, and the others for a model that reads on."""
    return replace(found, hits=found.hits[:most], more=found.hits[most:])


def _first_of(
    on_found: Callable[[Found], None] | None, most: int
) -> Callable[[Found], None] | None:
    """Return what passes the first hits on."""
    if on_found is None:
        return None
    return lambda found: on_found(replace(found, hits=found.hits[:most]))


def _checked_strategy(strategy: Strategy) -> Strategy:
    if strategy not in STRATEGIES:
        raise ConfigError(f"unknown strategy {strategy!r}; choose of {', '.join(STRATEGIES)}")
    return strategy


def checked_instructions(instructions: str) -> str:
    """Return instructions without white space around them.

    Raises:
        ConfigError: There are more than `MAX_INSTRUCTIONS` characters.
    """
    if len(instructions) > MAX_INSTRUCTIONS:
        raise ConfigError(
            f"the instructions have {len(instructions)} characters, and {MAX_INSTRUCTIONS} are "
            "taken; say how to speak, and leave what to say to the documents"
        )
    return instructions.strip()


def _checked_limit(limit: int) -> int:
    try:
        whole = operator.index(limit)
    except TypeError:
        raise ConfigError(f"a limit is a whole number of passages, not {limit!r:.40}") from None
    if whole < 1:
        raise ConfigError(f"a search gives at least 1 passage, not {whole}")
    return whole


def _batches(passages: Iterable[Passage], size: int) -> Iterator[list[Passage]]:
    rest = iter(passages)
    while batch := list(itertools.islice(rest, size)):
        yield batch

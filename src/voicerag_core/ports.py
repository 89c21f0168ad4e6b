"""The interfaces of the pipeline's parts, as protocols.

An implementation needs the methods, not the base class. The contract is written here once and
checked by the suites in `voicerag_core.testing`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from voicerag_core.filters import Filter
from voicerag_core.types import (
    Answer,
    Audio,
    Embedding,
    Embeddings,
    Hit,
    Passage,
    Question,
    Samples,
    Sampling,
    Thresholds,
    Transcription,
    Turn,
    TurnEvent,
    Vocabulary,
    Wording,
)

__all__ = [
    "AnswerWriter",
    "AsksFurther",
    "BulkStore",
    "CalibratedStore",
    "DocumentStore",
    "Embedder",
    "PacedSpeaker",
    "PassageReranker",
    "PassageStore",
    "ReadsOn",
    "ReadsWords",
    "RemembersReplies",
    "Reranker",
    "RewordingTranscriber",
    "SamplingWriter",
    "SelfAssessingEmbedder",
    "SelfAssessingModel",
    "ServesMany",
    "Speaker",
    "TextEmbedder",
    "Transcriber",
    "TurnDetector",
    "VocabularyEmbedder",
    "VocabularyTranscriber",
    "VoiceModel",
    "WordStore",
]


@runtime_checkable
class TextEmbedder(Protocol):
    """Embeds texts alone; `voicerag_core.HearingEmbedder` makes an `Embedder` of it.

    Rows are in the order of the input, float32, L2-normalised; empty input returns shape [0, D].
    Beyond rounding, a row does not depend on the other inputs of the call. Thread-safe. Some models
    put a prefix before a passage, and another one before a question: what they put belongs to
    `model_id`, since the vectors depend on it.
    """

    @property
    def model_id(self) -> str:
        """Name of the vector space; stored with the vectors, and a mismatch is rejected."""
        ...

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        ...

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """Embed N texts of documents as [N, D].

        Raises:
            ModelError: The model cannot be loaded or failed.
        """
        ...

    def embed_questions(self, texts: Sequence[str]) -> Embeddings:
        """Embed N questions as [N, D], in the space of the documents.

        Raises:
            ModelError: The model cannot be loaded or failed.
        """
        ...


class Embedder(TextEmbedder, Protocol):
    """Embeds text and speech in one vector space; its rows are those of `TextEmbedder`."""

    @property
    def needs_transcriber(self) -> bool:
        """True when `embed_speech` is a transcriber's single transcript, embedded as text.

        The strategies ``e2e`` and ``adaptive`` then reject the embedder, since they promise to
        search before anything is transcribed. False does not mean that no text is involved:
        SONAR's speech encoder maps sound directly to a vector, while `HearingEmbedder` runs one
        fast CTC pass whose beam search proposes up to eight hypotheses, and averages their vectors;
        no autoregressive decoder runs and no single transcript is chosen.
        """
        ...

    def embed_speech(self, clips: Sequence[Audio]) -> Embeddings:
        """Embed N clips of speech at 16 kHz as [N, D].

        Raises:
            AudioError: A clip is not at 16 kHz, or holds no speech.
            ModelError: The model cannot be loaded or failed.
        """
        ...


@runtime_checkable
class SelfAssessingEmbedder(Protocol):
    """An `Embedder` that also returns its confidence in what it recognized."""

    def embed_speech_scored(self, clips: Sequence[Audio]) -> tuple[Embeddings, NDArray[np.float32]]:
        """Embed N clips as `Embedder.embed_speech` does, and return a confidence for each.

        Returns:
            Vectors [N, D], and confidences [N], 0..1; 1 is sure.
        """
        ...


class Transcriber(Protocol):
    """Transcribes speech. Thread-safe."""

    def transcribe(self, audio: Audio) -> Transcription:
        """Transcribe a clip at 16 kHz; the text is never "".

        Raises:
            AudioError: The clip is not at 16 kHz, or contains no speech.
            ModelError: The model cannot be loaded or failed.
        """
        ...


@runtime_checkable
class VocabularyTranscriber(Protocol):
    """A `Transcriber` that hears the words of a collection better when it knows them."""

    def transcribe_with(self, audio: Audio, vocabulary: Vocabulary) -> Transcription:
        """Transcribe a clip as `Transcriber.transcribe` does, expecting some words."""
        ...


@runtime_checkable
class RewordingTranscriber(Protocol):
    """A `Transcriber` that proposes what else a clip may say, where its transcript leads nowhere.

    It is asked only then, so what it proposes costs nothing where the first look answers.
    """

    def other_wordings(
        self, audio: Audio, heard: Transcription, vocabulary: Vocabulary | None = None
    ) -> tuple[Wording, ...]:
        """Return other wordings of a clip, likeliest first, each once.

        Args:
            audio: At 16 kHz.
            heard: Its transcription.
            vocabulary: The words of the collection, if they are known.

        Raises:
            AudioError: The clip is not at 16 kHz.
            ModelError: The model cannot be loaded or failed.
        """
        ...


@runtime_checkable
class VocabularyEmbedder(Protocol):
    """A `SelfAssessingEmbedder` whose speech vectors are better when it knows a collection."""

    def embed_speech_with(
        self, clips: Sequence[Audio], vocabulary: Vocabulary
    ) -> tuple[Embeddings, NDArray[np.float32]]:
        """Embed as `SelfAssessingEmbedder.embed_speech_scored` does, expecting some words."""
        ...

    def expect(self, vocabulary: Vocabulary) -> None:
        """Prepare for words now, so that the first clip does not wait for it."""
        ...


class PassageStore(Protocol):
    """Stores passages with their vectors, for one collection, tenant and embedding model.

    Thread-safe. Every call is one transaction: it succeeds or fails as a whole. Each raises a
    `StoreError`, whose cause is the driver's error.
    """

    def add(
        self,
        passages: Sequence[Passage],
        embeddings: Embeddings,
        *,
        owners: NDArray[np.int64] | None = None,
    ) -> int:
        """Insert or replace passages by id.

        Args:
            passages: Of passages with the same id, the last one is stored.
            embeddings: [M, D], L2-normalised.
            owners: [M] int64; row i is a vector of ``passages[owners[i]]``, and every passage
                owns at least one. None: M equals the number of passages, row by row.

        Returns:
            How many passages were new or changed; unchanged ones are not written.

        Raises:
            EmbeddingMismatchError: The vectors are not of the store's width.
            StoreError: Shapes do not fit, a vector is not finite, or the database failed.
        """
        ...

    def search(
        self,
        embedding: Embedding | None,
        *,
        text: str | None = None,
        limit: int,
        where: Filter | None = None,
        min_score: float | None = None,
        with_vectors: bool = False,
        ids: Sequence[str] | None = None,
    ) -> tuple[Hit, ...]:
        """Find the best passages, each once, best first; `Hit` defines score and rank.

        Args:
            embedding: [D]; None ranks by `text` alone, which is then required.
            text: Text to rank by; with an embedding both are combined in one ranking.
            limit: Maximum number of hits, at least 1.
            where: Metadata filter.
            min_score: Minimum cosine similarity of the passage's nearest vector, however the
                passage was found; requires an embedding.
            with_vectors: Return each hit with its nearest vector.
            ids: Find none but these passages.
        """
        ...

    def search_many(
        self, embeddings: Embeddings, *, limit: int, where: Filter | None = None
    ) -> list[tuple[Hit, ...]]:
        """Search for each of N rows; the i-th result equals ``search(embeddings[i], ...)``."""
        ...

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return the existing passages with these ids, in the order of `ids`."""
        ...

    def delete(self, ids: Sequence[str] | None = None, *, where: Filter | None = None) -> int:
        """Delete the passages that match ids and filter, and return how many were deleted.

        Raises:
            StoreError: Neither ids nor a filter was given; ``And(())`` deletes everything.
        """
        ...

    def count(self, *, where: Filter | None = None) -> int:
        """Count passages."""
        ...


@runtime_checkable
class DocumentStore(Protocol):
    """A passage store that also tracks whole documents, so that files can be synchronized.

    A document is identified by its source. Its digest is what the caller compares to detect
    changes.
    """

    def document_digests(self) -> Mapping[str, str]:
        """Return the digest of every document, by source."""
        ...

    def replace_document(
        self,
        source: str,
        digest: str,
        passages: Sequence[Passage],
        embeddings: Embeddings,
        *,
        owners: NDArray[np.int64] | None = None,
    ) -> int:
        """Replace the passages of a document, in one transaction.

        Passages that the document no longer has are deleted, unchanged ones are kept. The other
        arguments are those of `PassageStore.add`.

        Returns:
            How many passages were new, changed or deleted.
        """
        ...

    def remove_documents(self, sources: Sequence[str]) -> int:
        """Delete documents with their passages, and return how many passages were deleted."""
        ...


@runtime_checkable
class BulkStore(Protocol):
    """A passage store that is told when much is written, so that its index can wait."""

    def bulk_load(self) -> AbstractContextManager[None]:
        """Write much in the block; what serves searches is brought up to date at its end."""
        ...


@runtime_checkable
class WordStore(Protocol):
    """A passage store that also says which words its passages are written in."""

    def vocabulary(self) -> Vocabulary:
        """Return the words of titles, headings and texts, those of deleted passages not.

        The same object until a passage changes, so that a caller can keep what it makes of it.
        """
        ...


class VoiceModel(Protocol):
    """Answers a question from passages, in text and optionally in speech."""

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        transcript: Transcription | None = None,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Iterator[Answer]:
        """Stream the pieces of an answer; they carry no hits.

        The pieces add up to the whole answer, at least one of them with text. A model that
        transcribes a spoken question itself sets `Answer.transcript` in a piece before the first
        text. Closing the iterator stops the stages below it; nothing is spoken or generated
        afterwards.

        Args:
            question: Spoken or typed.
            passages: Best first; may be empty.
            sampling: For models that generate.
            transcript: The transcription of the spoken question, if already known, so that nothing
                is transcribed twice.
            history: Earlier turns, oldest first.
            instructions: The manner of speaking: emotion, tone, pace, dialect, role. They add to
                the rules for passages and never take their place; what a model cannot do it says
                in `Answer.notes`. `VoiceRAG` passes the argument only when there are some, so a
                model without manners may do without it.

        Raises:
            ModelError: The model cannot be loaded or failed.
            AudioError: The question's audio cannot be used.
        """
        ...


@runtime_checkable
class ReadsOn(Protocol):
    """What a `VoiceModel` or an `AnswerWriter` has besides when it can use more passages than hits.

    `VoiceRAG` then looks for so many (`Retrieved.more`) and passes them behind the hits.
    """

    @property
    def most_passages(self) -> int:
        """Most passages that are read for one question."""
        ...


@runtime_checkable
class ReadsWords(Protocol):
    """What a `VoiceModel` has besides that answers a spoken question by its transcript alone.

    `VoiceRAG` then makes the transcript, which knows the collection's words, and where the model
    finds no answer it searches once more by the transcript.
    """

    @property
    def reads_words(self) -> bool:
        """Whether a spoken question has to be transcribed before it is answered."""
        ...


@runtime_checkable
class ServesMany(Protocol):
    """A `VoiceModel` that answers several questions at a time, and says how many.

    Servers run as many calls at a time as it can answer, unless they are told otherwise.
    """

    @property
    def capacity(self) -> int:
        """Most answers at a time; it may be known only once the model is loaded, 1 before."""
        ...

    @property
    def running(self) -> int:
        """Answers that are being written."""
        ...

    @property
    def waiting(self) -> int:
        """Questions that wait for their turn."""
        ...

    @property
    def out_of_service(self) -> tuple[str, ...]:
        """Parts that failed and are not used any more, such as devices, and how they failed."""
        ...


@runtime_checkable
class RemembersReplies(Protocol):
    """What a `VoiceModel` has besides that keeps its replies in a form of its own.

    `Conversation` tells it how much of a reply was heard, so that it goes on from there.
    """

    def cut(self, turn: Turn, heard: Turn, *, seconds: float) -> None:
        """Remember only what was heard of a reply, for later calls with `heard` in their history.

        A turn that is not remembered is left alone.

        Args:
            turn: As it was generated.
            heard: The same turn, its answer cut to the words that were heard.
            seconds: How much of its speech was played.
        """
        ...


@runtime_checkable
class AsksFurther(Protocol):
    """What a `VoiceModel` has besides that can say what it still needs to know.

    The strategy ``two_round`` searches again by that.
    """

    def further_query(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        transcript: Transcription | None = None,
        only_unsure: bool = False,
    ) -> str | None:
        """Return what to search for next, in a sentence, or None for nothing.

        Args:
            question: Spoken or typed.
            passages: What the first search found, best first; may be empty.
            transcript: The transcription of the spoken question, if there is one.
            only_unsure: Return None where the passages answer the question.

        Raises:
            ModelError: The model cannot be loaded or failed.
            ConfigError: The model needs a transcript, and there is none.
        """
        ...


@runtime_checkable
class SelfAssessingModel(Protocol):
    """What a `VoiceModel` has besides that knows how probable its answers are."""

    def answer_probability(self, question: str, passages: Sequence[Passage]) -> float | None:
        """Return the probability, 0..1, that passages answer a question; None if not known."""
        ...

    def declining_below(self, probability: float) -> VoiceModel:
        """Return the same model with another least probability of an answer; parts are shared."""
        ...


@runtime_checkable
class CalibratedStore(Protocol):
    """A passage store that keeps the thresholds of its collection."""

    def thresholds(self) -> Thresholds:
        """Return the thresholds that were chosen for the collection."""
        ...

    def set_thresholds(self, thresholds: Thresholds) -> None:
        """Keep thresholds with the collection."""
        ...


class AnswerWriter(Protocol):
    """Answers in text, by quoting or paraphrasing passages. Thread-safe."""

    def answer(
        self,
        question: str,
        passages: Sequence[Passage],
        *,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Generator[Answer, None, None]:
        """Stream the pieces of a written answer; they carry no hits and no sound.

        If the passages do not answer the question, a piece has `Answer.answered` False; if no
        piece has text, the caller chooses what to say. Closing the generator stops the stages
        below it.

        Args:
            question: As text.
            passages: Best first, at least one.
            history: Earlier turns, oldest first.
            instructions: The manner of writing; passed only when there is one. A writer that
                quotes ignores it.

        Raises:
            ModelError: The model cannot be loaded or failed.
        """
        ...


@runtime_checkable
class SamplingWriter(Protocol):
    """What an `AnswerWriter` has besides that generates, and takes a sampling."""

    def sampled(self, sampling: Sampling) -> AnswerWriter:
        """Return the same writer with another sampling; what is the default of `Sampling` stays."""
        ...


RERANKED = 20
"""Passages that a `Reranker` sorts for a question, where nothing else is said."""


class Reranker(Protocol):
    """Scores passages for a question by reading both together. Thread-safe."""

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return for each of N texts how well it answers the question, as [N]; more is better.

        The scores of one call can be compared with each other, not with those of another model.

        Raises:
            ModelError: The model cannot be loaded or failed.
        """
        ...


@runtime_checkable
class PassageReranker(Protocol):
    """A `Reranker` that knows more of a passage than the text that is searched.

    It knows a passage's headings, and how well it was found. A `ReadsOn` model is given the
    passages in the order of the search all the same: it reads them by itself.
    """

    def score_passages(self, question: str, passages: Sequence[Passage]) -> NDArray[np.float32]:
        """Return for each of N passages how well it answers the question; see `Reranker.score`."""
        ...


class Speaker(Protocol):
    """Synthesizes speech. Thread-safe; texts of several threads may queue up."""

    def warm(self) -> None:
        """Load or start now what the first text would otherwise wait for.

        Raises:
            ModelError: The voice cannot be loaded or started.
        """
        ...

    def speak(self, text: str) -> Audio:
        """Synthesize a text, ideally one sentence; a speaker always uses the same sample rate.

        Raises:
            GenerationError: Nothing in the text can be spoken, or no sound was produced.
            ModelError: The voice cannot be loaded or started, or the speaker is closed.
        """
        ...

    def close(self) -> None:
        """Drop the current text and speak nothing more; a second call does nothing."""
        ...


@runtime_checkable
class PacedSpeaker(Protocol):
    """What a `Speaker` has besides that can speak faster and slower."""

    def speak_at(self, text: str, *, pace: float) -> Audio:
        """Synthesize a text as `Speaker.speak` does.

        Args:
            text: Ideally one sentence.
            pace: Speed as a multiple of the voice's own, 0.5 to 2; 2 is twice as fast.
        """
        ...


class TurnDetector(Protocol):
    """Tells from sound when somebody starts to speak, pauses, and is done. For one thread.

    It has no clock: time is counted in the samples that it is given.
    """

    @property
    def sample_rate(self) -> int:
        """Rate of the samples that it takes, in Hz."""
        ...

    def push(self, samples: Samples, *, playing: bool = False) -> tuple[TurnEvent, ...]:
        """Take the next samples, of any number, and return what changed in them, in order.

        The events of a turn are ``started``, then any number of ``paused`` and ``resumed`` in
        turn, then ``stopped``, always after a ``paused``. How the samples are cut into calls
        changes nothing.

        Args:
            samples: Shape [T], what the microphone took next.
            playing: Whether a loudspeaker may be playing near the microphone: a start then takes
                more, so that the program does not interrupt itself.

        Raises:
            AudioError: The samples are not of shape [T], float32 and finite.
        """
        ...

    def reset(self) -> None:
        """Forget what was heard; the next sample is number 0."""
        ...

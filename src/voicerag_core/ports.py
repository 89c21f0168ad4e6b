"""What the pipeline needs from the world, as protocols.

An implementation does not inherit from these; it has the methods. The contract is written here
once and checked by the suites in `voicerag_core.testing`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
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
    Sampling,
    Transcription,
    Turn,
)

__all__ = [
    "AnswerWriter",
    "DocumentStore",
    "Embedder",
    "PassageStore",
    "ReadsOn",
    "SelfAssessingEmbedder",
    "Speaker",
    "Transcriber",
    "VoiceModel",
]


class Embedder(Protocol):
    """Turns text and speech into vectors of one space.

    Rows come in the order of the input, float32, L2-normalised; no input gives shape [0, D]. A
    row does not depend on what else is in the call, beyond rounding. Safe to share between
    threads.
    """

    @property
    def model_id(self) -> str:
        """Names the vector space; written beside the vectors, and a mismatch is refused."""
        ...

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        ...

    @property
    def needs_transcriber(self) -> bool:
        """True when `embed_speech` is a transcriber's single transcript, embedded as text.

        The strategies ``e2e`` and ``adaptive`` then refuse the embedder, since they promise to
        search before anything is transcribed. False does not promise that no words take part:
        SONAR's speech encoder goes straight from sound to vector, while `LocalEmbedder` runs one
        fast CTC pass whose beam search proposes up to eight wordings, and averages their text
        vectors; no autoregressive decoder runs and no single transcript is chosen.
        """
        ...

    def embed_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embed N texts as [N, D].

        Raises:
            ModelError: The model cannot be loaded or failed.
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
    """What an `Embedder` has besides when it can say how sure it is of what it heard."""

    def embed_speech_scored(self, clips: Sequence[Audio]) -> tuple[Embeddings, NDArray[np.float32]]:
        """Embed N clips as `Embedder.embed_speech` does, and return a confidence for each.

        Returns:
            Vectors [N, D], and confidences [N], 0..1; 1 is sure.
        """
        ...


class Transcriber(Protocol):
    """Turns speech into words. Safe to share between threads."""

    def transcribe(self, audio: Audio) -> Transcription:
        """Return the words of a clip at 16 kHz; the text is never "".

        Raises:
            AudioError: The clip is not at 16 kHz, or no speech was heard in it.
            ModelError: The model cannot be loaded or failed.
        """
        ...


class PassageStore(Protocol):
    """Keeps passages with their vectors; opened for one collection, tenant and embedding model.

    Safe to share between threads. Every call is one transaction: all of it happens, or nothing.
    Each raises a `StoreError`, whose cause is the driver's error.
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
            passages: Ids may repeat neither here nor differ in text from one another; the last
                of a repeated id stays.
            embeddings: [M, D], L2-normalised.
            owners: [M] int64; row i is a vector of ``passages[owners[i]]``, and every passage
                owns at least one. None: M equals the number of passages, row by row.

        Returns:
            How many passages were new or changed; unchanged ones cost no write.

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
    ) -> tuple[Hit, ...]:
        """Find the best passages, each once, best first.

        Args:
            embedding: [D]; None searches by words alone, and then `text` is needed.
            text: Words to rank by; with an embedding the two rankings are fused.
            limit: Most hits to give, at least 1.
            where: Metadata filter.
            min_score: Least cosine similarity of the passage's nearest vector.
            with_vectors: Give each hit its nearest vector.
        """
        ...

    def search_many(
        self, embeddings: Embeddings, *, limit: int, where: Filter | None = None
    ) -> list[tuple[Hit, ...]]:
        """Search for each of N rows; the i-th result equals ``search(embeddings[i], ...)``."""
        ...

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages of these ids that exist, in the order asked."""
        ...

    def delete(self, ids: Sequence[str] | None = None, *, where: Filter | None = None) -> int:
        """Delete the passages that match ids and filter, and return how many went.

        Raises:
            StoreError: Neither ids nor filter was given; ``And(())`` deletes everything.
        """
        ...

    def count(self, *, where: Filter | None = None) -> int:
        """Count passages."""
        ...


@runtime_checkable
class DocumentStore(Protocol):
    """A passage store that also keeps track of whole documents, so that files can be kept in step.

    A document is known by its source. Its digest is whatever the caller compares to tell that it
    is unchanged.
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
        """Make these the only passages of a document, in one transaction.

        Passages that the document no longer has are deleted, unchanged ones are left alone. The
        other arguments are those of `PassageStore.add`.

        Returns:
            How many passages were new, changed or deleted.
        """
        ...

    def remove_documents(self, sources: Sequence[str]) -> int:
        """Delete documents with their passages, and return how many passages went."""
        ...


class VoiceModel(Protocol):
    """Answers a question from passages, in text and perhaps in speech."""

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        transcript: Transcription | None = None,
        history: Sequence[Turn] = (),
    ) -> Iterator[Answer]:
        """Stream the pieces of an answer; they carry no hits.

        The pieces add up to the whole answer, at least one of them with text. A model that
        transcribes a spoken question itself puts the words into `Answer.transcript`, of a piece
        that comes before the first text. Closing the iterator stops everything below it; nothing
        is spoken or generated afterwards.

        Args:
            question: Spoken or typed.
            passages: Best first; may be empty.
            sampling: For models that generate.
            transcript: The transcription of the spoken question when it is known already, so
                that nothing is transcribed twice.
            history: Earlier turns, oldest first.

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


class AnswerWriter(Protocol):
    """Answers in text, by quoting passages or by wording what they say. Safe to share."""

    def answer(
        self, question: str, passages: Sequence[Passage], *, history: Sequence[Turn] = ()
    ) -> Generator[Answer, None, None]:
        """Stream the pieces of a written answer; they carry no hits and no sound.

        Where the passages do not answer, a piece says so by `Answer.answered`; without any words
        it is left to the caller what to say. Closing the generator stops everything below it.

        Args:
            question: In words.
            passages: Best first, at least one.
            history: Earlier turns, oldest first.

        Raises:
            ModelError: The model cannot be loaded or failed.
        """
        ...


class Speaker(Protocol):
    """Turns text into speech. Safe to share between threads, whose texts may queue up."""

    def warm(self) -> None:
        """Load or start now what the first text would wait for.

        Raises:
            ModelError: The voice cannot be loaded or started.
        """
        ...

    def speak(self, text: str) -> Audio:
        """Speak a text, best one sentence; every text of a speaker comes at one rate.

        Raises:
            GenerationError: Nothing in the text can be spoken, or no sound came.
            ModelError: The voice cannot be loaded or started, or the speaker is closed.
        """
        ...

    def close(self) -> None:
        """Drop what is being spoken, and speak nothing more; a second call does nothing."""
        ...

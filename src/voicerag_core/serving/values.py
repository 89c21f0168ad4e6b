"""Arguments and results of calls, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from voicerag_core.serving.clips import KeptSpeech
from voicerag_core.types import Answer, Audio, Hit, Passage, Sampling, Strategy, Turn

__all__ = [
    "Asked",
    "Found",
    "PassageInDocument",
    "Query",
    "QuestionSource",
    "SpeechPlace",
    "Spoken",
    "TakenIn",
    "Transcribed",
    "Where",
]

SpeechPlace: TypeAlias = Literal["clip", "file"]
Where: TypeAlias = Mapping[str, str | int | float | bool | list[str | int | float | bool]]


@dataclass(frozen=True, slots=True)
class QuestionSource:
    """The ways to pass a question; exactly one is used.

    Args:
        text: As words.
        clip: Id or URI of a clip that is kept.
        audio_path: A file in an allowed folder.
        audio_base64: Bytes of a sound file, in base64.
        data: Bytes of a sound file.
        audio: Sound that was read already, as a stream.
    """

    text: str | None = None
    clip: str | None = None
    audio_path: str | None = None
    audio_base64: str | None = None
    data: bytes | None = None
    audio: Audio | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A question and how to search for its answer.

    Args:
        source: The question.
        collection: None is the default one.
        limit: Maximum number of passages; None is the default.
        where: Required metadata values; a list means any of its values.
        strategy: How a spoken question is searched; None is the default.
        instructions: The manner of answering; None is the default.
        sampling: For models that generate; None is the default.
        history: Earlier turns of the conversation, oldest first.
    """

    source: QuestionSource
    collection: str | None = None
    limit: int | None = None
    where: Where | None = None
    strategy: Strategy | None = None
    instructions: str | None = None
    sampling: Sampling | None = None
    history: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search.

    Args:
        hits: Best first.
        collection: Collection that was searched.
        transcript: The transcript of a spoken question, if known.
        seconds: Duration of the call.
        notes: What of the search did not go as it was set.
    """

    hits: tuple[Hit, ...]
    collection: str
    transcript: str | None
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer, and where its speech is stored.

    Args:
        answer: Text, sources and speech.
        speech: Where the speech is stored; None if there is none.
        collection: Collection that was searched.
        seconds: Duration of the call.
    """

    answer: Answer
    speech: KeptSpeech | None
    collection: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Transcribed:
    """The transcript of a clip.

    Args:
        text: The transcript.
        audio_seconds: Length of the clip.
        seconds: Duration of the call.
        language: Code of the language, if the recogniser tells it.
        confidence: 0..1, if the recogniser tells it.
    """

    text: str
    audio_seconds: float
    seconds: float
    language: str | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text as speech.

    Args:
        speech: Where it is stored.
        seconds: Duration of the call.
    """

    speech: KeptSpeech
    seconds: float


@dataclass(frozen=True, slots=True)
class TakenIn:
    """The result of an ingestion.

    Args:
        collection: Collection that was searched.
        sources: Number of new or changed documents.
        unchanged: Number of unchanged documents.
        removed: Number of documents whose files were deleted.
        passages: Passages written or deleted.
        failures: What could not be used, and why.
        seconds: Duration of the call.
    """

    collection: str
    sources: int
    unchanged: int
    removed: int
    passages: int
    failures: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class PassageInDocument:
    """A passage and its surroundings.

    Args:
        passage: The passage.
        document: Passages of its document around it, in their order.
    """

    passage: Passage
    document: tuple[Passage, ...]

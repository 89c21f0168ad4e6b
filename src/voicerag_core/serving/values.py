"""What calls bring, and what they get: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from voicerag_core.serving.clips import KeptSpeech
from voicerag_core.types import Answer, Hit, Passage, Strategy

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
    """The ways in which a call can give a question; exactly one is used."""

    text: str | None = None
    clip: str | None = None
    audio_path: str | None = None
    audio_base64: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A question and where its answer is looked for.

    Args:
        source: The question.
        collection: None is the default one.
        limit: Most passages; None is the default.
        where: What metadata must equal; a list means any of its values.
        strategy: How a spoken question is searched; None is the default.
    """

    source: QuestionSource
    collection: str | None = None
    limit: int | None = None
    where: Where | None = None
    strategy: Strategy | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Args:
        hits: Best first.
        collection: Where.
        transcript: The words of a spoken question, when they are known.
        seconds: How long it took.
    """

    hits: tuple[Hit, ...]
    collection: str
    transcript: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer, and where its speech is kept.

    Args:
        answer: Text, sources and speech.
        speech: Where the speech is kept; None when there is none.
        collection: Where the answer was looked for.
        seconds: How long it took.
    """

    answer: Answer
    speech: KeptSpeech | None
    collection: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Transcribed:
    """What was said in a clip.

    Args:
        text: The words.
        audio_seconds: Length of the clip.
        seconds: How long it took.
    """

    text: str
    audio_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text as speech.

    Args:
        speech: Where it is kept.
        seconds: How long it took.
    """

    speech: KeptSpeech
    seconds: float


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What an ingestion came to.

    Args:
        collection: Where.
        sources: Documents that were new or changed.
        unchanged: Documents that cost nothing.
        removed: Documents whose files are gone.
        passages: Passages written or deleted.
        failures: What could not be used, and why.
        seconds: How long it took.
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

"""The value types of voicerag: frozen, slotted dataclasses without behaviour."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voicerag_core.blocks import Block
from voicerag_core.errors import AudioError

__all__ = [
    "Answer",
    "Audio",
    "Citation",
    "Document",
    "Embedding",
    "Embeddings",
    "Found",
    "Hit",
    "JSONValue",
    "MatchedBy",
    "Passage",
    "Question",
    "Retrieved",
    "Samples",
    "Sampling",
    "SecondRound",
    "Strategy",
    "Thresholds",
    "Transcription",
    "Turn",
    "TurnEvent",
    "TurnEventKind",
    "Vocabulary",
    "Wording",
]

Samples: TypeAlias = NDArray[np.float32]
"""Mono sound, shape [T], float32, nominal range -1..1."""

Embedding: TypeAlias = NDArray[np.float32]
"""One vector, shape [D], float32, L2-normalised."""

Embeddings: TypeAlias = NDArray[np.float32]
"""One vector per row, shape [N, D], float32, L2-normalised, in the order of the input."""

JSONValue: TypeAlias = "str | int | float | bool | list[JSONValue] | dict[str, JSONValue] | None"
"""What a passage's metadata may hold."""

MatchedBy: TypeAlias = Literal["vector", "words", "second_round"]
"""How a search found a passage: by its nearest vector, by matching words, or by the query that a
model wrote after reading what the first search found."""

Strategy: TypeAlias = Literal["e2e", "asr", "hybrid", "adaptive", "two_round"]
"""How a question is searched; `voicerag_core.retrieval` describes each strategy. The only list of
the names: all others are made of it by ``typing.get_args``."""

SecondRound: TypeAlias = Literal["always", "unsure"]
"""When ``two_round`` searches again: always, or only where the passages do not seem to answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Mono sound with its sample rate.

    Two clips are equal if rate and samples are. ``+`` joins clips of the same rate.

    Args:
        samples: Shape [T], float32, nominal range -1..1.
        sample_rate: Hz, above zero.
    """

    samples: Samples
    sample_rate: int

    def __post_init__(self) -> None:
        """Refuse what is not mono float32 at a positive rate."""
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            raise AudioError(
                "Audio takes mono float32 samples of shape [T], not "
                f"{self.samples.dtype} of shape {list(self.samples.shape)}; "
                "voicerag_core.read_audio makes them from a file or bytes"
            )
        if self.sample_rate <= 0:
            raise AudioError(f"a sample rate is above 0 Hz, not {self.sample_rate}")

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    def __add__(self, other: Audio) -> Audio:
        """Join two clips of one rate, this one first.

        Raises:
            AudioError: The rates differ.
        """
        if not isinstance(other, Audio):
            return NotImplemented
        if self.sample_rate != other.sample_rate:
            raise AudioError(
                f"cannot join audio at {self.sample_rate} Hz with audio at "
                f"{other.sample_rate} Hz; resample one of them first"
            )
        return Audio(np.concatenate((self.samples, other.samples)), self.sample_rate)

    def __eq__(self, other: object) -> bool:
        """Equal when rate and every sample are."""
        if not isinstance(other, Audio):
            return NotImplemented
        return self.sample_rate == other.sample_rate and np.array_equal(self.samples, other.samples)

    def __hash__(self) -> int:
        """Hash by rate and length; equal clips hash alike."""
        return hash((self.sample_rate, len(self.samples)))

    def __repr__(self) -> str:
        """Show length and rate, never the sound itself."""
        return f"Audio({self.seconds:.2f} s at {self.sample_rate} Hz)"


Question: TypeAlias = Audio | str
"""A spoken or a typed question."""


@dataclass(frozen=True, slots=True)
class Transcription:
    """The transcript of a clip.

    Args:
        text: The transcript.
        confidence: 0..1, where 1 is certain: the geometric mean of the token probabilities. None if
            the recogniser does not return any.
        language: Language code of the recogniser ("en", "eng_Latn"); None if not known.
        others: Other wordings that fit the sound nearly as well, likeliest first.
    """

    text: str
    confidence: float | None = None
    language: str | None = None
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wording:
    """What else a clip may say, besides its transcript.

    Args:
        text: It.
        lead: By how much it fits the sound better than the transcript does, as a natural logarithm;
            below 0 it fits worse. Minus infinity: it is not known.
    """

    text: str
    lead: float = -math.inf


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Vocabulary:
    """The words of a collection, for a recogniser to expect them. Equal to itself only.

    Args:
        words: Each word as it is written, with the number of passages that it stands in.
    """

    words: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A whole text before it is split into passages.

    Args:
        source: Where it comes from; a path, a URL or any stable name. Key of the document.
        text: The text itself.
        title: A name to show, or "" when there is none.
        metadata: Copied to every passage of the document.
        blocks: Headings, paragraphs, items, rows and so on that the text consists of, in order and
            separated by white space; empty for plain text.
    """

    source: str
    text: str
    title: str = ""
    metadata: Mapping[str, JSONValue] = field(default_factory=dict, hash=False)
    blocks: tuple[Block, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Passage:
    """A section of text that can be found and cited.

    Args:
        id: Unique within tenant and collection.
        text: The text that is shown and read.
        metadata: JSON values; chunking fills `source`, `title`, `position`, `start` and `end`.
    """

    id: str
    text: str
    metadata: Mapping[str, JSONValue] = field(default_factory=dict, hash=False)

    @property
    def source(self) -> str:
        """Where the passage comes from; "" if the metadata does not say."""
        return str(self.metadata.get("source", ""))

    @property
    def title(self) -> str:
        """The title of the passage's document, or its source if it has none."""
        return str(self.metadata.get("title") or self.source)


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that a search found.

    Args:
        passage: The passage; listed once, however many of its vectors matched.
        score: Cosine similarity (-1..1) of the passage's nearest vector to the question's vector,
            whether the passage was found by its vector or by its words. If words were matched,
            hits are ordered by `rank` and not by score. A search by words alone has no vector to
            compare with; its score is the share (0..1) of the question's words that the passage
            contains, weighted by rarity.
        rank: Position in the ranking of the search, starting at 1. Re-ranking, for variety or by a
            `Reranker`, changes the order of hits, but not their ranks.
        matched_by: The ways in which it was found.
        embedding: The passage's nearest vector, shape [D]; only if requested.
    """

    passage: Passage
    score: float
    rank: int
    matched_by: tuple[MatchedBy, ...] = ("vector",)
    embedding: Embedding | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of one collection, as ``voicerag calibrate`` chose them; None: the usual one.

    Args:
        confidence: Least confidence of the embedder (0..1) at which ``adaptive`` does without a
            transcript.
        gap: Least lead in cosine similarity of the best passage over the next at which it does.
        answered: Least probability (0..1) of an answer, below which the reader declines.
    """

    confidence: float | None = None
    gap: float | None = None
    answered: float | None = None


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The result of a retrieval.

    Args:
        hits: Best first.
        transcription: The transcription of a spoken question if the strategy needed it, else None.
        embedding: The query vector, shape [D], or None.
        timings: Seconds by stage.
        more: The next best hits, best first, for a model that reads on where the hits leave it
            unsure; an answer that rests on one of them brings it along in its hits.
        notes: What of the search did not go as it was set, one sentence each.
        by_sound: True when a spoken question was searched by its sound, alone or beside its words,
            which are known by now: where the documents seem not to answer, a search by words alone
            may.
    """

    hits: tuple[Hit, ...]
    transcription: Transcription | None = None
    embedding: Embedding | None = field(default=None, compare=False, repr=False)
    timings: Mapping[str, float] = field(default_factory=dict, hash=False)
    more: tuple[Hit, ...] = field(default=(), repr=False)
    by_sound: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """Passages that are known while a question is still being worked on.

    Args:
        hits: Best first.
        final: Whether the answer is read from them. False for what the sound of a question found
            by itself, as long as its words are made out: they may find others.
    """

    hits: tuple[Hit, ...]
    final: bool


@dataclass(frozen=True, slots=True)
class Citation:
    """The span of a passage that supports an answer.

    Args:
        passage_id: Id of the cited passage.
        start: First character of the cited span in the passage's text.
        end: One past its last character.
    """

    passage_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, or a piece of one; pieces add up to the whole.

    ``+`` is associative and ``Answer()`` is neutral, so ``sum(pieces, Answer())`` is the answer.
    Text, audio and spoken words are concatenated, hits, citations and notes appended without
    duplicates, `answered` is
    True only if it is in both, `asked_back` if it is in one, the first transcript is kept, and the
    longer timing of each stage.

    Args:
        text: The text, or the next part of it.
        audio: Speech, or the next part of it; a text piece may precede its sound.
        spoken: The words that `audio` says, as they are written, without marks of layout; in the
            order of the sound, which may leave parts of the text out. Of the local voice they are
            those of this very piece. GLM-4-Voice writes ahead of its speech, so there they are
            the words written since its last piece of speech: approximate within a piece, complete
            over the answer.
        hits: The passages that the answer is based on; in the first streamed piece.
        citations: The spans that support it.
        answered: False when the documents do not answer the question.
        asked_back: True when the question was not understood well enough: the text asks what was
            meant, and `answered` is False.
        transcript: The transcript of a spoken question, if one was made while answering; None if
            nothing transcribed it or the question was typed.
        timings: Seconds by stage.
        notes: What could not be done as it was asked or set, one sentence each.
    """

    text: str = ""
    audio: Audio | None = None
    hits: tuple[Hit, ...] = ()
    citations: tuple[Citation, ...] = ()
    answered: bool = True
    asked_back: bool = False
    transcript: str | None = None
    timings: Mapping[str, float] = field(default_factory=dict, hash=False)
    spoken: str = ""
    notes: tuple[str, ...] = ()

    def __add__(self, other: Answer) -> Answer:
        """Append the next piece.

        Raises:
            AudioError: Both carry audio and the rates differ.
        """
        if not isinstance(other, Answer):
            return NotImplemented
        if self.audio is None or other.audio is None:
            audio = self.audio if other.audio is None else other.audio
        else:
            audio = self.audio + other.audio
        timings = dict(self.timings)
        for stage, seconds in other.timings.items():
            timings[stage] = max(seconds, timings.get(stage, seconds))
        return Answer(
            text=self.text + other.text,
            audio=audio,
            hits=self.hits + tuple(hit for hit in other.hits if hit not in self.hits),
            citations=self.citations
            + tuple(place for place in other.citations if place not in self.citations),
            answered=self.answered and other.answered,
            asked_back=self.asked_back or other.asked_back,
            transcript=other.transcript if self.transcript is None else self.transcript,
            timings=timings,
            spoken=self.spoken + other.spoken,
            notes=self.notes + tuple(note for note in other.notes if note not in self.notes),
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier question of the conversation with its answer.

    Args:
        question: As it was asked; the words of a spoken one are `Answer.transcript`, if known.
        answer: As much of it as was heard.
    """

    question: Question
    answer: Answer

    @property
    def words(self) -> str:
        """The question in words; "" when it was spoken and nothing transcribed it."""
        if isinstance(self.question, str):
            return self.question
        return self.answer.transcript or ""


TurnEventKind: TypeAlias = Literal["started", "paused", "resumed", "stopped"]
"""What a `TurnDetector` tells of somebody who speaks."""


@dataclass(frozen=True, slots=True)
class TurnEvent:
    """A change in who speaks.

    Args:
        kind: ``started``: somebody began to speak; ``paused``: they fell silent, perhaps for a
            breath; ``resumed``: they went on before the stop; ``stopped``: they are done.
        sample: Where, in samples of the detector's rate since it was made or reset: the first one
            of speech for ``started`` and ``resumed``, one past the last one for the others.
    """

    kind: TurnEventKind
    sample: int


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a generating model samples its tokens.

    The defaults are those of GLM-4-Voice's web demo (THUDM/GLM-4-Voice @ eb00ce9, web_demo.py).

    Args:
        temperature: 0 always takes the most likely token.
        top_p: Share of the probability mass to draw from, above 0 and at most 1.
        max_new_tokens: Maximum tokens of one answer, text and speech together.
        seed: Makes a run repeatable; None draws a new seed.
    """

    temperature: float = 0.2
    top_p: float = 0.8
    max_new_tokens: int = 2000
    seed: int | None = None

"""The local voice model: write the answer, then speak it sentence by sentence."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from voicerag_core.errors import ConfigError
from voicerag_core.follow_ups import follows_up, turn_before
from voicerag_core.languages import ANY, ENGLISH
from voicerag_core.local.asking import asks
from voicerag_core.local.reading.further import further_query
from voicerag_core.local.reading.language import is_english, language_of
from voicerag_core.local.replies import replies_in
from voicerag_core.local.speaking.answer_speech import spoken_answer
from voicerag_core.local.speaking.manner import PLAIN, Manner, manner_of
from voicerag_core.ports import (
    AnswerWriter,
    PacedSpeaker,
    ReadsOn,
    SamplingWriter,
    Speaker,
    Transcriber,
)
from voicerag_core.types import Answer, Audio, Passage, Question, Sampling, Transcription, Turn

__all__ = ["LEAST_CONFIDENCE", "LocalVoiceModel", "is_doubtful"]

NOT_ENGLISH = "I only understand questions in English, and this one does not seem to be."
ONLY_ENGLISH = "I only understand English."
LEAST_CONFIDENCE = math.exp(-0.85)
"""Confidence below which a transcription is rejected: the English recogniser hallucinates English
words for speech in another language (benchmarks/results/language.md)."""
SURE_CONFIDENCE = 0.7
"""Confidence below which a question without an answer is asked back: of such transcripts one in
eight is right, of the others three in four."""

_CODE = 2
"""Letters of the codes of languages here; those of other recognisers say nothing."""

_Pieces: TypeAlias = Generator[Answer, None, None]


class LocalVoiceModel:
    """Voice model of the local stack.

    Without passages, if the question is not in English, or if the passages do not answer it, the
    answer says so and `Answer.answered` is False. A spoken question is asked back
    (`Answer.asked_back`) if its transcript is too uncertain, or is a little uncertain and the
    passages do not answer it. Thread-safe if its parts are.

    Args:
        writer: Writes the answer: a `Reader`, which quotes the passages, or a `ChatReader`, which
            lets a chat model answer from them.
        speaker: Speaks the answer; None returns text only.
        transcriber: Transcribes a spoken question if its transcript is not known.
        english_only: Decline questions in other languages, which the `Reader` cannot answer.
        language: Code of the questions' language, or "auto": it is found out for each question.
        voice_fallback: Go on as text alone, with a note, where the speaker fails.
        spoken: Code of the only language that the speaker speaks; None: all that are asked.
    """

    def __init__(
        self,
        writer: AnswerWriter,
        speaker: Speaker | None = None,
        transcriber: Transcriber | None = None,
        *,
        english_only: bool = True,
        language: str = ENGLISH,
        spoken: str | None = None,
        voice_fallback: bool = False,
    ) -> None:
        self._voice_fallback = voice_fallback
        self._language = language
        self._spoken = spoken
        self._writer = writer
        self._speaker = speaker
        self._transcriber = transcriber
        self._english_only = english_only

    @property
    def most_passages(self) -> int:
        """Most passages that the writer reads; 0 when it takes just what it is given."""
        return self._writer.most_passages if isinstance(self._writer, ReadsOn) else 0

    @property
    def reads_words(self) -> bool:
        """True: the writer reads words."""
        return True

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
        """Stream the answer: text with citations first, then speech.

        Timings: ``transcribe``, ``read`` (to the first text) and ``first_audio``, the last
        measured from the start of the call.

        Args:
            question: Spoken at 16 kHz, or typed.
            passages: Best first; may be empty.
            sampling: Passed on to a chat model that takes it, unless it is the default; readers do
                not sample.
            transcript: The transcription of the spoken question, when known.
            history: Earlier turns, oldest first.
            instructions: The manner of speaking. The voice follows pace and pauses, a chat model
                the rest in its words; what nothing follows is named in `Answer.notes`.

        Raises:
            AudioError: The spoken question cannot be used, or contains no speech.
            ConfigError: The question is spoken, its transcript is not known, and the model has no
                transcriber.
            ModelError: A part failed.
        """
        started = time.perf_counter()
        heard: Transcription | None = None
        if isinstance(question, str):
            words = question
        else:
            heard = transcript or self._transcribed(question)
            words = heard.text
            if transcript is None:
                spent = time.perf_counter() - started
                yield Answer(transcript=words, timings={"transcribe": spent})
        language = self._language_of(words, heard)
        replies = replies_in(language)
        back = replies.asked_back.format(words=words)
        if self._english_only and not is_english(_with_context(words, history)):
            pieces = _declined(NOT_ENGLISH)
        elif heard is not None and is_doubtful(heard):
            pieces = _asked_back(f"{back} {ONLY_ENGLISH}" if self._english_only else back)
        elif not passages:
            pieces = _declined(replies.no_documents)
        else:
            asked = words if heard is None or language != ENGLISH else _as_question(words)
            write = _sampling_as(self._writer, sampling).answer
            if instructions:
                write = partial(write, instructions=instructions)
            pieces = _worded(write(asked, passages, history=history), replies.not_answered)
            if heard is not None and _is_unsure(heard):
                pieces = _answered_or_asked_back(pieces, back)
        speaker = self._speaker if self._spoken in (None, language) else None
        manner, others = manner_of(instructions) if instructions else (PLAIN, ())
        if notes := self._not_followed(speaker, manner, others):
            yield Answer(notes=notes)
        yield from _timed(self._spoken_by(pieces, speaker, language, manner), started)

    def _spoken_by(
        self, pieces: _Pieces, speaker: Speaker | None, language: str, manner: Manner
    ) -> _Pieces:
        return spoken_answer(pieces, speaker, language, manner, fallback=self._voice_fallback)

    def _not_followed(
        self, speaker: Speaker | None, manner: Manner, others: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Say what of the instructions neither voice nor writer follows."""
        notes = []
        if speaker is not None and manner.pace != PLAIN.pace and not _is_paced(speaker):
            notes.append("This voice cannot change its pace.")
        listed = ", ".join(f'"{one}"' for one in others)
        words_follow = bool(getattr(self._writer, "follows_instructions", False))
        if listed and speaker is not None and words_follow:
            notes.append(f"The words follow the instructions, but the voice cannot: {listed}.")
        elif listed and speaker is not None:
            notes.append(
                "The voice follows pace and pauses alone, and quotes keep their own words; not "
                f"followed: {listed}."
            )
        elif listed and not words_follow:
            notes.append(f"Quotes keep their own words; not followed: {listed}.")
        return tuple(notes)

    def further_query(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        transcript: Transcription | None = None,
        only_unsure: bool = False,
    ) -> str | None:
        """Return what to search for next; see `AsksFurther.further_query`.

        A chat model says what it needs to know. The reader cannot: its best sentence, joined to
        the question, is the query.

        Raises:
            AudioError: The spoken question cannot be used, or contains no speech.
            ConfigError: The question is spoken, its transcript is not known, and the model has no
                transcriber.
            ModelError: A part failed.
        """
        if not passages:
            return None
        if isinstance(question, str):
            words = question
        else:
            words = (transcript or self._transcribed(question)).text
        return further_query(self._writer, words, passages, only_unsure=only_unsure)

    def answer_probability(self, question: str, passages: Sequence[Passage]) -> float | None:
        """Return the probability that passages answer a question; None if the writer has none."""
        assess = getattr(self._writer, "answer_probability", None)
        return None if assess is None else assess(question, passages)

    def declining_below(self, probability: float) -> LocalVoiceModel:
        """Return the same model with another least probability of an answer; parts are shared."""
        declining = getattr(self._writer, "declining_below", None)
        if declining is None:
            return self
        made = copy.copy(self)
        made._writer = declining(probability)
        return made

    def _language_of(self, words: str, heard: Transcription | None) -> str:
        """Return the language of a question: that of the settings, that heard, or that written."""
        if self._language == ENGLISH:
            return ENGLISH
        detected = "" if heard is None else heard.language or ""
        if self._language == ANY and len(detected) == _CODE:
            return detected
        return language_of(words, self._language)

    def _transcribed(self, question: Audio) -> Transcription:
        if self._transcriber is None:
            raise ConfigError(
                "a spoken question needs a transcript or a transcriber: "
                "LocalVoiceModel(writer, speaker, WhisperTranscriber())"
            )
        return self._transcriber.transcribe(question)


def _with_context(words: str, history: Sequence[Turn]) -> str:
    """Return a question behind the one that it leans on: "And Tesla?" is of no language."""
    before = turn_before(history)
    return words if before is None or not follows_up(words) else f"{before.words} {words}"


def _sampling_as(writer: AnswerWriter, sampling: Sampling) -> AnswerWriter:
    """Return a writer that samples as asked, if it samples and something was asked."""
    if replace(sampling, seed=None) == Sampling() or not isinstance(writer, SamplingWriter):
        return writer
    return writer.sampled(sampling)


def _is_paced(speaker: object) -> bool:
    return isinstance(speaker, PacedSpeaker)


def is_doubtful(heard: Transcription) -> bool:
    """Return whether the transcript of a clip is too uncertain."""
    return heard.confidence is not None and heard.confidence < LEAST_CONFIDENCE


def _is_unsure(heard: Transcription) -> bool:
    """Return whether a transcript may be the reason why nothing is found."""
    return heard.confidence is not None and heard.confidence < SURE_CONFIDENCE


def _as_question(heard: str) -> str:
    """Return a transcript as it would be typed: recognisers often leave the mark out."""
    text = heard.rstrip(" .")
    if not text or text.endswith("?"):
        return heard
    is_question = asks(text)
    if text == heard and not is_question:
        return heard
    return text[0].upper() + text[1:] + ("?" if is_question else "")


def _asked_back(text: str) -> _Pieces:
    yield Answer(text, answered=False, asked_back=True)


def _answered_or_asked_back(pieces: _Pieces, text: str) -> _Pieces:
    """Pass an answer on, and ask back where there is none."""
    with closing(pieces):
        for piece in pieces:
            if not piece.answered:
                yield replace(piece, text=text, citations=(), asked_back=True)
                return
            yield piece
            if piece.text:
                yield from pieces


def _declined(text: str) -> _Pieces:
    yield Answer(text, answered=False)


def _worded(pieces: _Pieces, not_answered: str) -> _Pieces:
    """Time the first text, and say that the documents do not answer if the writer did not."""
    started = time.perf_counter()
    said = False
    with closing(pieces):
        for piece in pieces:
            first = not said and bool(piece.text.strip())
            said = said or first
            if first:
                yield replace(piece, timings={"read": time.perf_counter() - started})
            elif said or piece.answered:
                yield piece
            else:
                yield replace(piece, text=not_answered)


def _timed(pieces: _Pieces, started: float) -> _Pieces:
    """Record on the first piece of speech when it arrived."""
    heard = False
    with closing(pieces):
        for piece in pieces:
            if piece.audio is not None and not heard:
                heard = True
                spent = time.perf_counter() - started
                yield replace(piece, timings={**piece.timings, "first_audio": spent})
            else:
                yield piece

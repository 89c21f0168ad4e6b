"""What telemetry and the log are told of a question: counts and times, never words or sound."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing

from voicerag_core import telemetry
from voicerag_core.types import Answer, Audio, Embedding, Question, Strategy

__all__ = ["answer_told", "question_stage", "reading_told"]

_logger = logging.getLogger(__name__)


def question_stage(
    question: Question | Embedding, strategy: Strategy
) -> AbstractContextManager[telemetry.Stage]:
    """Make a block the search for a question."""
    return telemetry.stage("voicerag.question", _of(question, strategy))


def answer_told(
    pieces: Iterator[Answer], question: Question, strategy: Strategy
) -> Generator[Answer, None, None]:
    """Pass the pieces of an answer on, and tell of the question when they are over."""
    about = _of(question, strategy)
    kind = {"voicerag.question.kind": about["voicerag.question.kind"]}
    here = telemetry.begin("voicerag.question", about)
    started = time.perf_counter()
    first_text = first_sound = 0.0
    hits = characters = 0
    answered = True
    with closing(here.over(pieces)) as told:
        for piece in told:
            spent = time.perf_counter() - started
            if piece.text.strip() and not first_text:
                first_text = spent
                telemetry.record(
                    "voicerag.question.first_output", spent, {**kind, "voicerag.output": "text"}
                )
            if piece.audio is not None and not first_sound:
                first_sound = spent
                telemetry.record(
                    "voicerag.question.first_output", spent, {**kind, "voicerag.output": "speech"}
                )
            hits += len(piece.hits)
            characters += len(piece.text)
            answered = answered and piece.answered
            here.set(voicerag__hits=hits, voicerag__answered=answered)
            yield piece
    telemetry.count("voicerag.questions", 1, {**kind, "voicerag.answered": answered})
    _logger.info(
        "question answered" if answered else "question not answered",
        extra={
            "question_kind": kind["voicerag.question.kind"],
            "strategy": strategy,
            "hits": hits,
            "answered": answered,
            "characters": characters,
            "first_text_ms": round(1000 * first_text, 1),
            "first_sound_ms": round(1000 * first_sound, 1),
            "total_ms": round(1000 * (time.perf_counter() - started), 1),
        },
    )


def reading_told(pieces: Iterator[Answer]) -> Generator[Answer, None, None]:
    """Pass on what a model answers, and tell how long it read and spoke.

    Reading goes on to the last piece of text, and speaking from the first piece of text to the last
    one of sound: both run at once.
    """
    reading = telemetry.begin("voicerag.read")
    speaking: telemetry.Stage | None = None
    seconds = 0.0
    error: BaseException | None = None
    try:
        with closing(reading.passed(pieces)) as read:
            for piece in read:
                if piece.text:
                    reading.mark()
                if piece.audio is not None and speaking is not None:
                    seconds += piece.audio.seconds
                    speaking.set(voicerag__speech__seconds=seconds)
                    speaking.mark()
                yield piece
                if piece.text and speaking is None:
                    with reading.active():
                        speaking = telemetry.begin("voicerag.speak")
    except BaseException as raised:
        error = raised
        raise
    finally:
        if speaking is not None and seconds:
            speaking.end(error)
        reading.end(error)


def _of(question: Question | Embedding, strategy: Strategy) -> dict[str, str]:
    kind = (
        "speech"
        if isinstance(question, Audio)
        else "text"
        if isinstance(question, str)
        else "vector"
    )
    return {"voicerag.question.kind": kind, "voicerag.strategy": strategy}

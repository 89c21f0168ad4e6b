"""Speak an answer while it is being written, and give it up as soon as nobody listens."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeAlias

import numpy as np

from voicerag_core.cancellation import Cancellation, check_cancelled
from voicerag_core.errors import CheckpointError, ModelError
from voicerag_core.languages import ENGLISH
from voicerag_core.local.speaking.manner import PLAIN, Manner
from voicerag_core.local.speaking.speech_stream import SpeechStream
from voicerag_core.ports import PacedSpeaker, Speaker
from voicerag_core.types import Answer, Audio

__all__ = ["NOT_SPOKEN", "speak_answer", "spoken_answer"]

NOT_SPOKEN = "The voice failed, so the answer goes on as text alone."

MOST_AHEAD = 8
"""Spoken pieces that may wait for the consumer while a chat model continues to write."""

POLL_SECONDS = 0.02
"""How often a consumer that waits for speech checks whether its call was cancelled."""

_logger = logging.getLogger(__name__)

_SENTENCE_ENDS = (".", "!", "?", ":", "\u2026", "\u3002", "\uff01", "\uff1f")
_CLOSED_UP = "\u3002\uff01\uff1f\uff1b\uff0c\u3001"
"""Marks of Chinese and Japanese, behind which no blank stands."""

_Pieces: TypeAlias = Generator[Answer, None, None]


def speak_answer(pieces: _Pieces, speaker: Speaker | None) -> _Pieces:
    """Yield the pieces of an answer at once, and the speech of each finished sentence.

    Closing the generator stops the pieces and the speech.

    Args:
        pieces: Text, as it is written.
        speaker: None yields the pieces alone.

    Raises:
        CancelledError: The running call was cancelled.
        ModelError: The voice failed.
    """
    yield from spoken_answer(pieces, speaker)


def spoken_answer(
    pieces: _Pieces,
    speaker: Speaker | None,
    language: str = ENGLISH,
    manner: Manner = PLAIN,
    *,
    fallback: bool = False,
) -> _Pieces:
    """Yield text at once, and the speech of each finished sentence when it is ready.

    Args:
        pieces: Text, as it is written.
        speaker: None yields the pieces alone.
        language: Code of the text's language.
        manner: Pace and pauses.
        fallback: Go on as text alone, with a note, where the voice fails.

    Raises:
        CancelledError: The running call was cancelled.
        ModelError: The voice failed, and may not; or it cannot be loaded.
    """
    if speaker is None:
        yield from pieces
        return
    stream = SpeechStream(language=language)
    with closing(pieces), closing(_Speech(speaker, manner, fallback=fallback)) as speech:
        for piece in pieces:
            yield piece
            speech.say(stream.feed(piece.text))
            yield from speech.ready()
        speech.say(stream.rest())
        yield from speech.rest()


class _Speech:
    """Speaks in a separate thread while the text is still being written.

    Args:
        speaker: Speaks one segment after another.
        manner: Pace and pauses.
        fallback: Fall silent, with a note, where the speaker fails.
    """

    def __init__(self, speaker: Speaker, manner: Manner, *, fallback: bool = False) -> None:
        self._fallback = fallback
        self._is_silent = False
        self._speaker = speaker
        self._manner = manner
        self._thread = ThreadPoolExecutor(1, "voicerag-speech")
        self._spoken: deque[tuple[str, Future[Audio]]] = deque()
        self._abandoned = Cancellation()
        self._said = ""

    def say(self, pieces: Iterable[str]) -> None:
        """Queue pieces of the text."""
        for piece in () if self._is_silent else pieces:
            self._spoken.append((piece, self._thread.submit(self._speak, piece)))

    def ready(self) -> Iterator[Answer]:
        """Yield the speech that is ready; wait only if too much is queued."""
        while self._spoken and (len(self._spoken) > MOST_AHEAD or self._spoken[0][1].done()):
            yield self._next()

    def rest(self) -> Iterator[Answer]:
        """Yield the remaining speech, waiting for it."""
        while self._spoken:
            yield self._next()

    def close(self) -> None:
        """Speak nothing more; the speaker gives the current segment up."""
        self._abandoned.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> Answer:
        words, speech = self._spoken.popleft()
        while not speech.done():
            check_cancelled()
            try:
                speech.exception(POLL_SECONDS)
            except TimeoutError:
                continue
        try:
            sound = speech.result()
        except CheckpointError:
            raise
        except ModelError as error:
            if not self._fallback:
                raise
            _logger.warning("the voice failed, and the answer goes on as text: %s", error)
            self._is_silent = True
            self._spoken.clear()
            self._abandoned.cancel()
            return Answer(notes=(NOT_SPOKEN,))
        blank = "" if not self._said or self._said[-1] in _CLOSED_UP else " "
        self._said = words
        return Answer(audio=sound, spoken=blank + words)

    def _speak(self, words: str) -> Audio:
        """Speak a segment in the manner; a speaker that checks for cancellation gives it up."""
        with self._abandoned.active():
            check_cancelled()
            speaker: object = self._speaker
            if self._manner.pace != PLAIN.pace and isinstance(speaker, PacedSpeaker):
                sound = speaker.speak_at(words, pace=self._manner.pace)
            else:
                sound = self._speaker.speak(words)
        if self._manner.pause and words.rstrip("\"'\u201d\u2019)").endswith(_SENTENCE_ENDS):
            silence = np.zeros(round(self._manner.pause * sound.sample_rate), np.float32)
            return sound + Audio(silence, sound.sample_rate)
        return sound

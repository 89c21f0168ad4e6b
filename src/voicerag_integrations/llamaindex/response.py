"""Answers with sound, whole and streamed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from llama_index.core.base.response.schema import (
    AsyncStreamingResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.schema import NodeWithScore

from voicerag_core import Answer, Audio, check_cancelled
from voicerag_core.aio import run_in_thread

__all__ = [
    "METADATA_KEY",
    "AnswerFeed",
    "AsyncStreamingSpeechResponse",
    "SpeechResponse",
    "StreamingSpeechResponse",
    "answer_metadata",
]

METADATA_KEY = "voicerag"

_T = TypeVar("_T")


class AnswerFeed:
    """Distributes the pieces of one answer to readers of its text and of its sound.

    A reader that needs more pulls the next piece; the rest of it is kept for the other reader.
    Thread-safe. If it is closed while another thread waits for a piece, that thread closes the
    source as soon as the piece arrives.

    Args:
        pieces: The answer.
        metadata: Updated with what is known of the answer so far.
        on_end: Called once, with the sum of the pieces and whether all were read.
    """

    def __init__(
        self,
        pieces: Iterator[Answer],
        metadata: dict[str, Any],
        on_end: Callable[[Answer, bool], None] = lambda answer, complete: None,
    ) -> None:
        self._source = pieces
        self._metadata = metadata
        self._on_end = on_end
        self._words = Answer()
        self._speech: list[Audio] = []
        self._pieces: deque[Answer] = deque()
        self._texts: deque[str] = deque()
        self._sounds: deque[Audio] = deque()
        self._lock = threading.Lock()
        self._stop = False
        self._ended = False

    def pull(self) -> bool:
        """Take the next piece from the source; False if there is none."""
        with self._reading():
            return self._pull()

    def next_text(self) -> str | None:
        """Return the next text, or None at the end."""
        with self._reading():
            while not self._texts and self._pull():
                pass
            return self._texts.popleft() if self._texts else None

    def next_sound(self) -> Audio | None:
        """Return the next sound, or None at the end."""
        with self._reading():
            while not self._sounds and self._pull():
                pass
            return self._sounds.popleft() if self._sounds else None

    def next_piece(self) -> Answer | None:
        """Return the next unsplit piece, or None at the end."""
        with self._reading():
            while not self._pieces and self._pull():
                pass
            return self._pieces.popleft() if self._pieces else None

    def answer(self) -> Answer:
        """Return the sum of the pieces so far."""
        if not self._speech:
            return self._words
        samples = np.concatenate([sound.samples for sound in self._speech])
        return replace(self._words, audio=Audio(samples, self._speech[0].sample_rate))

    def close(self) -> None:
        """Stop the answer; a second call does nothing."""
        self._stop = True
        if self._lock.acquire(blocking=False):
            try:
                self._end(complete=False)
            finally:
                self._lock.release()

    def abandon(self) -> None:
        """Close in a separate thread, and return at once."""
        self._stop = True
        threading.Thread(target=self.close, name="voicerag-close", daemon=True).start()

    def read(self, take: Callable[[], _T | None]) -> Generator[_T, None, None]:
        """Yield the results of one of the `next_…` methods; closing it early closes the feed."""
        try:
            while (piece := take()) is not None:
                yield piece
        except GeneratorExit:
            self.close()
            raise

    async def aread(self, take: Callable[[], _T | None]) -> AsyncGenerator[_T, None]:
        """Do the same in an event loop; if the reader is cancelled, the feed is abandoned."""
        try:
            while (piece := await run_in_thread(take)) is not None:
                yield piece
        except GeneratorExit:
            await run_in_thread(self.close)
            raise
        except BaseException:
            self.abandon()
            raise

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Lock the source; close it at the end if that was requested meanwhile."""
        with self._lock:
            yield
        if self._stop:
            self.close()

    def _pull(self) -> bool:
        if self._ended:
            return False
        try:
            check_cancelled()
            piece = None if self._stop else next(self._source, None)
        except BaseException:
            self._end(complete=False)
            raise
        if piece is None or self._stop:
            self._end(complete=not self._stop)
            return False
        self._pieces.append(piece)
        self._words += replace(piece, audio=None)
        if piece.text:
            self._texts.append(piece.text)
        if piece.audio is not None:
            self._speech.append(piece.audio)
            self._sounds.append(piece.audio)
        self._note()
        return True

    def _note(self) -> None:
        seconds = sum(sound.seconds for sound in self._speech)
        self._metadata[METADATA_KEY].update(answer_metadata(self._words, seconds))

    def _end(self, *, complete: bool) -> None:
        if self._ended:
            return
        self._ended = True
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
        self._metadata[METADATA_KEY]["complete"] = complete
        self._on_end(self.answer(), complete)


def answer_metadata(answer: Answer, audio_seconds: float) -> dict[str, Any]:
    """Return the metadata of an answer."""
    return {
        "answered": answer.answered,
        "transcript": answer.transcript,
        "citations": [
            {"passage_id": place.passage_id, "start": place.start, "end": place.end}
            for place in answer.citations
        ],
        "audio_seconds": audio_seconds,
        "timings": dict(answer.timings),
    }


class SpeechResponse(Response):
    """An answer in text and speech.

    The sound is not a field of the dataclass, so that JSON serializers of responses skip it.
    ``metadata`` contains that of every source node by its id, and under ``voicerag``:
    ``transcript``, ``answered``, ``citations``, ``audio_seconds``, ``timings`` and ``complete``.

    Args:
        answer: The answer.
        source_nodes: The nodes that it is based on.
        metadata: As above.
    """

    def __init__(
        self, answer: Answer, source_nodes: list[NodeWithScore], metadata: dict[str, Any]
    ) -> None:
        super().__init__(answer.text, source_nodes, metadata)
        self.audio = answer.audio
        self.answered = answer.answered


class StreamingSpeechResponse(StreamingResponse):
    """A streamed answer: text through `response_gen`, speech through `audio_stream`.

    Both can be read in turn or from two threads. Closing one of them early, or the response, stops
    the answer. `metadata` describes the pieces read so far.

    Args:
        feed: The answer.
        source_nodes: The nodes that it is based on.
        metadata: As in `SpeechResponse`.
    """

    def __init__(
        self, feed: AnswerFeed, source_nodes: list[NodeWithScore], metadata: dict[str, Any]
    ) -> None:
        super().__init__(feed.read(feed.next_text), source_nodes, metadata)
        self._feed = feed

    def audio_stream(self) -> Generator[Audio, None, None]:
        """Stream the speech."""
        return self._feed.read(self._feed.next_sound)

    def get_response(self) -> SpeechResponse:
        """Read the answer to its end and return it."""
        while self._feed.pull():
            pass
        answer = self._feed.answer()
        self.response_txt = answer.text
        return SpeechResponse(answer, self.source_nodes, self.metadata or {})

    def close(self) -> None:
        """Stop the answer."""
        self._feed.close()


class AsyncStreamingSpeechResponse(AsyncStreamingResponse):
    """The same for an event loop; each piece is read in a worker thread.

    Args:
        feed: The answer.
        source_nodes: The nodes that it is based on.
        metadata: As in `SpeechResponse`.
    """

    def __init__(
        self, feed: AnswerFeed, source_nodes: list[NodeWithScore], metadata: dict[str, Any]
    ) -> None:
        super().__init__(feed.aread(feed.next_text), source_nodes, metadata)
        self._feed = feed

    async def async_response_gen(self) -> AsyncGenerator[str, None]:
        """Stream the text; closing the generator stops the answer."""
        try:
            async for text in self._yield_response():
                yield text
        except GeneratorExit:
            await self.aclose()
            raise

    def audio_stream(self) -> AsyncGenerator[Audio, None]:
        """Stream the speech."""
        return self._feed.aread(self._feed.next_sound)

    async def get_response(self) -> SpeechResponse:
        """Read the answer to its end and return it."""
        async for _ in self._feed.aread(lambda: self._feed.pull() or None):
            pass
        answer = self._feed.answer()
        self.response_txt = answer.text
        return SpeechResponse(answer, self.source_nodes, self.metadata or {})

    async def aclose(self) -> None:
        """Stop the answer."""
        await run_in_thread(self._feed.close)

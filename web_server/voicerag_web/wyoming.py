"""Wyoming, Home Assistant's protocol, over TCP: it hears, speaks, and answers from the documents.

The protocol has no authentication: whoever reaches the port reads the documents of the server's
tenant. Source: the package ``wyoming``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from contextlib import aclosing, suppress
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable, async_write_event
from wyoming.handle import Handled, NotHandled
from wyoming.info import (
    AsrModel,
    AsrProgram,
    Attribution,
    Describe,
    HandleModel,
    HandleProgram,
    Info,
    TtsProgram,
    TtsVoice,
)
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize

from voicerag_core import SPEECH_RATE_HZ, Answer, Audio, AudioError, Turn, VoiceRAGError
from voicerag_core.serving import (
    LANGUAGES,
    PcmReader,
    Query,
    QuestionSource,
    Transcribed,
    message_for_caller,
    pcm16,
)
from voicerag_web.errors import RequestError, error_code
from voicerag_web.service import WebService
from voicerag_web.sources import sources_of

__all__ = ["WyomingDoor"]

MOST_HEAD_BYTES: Final = 65_536
"""Longest first line of an event, and longest JSON after it."""
MOST_SOUND_BYTES: Final = 1 << 20
"""Sound of one event."""
MOST_CONVERSATIONS: Final = 256
MOST_TURNS: Final = 10

_MOST_RATE: Final = 96_000
_LEAST_RATE: Final = 8_000
_NAME: Final = "voicerag"

_logger = logging.getLogger(__name__)


class WyomingDoor:
    """Serves the protocol's clients.

    Args:
        service: The application.
    """

    def __init__(self, service: WebService) -> None:
        self._service = service
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._talks: OrderedDict[str, tuple[Turn, ...]] = OrderedDict()

    async def open(self) -> asyncio.Server:
        """Listen as the settings say.

        Raises:
            OSError: The address is taken.
        """
        settings = self._service.settings
        host = None if settings.wyoming_open else "127.0.0.1"
        return await asyncio.start_server(
            self._serve, host, settings.wyoming, limit=MOST_HEAD_BYTES
        )

    async def close(self) -> None:
        """End every connection."""
        tasks = list(self._connections)
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if self._has_room():
                connection = _Connection(self, self._service, reader, writer)
                self._connections[task] = connection
                await connection.serve()
        except asyncio.CancelledError:
            pass  # the door is closed or another takes the place, and nobody awaits this task
        except (OSError, EOFError, ValueError, RecursionError, TimeoutError) as error:
            _logger.info("a Wyoming connection ended: %s", type(error).__name__)
        finally:
            self._connections.pop(task, None)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _has_room(self) -> bool:
        """Say whether one more may come in; who has been silent for longest gives way."""
        if len(self._connections) < self._service.settings.sessions:
            return True
        silent = [
            (one.silent_since, task)
            for task, one in self._connections.items()
            if one.silent_since is not None
        ]
        if not silent:
            return False
        _, task = min(silent, key=lambda pair: pair[0])
        del self._connections[task]
        task.cancel()
        return True

    def turns(self, conversation: str | None) -> tuple[Turn, ...]:
        """Return the earlier turns of a conversation."""
        return () if conversation is None else self._talks.get(conversation, ())

    def keep(self, conversation: str | None, turn: Turn) -> None:
        """Keep a turn; the conversations that were quiet longest make room."""
        if conversation is None:
            return
        self._talks[conversation] = (*self.turns(conversation), turn)[-MOST_TURNS:]
        self._talks.move_to_end(conversation)
        while len(self._talks) > MOST_CONVERSATIONS:
            self._talks.popitem(last=False)


class _Connection:
    """One client: requests one after another.

    Args:
        door: Keeps the conversations.
        service: The application.
        reader: What the client sends.
        writer: Where it is answered.
    """

    def __init__(
        self,
        door: WyomingDoor,
        service: WebService,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._door, self._service = door, service
        self._reader, self._writer = reader, writer
        self._tenant = service.tenants.settings.tenant
        self._sound: _Sound | None = None
        self._refused = False
        self.silent_since: float | None = time.monotonic()
        """Since when the client owes an event or the rest of one; None: one is in work."""

    async def serve(self) -> None:
        """Answer until the client leaves, is silent for too long, or ends no event in time."""
        settings = self._service.settings
        while True:
            self.silent_since = time.monotonic()
            async with asyncio.timeout(settings.idle_minutes * 60):
                begun = await self._reader.read(1)
            if not begun:
                return
            async with asyncio.timeout(settings.request_seconds):
                event = await read_event(self._reader, begun)
            self.silent_since = None
            working = asyncio.create_task(self._handle(event))
            try:
                await self._unless_gone(working)
            except VoiceRAGError as error:
                await self._send(Error(message_for_caller(error), error_code(error)))

    async def _unless_gone(self, working: asyncio.Task[None]) -> None:
        """Wait for work; give it up when the client closes its side."""
        try:
            while not working.done():
                await asyncio.wait([working], timeout=0.25)
                if self._reader.at_eof():
                    raise EOFError
            await working
        finally:
            working.cancel()

    async def _handle(self, event: Event) -> None:
        kind = event.type
        if Describe.is_type(kind):
            await self._send(info_of(self._service))
        elif Ping.is_type(kind):
            await self._send(Pong(text=event.data.get("text")))
        elif Transcribe.is_type(kind) or AudioStart.is_type(kind):
            self._sound, self._refused = None, False
        elif AudioChunk.is_type(kind):
            self._hear(event)
        elif AudioStop.is_type(kind):
            sound, self._sound = self._sound, None
            refused, self._refused = self._refused, False
            if not refused:
                await self._transcribe(sound)
        elif Synthesize.is_type(kind):
            await self._speak(_text(event))
        elif Transcript.is_type(kind):
            await self._answer(_text(event), event.data.get("context"))
        # events that are not known are dropped: the protocol asks for it

    def _hear(self, event: Event) -> None:
        """Take sound; a clip that cannot be used is refused once, and the rest of it dropped."""
        if self._refused:
            return
        try:
            if self._sound is None:
                most = self._service.tenants.settings.max_question_seconds
                self._sound = _Sound(event.data, most)
            self._sound.add(event.payload or b"")
        except RequestError:
            self._sound, self._refused = None, True
            raise

    async def _transcribe(self, sound: _Sound | None) -> None:
        """Tell the words; none when nothing was said."""
        serving = self._service.serving
        heard: Transcribed | None = None
        if sound is not None:
            source = QuestionSource(audio=sound.audio())
            with suppress(AudioError):
                heard = await serving.workers.run(
                    lambda job: serving.asking.transcribe(job, self._tenant, source),
                    tenant=self._tenant,
                )
        words, language = ("", None) if heard is None else (heard.text, heard.language)
        await self._send(Transcript(words, language=language))

    async def _speak(self, text: str) -> None:
        """Speak a text, sentence by sentence."""
        serving = self._service.serving
        begun = False
        async with aclosing(
            serving.workers.stream(
                lambda job: serving.asking.stream_speech(job, text), tenant=self._tenant
            )
        ) as pieces:
            async for piece in pieces:
                form = {"rate": piece.sample_rate, "width": 2, "channels": 1}
                if not begun:
                    begun = True
                    await self._send(AudioStart(**form))
                await self._send(AudioChunk(**form, audio=pcm16(piece.samples)))
        await self._send(AudioStop())

    async def _answer(self, text: str, context: object) -> None:
        """Answer a question in words."""
        given = context if isinstance(context, dict) else None
        named = None if given is None else given.get("conversation_id")
        conversation = named[:256] if isinstance(named, str) else None
        most = self._service.settings.max_question_chars
        serving = self._service.serving
        try:
            if len(text) > most:
                raise RequestError(f"the question is longer than {most} characters; shorten it")
            query = Query(QuestionSource(text=text), history=self._door.turns(conversation))
            asked = await serving.workers.run(
                lambda job: serving.asking.ask(job, self._tenant, query, speech=None),
                tenant=self._tenant,
            )
        except VoiceRAGError as error:
            await self._send(NotHandled(message_for_caller(error), given))
            return
        self._door.keep(conversation, Turn(text, asked.answer))
        reply = Handled if asked.answer.answered else NotHandled
        await self._send(reply(_with_source(asked.answer), given))

    async def _send(self, event: Eventable) -> None:
        async with asyncio.timeout(self._service.settings.request_seconds):
            await async_write_event(event.event(), self._writer)


class _Sound:
    """A clip as it comes in, at 16 kHz.

    Args:
        form: Its ``rate`` in Hz, ``width`` in bytes and number of ``channels``.
        most_seconds: Longest clip.
    """

    def __init__(self, form: dict[str, Any], most_seconds: float) -> None:
        self._rate, self._channels = form.get("rate"), form.get("channels", 1)
        width = form.get("width", 2)
        if (
            not isinstance(self._rate, int)
            or not _LEAST_RATE <= self._rate <= _MOST_RATE
            or (width, self._channels) != (2, 1)
        ):
            raise RequestError(
                "sound is PCM of 16 bits, one channel, 8000 to 96000 Hz; not "
                f"{width!r} bytes, {self._channels!r} channels, {self._rate!r} Hz"
            )
        self._reader = PcmReader(self._rate, SPEECH_RATE_HZ)
        self._pieces: list[NDArray[np.float32]] = []
        self._left = int(most_seconds * self._rate) * 2
        self._most_seconds = most_seconds

    def add(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            RequestError: The clip is too long.
        """
        self._left -= len(data)
        if self._left < 0:
            raise RequestError(
                f"a question has at most {self._most_seconds:g} s; say it in fewer words"
            )
        self._pieces.append(self._reader.add(data))

    def audio(self) -> Audio:
        """Return the whole clip."""
        return Audio(np.concatenate([*self._pieces, self._reader.end()]), SPEECH_RATE_HZ)


async def read_event(reader: asyncio.StreamReader, begun: bytes) -> Event:
    """Read an event of bounded size.

    Args:
        reader: What the client sends.
        begun: The first byte.

    Raises:
        ValueError: What came is no event, or too large.
        RecursionError: It is nested without end.
        EOFError: The client left within an event.
    """
    head = _object(begun + await reader.readline())
    if not isinstance(head.get("type"), str):
        raise ValueError("no event")
    data = head.get("data") or {}
    if not isinstance(data, dict):
        raise ValueError("no event")
    if length := _length(head, "data_length", MOST_HEAD_BYTES):
        data = {**data, **_object(await reader.readexactly(length))}
    length = _length(head, "payload_length", MOST_SOUND_BYTES)
    payload = await reader.readexactly(length) if length else None
    return Event(head["type"], data, payload)


def _object(given: bytes) -> dict[str, Any]:
    found = json.loads(given)
    if not isinstance(found, dict):
        raise ValueError("no event")
    return found


def _length(head: dict[str, Any], name: str, most: int) -> int:
    length = head.get(name) or 0
    if not isinstance(length, int) or not 0 <= length <= most:
        raise ValueError(f"{name} is not 0 to {most}")
    return length


def _text(event: Event) -> str:
    text = event.data.get("text")
    if not isinstance(text, str) or not text.strip():
        raise RequestError(f"a {event.type} event carries a text", "text")
    return text


def _with_source(answer: Answer) -> str:
    """Return the words of an answer, with the title that it comes from."""
    title = next((source.title for source in sources_of(answer) if source.title), None)
    return f"According to {title}: {answer.text}" if title and answer.answered else answer.text


def info_of(service: WebService) -> Info:
    """Return what the door offers."""
    settings = service.tenants.settings
    languages = list(LANGUAGES) if settings.language == "auto" else [settings.language]
    about: dict[str, Any] = {
        "name": _NAME,
        "attribution": Attribution("voicerag", "https://github.com/voicerag/voicerag"),
        "installed": True,
        "version": version("voicerag-core"),
    }
    asr = AsrProgram(
        **about,
        description="Speech to text",
        models=[AsrModel(**about, description="Speech to text", languages=languages)],
    )
    tts = TtsProgram(
        **about,
        description="Text to speech",
        voices=[
            TtsVoice(**{**about, "name": name}, description="A voice", languages=languages)
            for name in service.voices()
        ],
    )
    handle = HandleProgram(
        **about,
        description="Answers from your documents",
        models=[HandleModel(**about, description="Answers", languages=languages)],
    )
    return Info(
        asr=[asr] if service.tenants.parts.transcriber is not None else [],
        tts=[tts] if service.voices() else [],
        handle=[handle],
    )

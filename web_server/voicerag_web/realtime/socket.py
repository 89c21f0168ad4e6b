"""A session over a WebSocket: one reader, one writer, and the work between them."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Coroutine, Generator
from contextlib import aclosing, suppress
from typing import Any, Final

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from voicerag_core import Answer, Audio, BusyError, Found, TurnDetector, VoiceRAGError
from voicerag_core.serving import Job, Query, QuestionSource, visitor_of
from voicerag_core.serving.exchanges import Exchange
from voicerag_core.serving.guard import SUBPROTOCOL
from voicerag_web.doors.audio import check_language
from voicerag_web.realtime.config import SessionConfig, TurnDetection, turn_rules
from voicerag_web.realtime.events import error_event, new_id
from voicerag_web.realtime.inquiry import Inquiry, SessionLimits
from voicerag_web.realtime.session import Session
from voicerag_web.service import WebService

__all__ = ["realtime_doors"]

MOST_UNSENT_BYTES: Final = 2_000_000
"""Events that may wait for a slow reader."""
UNREAD_SECONDS: Final = 10.0
"""How long one event may wait until the client takes it."""

_TRY_AGAIN: Final = 1013
_DONE: Final = 1000
_FAILED: Final = 1011

_logger = logging.getLogger(__name__)


def realtime_doors(service: WebService) -> APIRouter:
    """Return the door of the Realtime protocol, with and without ``/v1``."""
    doors = APIRouter()

    async def realtime(socket: WebSocket) -> None:
        offered = socket.scope.get("subprotocols", ())
        chosen = SUBPROTOCOL if SUBPROTOCOL in offered else None
        visitor = visitor_of(socket.scope)
        try:
            with service.sessions.one_more(visitor):
                await socket.accept(subprotocol=chosen)
                model = socket.query_params.get("model")
                await RealtimeSocket(service, socket, model).serve()
        except BusyError as error:
            await _refuse(socket, error)

    doors.add_api_websocket_route("/v1/realtime", realtime)
    doors.add_api_websocket_route("/realtime", realtime)
    return doors


async def _refuse(socket: WebSocket, error: VoiceRAGError) -> None:
    """Take the socket only to say why it is closed."""
    if socket.client_state is WebSocketState.CONNECTING:
        offered = socket.scope.get("subprotocols", ())
        await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    with suppress(RuntimeError, WebSocketDisconnect):
        told = error_event(str(error), code="server_busy", kind="server_error")
        await socket.send_text(json.dumps(told))
        await socket.close(_TRY_AGAIN, "server busy")


class _SlowReaderError(Exception):
    """The client does not take what is sent."""


class RealtimeSocket:
    """Serves one session.

    Its loops limit their waits by ``asyncio.timeout``: before Python 3.12 a task that is cancelled
    in ``asyncio.wait_for`` just when that ends goes on, and the session would wait for it forever.

    Args:
        service: The application.
        socket: Accepted.
        model: Name of the model that the client asks for.
    """

    def __init__(self, service: WebService, socket: WebSocket, model: str | None) -> None:
        self._service = service
        self._socket = socket
        self._tenant = service.tenant(socket)
        settings = service.settings
        self._ends = time.monotonic() + settings.session_minutes * 60
        self._last_event = time.monotonic()
        self._unsent: deque[str | bytes] = deque()
        self._unsent_bytes = 0
        self._wake_writer = asyncio.Event()
        self._wake_ticker = asyncio.Event()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._prepared: dict[int, Exchange] = {}
        self._searching: dict[int, int] = {}
        self._too_slow = asyncio.Event()
        config = SessionConfig()
        collection = service.collection(model)
        if collection is not None:
            own = config.voicerag.model_copy(update={"collection": collection})
            config = config.model_copy(update={"voicerag": own})
        self._session = Session(
            new_id("sess"),
            model or service.model(None),
            self,
            self._emit,
            time.monotonic,
            detector=self._detector,
            measure=service.metrics.stage,
            check_language=lambda code: check_language(
                service, code, "session.audio.input.transcription.language"
            ),
            config=config,
            limits=SessionLimits(
                service.tenants.settings.max_question_seconds, settings.max_question_chars
            ),
            expires_at=int(time.time() + settings.session_minutes * 60),
        )

    async def serve(self) -> None:
        """Serve until the client leaves, or the session is over."""
        self._session.begin()
        loops = [
            asyncio.create_task(work)
            for work in (
                self._read(),
                self._write(),
                self._tick(),
                self._expire(),
                self._overflow(),
            )
        ]
        try:
            done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for loop in loops:
                loop.cancel()
            self._session.close()
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*loops, *self._tasks.values(), return_exceptions=True)
        await self._close(next(iter(done)).exception())

    async def _close(self, error: BaseException | None) -> None:
        code, reason = _DONE, "the session is over"
        if isinstance(error, _SlowReaderError):
            code, reason = _TRY_AGAIN, "events were not read in time"
        elif isinstance(error, TimeoutError):
            reason = str(error)
        elif error is not None and not isinstance(error, WebSocketDisconnect):
            _logger.error("a session failed", exc_info=error)
            code, reason = _FAILED, "the server failed; its log says why"
        with suppress(Exception):
            async with asyncio.timeout(1.0):
                await self._socket.close(code, reason)

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", _DONE))
            self._last_event = time.monotonic()
            text = message.get("text")
            kind = self._session.receive(message["bytes"] if text is None else text)
            self._service.metrics.event("in", kind or "unknown")
            self._wake_ticker.set()
            await asyncio.sleep(0)  # a client that sends without pause must not stop the others

    async def _write(self) -> None:
        while True:
            while self._unsent:
                data = self._unsent.popleft()
                self._unsent_bytes -= len(data)
                sending = (
                    self._socket.send_text(data)
                    if isinstance(data, str)
                    else self._socket.send_bytes(data)
                )
                try:
                    async with asyncio.timeout(UNREAD_SECONDS):
                        await sending
                except TimeoutError as error:
                    raise _SlowReaderError from error
            self._wake_writer.clear()
            await self._wake_writer.wait()

    async def _tick(self) -> None:
        while True:
            self._wake_ticker.clear()
            wait = self._session.tick()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake_ticker.wait()

    async def _overflow(self) -> None:
        """End with the first event that had to be dropped, though the writer still waits."""
        await self._too_slow.wait()
        raise _SlowReaderError

    async def _expire(self) -> None:
        idle = self._service.settings.idle_minutes * 60
        while True:
            now = time.monotonic()
            if now >= self._ends:
                raise TimeoutError("the session has reached its greatest length")
            if now - self._last_event >= idle and not self._session.answers.busy:
                raise TimeoutError("nothing happened for too long")
            await asyncio.sleep(min(1.0, self._ends - now))

    def _emit(self, what: dict[str, object] | bytes) -> None:
        data = what if isinstance(what, bytes) else json.dumps(what, ensure_ascii=False)
        name = "sound" if isinstance(what, bytes) else str(what["type"])
        self._service.metrics.event("out", name)
        self._unsent_bytes += len(data)
        if self._unsent_bytes > MOST_UNSENT_BYTES:
            self._too_slow.set()
            self._unsent.clear()
            self._unsent_bytes = 0
        else:
            self._unsent.append(data)
        self._wake_writer.set()

    def _detector(self, detection: TurnDetection) -> TurnDetector:
        return self._service.detector(turn_rules(detection))

    # What the session asks for

    def answer(self, number: int, asked: Inquiry) -> Exchange:
        """Answer a question; what was found before it was over is used."""
        exchange = self._prepared.pop(asked.prepared or 0, None)
        if asked.prepared is not None:
            self._searching[number] = asked.prepared
            held = exchange is not None
            self._service.metrics.speculation("held" if held else "lost")
        if exchange is None:
            exchange = self._exchange(number, asked)
        self._start(number, self._pieces(number, exchange.stream))
        return exchange

    def _exchange(self, number: int, asked: Inquiry) -> Exchange:
        loop = asyncio.get_running_loop()

        def found(what: Found) -> None:
            with suppress(RuntimeError):  # the server has stopped meanwhile
                loop.call_soon_threadsafe(self._session.found, number, what)

        return Exchange(
            self._service.tenants,
            self._tenant,
            asked.question,
            self._query(asked),
            speak=asked.speaks,
            on_found=found,
        )

    def _query(self, asked: Inquiry) -> Query:
        options = asked.options
        return Query(
            QuestionSource(),
            options.collection,
            options.limit,
            options.where,
            options.strategy,
            history=asked.history,
            sampling=self._service.serving.asking.sampling(
                options.temperature, options.top_p, asked.most_tokens
            ),
            instructions=asked.instructions or None,
        )

    def say(self, number: int, text: str, *, speaks: bool) -> None:
        """Say a text."""

        def said(job: Job) -> Generator[Answer, None, None]:
            yield Answer(text, answered=False)
            if speaks and self._service.tenants.parts.speaker is not None:
                for sound in self._service.serving.asking.stream_speech(job, text):
                    yield Answer(audio=sound, answered=False)

        self._start(number, self._pieces(number, said))

    def transcribe(self, number: int, audio: Audio) -> None:
        """Transcribe a clip."""
        self._start(number, self._transcribe(number, audio))

    def prepare(self, number: int, asked: Inquiry) -> None:
        """Begin to search for a question that may not be over."""
        exchange = self._prepared[number] = self._exchange(number, asked)
        self._start(number, self._prepare(number, exchange))

    def stop(self, number: int) -> None:
        """Give up what has this number."""
        if self._prepared.pop(number, None) is not None:
            self._service.metrics.speculation("thrown away")
        if number in self._searching:
            self.stop(self._searching.pop(number))
        task = self._tasks.pop(number, None)
        if task is not None:
            task.cancel()

    def _start(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks[number] = task

        def forget(done: asyncio.Task[None]) -> None:
            if self._tasks.get(number) is done:
                del self._tasks[number]
                self._searching.pop(number, None)
            if not done.cancelled() and done.exception() is not None:
                _logger.error("a session's work failed", exc_info=done.exception())
                failed = VoiceRAGError("the server failed; its log says why")
                self._session.answers.ended(number, failed)
                self._wake_ticker.set()

        task.add_done_callback(forget)

    async def _prepare(self, number: int, exchange: Exchange) -> None:
        with suppress(VoiceRAGError):  # the answer raises it again
            await self._service.serving.workers.run(exchange.prepare, tenant=self._tenant)

    async def _pieces(self, number: int, work: Any) -> None:  # noqa: ANN401 - makes a generator
        problem: VoiceRAGError | None = None
        try:
            async with aclosing(
                self._service.serving.workers.stream(work, tenant=self._tenant)
            ) as pieces:
                async for piece in pieces:
                    self._session.answers.piece(number, piece)
                    self._wake_ticker.set()
        except VoiceRAGError as error:
            problem = error
        self._session.answers.ended(number, problem)
        self._wake_ticker.set()

    async def _transcribe(self, number: int, audio: Audio) -> None:
        serving = self._service.serving
        try:
            heard = await serving.workers.run(
                lambda job: serving.asking.transcribe(
                    job, self._tenant, QuestionSource(audio=audio)
                ),
                tenant=self._tenant,
            )
        except VoiceRAGError as error:
            self._session.answers.transcribed(number, "", error)
        else:
            self._session.answers.transcribed(number, heard.text)

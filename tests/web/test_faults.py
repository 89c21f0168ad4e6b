"""Clients that leave, do not read, or send rubbish; many at once; a database that goes away."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.serving.fakes import FakeModels, fake_tenants
from tests.waiting import PATIENCE, wait_until
from tests.web.conftest import Running, Serve, silence, speech
from voicerag_core import Answer, Audio, BusyError, StoreUnavailableError

pytestmark = pytest.mark.enable_socket

ANSWER = "The Rhine rises in the Swiss Alps."


async def receive(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """Return the next event of a kind."""
    async with asyncio.timeout(PATIENCE):
        while True:
            event: dict[str, Any] = json.loads(await socket.recv())
            if event["type"] == kind:
                return event


async def send(socket: ClientConnection, kind: str, **fields: object) -> None:
    await socket.send(json.dumps({"type": kind, **fields}))


async def ask(socket: ClientConnection, text: str = "Where does the Rhine rise?") -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await send(socket, "conversation.item.create", item=item)
    await send(socket, "response.create")


async def answered(server: Running) -> str:
    """Ask on a new session; return the words of the answer."""
    async with connect(f"{server.ws}/v1/realtime") as socket:
        await ask(socket)
        done = await receive(socket, "response.done")
    assert done["response"]["status"] == "completed", done
    return str(done["response"]["output"][0]["content"][0]["transcript"])


def nothing_left(server: Running) -> bool:
    return server.service.serving.workers.unfinished == 0 and server.service.sessions.open == 0


class Endless:
    """Answers until it is closed, a piece at a time.

    Args:
        speaks: With sound as well.
    """

    def __init__(self, *, speaks: bool) -> None:
        self.speaks = speaks
        self.running = 0
        self.begun = threading.Event()

    def respond(self, *_: object, **__: object) -> Iterator[Answer]:
        self.running += 1
        self.begun.set()
        sound = Audio(np.full(2205, 0.1, np.float32), 22_050) if self.speaks else None
        try:
            while True:
                yield Answer("word ", audio=sound)
                threading.Event().wait(0.01)
        finally:
            self.running -= 1


@pytest.mark.parametrize("state", ["greeted", "listening", "thinking", "speaking", "interrupted"])
async def test_a_client_that_leaves_leaves_nothing(serve: Serve, state: str) -> None:
    model = Endless(speaks=state != "thinking")
    with serve(FakeModels(model=model, text_model=model)) as server:
        socket = await connect(f"{server.ws}/v1/realtime")
        await receive(socket, "session.created")
        if state == "listening":
            audio = base64.b64encode(silence(0.5) + speech(0.5)).decode()
            await send(socket, "input_audio_buffer.append", audio=audio)
            await receive(socket, "input_audio_buffer.speech_started")
        elif state != "greeted":
            await ask(socket)
            await receive(socket, "response.output_audio_transcript.delta")
        if state == "interrupted":
            await send(socket, "response.cancel")
            await receive(socket, "response.done")
        transport = socket.transport
        transport.abort()  # no closing handshake: the network is gone
        await asyncio.to_thread(wait_until, lambda: nothing_left(server) and not model.running)


async def test_an_interrupted_answer_stops_and_frees_its_worker(serve: Serve) -> None:
    model = Endless(speaks=True)
    with serve(FakeModels(model=model, text_model=model), workers=1) as server:
        async with connect(f"{server.ws}/v1/realtime") as socket:
            await ask(socket)
            await receive(socket, "response.output_audio.delta")
            await send(socket, "response.cancel")
            done = await receive(socket, "response.done")
            assert done["response"]["status"] == "cancelled"
            workers = server.service.serving.workers
            await asyncio.to_thread(
                wait_until, lambda: workers.unfinished == 0 and not model.running
            )


async def test_speech_interrupts_what_is_said(serve: Serve) -> None:
    model = Endless(speaks=True)
    with serve(FakeModels(model=model, text_model=model)) as server:
        async with connect(f"{server.ws}/v1/realtime") as socket:
            await ask(socket)
            await receive(socket, "response.output_audio.delta")
            audio = base64.b64encode(silence(1.6) + speech(0.8)).decode()
            await send(socket, "input_audio_buffer.append", audio=audio)
            await receive(socket, "input_audio_buffer.speech_started")
            done = await receive(socket, "response.done")
            assert done["response"]["status_details"]["reason"] == "turn_detected"
            await asyncio.to_thread(wait_until, lambda: not model.running)


async def test_who_does_not_read_is_let_go(serve: Serve) -> None:
    with serve() as server:
        socket = await connect(
            f"{server.ws}/v1/realtime", max_queue=1, ping_interval=None, compression=None
        )
        text = "x" * 4000
        item = {"id": "it", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await send(socket, "conversation.item.create", item=item)
        assert not nothing_left(server)
        with suppress(ConnectionClosed):
            for _ in range(5_000):
                await send(socket, "conversation.item.retrieve", item_id="it")
        await asyncio.to_thread(wait_until, lambda: nothing_left(server))
        socket.transport.abort()  # it would not see that it was let go: it does not read
        assert await answered(server) == ANSWER


async def test_50_sessions_at_once_are_all_answered(serve: Serve) -> None:
    with serve() as server:
        words = await asyncio.gather(*(answered(server) for _ in range(50)))
        assert set(words) == {ANSWER}
        await asyncio.to_thread(wait_until, lambda: nothing_left(server))


async def test_sessions_beyond_the_limit_are_told_to_come_back(serve: Serve) -> None:
    with serve(sessions=2) as server:
        async with (
            connect(f"{server.ws}/v1/realtime") as first,
            connect(f"{server.ws}/v1/realtime") as second,
        ):
            await receive(first, "session.created")
            await receive(second, "session.created")
            async with connect(f"{server.ws}/v1/realtime") as third:
                told = await receive(third, "error")
                assert told["error"]["code"] == "server_busy"
        await asyncio.to_thread(wait_until, lambda: nothing_left(server))
        assert await answered(server) == ANSWER


async def test_10000_malformed_events_are_answered_one_by_one(server: Running) -> None:
    rubbish = [
        "", "null", "{", "[]", '"a"', '{"type": 1}', '{"type": "nope"}',
        '{"type": "session.update"}',
        '{"type": "input_audio_buffer.append", "audio": 5}',
        '{"type": "response.create", "response": {"input": [1, {"type": "item_reference"}]}}',
        '{"type": "conversation.item.create", "item": {"content": [7]}}',
        '{"type": "conversation.item.truncate", "item_id": [], "audio_end_ms": "x"}',
        '{"type": "response.cancel", "response_id": {"a": []}}',
        '{"type": "session.update", "session": {"audio": [[[]]]}}',
    ]  # fmt: skip
    async with connect(f"{server.ws}/v1/realtime") as socket:
        await receive(socket, "session.created")

        async def shout() -> None:
            for number in range(10_000):
                await socket.send(rubbish[number % len(rubbish)])

        shouting = asyncio.create_task(shout())
        for _ in range(10_000):
            assert (await receive(socket, "error"))["error"]["message"]
        await shouting
        await ask(socket)
        done = await receive(socket, "response.done")
        assert done["response"]["status"] == "completed"


async def test_a_frame_that_is_too_large_closes_only_its_own_session(server: Running) -> None:
    async with connect(f"{server.ws}/v1/realtime") as socket:
        await receive(socket, "session.created")
        with suppress(ConnectionClosed):
            await socket.send("x" * 5_000_000)
        await asyncio.wait_for(socket.wait_closed(), PATIENCE)
        assert socket.close_code == 1009
    assert await answered(server) == ANSWER


async def test_a_database_that_goes_away_is_told_and_comes_back(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenants, database = fake_tenants()
    (store,) = database.stores.values()
    with serve(tenants=tenants) as server:
        async with connect(f"{server.ws}/v1/realtime") as socket:
            with monkeypatch.context() as patch:

                def lost(*_: object, **__: object) -> None:
                    raise StoreUnavailableError("at 10.0.0.7") from OSError("connection refused")

                patch.setattr(store, "search", lost)
                await ask(socket)
                told = await receive(socket, "error")
                assert told["error"]["code"] == "database_unavailable"
                assert "10.0.0.7" not in told["error"]["message"]
                done = await receive(socket, "response.done")
                assert done["response"]["status"] == "failed"
            await ask(socket)
            done = await receive(socket, "response.done")
            assert done["response"]["status"] == "completed"


async def test_an_idle_session_is_closed(serve: Serve) -> None:
    with serve(idle_minutes=0.01) as server:
        async with connect(f"{server.ws}/v1/realtime") as socket:
            await receive(socket, "session.created")
            await asyncio.wait_for(socket.wait_closed(), PATIENCE)
            assert socket.close_code == 1000
        await asyncio.to_thread(wait_until, lambda: nothing_left(server))


class Full:
    """A model with a full queue."""

    seconds = 6.2

    def respond(self, *_: object, **__: object) -> Iterator[Answer]:
        if self.seconds:
            told = "64 answers are written and 64 wait; come back in about 7 s"
            raise BusyError(told, self.seconds)
        yield Answer()


async def test_who_finds_a_full_queue_is_told_when_to_come_back(serve: Serve) -> None:
    model = Full()
    asked = {"model": "voicerag", "messages": [{"role": "user", "content": "Where is the Rhine?"}]}
    with serve(FakeModels(model=model, text_model=model)) as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            answer = await client.post("/v1/chat/completions", json=asked, timeout=PATIENCE)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
        assert answer.json()["error"]["code"] == "server_busy"
        async with connect(f"{server.ws}/v1/realtime") as socket:
            await ask(socket)
            told = (await receive(socket, "error"))["error"]
        assert told["code"] == "server_busy"
        assert "come back in about 7 s" in told["message"]

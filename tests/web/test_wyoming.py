"""Home Assistant's protocol, by the client of its own package."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import pytest

from tests.serving.fakes import FakeModels
from tests.waiting import PATIENCE, wait_until
from tests.web.conftest import Running, Serve, speech
from tests.web.test_faults import Endless, nothing_left

pytest.importorskip("wyoming", reason="the extra wyoming is not installed")

from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping
from wyoming.tts import Synthesize

from voicerag_web.wyoming import MOST_HEAD_BYTES, MOST_SOUND_BYTES, WyomingDoor

pytestmark = pytest.mark.enable_socket

QUESTION = "Where does the Rhine rise?"
FORM = {"rate": 16_000, "width": 2, "channels": 1}


@asynccontextmanager
async def opened(server: Running) -> AsyncIterator[int]:
    """Open the door of a server on a free port."""
    server.service.settings = server.service.settings.model_copy(update={"wyoming": 0})
    door = WyomingDoor(server.service)
    listening = await door.open()
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await door.close()


async def next_event(client: AsyncTcpClient) -> Event:
    async with asyncio.timeout(PATIENCE):
        event = await client.read_event()
    assert event is not None
    return event


async def asked(port: int, text: str, **context: object) -> Event:
    """Ask as Home Assistant does: a connection for each sentence."""
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Event("transcript", {"text": text, "context": context}))
        return await next_event(client)


async def say(client: AsyncTcpClient, pcm: bytes, **form: Any) -> None:
    form = {**FORM, **form}
    await client.write_event(Transcribe(language="en").event())
    await client.write_event(AudioStart(**form).event())
    for at in range(0, len(pcm), 2048):
        await client.write_event(AudioChunk(**form, audio=pcm[at : at + 2048]).event())
    await client.write_event(AudioStop().event())


async def test_it_tells_what_it_offers(server: Running) -> None:
    async with opened(server) as port, AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Ping(text="there?").event())
        assert (await next_event(client)).data == {"text": "there?"}
        await client.write_event(Describe().event())
        info = Info.from_event(await next_event(client))
    assert info.asr[0].models[0].languages == ["en"]
    assert info.handle[0].models[0].installed
    assert info.tts[0].voices[0].languages == ["en"]


async def test_speech_becomes_words(server: Running) -> None:
    async with opened(server) as port, AsyncTcpClient("127.0.0.1", port) as client:
        await say(client, speech(1.0, 16_000))
        heard = await next_event(client)
    assert (heard.type, heard.data["text"]) == ("transcript", "where does the rhine rise")


async def test_where_nothing_is_said_there_are_no_words(server: Running) -> None:
    async with opened(server) as port, AsyncTcpClient("127.0.0.1", port) as client:
        await say(client, b"")
        assert (await next_event(client)).data["text"] == ""
        await say(client, bytes(32_000))
        assert (await next_event(client)).data["text"] == ""


async def test_a_text_is_spoken(server: Running) -> None:
    async with opened(server) as port, AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Synthesize("It rises in the Alps. It is long.").event())
        kinds: list[str] = []
        sound, rates = b"", set()
        while not kinds or kinds[-1] != "audio-stop":
            event = await next_event(client)
            kinds.append(event.type)
            if AudioChunk.is_type(event.type):
                sound += event.payload or b""
                rates.add((event.data["rate"], event.data["width"], event.data["channels"]))
    assert kinds[0] == "audio-start"
    assert kinds.count("audio-chunk") == 2
    assert len(sound) > 16_000
    assert len(rates) == 1


async def test_a_question_is_answered_with_its_source_and_remembered(server: Running) -> None:
    context = {"conversation_id": "c1"}
    async with opened(server) as port:
        first = await asked(port, QUESTION, **context)
        assert first.type == "handled"
        assert first.data["text"].startswith("According to ")
        assert "The Rhine rises in the Swiss Alps." in first.data["text"]
        assert first.data["context"] == context


async def test_each_conversation_has_its_own_turns(server: Running) -> None:
    door = WyomingDoor(server.service)
    listening = await asyncio.start_server(door._serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    for name in ("a", "b", "a"):
        await asked(port, QUESTION, conversation_id=name)
    await asked(port, QUESTION)
    listening.close()
    await door.close()
    assert [len(door.turns(name)) for name in ("a", "b", None)] == [2, 1, 0]
    turn = door.turns("a")[0]
    for number in range(300):
        door.keep(str(number), turn)
    assert door.turns("a") == ()


async def test_what_cannot_be_used_is_said_once_and_the_connection_goes_on(server: Running) -> None:
    async with opened(server) as port, AsyncTcpClient("127.0.0.1", port) as client:
        for form in ({"rate": 7000}, {"width": 4}, {"channels": 2}, {"rate": "x"}):
            await say(client, speech(0.5, 16_000), **form)
            assert "16 bits" in (await next_event(client)).data["text"]
        await say(client, bytes(2 * 16_000 * 40))
        assert "at most 30 s" in (await next_event(client)).data["text"]
        await client.write_event(Synthesize("   ").event())
        assert (await next_event(client)).type == "error"
        await client.write_event(Event("nobody-knows-this", {"a": 1}))
        await say(client, speech(1.0, 16_000))
        assert (await next_event(client)).data["text"] == "where does the rhine rise"
        long = await asked(port, "why " * 5000)
        assert (long.type, "longer than" in long.data["text"]) == ("not-handled", True)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"{\n", b"[]\n", b'{"type": 5}\n', b'{"type": "a", "data": 5}\n',
        b'{"type": "audio-chunk", "payload_length": %d}\n' % (MOST_SOUND_BYTES + 1),
        b'{"type": "audio-chunk", "payload_length": -1}\n',
        b'{"type": "transcript", "data_length": %d}\n' % (MOST_HEAD_BYTES + 1),
        b'{"type": "transcript", "data_length": 2}\n[]',
        b'{"type": "transcript", "data": [5], "data_length": 2}\n{}',
        b'{"type": "transcript", "data": ' + b"[" * 60_000 + b"\n",
        b"x" * (MOST_HEAD_BYTES * 3),
    ],
)  # fmt: skip
async def test_rubbish_ends_only_its_own_connection(server: Running, rubbish: bytes) -> None:
    async with opened(server) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(rubbish)
            await writer.drain()
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        except ConnectionError:
            pass  # it was closed with bytes unread
        finally:
            writer.close()
        assert (await asked(port, QUESTION)).type == "handled"


async def test_a_client_that_leaves_frees_its_worker(serve: Serve) -> None:
    model = Endless(speaks=False)
    with serve(FakeModels(model=model, text_model=model)) as server:
        async with opened(server) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            event = {"type": "transcript", "data": {"text": QUESTION}}
            writer.write(json.dumps(event).encode() + b"\n")
            await asyncio.to_thread(model.begun.wait, PATIENCE)
            writer.close()
            await asyncio.to_thread(wait_until, lambda: nothing_left(server) and not model.running)


async def test_others_cannot_reach_it_unless_it_is_opened(server: Running) -> None:
    async with opened(server):  # sets the port to any free one
        door = WyomingDoor(server.service)
        listening = await door.open()
    assert {one.getsockname()[0] for one in listening.sockets} == {"127.0.0.1"}
    listening.close()


async def test_an_idle_client_is_let_go(serve: Serve) -> None:
    with serve(idle_minutes=0.005) as server:
        async with opened(server) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
            writer.close()


@pytest.mark.parametrize(
    "half",
    [
        b"{", b'{"type": "desc', b'{"type": "transcript", "data_length": 500}\n{',
        b'{"type": "audio-chunk", "payload_length": 5000}\n\0\0',
    ],
)  # fmt: skip
async def test_half_an_event_is_closed(serve: Serve, half: bytes) -> None:
    with serve(request_seconds=0.3) as server:
        async with opened(server) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(half)
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
            writer.close()


@pytest.mark.parametrize("first", [b"", b'{"type": "desc', b'{"type": "ping", "data": {}}\n'])
async def test_silent_clients_give_way_to_others(serve: Serve, first: bytes) -> None:
    with serve(sessions=4) as server, ExitStack() as sockets:
        async with opened(server) as port:
            silent = [
                sockets.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
                for _ in range(9)
            ]
            for one in silent:
                one.sendall(first)
            for _ in range(3):
                assert (await asked(port, QUESTION)).type == "handled"
            await asyncio.to_thread(until_closed, silent[0])


def until_closed(connection: socket.socket) -> None:
    with suppress(ConnectionResetError):  # it was closed with bytes unread
        while connection.recv(4096):
            pass


async def test_who_is_answered_keeps_the_place(serve: Serve) -> None:
    model = Endless(speaks=False)
    with serve(FakeModels(model=model, text_model=model), sessions=1) as server:
        async with opened(server) as port:
            place = ("127.0.0.1", port)
            event = {"type": "transcript", "data": {"text": QUESTION}}
            with socket.create_connection(place, PATIENCE) as answered:
                answered.sendall(json.dumps(event).encode() + b"\n")
                await asyncio.to_thread(model.begun.wait, PATIENCE)
                with socket.create_connection(place, PATIENCE) as late:
                    await asyncio.to_thread(until_closed, late)
                assert model.running
            await asyncio.to_thread(wait_until, lambda: nothing_left(server) and not model.running)

"""Realtime over a WebSocket, by OpenAI's own client; every event is of its own types."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from openai import AsyncOpenAI
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.asyncio.client import connect

from tests.serving.fakes import FakeModels, fake_tenants
from tests.waiting import PATIENCE
from tests.web.conftest import Running, Serve, silence, speech
from voicerag_core import Audio, AudioError, Transcription, read_audio
from voicerag_core.serving import pcm16
from voicerag_core.testing import FakeTranscriber, FakeVoiceModel

pytestmark = pytest.mark.enable_socket

SAMPLE = Path(__file__).parents[2] / "examples" / "sample" / "audio"
EVENTS: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


@asynccontextmanager
async def connected(server: Running, **update: Any) -> AsyncIterator[Any]:
    """Open a session by the SDK, after an update of it."""
    client = AsyncOpenAI(api_key="none", base_url=f"{server.url}/v1")
    async with client.realtime.connect(model="voicerag") as connection:
        first = await connection.recv()
        assert first.type == "session.created"
        if update:
            await connection.session.update(session=cast("Any", {"type": "realtime", **update}))
            await until(connection, "session.updated")
        yield connection
    await client.close()


async def until(connection: Any, *kinds: str) -> list[Any]:
    """Receive events up to one of these kinds; each is of the SDK's own types."""
    seen = []
    while True:
        data = await connection.recv_bytes()
        event = EVENTS.validate_json(data, strict=True)
        seen.append(event)
        if event.type in kinds:
            return seen


def kinds(events: list[Any]) -> list[str]:
    return [event.type for event in events]


async def say(connection: Any, data: bytes, step: int = 4800) -> None:
    for at in range(0, len(data), step):
        audio = base64.b64encode(data[at : at + step]).decode()
        await connection.input_audio_buffer.append(audio=audio)


def user(text: str) -> Any:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


async def test_a_typed_question_is_answered_in_text(server: Running) -> None:
    async with connected(server, output_modalities=["text"]) as connection:
        await connection.conversation.item.create(item=user("Where does the Rhine rise?"))
        await connection.response.create(response={"metadata": {"mine": "1"}})
        events = await until(connection, "response.done")
    assert kinds(events) == [
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    assert events[2].response.metadata == {"mine": "1"}
    done = events[-1].response
    assert done.status == "completed"
    assert done.output[0].content[0].text == "The Rhine rises in the Swiss Alps."
    assert done.metadata["mine"] == "1"
    assert "rhine" in done.metadata["voicerag.sources"]
    assert done.usage.total_tokens == 0


async def test_a_spoken_question_is_heard_found_and_answered_in_speech(server: Running) -> None:
    async with connected(server) as connection:
        await say(connection, silence(0.5) + speech(1.0) + silence(1.0))
        events = await until(connection, "response.done")
    seen = kinds(events)
    assert seen.index("input_audio_buffer.speech_started") == 0
    assert seen.index("input_audio_buffer.speech_stopped") == 1
    assert seen[2:6] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    heard = next(one for one in events if one.type.endswith("transcription.completed"))
    assert heard.transcript == "where does the rhine rise"
    assert heard.item_id == events[0].item_id == events[2].item_id
    said = "".join(
        one.delta for one in events if one.type == "response.output_audio_transcript.delta"
    )
    assert said == "The Rhine rises in the Swiss Alps."
    sound = b"".join(
        base64.b64decode(one.delta) for one in events if one.type == "response.output_audio.delta"
    )
    assert len(sound) == pytest.approx(7 * 0.05 * 48_000, abs=48)
    assert len(sound) % 2 == 0
    assert events[0].audio_start_ms == pytest.approx(200, abs=100)
    assert events[1].audio_end_ms == pytest.approx(1500, abs=100)


async def test_a_person_is_heard_and_a_tone_is_not(serve: Serve) -> None:
    clip = read_audio(SAMPLE / "report-16.flac", sample_rate=24_000)
    spoken = pcm16(clip.samples)
    with serve(by_loudness=False) as server:
        async with connected(server) as connection:
            await say(connection, silence(0.5) + speech(1.0) + silence(1.0))
            await say(connection, spoken + silence(1.0))
            events = await until(connection, "response.done")
    assert kinds(events).count("input_audio_buffer.speech_started") == 1
    assert events[0].audio_start_ms > 2_000


async def test_a_spoken_answer_is_interrupted_and_kept_as_far_as_it_was_heard(
    server: Running,
) -> None:
    async with connected(server) as connection:
        await connection.conversation.item.create(item=user("Where does the Rhine rise?"))
        await connection.response.create()
        events = await until(connection, "response.done")
        item = events[-1].response.output[0].id
        await say(connection, silence(1.6) + speech(0.8))
        await until(connection, "input_audio_buffer.speech_started")
        await connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=150)
        await until(connection, "conversation.item.truncated")
        await connection.conversation.item.retrieve(item_id=item)
        (*_, retrieved) = await until(connection, "conversation.item.retrieved")
        assert retrieved.item.content[0].transcript == "The Rhine rises"
        await say(connection, silence(1.0))
        events = await until(connection, "response.done")
    assert events[-1].response.status == "completed"


async def test_a_manual_turn_is_committed_by_the_client(server: Running) -> None:
    detection: Any = {"input": {"turn_detection": None, "format": {"type": "audio/pcm"}}}
    async with connected(server, audio=detection) as connection:
        await connection.input_audio_buffer.commit()
        (empty,) = await until(connection, "error")
        assert empty.error.code == "input_audio_buffer_commit_empty"
        await say(connection, speech(1.0))
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        events = await until(connection, "response.done")
    assert "input_audio_buffer.speech_started" not in kinds(events)
    assert events[-1].response.output[0].content[0].transcript


async def test_a_language_that_is_not_heard_is_said(server: Running) -> None:
    client = AsyncOpenAI(api_key="none", base_url=f"{server.url}/v1")
    async with client.realtime.connect(model="voicerag") as connection:
        wording: Any = {"input": {"transcription": {"model": "whisper-1", "language": "de"}}}
        await connection.session.update(session={"type": "realtime", "audio": wording})
        told = (await until(connection, "error"))[-1]
        assert told.error.code == "unsupported_language"
        assert "VOICERAG_LANGUAGE" in told.error.message
    await client.close()


async def test_a_clip_without_speech_is_told_as_a_failed_transcript_and_in_an_answer(
    serve: Serve,
) -> None:
    class Deaf(FakeTranscriber):
        def transcribe(self, audio: Audio) -> Transcription:
            raise AudioError(f"no speech was heard in the clip of {audio.seconds:.1f} s")

    with serve(FakeModels(transcriber=Deaf(), model=Listening(), text_model=Listening())) as server:
        async with connected(server) as connection:
            await say(connection, silence(0.5) + speech(1.0) + silence(1.0))
            events = await until(connection, "response.done")
    (failed,) = [one for one in events if one.type.endswith("transcription.failed")]
    assert failed.error.code == "no_speech"
    assert events[-1].response.status == "completed"
    assert "did not hear" in events[-1].response.output[0].content[0].transcript


class Listening(FakeVoiceModel):
    """Needs the words of a spoken question, as the local reader does."""

    reads_words = True


async def test_a_name_of_a_model_chooses_a_collection(serve: Serve) -> None:
    tenants, database = fake_tenants()
    database.fill(collection="faq", **{"vault.txt": "The vault opens at nine."})
    with serve(tenants=tenants) as server:
        client = AsyncOpenAI(api_key="none", base_url=f"{server.url}/v1")
        async with client.realtime.connect(model="voicerag:faq") as connection:
            await connection.conversation.item.create(item=user("When does the vault open?"))
            await connection.response.create(response={"output_modalities": ["text"]})
            events = await until(connection, "response.done")
        await client.close()
    assert events[-1].response.output[0].content[0].text == "The vault opens at nine."


class _HeldTranscriber(FakeTranscriber):
    """Makes the words out when it is told to."""

    def __init__(self) -> None:
        super().__init__(otherwise="where does the rhine rise")
        self.go_on = threading.Event()

    def transcribe(self, audio: Audio) -> Transcription:
        assert self.go_on.wait(PATIENCE)
        return super().transcribe(audio)


@pytest.mark.parametrize("by_server", [True, False])
async def test_passages_found_by_sound_come_before_the_words_are_made_out(
    serve: Serve, by_server: bool
) -> None:
    """Both where the search began in a pause and where the client commits its sound."""
    words = _HeldTranscriber()
    detection = {"type": "server_vad"} if by_server else None
    with serve(FakeModels(transcriber=words)) as server:
        async with connect(f"{server.ws}/v1/realtime") as socket:

            async def send(kind: str, **fields: Any) -> None:
                await socket.send(json.dumps({"type": kind, **fields}))

            await send(
                "session.update",
                session={
                    "audio": {"input": {"turn_detection": detection}},
                    "voicerag": {"sources": True, "strategy": "hybrid"},
                },
            )
            sound = silence(0.5) + speech(1.0) + silence(1.0)
            await send("input_audio_buffer.append", audio=base64.b64encode(sound).decode())
            if not by_server:
                await send("input_audio_buffer.commit")
                await send("response.create")
            seen: list[dict[str, Any]] = []
            while not seen or seen[-1]["type"] != "response.done":
                seen.append(json.loads(await socket.recv()))
                if seen[-1]["type"] == "voicerag.sources":
                    words.go_on.set()
    told = [one for one in seen if one["type"] == "voicerag.sources"]
    assert [one["final"] for one in told[:2]] == [False, True]
    assert told[0]["passages"]
    assert not told[0]["sources"]
    names = [one["type"] for one in seen]
    heard = names.index("conversation.item.input_audio_transcription.completed")
    assert names.index("voicerag.sources") < heard

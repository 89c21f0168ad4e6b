"""Callers that cancel or vanish are released, and nothing is left running for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import anyio
import httpx2
import pytest
from mcp import Client

from tests.mcp.conftest import Open, Serve
from tests.mcp.fakes import FakeModels
from tests.waiting import PATIENCE, Gate, reached
from voicerag_core import Answer, Audio, Passage, Sampling, Transcription
from voicerag_core.testing import FakeEmbedder, FakeTranscriber, FakeVoiceModel
from voicerag_mcp.server import build_server


class SlowEmbedder(FakeEmbedder):
    calls = 0

    def embed_passages(self, texts: Sequence[str]) -> Any:
        self.calls += 1
        return super().embed_passages(texts)


class SlowTranscriber(FakeTranscriber):
    def __init__(self) -> None:
        super().__init__(otherwise="where does the rhine rise")
        self.gate = Gate()

    def transcribe(self, audio: Audio) -> Transcription:
        self.gate.wait()
        return super().transcribe(audio)


class SlowModel(FakeVoiceModel):
    """Gives a piece every 50 ms for ever, and notes when it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.closed, self.pieces = threading.Event(), threading.Event(), 0

    def respond(
        self, question: Any, passages: Sequence[Passage], *, sampling: Sampling, **_: Any
    ) -> Iterator[Answer]:
        del question, passages, sampling
        try:
            while True:
                self.begun.set()
                self.pieces += 1
                yield Answer("word ")
                time.sleep(0.05)
        finally:
            self.closed.set()


def slow_engine() -> FakeModels:
    return FakeModels(embedder=SlowEmbedder(), transcriber=SlowTranscriber(), model=SlowModel())


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_cancelled_call_begins_no_further_stage(
    opened: Open, wav: bytes, era: Literal["auto", "legacy"]
) -> None:
    engine = slow_engine()
    service = opened(engine)
    clip = service.serving.clips.add("default", service.serving.asking.decoded(wav))
    engine.embedder.calls = 0
    async with Client(build_server(service), mode=era) as client:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                given = {"clip": clip.id, "strategy": "asr"}
                group.start_soon(client.call_tool, "voice_search", given)
                await reached(engine.transcriber.gate.entered.is_set)
                scope.cancel()
        assert not engine.transcriber.gate.passed.is_set(), "the caller did not wait for it"
        assert service.serving.workers.unfinished == 1, "the native call in flight ends by itself"
        again = await client.call_tool("voice_search", {"text": "rhine"})
        assert not again.is_error
        engine.transcriber.gate.open.set()
        await reached(lambda: service.serving.workers.unfinished == 0)
    assert engine.embedder.calls == 1, "only the call that came after"


async def test_a_cancelled_answer_stops_the_model(opened: Open) -> None:
    engine = slow_engine()
    service = opened(engine)
    async with Client(build_server(service)) as client:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "voice_ask", {"text": "rhine"})
                await reached(lambda: engine.model.pieces > 1)
                scope.cancel()
        await reached(engine.model.closed.is_set)
        await reached(lambda: service.serving.workers.unfinished == 0)


@pytest.mark.enable_socket
@pytest.mark.parametrize("sessions", [False, True])
async def test_a_client_that_hangs_up_leaves_nothing_running(
    opened: Open, serve: Serve, sessions: bool
) -> None:
    engine = slow_engine()
    service = opened(engine, sessions=sessions)
    headers = {"Accept": "application/json, text/event-stream"}
    call = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "voice_ask", "arguments": {"text": "rhine"}},
    }  # fmt: skip
    with serve(service) as url:
        async with httpx2.AsyncClient(timeout=PATIENCE, headers=headers) as http:
            if sessions:
                hello = {
                    "protocolVersion": "2025-11-25", "capabilities": {},
                    "clientInfo": {"name": "test", "version": "1"},
                }  # fmt: skip
                answer = await http.post(
                    f"{url}/mcp",
                    json={"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello},
                )
                http.headers["Mcp-Session-Id"] = answer.headers["Mcp-Session-Id"]
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(_read_whole, http, f"{url}/mcp", call)
                    await reached(engine.model.begun.is_set)
                    scope.cancel()
        await reached(engine.model.closed.is_set)
        await reached(lambda: service.serving.workers.unfinished == 0)


async def _read_whole(http: httpx2.AsyncClient, url: str, call: dict[str, Any]) -> None:
    async with http.stream("POST", url, json=call) as stream:
        await stream.aread()

"""On a real Postgres: tenants, rights, a database that goes away; and the real local stack."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import CallToolResult
from pydantic import SecretStr

from tests.mcp.conftest import Serve
from tests.mcp.fakes import FakeModels
from tests.mcp.test_http import answer_of, message, post, tokens_for
from tests.waiting import wait_until
from voicerag_core import Settings, load_settings
from voicerag_core.serving import Tenants
from voicerag_core.stack import list_collections, open_store
from voicerag_core.store import EmbeddedPostgres, embedded, migrate
from voicerag_mcp.server import build_server, open_service
from voicerag_mcp.service import Service
from voicerag_mcp.settings import load_server_settings

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
SECRET = "The password of the vault is swordfish."


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("mcp") / "postgres") as server:
        migrate(server.dsn)
        yield server


@contextmanager
def service_on(dsn: str, **settings: object) -> Iterator[Service]:
    """A service with fake models on a real database."""
    chosen = load_server_settings(**settings)
    core = Settings(database_url=SecretStr(dsn))
    models = FakeModels()

    def open_one(wanted: Settings, read_only: bool) -> Any:
        return open_store(wanted, models.embedder, read_only=read_only)

    tenants = Tenants(
        core,
        models.parts(),
        open_store=open_one,
        list_collections=list_collections,
        most_open=chosen.open_stores,
        read_only=chosen.read_only,
    )
    with ExitStack() as stack:
        stack.callback(tenants.close)
        yield stack.enter_context(open_service(core, chosen, knowledge=tenants))


def text_of(result: CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if part.type == "text")


@pytest.mark.enable_socket
def test_a_tenant_sees_nothing_of_another(
    postgres: EmbeddedPostgres, serve: Serve, tmp_path: Path
) -> None:
    who = [(f"user{number}", f"tenant-{number}", True) for number in range(6)]
    file, tokens = tokens_for(tmp_path, *who)

    def call(number: int, tool: str, **arguments: Any) -> str:
        body = message("tools/call", name=tool, arguments=arguments)
        answer = post(url, body, Authorization=f"Bearer {tokens[number]}")
        return json.dumps(answer_of(answer)["result"])

    with service_on(postgres.dsn, token_file=file, open_stores=2) as service, serve(service) as url:
        for number in range(6):
            mine = f"The city of user {number} is city-{number}. {SECRET if number == 0 else ''}"
            assert "1 documents ingested" in call(number, "voice_ingest", text=mine, source="s")
        for number in range(6):
            found = call(number, "voice_search", text="the city of the user", limit=50)
            assert f"city-{number}" in found
            assert found.count("city-") == found.count(f"city-{number}")
            assert ("swordfish" in call(number, "voice_search", text=SECRET)) == (number == 0)
            assert "1 passages" in call(number, "voice_collections")
        passage = json.loads(call(0, "voice_search", text=SECRET))["structuredContent"]
        uri = passage["passages"][0]["uri"]
        read = message("resources/read", uri=uri)
        assert "swordfish" in post(url, read, Authorization=f"Bearer {tokens[0]}").text
        assert "swordfish" not in post(url, read, Authorization=f"Bearer {tokens[1]}").text
        assert service.serving.tenants.open_stores <= 2


async def test_reading_needs_no_right_to_write(postgres: EmbeddedPostgres) -> None:
    with service_on(postgres.dsn) as service:
        async with Client(build_server(service)) as client:
            refused = await client.call_tool("voice_search", {"text": "a"})
            assert "nothing has been indexed yet" in text_of(refused)
            await client.call_tool("voice_ingest", {"text": SECRET, "source": "s"})
            absent = await client.call_tool("voice_search", {"text": "a", "collection": "none"})
            assert "there are: default" in text_of(absent)
            listed = await client.call_tool("voice_collections", {})
            assert "none" not in text_of(listed), "asking makes no collection"
    with service_on(postgres.dsn, read_only=True) as service:
        async with Client(build_server(service)) as client:
            assert "swordfish" in text_of(
                await client.call_tool("voice_search", {"text": "password"})
            )
            assert (await client.call_tool("voice_ingest", {"text": "x"})).is_error


@contextmanager
def during_the_next_embedding(service: Service, act: Callable[[], None]) -> Iterator[None]:
    """Do something in the middle of a call: after it began, before it asks the database."""
    embedder = service.serving.tenants.parts.embedder
    embed = embedder.embed_passages

    def acting(texts: Sequence[str]) -> Any:
        act()
        return embed(texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedder, "embed_passages", acting)
        yield


async def test_a_database_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    with EmbeddedPostgres(folder) as first, ExitStack() as stack:
        migrate(first.dsn)
        service = stack.enter_context(service_on(first.dsn))
        async with Client(build_server(service)) as client:

            async def search() -> CallToolResult:
                return await client.call_tool("voice_search", {"text": "password of the vault"})

            await client.call_tool("voice_ingest", {"text": SECRET, "source": "s"})
            assert "swordfish" in text_of(await search())

            def kill_the_server() -> None:
                embedded._OWNERS.discard(first)  # as one that this process does not start again
                number = int((folder / "pgdata" / "postmaster.pid").read_text().split()[0])
                os.kill(number, signal.SIGQUIT)
                wait_until(lambda: not (folder / "pgdata" / "postmaster.pid").exists())

            with during_the_next_embedding(service, kill_the_server):
                in_flight = await search()
            for refused in (in_flight, await search()):
                assert refused.is_error
                assert "cannot be used at the moment" in text_of(refused)
                assert str(folder) not in text_of(refused), "the place is for the log"
            status = (await client.call_tool("voice_status", {})).structured_content or {}
            assert status["database"] != "ok"
            stack.enter_context(EmbeddedPostgres(folder))
            assert "swordfish" in text_of(await search())
            status = (await client.call_tool("voice_status", {})).structured_content or {}
            assert status["database"] == "ok"


async def test_the_local_stack_answers_a_recorded_question(tmp_path: Path) -> None:
    wanted = json.loads((SAMPLE / "questions.jsonl").read_text().splitlines()[0])
    passages = map(json.loads, (SAMPLE / "passages.jsonl").read_text().splitlines())
    texts = {one["id"]: one["text"] for one in passages}
    sound = (SAMPLE / wanted["audio"]).read_bytes()
    core = load_settings(data_dir=tmp_path / "data")
    with open_service(core, load_server_settings()) as service:
        async with Client(build_server(service)) as client:
            chosen = {wanted["passage"], *list(texts)[:3]}
            for number, key in enumerate(sorted(chosen)):
                given = {"text": texts[key], "source": f"s{number}", "title": key}
                assert not (await client.call_tool("voice_ingest", given)).is_error
            question = {"audio_base64": base64.b64encode(sound).decode()}
            result = await client.call_tool("voice_ask", question)
            answer = result.structured_content or {}
            assert answer["passages"][0]["title"] == wanted["passage"], text_of(result)
            spoken = answer["audio"]
            assert spoken["seconds"] > 0.5
            heard = await client.call_tool("voice_transcribe", {"clip": spoken["clip_id"]})
            assert not heard.is_error

"""Every tool, resource and prompt, through the official client, in both eras of the protocol."""

from __future__ import annotations

import base64
import json
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    BlobResourceContents,
    CallToolResult,
    PromptReference,
    ResourceTemplateReference,
    TextContent,
    TextResourceContents,
)

from tests.mcp.conftest import Open
from tests.mcp.fakes import FakeModels
from tests.waiting import wait_until
from voicerag_core.serving import jobs
from voicerag_mcp.results import AskResult, CitedSource, answer_text
from voicerag_mcp.server import build_server
from voicerag_mcp.service import Service

QUESTION = {"text": "where does the rhine rise"}
Era = Literal["auto", "legacy"]


def text_of(result: CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if part.type == "text")


def kinds(result: CallToolResult) -> list[str]:
    return [part.type for part in result.content]


async def call(service: Service, tool: str, **arguments: Any) -> CallToolResult:
    async with Client(build_server(service)) as client:
        return await client.call_tool(tool, arguments)


async def refusal(service: Service, tool: str, **arguments: Any) -> str:
    result = await call(service, tool, **arguments)
    assert result.is_error, text_of(result)
    assert text_of(result).count("Error executing") == 1
    return text_of(result)


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_every_tool_has_title_schemas_and_annotations(service: Service, era: Era) -> None:
    async with Client(build_server(service), mode=era) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {
        "voice_search", "voice_ask", "voice_transcribe", "voice_speak", "voice_ingest",
        "voice_collections", "voice_status",
    }  # fmt: skip
    for name, tool in tools.items():
        assert tool.title
        assert tool.description
        assert "\n  " not in tool.description, "the docstring is sent without its indentation"
        assert tool.output_schema is not None
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint == (name != "voice_ingest")
        for argument in tool.input_schema["properties"].values():
            assert argument.get("description")


async def test_read_only_has_no_tool_that_writes(opened: Open) -> None:
    async with Client(build_server(opened(read_only=True))) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert "voice_ingest" not in names
    assert len(names) == 6


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_search_gives_text_and_typed_passages(service: Service, era: Era) -> None:
    async with Client(build_server(service), mode=era) as client:
        result = await client.call_tool("voice_search", {**QUESTION, "limit": 1})
    assert kinds(result) == ["text"]
    assert "Swiss Alps" in text_of(result)
    assert result.structured_content is not None
    (found,) = result.structured_content["passages"]
    assert (found["source"], found["title"]) == ("rhine.txt", "rhine")
    assert found["uri"] in text_of(result)


async def test_ask_gives_text_sources_and_a_link(service: Service) -> None:
    async with Client(build_server(service)) as client:
        result = await client.call_tool("voice_ask", QUESTION)
        assert kinds(result) == ["text", "resource_link"]
        answer = result.structured_content or {}
        assert answer["answered"] is True
        assert answer["sources"][0]["quote"] == "The Rhine rises in the Swiss Alps."
        link = result.content[1]
        assert link.type == "resource_link"
        (clip,) = (await client.read_resource(link.uri)).contents
        assert isinstance(clip, BlobResourceContents)
        wav = base64.b64decode(clip.blob)
    assert (clip.mime_type, wav[:4], len(wav)) == ("audio/wav", b"RIFF", link.size)
    assert "UklGR" not in json.dumps(answer) + text_of(result), "no sound in words"


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ([], "Rules"),
        (["Rules"], "Rules"),
        (["Rules", "Fees"], "Rules > Fees"),
        (["Rules", "Fees", "Guests"], "Rules > Fees > Guests"),
    ],
)
def test_a_source_is_named_by_title_and_headings_each_once(path: list[str], named: str) -> None:
    uri, said = "voicerag://source/1", "A kayak is £6."
    source = CitedSource(
        passage_id="1", title="Rules", source="rules.md", path=path, uri=uri, quote=said
    )
    value = AskResult(
        answer=said, answered=True, sources=[source], passages=[], collection="c", seconds=0.1
    )
    assert answer_text(value).splitlines()[-1] == f"[1] {named} ({uri}): “{said}”"


@pytest.mark.parametrize(
    ("audio", "expected"), [("none", ["text"]), ("inline", ["text", "audio"]), ("file", ["text"])]
)
async def test_speech_goes_where_it_is_wanted(
    opened: Open, tmp_path: Path, audio: str, expected: list[str]
) -> None:
    service = opened(output_dir=str(tmp_path / "out"))
    result = await call(service, "voice_ask", **QUESTION, audio=audio)
    assert kinds(result) == expected
    spoken = (result.structured_content or {})["audio"]
    if audio == "none":
        assert spoken is None
    elif audio == "file":
        assert Path(spoken["path"]).read_bytes()[:4] == b"RIFF"
        assert spoken["uri"] is None
    else:
        assert "UklGR" not in text_of(result)


async def test_a_file_needs_a_folder(service: Service) -> None:
    assert "VOICERAG_MCP_OUTPUT_DIR" in await refusal(
        service, "voice_ask", **QUESTION, audio="file"
    )


@pytest.mark.parametrize("tool", ["voice_search", "voice_ask", "voice_transcribe"])
async def test_a_spoken_question_comes_in_three_ways(
    opened: Open, tmp_path: Path, wav: bytes, tool: str
) -> None:
    (tmp_path / "question.wav").write_bytes(wav)
    service = opened(allowed_paths=(str(tmp_path),))
    clip = service.serving.clips.add("default", service.serving.asking.decoded(wav))
    for given in (
        {"audio_base64": base64.b64encode(wav).decode()},
        {"audio_base64": "data:audio/wav;base64," + base64.b64encode(wav).decode()},
        {"audio_path": "question.wav"},
        {"audio_path": str(tmp_path / "question.wav")},
        {"clip": clip.id},
        {"clip": clip.uri},
    ):
        result = await call(service, tool, **given)
        assert not result.is_error, text_of(result)
        assert "rhine" in text_of(result).lower()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "exactly one"),
        ({"text": "a", "clip": "b"}, "exactly one"),
        ({"text": "  "}, "empty"),
        ({"text": "x" * 5000}, "at most 4000"),
        ({"clip": "never-was"}, "no clip 'never-was'"),
        ({"audio_base64": "!!!!"}, "not base64"),
        (
            {"audio_base64": base64.b64encode(b"no sound at all").decode()},
            "cannot be read as audio",
        ),
        ({"audio_base64": "A" * 20_000_000}, "shorter"),
        ({"audio_path": "/etc/passwd"}, "VOICERAG_MCP_ALLOWED_PATHS"),
        ({"text": "a", "collection": "other"}, "no collection 'other'; there are: default"),
        ({"text": "a", "limit": 51}, "less than or equal to 50"),
        ({"text": "a", "strategy": "guess"}, "'adaptive' or 'two_round'"),
        ({"text": "a", "where": {"": 1}}, "metadata key"),
    ],
)
async def test_a_refusal_says_what_to_do(
    service: Service, arguments: dict[str, Any], told: str
) -> None:
    assert told in await refusal(service, "voice_search", **arguments)


async def test_an_expired_clip_is_told_from_an_unknown_one(opened: Open, wav: bytes) -> None:
    service = opened(clip_minutes=0.001)
    clip = service.serving.clips.add("default", service.serving.asking.decoded(wav))
    time.sleep(0.1)
    assert "expired" in await refusal(service, "voice_search", clip=clip.id)


async def test_ingest_is_idempotent_and_makes_the_collection(service: Service) -> None:
    given = {"text": "Tea grows in Assam. It is black.", "source": "tea", "collection": "drinks"}
    first = (await call(service, "voice_ingest", **given)).structured_content or {}
    again = (await call(service, "voice_ingest", **given)).structured_content or {}
    assert (first["sources"], first["unchanged"]) == (1, 0)
    assert (again["sources"], again["unchanged"], again["passages"]) == (0, 1, 0)
    result = await call(service, "voice_search", text="tea in assam", collection="drinks")
    (found,) = (result.structured_content or {})["passages"]
    assert found["uri"].endswith("?collection=drinks")
    async with Client(build_server(service)) as client:
        (source,) = (await client.read_resource(found["uri"])).contents
    assert isinstance(source, TextResourceContents)
    assert json.loads(source.text)["document"][0]["text"] == given["text"]


async def test_ingest_keeps_folders_in_step(opened: Open, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "tea.md").write_text("# Tea\n\nTea grows in Assam.")
    (docs / "gone.txt").write_text("Coffee grows in Brazil.")
    (docs / "broken.txt").write_bytes(b"\xff\xfe\x00")
    service = opened(allowed_paths=(str(docs),))
    first = (await call(service, "voice_ingest", paths=["."])).structured_content or {}
    assert first["sources"] == 2
    assert len(first["failures"]) == 1
    (docs / "gone.txt").unlink()
    again = (await call(service, "voice_ingest", paths=[str(docs)])).structured_content or {}
    assert (again["sources"], again["unchanged"], again["removed"]) == (0, 1, 1)


async def test_ingest_takes_one_kind_of_thing(service: Service) -> None:
    assert "either text or paths" in await refusal(service, "voice_ingest")
    assert "NUL" in await refusal(service, "voice_ingest", text="a\0b")


async def test_progress_rises_even_while_a_stage_says_nothing(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert jobs.HEARTBEAT_SECONDS <= 2, "clients give up on a call that stays silent"
    monkeypatch.setattr(jobs, "HEARTBEAT_SECONDS", 0.1)
    engine = FakeModels()
    embed = engine.embedder.embed_passages
    seen = [-1.0]

    def slowly(texts: list[str]) -> Any:
        told = len(seen)
        wait_until(lambda: len(seen) >= told + 3, "nothing is told while a stage runs")
        return embed(texts)

    (tmp_path / "a.txt").write_text("Tea grows in Assam.")
    service = opened(engine, allowed_paths=(str(tmp_path),))
    engine.embedder.embed_passages = slowly

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with Client(build_server(service)) as client:
        await client.call_tool("voice_ingest", {"paths": ["a.txt"]}, progress_callback=note)
    assert len(seen) > 3
    assert all(low < high for low, high in pairwise(seen))


async def test_transcribe_speak_collections_and_status(service: Service, wav: bytes) -> None:
    heard = await call(service, "voice_transcribe", audio_base64=base64.b64encode(wav).decode())
    assert text_of(heard) == "where does the rhine rise"
    spoken = await call(service, "voice_speak", text="Hello there. Good bye.")
    assert kinds(spoken) == ["text", "resource_link"]
    assert "characters" in await refusal(service, "voice_speak", text="word " * 1000)
    assert "words" in await refusal(service, "voice_speak", text="?!")
    listed = await call(service, "voice_collections")
    assert (listed.structured_content or {})["collections"][0]["passages"] == 2
    status = (await call(service, "voice_status")).structured_content or {}
    assert (status["database"], status["passages"], status["read_only"]) == ("ok", 2, False)


async def test_results_stay_small(opened: Open) -> None:
    service = opened()
    long = " ".join(f"word{number} tea" for number in range(8_000))
    await call(service, "voice_ingest", text=long, source="long")
    result = await call(service, "voice_search", text="tea", limit=50)
    assert len((result.structured_content or {})["passages"]) == 50
    assert len(text_of(result)) + len(json.dumps(result.structured_content)) < 50_000


async def test_unknown_resources_are_told(service: Service) -> None:
    async with Client(build_server(service)) as client:
        for uri in ("voicerag://clip/none", "voicerag://source/none", "voicerag://source/..%2Fx"):
            with pytest.raises(MCPError, match="there is no"):
                await client.read_resource(uri)
        templates = (await client.list_resource_templates()).resource_templates
    assert [one.uri_template for one in templates] == [
        "voicerag://clip/{id}",
        "voicerag://source/{id}{?collection}",
    ]


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("voicerag://clip/none", "no clip"),
        ("voicerag://source/none", "no passage"),
        ("voicerag://source/%00", "NUL"),
        ("voicerag://source/a?collection=none", "no collection 'none'"),
        ("voicerag://source/a?collection=%00", "Unknown resource"),
        (f"voicerag://source/{'x' * 3000}", "no passage"),
        ("voicerag://nothing/a", "Unknown resource"),
    ],
)
async def test_a_resource_that_is_not_there_is_the_callers_mistake(
    service: Service, uri: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(build_server(service)) as client:
        with pytest.raises(MCPError, match=told) as refused:
            await client.read_resource(uri)
    assert refused.value.error.code == INVALID_PARAMS
    assert "Traceback" not in caplog.text


async def test_ids_and_names_are_completed(service: Service) -> None:
    async with Client(build_server(service)) as client:
        answer = await client.call_tool("voice_ask", QUESTION)
        content = answer.structured_content or {}
        passage, clip = content["passages"][0]["id"], content["audio"]["clip_id"]

        async def completed(uri: str, name: str, begun: str) -> list[str]:
            ref = ResourceTemplateReference(type="ref/resource", uri=uri)
            given = {"name": name, "value": begun}
            return (await client.complete(ref, given)).completion.values

        source = "voicerag://source/{id}{?collection}"
        assert await completed(source, "id", passage[:3]) == [passage]
        assert await completed(source, "collection", "def") == ["default"]
        assert await completed("voicerag://clip/{id}", "id", clip[:2]) == [clip]
        assert await completed(source, "id", "~") == []
        prompt = PromptReference(type="ref/prompt", name="ask_my_documents")
        given = {"name": "clip", "value": ""}
        assert (await client.complete(prompt, given)).completion.values == [clip]


async def test_the_prompt_names_the_tool(service: Service) -> None:
    async with Client(build_server(service)) as client:
        (prompt,) = (await client.list_prompts()).prompts
        assert prompt.title == "Ask my documents by voice"
        filled = await client.get_prompt(prompt.name, {"clip": "abc", "collection": "drinks"})
    (message,) = filled.messages
    assert isinstance(message.content, TextContent)
    assert 'voice_ask(clip="abc", collection="drinks")' in message.content.text


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("ask", {}, 'no prompt "ask"; there are: ask_my_documents'),
        ("ask_my_documents", {"text": "why"}, "question, clip, collection"),
        ("ask_my_documents", {"collections": "a"}, "did you mean 'collection'?"),
    ],
)
async def test_a_prompt_that_is_not_there_is_the_callers_mistake(
    service: Service, name: str, given: dict[str, str], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(build_server(service)) as client:
        with pytest.raises(MCPError, match=re.escape(told)) as refused:
            await client.get_prompt(name, given)
    assert refused.value.error.code == INVALID_PARAMS
    assert "Traceback" not in caplog.text

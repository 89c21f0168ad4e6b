"""Arguments as clients send them: unknown, null, empty, quoted, out of range, like JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.mcp.conftest import Open
from tests.mcp.test_tools import call, refusal, text_of
from voicerag_mcp.server import build_server
from voicerag_mcp.service import Service

QUESTION = "where does the rhine rise"


@pytest.mark.parametrize(
    ("tool", "name", "meant"),
    [
        ("voice_search", "question", "text"),
        ("voice_search", "query", "text"),
        ("voice_search", "Text", "text"),
        ("voice_search", "top_k", "limit"),
        ("voice_search", "filter", "where"),
        ("voice_search", "colection", "collection"),
        ("voice_ask", "q", "text"),
        ("voice_ask", "audio-path", "audio_path"),
        ("voice_ask", "voice", "audio"),
        ("voice_transcribe", "file", "audio_path"),
        ("voice_transcribe", "audio", "audio_path"),
        ("voice_speak", "input", "text"),
        ("voice_ingest", "files", "paths"),
        ("voice_ingest", "content", "text"),
        ("voice_ingest", "url", "source"),
    ],
)
async def test_an_unknown_argument_is_refused_with_the_nearest_right_one(
    service: Service, tool: str, name: str, meant: str
) -> None:
    said = await refusal(service, tool, **{name: QUESTION})
    assert f'no argument "{name}" (did you mean {meant!r}?)' in said
    assert "it takes " in said


async def test_every_unknown_argument_is_named_and_nothing_is_guessed(service: Service) -> None:
    said = await refusal(service, "voice_search", text=QUESTION, zzz=1, question=None)
    assert 'no argument "zzz";' in said
    assert 'no argument "question" (did you mean' in said
    said = await refusal(service, "voice_status", verbose=True)
    assert said.endswith("it takes no arguments")
    said = await refusal(service, "voice_search", **{"x" * 500: 1})
    assert len(said) < 400


async def test_the_schemas_say_that_there_are_no_others(service: Service) -> None:
    async with Client(build_server(service)) as client:
        for tool in (await client.list_tools()).tools:
            assert tool.input_schema["additionalProperties"] is False


@pytest.mark.parametrize("empty", [None, ""])
@pytest.mark.parametrize("tool", ["voice_search", "voice_ask"])
async def test_null_and_empty_mean_not_given(service: Service, tool: str, empty: Any) -> None:
    names = ["clip", "audio_path", "audio_base64", "collection", "limit", "where", "strategy"]
    names += ["audio"] if tool == "voice_ask" else []
    result = await call(service, tool, text=QUESTION, **dict.fromkeys(names, empty))
    assert not result.is_error, text_of(result)
    assert "Swiss Alps" in text_of(result)
    result = await call(service, tool, text=QUESTION, where={}, collection="  ")
    assert not result.is_error


@pytest.mark.parametrize("empty", [None, "", []])
async def test_they_do_when_ingesting_too(service: Service, empty: Any) -> None:
    rest = {} if empty == [] else dict.fromkeys(["source", "title", "collection"], empty)
    result = await call(service, "voice_ingest", text="A text.", paths=empty, **rest)
    assert not result.is_error, text_of(result)
    assert "either text or paths" in await refusal(service, "voice_ingest", text="", paths=empty)


async def test_what_is_needed_and_empty_is_missing(service: Service) -> None:
    for empty in (None, ""):
        assert "text is missing" in await refusal(service, "voice_speak", text=empty)
    assert "exactly one" in await refusal(service, "voice_search", text="", clip=None)
    assert "is empty" in await refusal(service, "voice_search", text=" \n")


@pytest.mark.parametrize(
    "text",
    ['{"name": "voicerag", "port": [8000]}', "null", "[1, 2]", '{"a": 1}', "true", "12", "1e999",
     '"quoted"', "NaN", "[" * 3000, '{"a": ', "[]", "{}", "0"],
)  # fmt: skip
async def test_a_text_that_looks_like_json_is_a_text(service: Service, text: str) -> None:
    result = await call(service, "voice_ingest", text=text + " and more", source="config.json")
    assert not result.is_error, text_of(result)
    result = await call(service, "voice_ingest", text=text, source=text[:900], title=text[:400])
    assert not result.is_error or "no letters" in text_of(result), text_of(result)
    for tool in ("voice_search", "voice_ask"):
        result = await call(service, tool, text=text)
        assert not result.is_error, text_of(result)
    assert f"no collection {text[:5]!r}"[:-1] in await refusal(
        service, "voice_search", text="a", collection=text[:200]
    )
    assert "no clip" in await refusal(service, "voice_search", clip=text[:200])


async def test_lists_and_objects_may_be_written_as_strings(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The first text.")
    (tmp_path / "[b].txt").write_text("The second text.")
    service = opened(allowed_paths=(tmp_path,))
    for paths in ('["a.txt", "[b].txt"]', "a.txt", "[b].txt", ["a.txt"]):
        result = await call(service, "voice_ingest", paths=paths)
        assert not result.is_error, text_of(result)
    result = await call(service, "voice_search", text="text", where='{"source": ["nowhere"]}')
    assert result.structured_content is not None
    assert result.structured_content["passages"] == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"limit": 0}, "limit: Input should be greater than or equal to 1; given: 0"),
        ({"limit": -1}, "given: -1"),
        ({"limit": 51}, "less than or equal to 50"),
        ({"limit": 10**30}, "limit: "),
        ({"limit": 2.5}, "fractional part; given: 2.5"),
        ({"limit": True}, "limit: a number is expected; given: true"),
        ({"limit": "many"}, "limit: "),
        ({"limit": [3]}, "limit: "),
        ({"where": "source"}, "where takes an object"),
        ({"where": {"a": None}}, 'where takes an object of metadata keys, each with a text, a num'),
        ({"where": {"a": {"b": 1}}}, "where takes an object"),
        ({"where": [1]}, "where takes an object"),
        ({"collection": 7}, "collection: "),
        ({"collection": "c" * 201}, "at most 200"),
        ({"strategy": "guess"}, "strategy: "),
        ({"text": {"a": 1}}, "text: "),
    ],
)  # fmt: skip
async def test_a_value_that_cannot_be_used_is_told_with_its_name(
    service: Service, arguments: dict[str, Any], told: str
) -> None:
    said = await refusal(service, "voice_search", **{"text": "a", **arguments})
    assert told in said
    assert len(said) < 500
    assert "pydantic" not in said


@pytest.mark.parametrize("limit", [1, 50, "3", 2.0])
async def test_limits_at_their_edges(service: Service, limit: Any) -> None:
    result = await call(service, "voice_search", text=QUESTION, limit=limit)
    assert not result.is_error, text_of(result)

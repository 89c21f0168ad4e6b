"""The tools, alone and in the hands of an agent."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from langchain_core.load import dumps
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools.base import BaseTool
from langchain_core.tracers.base import BaseTracer
from langchain_core.utils.function_calling import convert_to_openai_tool

from voicerag_core import Answer, Audio, StoreError, VoiceRAG
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore
from voicerag_integrations.langchain import VoiceAskTool, VoiceSearchTool


def called(tool: BaseTool, arguments: dict[str, Any], **config: Any) -> ToolMessage:
    call = {"name": tool.name, "args": arguments, "id": "c1", "type": "tool_call"}
    message = tool.invoke(call, cast("RunnableConfig", config))
    assert isinstance(message, ToolMessage)
    return message


def test_search_gives_numbered_text_and_documents(rag: VoiceRAG) -> None:
    message = called(VoiceSearchTool(rag=rag, k=2), {"question": "Is oxygen a gas?"})
    assert message.text.startswith("[1] oxygen\nOxygen is a gas")
    assert "\n\n[2] " in message.text
    assert message.artifact[0].metadata["source"] == "oxygen"
    narrow = VoiceSearchTool(rag=rag, filter={"kind": "none"})
    assert called(narrow, {"question": "Is oxygen a gas?"}).text == "No passage was found."


async def test_ask_gives_text_with_sources_and_the_spoken_answer(rag: VoiceRAG) -> None:
    tool = VoiceAskTool(rag=rag, k=1)
    call: Any = {"name": tool.name, "args": {"question": "Is oxygen a gas?"}, "id": "1",
                 "type": "tool_call"}  # fmt: skip
    for message in (tool.invoke(call), await tool.ainvoke(call)):
        assert message.text == "Oxygen is a gas without colour.\n\nSources: oxygen"
        assert isinstance(message.artifact, Answer)
        assert message.artifact.audio is not None
    assert tool.invoke({"question": "Is oxygen a gas?"}).startswith("Oxygen")


def test_a_clip_is_asked_by_its_id(rag: VoiceRAG, spoken: Audio) -> None:
    clips: dict[str, Any] = {"q1": spoken, "bad": b"noise"}
    for kind in (VoiceAskTool, VoiceSearchTool):
        tool = kind(rag=rag, k=1, clips=clips.__getitem__)
        assert "Rhine" in called(tool, {"clip_id": "q1"}).text
        for arguments, complaint in (
            ({"clip_id": "q2"}, "there is no clip 'q2'"),
            ({"clip_id": "bad"}, "cannot be read"),
            ({"clip_id": "q1", "question": "x"}, "and not both"),
            ({}, "either a question or a clip_id"),
        ):
            message = called(tool, arguments)
            assert message.status == "error"
            assert complaint in message.text
        assert "clip_id" in convert_to_openai_tool(tool)["function"]["parameters"]["properties"]
        typed = convert_to_openai_tool(kind(rag=rag))["function"]["parameters"]
        assert list(typed["properties"]) == ["question"]


def test_a_broken_store_is_no_matter_for_the_model() -> None:
    empty = VoiceRAG(FakeEmbedder(8), InMemoryStore(8), FakeVoiceModel())
    with pytest.raises(StoreError, match="empty"):
        called(VoiceAskTool(rag=empty), {"question": "x?"})


class Recorder(BaseTracer):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def _persist_run(self, run: Any) -> None:
        self.told.append(repr((run.inputs, run.outputs, run.events)))


def test_tracers_see_the_answer_without_its_sound(rag: VoiceRAG, spoken: Audio) -> None:
    tracer = Recorder()
    tool = VoiceAskTool(rag=rag, clips={"q": spoken}.__getitem__)
    message = called(tool, {"clip_id": "q"}, callbacks=[tracer])
    assert message.artifact.audio is not None
    assert len(tracer.told) == 1
    assert "audio=None" in tracer.told[0]


def test_dumps_writes_settings_alone(rag: VoiceRAG) -> None:
    written = json.loads(dumps(VoiceSearchTool(rag=rag, k=3, filter={"a": 1})))["kwargs"]
    assert (written["k"], written["filter"]) == (3, {"a": 1})
    assert not {"rag", "clips", "args_schema"} & set(written)
    assert VoiceSearchTool(rag=rag, **written).k == 3

"""The tools, alone and in the hands of an agent."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import create_retriever_tool
from langchain_core.tools.base import BaseTool
from langchain_core.tracers.base import BaseTracer
from langchain_core.utils.function_calling import convert_to_openai_tool

from voicerag_core import Answer, Audio, StoreError, VoiceRAG, to_wav_bytes
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore
from voicerag_integrations.langchain import SpeechRetriever, VoiceAskTool, VoiceSearchTool


class Scripted(GenericFakeChatModel):
    """A chat model that calls one tool and then says what it read."""

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self


def scripted(tool: str, arguments: dict[str, Any]) -> Scripted:
    call = {"name": tool, "args": arguments, "id": "c1", "type": "tool_call"}
    return Scripted(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("Done.")]))


def called(tool: BaseTool, arguments: dict[str, Any], **config: Any) -> ToolMessage:
    call = {"name": tool.name, "args": arguments, "id": "c1", "type": "tool_call"}
    message = tool.invoke(call, config or None)
    assert isinstance(message, ToolMessage)
    return message


def test_search_gives_numbered_text_and_documents(rag: VoiceRAG) -> None:
    message = called(VoiceSearchTool(rag=rag, k=2), {"question": "Is oxygen a gas?"})
    assert message.text.startswith("[1] oxygen\nOxygen is a gas")
    assert "\n\n[2] " in message.text
    assert [document.metadata["source"] for document in message.artifact][0] == "oxygen"
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


@pytest.mark.parametrize("kind", [VoiceSearchTool, VoiceAskTool])
async def test_an_agent_uses_the_tools(local: VoiceRAG, kind: type[BaseTool]) -> None:
    tool = kind(rag=local, k=2)
    question = "What is set up to scrutinize private bills submitted by party outsiders?"
    for run in ("sync", "async"):
        agent: Any = create_agent(scripted(tool.name, {"question": question}), [tool])
        asked = {"messages": [HumanMessage(question)]}
        result = agent.invoke(asked) if run == "sync" else await agent.ainvoke(asked)
        (read,) = [m for m in result["messages"] if isinstance(m, ToolMessage)]
        assert "committee" in read.text.lower()
        assert read.artifact
        assert result["messages"][-1].text == "Done."


async def test_a_retriever_tool_agent_runs_unchanged(local: VoiceRAG) -> None:
    tool = create_retriever_tool(
        SpeechRetriever(rag=local, k=2), "handbook", "Looks into the handbook.",
        response_format="content_and_artifact",
    )  # fmt: skip
    agent: Any = create_agent(scripted("handbook", {"query": "scrutinise private bills"}), [tool])
    result = await agent.ainvoke({"messages": [HumanMessage("Who scrutinises bills?")]})
    (read,) = [m for m in result["messages"] if isinstance(m, ToolMessage)]
    assert "committee" in read.text.lower()
    assert read.artifact[0].metadata["score"] > 0.3


def test_no_base64_reaches_the_model(rag: VoiceRAG, spoken: Audio) -> None:
    tool = VoiceAskTool(rag=rag, clips={"q": spoken}.__getitem__)
    seen: list[Any] = []

    class Listening(Scripted):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            seen.extend(message.content for message in messages)
            return super()._generate(messages, *args, **kwargs)

    model = Listening(messages=scripted(tool.name, {"clip_id": "q"}).messages)
    agent: Any = create_agent(model, [tool])
    agent.invoke({"messages": [HumanMessage("Answer clip q.")]})
    assert any("Rhine" in str(content) for content in seen)
    assert base64.b64encode(to_wav_bytes(spoken)).decode()[2000:2040] not in repr(seen)
    assert all(len(repr(content)) < 1000 for content in seen)
    assert np.isfinite(spoken.samples).all()

"""Agents of LangChain, as users build them, on our parts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import create_retriever_tool
from langchain_core.tools.base import BaseTool

from voicerag_core import Audio, VoiceRAG, to_wav_bytes
from voicerag_integrations.langchain import SpeechRetriever, VoiceAskTool, VoiceSearchTool


class Scripted(GenericFakeChatModel):
    """A chat model that calls one tool and then says what it read."""

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self


def scripted(tool: str, arguments: dict[str, Any]) -> Scripted:
    call = {"name": tool, "args": arguments, "id": "c1", "type": "tool_call"}
    return Scripted(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("Done.")]))


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

"""A tool that lets an agent ask by text or by the id of a recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    StreamingResponse,
)
from llama_index.core.schema import QueryBundle
from llama_index.core.tools import FunctionTool

from voicerag_core import ConfigError
from voicerag_integrations.llamaindex.bundle import ClipSource, SpeechQueryBundle

__all__ = ["Clips", "speech_query_tool"]

Clips: TypeAlias = Mapping[str, ClipSource] | Callable[[str], ClipSource]
"""Recordings by id. A function raises KeyError for an unknown id."""

DESCRIPTION = (
    "Answers a question from the knowledge base. Give the question in words, or the clip_id of a "
    "recording in which it was asked; with a clip_id the recording itself is searched."
)


def speech_query_tool(
    query_engine: BaseQueryEngine,
    *,
    clips: Clips | None = None,
    name: str = "speech_query",
    description: str = DESCRIPTION,
) -> FunctionTool:
    """Create a tool from a query engine; agents pass text and ids to tools, never sound.

    The agent's model sees the answer's text. The response itself, sound and sources included, is
    the `raw_output` of the tool's output.

    Args:
        query_engine: The query engine, such as `SpeechQueryEngine`.
        clips: The recordings that `clip_id` may refer to.
        name: Name of the tool.
        description: Description for the agent's model.
    """

    def speech_query(question: str | None = "", clip_id: str | None = None) -> RESPONSE_TYPE:
        response = query_engine.query(_bundle(clips, question, clip_id))
        return response.get_response() if isinstance(response, StreamingResponse) else response

    async def aspeech_query(question: str | None = "", clip_id: str | None = None) -> RESPONSE_TYPE:
        response = await query_engine.aquery(_bundle(clips, question, clip_id))
        if isinstance(response, AsyncStreamingResponse):
            return await response.get_response()
        return response

    return FunctionTool.from_defaults(
        fn=speech_query, async_fn=aspeech_query, name=name, description=description
    )


def _bundle(clips: Clips | None, question: str | None, clip_id: str | None) -> QueryBundle:
    question = question or ""
    if not clip_id:
        return QueryBundle(question)
    if clips is None:
        raise ConfigError(
            f"clip {clip_id!r} cannot be looked up: the tool was made without clips; "
            "ask in words, or give speech_query_tool(clips=...)"
        )
    try:
        clip = clips(clip_id) if callable(clips) else clips[clip_id]
    except KeyError as error:
        raise ConfigError(
            f"there is no clip {clip_id!r}; give the id of a recording of this conversation, "
            "or ask in words"
        ) from error
    return SpeechQueryBundle(question, audio=clip)

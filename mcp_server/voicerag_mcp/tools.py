"""The tools that only read."""

from __future__ import annotations

from dataclasses import asdict
from inspect import getdoc
from typing import Annotated, TypeAlias

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import BeforeValidator, Field

from voicerag_core import ConfigError, Strategy
from voicerag_core.serving import Query, QuestionSource, SpeechPlace, Where
from voicerag_core.serving.status import load_of, status_of
from voicerag_mcp.errors import tool_errors
from voicerag_mcp.results import (
    AskResult,
    AudioOutput,
    CollectionEntry,
    CollectionsResult,
    SearchResult,
    SpeakResult,
    StatusResult,
    TranscribeResult,
    answer_text,
    cited_sources,
    found_passages,
    listed,
    result,
    speech_content,
    spoken_audio,
    where_spoken,
)
from voicerag_mcp.service import Service

__all__ = ["ReadingTools"]


def no_boolean(value: object) -> object:
    """Refuse true and false where a number is expected."""
    if isinstance(value, bool):
        raise ValueError("a number is expected")
    return value


Text: TypeAlias = Annotated[str | None, Field(description="The question as text", max_length=4000)]
ClipName: TypeAlias = Annotated[
    str | None, Field(description="Id or URI of an uploaded or spoken clip", max_length=200)
]
AudioPath: TypeAlias = Annotated[
    str | None,
    Field(description="Sound file in a folder that the server allows", max_length=4096),
]
AudioBase64: TypeAlias = Annotated[
    str | None, Field(description="Bytes of a sound file (wav, flac, ogg, mp3); for programs")
]
CollectionName: TypeAlias = Annotated[
    str | None,
    Field(description="Collection to ask; see voice_collections", min_length=1, max_length=200),
]
Limit: TypeAlias = Annotated[
    int | None,
    Field(description="Maximum number of passages", ge=1, le=50),
    BeforeValidator(no_boolean),
]
Metadata: TypeAlias = Annotated[
    Where | None,
    Field(description="Required metadata values of passages; a list means any of its values"),
]
How: TypeAlias = Annotated[Strategy | None, Field(description="How a spoken question is searched")]
Manner: TypeAlias = Annotated[
    str | None,
    Field(
        description="Manner of speaking: emotion, tone, pace, dialect, role; what the voice cannot "
        "do is said in notes",
        max_length=8000,
    ),
]
Temperature: TypeAlias = Annotated[
    float | None, Field(description="Temperature of the model that answers", ge=0, le=2)
]
TopP: TypeAlias = Annotated[
    float | None, Field(description="Share of the probability mass to draw from", gt=0, le=1)
]
MaxTokens: TypeAlias = Annotated[
    int | None, Field(description="Most tokens of the answer", ge=1, le=100_000)
]
Output: TypeAlias = Annotated[
    AudioOutput,
    Field(
        description="Speech as a resource link, none at all (faster), inline sound, or a file in "
        "the server's output folder"
    ),
]

_READING = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
_SPEAKING = _READING.model_copy(update={"idempotent_hint": False})


class ReadingTools:
    """Tools to search, ask, transcribe, speak, and inspect the server.

    Args:
        service: What the tools work with.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def tools(self) -> list[Tool]:
        """Return the tools."""
        return [
            Tool.from_function(
                function, title=title, description=getdoc(function), annotations=hints
            )
            for function, title, hints in (
                (self.voice_search, "Search the documents", _READING),
                (self.voice_ask, "Ask the documents", _SPEAKING),
                (self.voice_transcribe, "Transcribe speech", _READING),
                (self.voice_speak, "Speak a text", _SPEAKING),
                (self.voice_collections, "List the collections", _READING),
                (self.voice_status, "Show the server's state", _READING),
            )
        ]

    async def voice_search(
        self,
        ctx: Context[None, object],
        *,
        text: Text = None,
        clip: ClipName = None,
        audio_path: AudioPath = None,
        audio_base64: AudioBase64 = None,
        collection: CollectionName = None,
        limit: Limit = None,
        where: Metadata = None,
        strategy: How = None,
    ) -> Annotated[CallToolResult, SearchResult]:
        """Find the passages of the indexed documents for a question.

        Pass the question in exactly one of text, clip, audio_path and audio_base64. Use this to
        read the sources yourself; use voice_ask for a finished, spoken answer.
        """
        query = Query(
            QuestionSource(text, clip, audio_path, audio_base64), collection, limit, where, strategy
        )
        service = self._service
        with tool_errors():
            found = await service.run(
                ctx, lambda caller, job: service.serving.asking.search(job, caller.tenant, query)
            )
            service.remember(found.hits)
        value = SearchResult(
            passages=found_passages(found.hits, service.other_collection(found.collection)),
            collection=found.collection,
            transcript=found.transcript,
            notes=list(found.notes),
            seconds=round(found.seconds, 4),
        )
        return result(value, "\n\n".join((*value.notes, listed(value.passages))))

    async def voice_ask(
        self,
        ctx: Context[None, object],
        *,
        text: Text = None,
        clip: ClipName = None,
        audio_path: AudioPath = None,
        audio_base64: AudioBase64 = None,
        collection: CollectionName = None,
        limit: Limit = None,
        where: Metadata = None,
        strategy: How = None,
        audio: Output = "link",
        instructions: Manner = None,
        temperature: Temperature = None,
        top_p: TopP = None,
        max_tokens: MaxTokens = None,
    ) -> Annotated[CallToolResult, AskResult]:
        """Answer a question from the indexed documents, in text with sources and in speech.

        Pass the question in exactly one of text, clip, audio_path and audio_base64. If the
        documents do not answer it, the result says so; do not fill the gap from memory.
        """
        service, place = self._service, _place(audio)
        query = Query(
            QuestionSource(text, clip, audio_path, audio_base64),
            collection,
            limit,
            where,
            strategy,
            instructions=instructions,
            sampling=service.serving.asking.sampling(temperature, top_p, max_tokens),
        )
        with tool_errors():
            asked = await service.run(
                ctx,
                lambda caller, job: service.serving.asking.ask(
                    job, caller.tenant, query, speech=place
                ),
            )
            service.remember(asked.answer.hits)
        other = service.other_collection(asked.collection)
        value = AskResult(
            answer=asked.answer.text,
            answered=asked.answer.answered,
            asked_back=asked.answer.asked_back,
            sources=cited_sources(asked.answer, other),
            passages=found_passages(asked.answer.hits, other),
            collection=asked.collection,
            transcript=asked.answer.transcript,
            notes=list(asked.answer.notes),
            audio=None if asked.speech is None else spoken_audio(asked.speech),
            seconds=round(asked.seconds, 4),
        )
        content = speech_content(asked.speech, "answer", inline=audio == "inline")
        return result(value, answer_text(value), links=content)

    async def voice_transcribe(
        self,
        ctx: Context[None, object],
        *,
        clip: ClipName = None,
        audio_path: AudioPath = None,
        audio_base64: AudioBase64 = None,
    ) -> Annotated[CallToolResult, TranscribeResult]:
        """Transcribe a clip. Pass it in exactly one of the three arguments."""
        source = QuestionSource(None, clip, audio_path, audio_base64)
        asking = self._service.serving.asking
        with tool_errors():
            heard = await self._service.run(
                ctx, lambda caller, job: asking.transcribe(job, caller.tenant, source)
            )
        value = TranscribeResult(
            text=heard.text,
            audio_seconds=round(heard.audio_seconds, 3),
            seconds=round(heard.seconds, 4),
        )
        return result(value, value.text)

    async def voice_speak(
        self,
        ctx: Context[None, object],
        *,
        text: Annotated[str, Field(description="Text to speak", min_length=1)],
        audio: Annotated[
            AudioOutput, Field(description="Speech as a resource link, inline sound, or a file")
        ] = "link",
    ) -> Annotated[CallToolResult, SpeakResult]:
        """Speak a text with the answering voice."""
        asking, place = self._service.serving.asking, _place(audio)
        with tool_errors():
            if place is None:
                raise ConfigError("voice_speak gives speech; take audio='link', 'inline' or 'file'")
            said = await self._service.run(
                ctx, lambda caller, job: asking.speak(job, caller.tenant, text, speech=place)
            )
        spoken = spoken_audio(said.speech)
        content = speech_content(said.speech, "speech", inline=audio == "inline")
        value = SpeakResult(audio=spoken, seconds=round(said.seconds, 4))
        return result(value, where_spoken(spoken), links=content)

    async def voice_collections(
        self, ctx: Context[None, object]
    ) -> Annotated[CallToolResult, CollectionsResult]:
        """List the collections that can be searched, with their sizes."""
        tenants = self._service.serving.tenants
        with tool_errors():
            known = await self._service.run(
                ctx, lambda caller, _: tenants.collections(caller.tenant)
            )
        value = CollectionsResult(
            collections=[
                CollectionEntry(
                    name=one.name,
                    passages=one.passages,
                    documents=one.documents,
                    default=one.name == tenants.settings.collection,
                )
                for one in known
            ]
        )
        lines = [
            f"{one.name}{' (default)' if one.default else ''}: {one.passages} passages"
            + (f" of {one.documents} documents" if one.documents else "")
            for one in value.collections
        ]
        return result(value, "\n".join(lines) or "There are no collections yet.")

    async def voice_status(
        self, ctx: Context[None, object]
    ) -> Annotated[CallToolResult, StatusResult]:
        """Show versions, models, the state of the database, and the limits of this server."""
        tenants, settings = self._service.serving.tenants, self._service.settings
        with tool_errors():
            may_write = self._service.caller.may_write
            state = await self._service.run(
                ctx, lambda caller, _: status_of(tenants, caller.tenant)
            )
        value = StatusResult(
            version=state.version,
            stack=state.stack,
            database=state.database,
            collection=state.collection,
            passages=state.passages,
            strategy=state.strategy,
            speaks=state.speaks,
            read_only=state.read_only,
            may_write=may_write and not state.read_only,
            takes_paths=bool(self._service.serving.paths.folders),
            max_question_seconds=state.max_question_seconds,
            max_audio_bytes=settings.max_audio_bytes,
            clip_minutes=settings.clip_minutes,
            **asdict(load_of(self._service.serving.workers, tenants.parts.model)),
        )
        text = "\n".join(f"{name}: {shown}" for name, shown in value.model_dump().items())
        return result(value, text)


def _place(output: AudioOutput) -> SpeechPlace | None:
    """Return where to store speech until the caller fetches it."""
    if output == "none":
        return None
    return "file" if output == "file" else "clip"

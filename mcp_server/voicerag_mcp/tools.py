"""The tools that only read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from inspect import getdoc
from typing import Annotated, TypeAlias

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from voicerag_core import (
    Answer,
    Audio,
    ConfigError,
    Strategy,
    Transcriber,
    VoiceRAG,
    split_sentences,
)
from voicerag_mcp.results import (
    AskResult,
    CollectionEntry,
    CollectionsResult,
    SearchResult,
    SpeakResult,
    SpokenAudio,
    StatusResult,
    TranscribeResult,
    cited_sources,
    found_passages,
    listed,
    result,
)
from voicerag_mcp.service import (
    AudioOutput,
    QuestionSource,
    Service,
    Where,
    metadata_filter,
    told,
)
from voicerag_mcp.work import Job

__all__ = ["ReadingTools"]

Text: TypeAlias = Annotated[str | None, Field(description="The question in words", max_length=4000)]
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
Limit: TypeAlias = Annotated[int | None, Field(description="Most passages to find", ge=1, le=50)]
Metadata: TypeAlias = Annotated[
    Where | None,
    Field(description="What the metadata of passages must equal; a list: any of its values"),
]
How: TypeAlias = Annotated[Strategy | None, Field(description="How a spoken question is searched")]
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
    """Search, ask, transcribe, speak, and what there is.

    Args:
        service: What the tools work with.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, server: MCPServer[None]) -> None:
        """Add the tools to a server."""
        for function, title, hints in (
            (self.voice_search, "Search the documents", _READING),
            (self.voice_ask, "Ask the documents", _SPEAKING),
            (self.voice_transcribe, "Transcribe speech", _READING),
            (self.voice_speak, "Speak a text", _SPEAKING),
            (self.voice_collections, "List the collections", _READING),
            (self.voice_status, "Show the server's state", _READING),
        ):
            server.add_tool(function, title=title, description=getdoc(function), annotations=hints)

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
        """Find the passages of the indexed documents that bear on a question.

        Give the question in exactly one of text, clip, audio_path and audio_base64. Use this to
        read the sources yourself; use voice_ask for a finished, spoken answer.
        """
        service, tenant = self._service, self._service.tenant
        given = QuestionSource(text, clip, audio_path, audio_base64)

        def work(job: Job) -> SearchResult:
            started = time.perf_counter()
            question = service.question(given, tenant)
            job.tell("searching")
            with service.knowledge.rag(job, tenant, collection) as rag:
                found = rag.retrieve(
                    question, limit=limit, where=metadata_filter(where), strategy=strategy
                )
            service.remember(tenant, [hit.passage.id for hit in found.hits])
            return SearchResult(
                passages=found_passages(found.hits, service.other_collection(collection)),
                collection=collection or service.knowledge.settings.collection,
                transcript=None if found.transcription is None else found.transcription.text,
                seconds=_since(started),
            )

        with told():
            value = await service.run(ctx, work)
        return result(value, listed(value.passages))

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
    ) -> Annotated[CallToolResult, AskResult]:
        """Answer a question from the indexed documents, in text with sources and in speech.

        Give the question in exactly one of text, clip, audio_path and audio_base64. The answer
        says so when the documents do not answer; do not fill the gap from memory.
        """
        service, tenant = self._service, self._service.tenant
        given = QuestionSource(text, clip, audio_path, audio_base64)

        def work(job: Job) -> tuple[Answer, float]:
            started = time.perf_counter()
            question = service.question(given, tenant)
            if audio == "file":
                service.output_folder()
            job.tell("searching")
            with service.knowledge.rag(job, tenant, collection, speak=audio != "none") as rag:
                found = rag.retrieve(
                    question, limit=limit, where=metadata_filter(where), strategy=strategy
                )
                job.tell(f"found {len(found.hits)} passages, answering")
                pieces = rag.respond(question, found)
                answer = _heard_out(pieces, job)
            return answer, _since(started)

        with told():
            answer, seconds = await service.run(ctx, work)
            spoken, content = (
                (None, [])
                if answer.audio is None
                else service.spoken(answer.audio, tenant, audio, "answer")
            )
        service.remember(tenant, [hit.passage.id for hit in answer.hits])
        other = service.other_collection(collection)
        value = AskResult(
            answer=answer.text,
            answered=answer.answered,
            sources=cited_sources(answer, other),
            passages=found_passages(answer.hits, other),
            collection=collection or service.knowledge.settings.collection,
            transcript=answer.transcript,
            audio=spoken,
            seconds=seconds,
        )
        return result(value, _answer_text(value), links=content)

    async def voice_transcribe(
        self,
        ctx: Context[None, object],
        *,
        clip: ClipName = None,
        audio_path: AudioPath = None,
        audio_base64: AudioBase64 = None,
    ) -> Annotated[CallToolResult, TranscribeResult]:
        """Write down what is said in a clip. Give it in exactly one of the three arguments."""
        service, tenant = self._service, self._service.tenant
        given = QuestionSource(None, clip, audio_path, audio_base64)

        def work(job: Job) -> TranscribeResult:
            started = time.perf_counter()
            sound = service.question(given, tenant)
            assert isinstance(sound, Audio)
            job.tell("transcribing")
            with service.knowledge.rag(job, tenant, None) as rag:
                words = _transcriber(rag).transcribe(sound).text
            return TranscribeResult(
                text=words, audio_seconds=round(sound.seconds, 3), seconds=_since(started)
            )

        with told():
            value = await service.run(ctx, work)
        return result(value, value.text)

    async def voice_speak(
        self,
        ctx: Context[None, object],
        *,
        text: Annotated[str, Field(description="What to say", min_length=1)],
        audio: Annotated[
            AudioOutput, Field(description="Speech as a resource link, inline sound, or a file")
        ] = "link",
    ) -> Annotated[CallToolResult, SpeakResult]:
        """Say a text with the answering voice."""
        service, tenant = self._service, self._service.tenant

        def work(job: Job) -> tuple[Audio, float]:
            started = time.perf_counter()
            return _spoken(service, text, audio, job), _since(started)

        with told():
            sound, seconds = await service.run(ctx, work)
            spoken, content = service.spoken(sound, tenant, audio, "speech")
        return result(SpeakResult(audio=spoken, seconds=seconds), _where(spoken), links=content)

    async def voice_collections(
        self, ctx: Context[None, object]
    ) -> Annotated[CallToolResult, CollectionsResult]:
        """List the collections of documents that can be asked, with their sizes."""
        service, tenant = self._service, self._service.tenant
        default = service.knowledge.settings.collection

        def work(_: Job) -> CollectionsResult:
            return CollectionsResult(
                collections=[
                    CollectionEntry(
                        name=one.name,
                        passages=one.passages,
                        documents=one.documents,
                        default=one.name == default,
                    )
                    for one in service.knowledge.collections(tenant)
                ]
            )

        with told():
            value = await service.run(ctx, work)
        lines = [
            f"{one.name}{' (default)' if one.default else ''}: {one.passages} passages of "
            f"{one.documents} documents"
            for one in value.collections
        ]
        return result(value, "\n".join(lines) or "There are no collections yet.")

    async def voice_status(
        self, ctx: Context[None, object]
    ) -> Annotated[CallToolResult, StatusResult]:
        """Show what runs, whether the database works, and the limits of this server."""
        service, tenant = self._service, self._service.tenant
        writes = service.caller.may_write and not service.knowledge.read_only

        def work(_: Job) -> StatusResult:
            return _status(service, tenant, writes=writes)

        value = await service.run(ctx, work)
        text = "\n".join(f"{name}: {shown}" for name, shown in value.model_dump().items())
        return result(value, text)


def _heard_out(pieces: Iterator[Answer], job: Job) -> Answer:
    """Add the pieces up; closing the iterator stops the voice when nobody waits any more."""
    answer = Answer()
    with closing(pieces):  # type: ignore[type-var] # respond gives a generator
        for piece in pieces:
            answer += piece
            if piece.audio is not None and answer.audio is not None:
                job.tell(f"spoke {answer.audio.seconds:.1f} s")
            elif piece.text:
                job.tell("answered, speaking")
            else:
                job.check()
    return answer


def _spoken(service: Service, text: str, output: AudioOutput, job: Job) -> Audio:
    speaker, most = service.knowledge.engine.speaker, service.settings.max_speech_chars
    if speaker is None:
        raise ConfigError("this server has no voice (VOICERAG_SPEAK is off)")
    if output == "none":
        raise ConfigError("voice_speak gives speech; take audio='link', 'inline' or 'file'")
    if output == "file":
        service.output_folder()
    if len(text) > most:
        raise ConfigError(
            f"the text has {len(text)} characters, and {most} are spoken in one call; cut it "
            "into several"
        )
    sentences = split_sentences(text)
    if not any(c.isalnum() for c in text):
        raise ConfigError("the text holds nothing that can be said; give words")
    sound: Audio | None = None
    for number, sentence in enumerate(sentences):
        job.tell("speaking", number, len(sentences))
        if any(c.isalnum() for c in sentence):
            piece = speaker.speak(sentence)
            sound = piece if sound is None else sound + piece
    assert sound is not None
    return sound


def _transcriber(rag: VoiceRAG) -> Transcriber:
    if rag.transcriber is None:
        raise ConfigError("this server cannot transcribe")
    return rag.transcriber


def _status(service: Service, tenant: str, *, writes: bool) -> StatusResult:
    from importlib.metadata import version

    knowledge, settings = service.knowledge, service.settings
    database, passages = "ok", None
    try:
        with told():
            known = {one.name: one.passages for one in knowledge.collections(tenant)}
        passages = known.get(knowledge.settings.collection, 0)
    except ToolError as error:
        database = str(error)
    return StatusResult(
        version=version("voicerag-core"),
        stack=knowledge.settings.stack,
        database=database,
        collection=knowledge.settings.collection,
        passages=passages,
        strategy=knowledge.settings.question_strategy,
        speaks=knowledge.engine.speaker is not None,
        read_only=knowledge.read_only,
        may_write=writes,
        takes_paths=bool(service.paths.folders),
        max_question_seconds=knowledge.settings.max_question_seconds,
        max_audio_bytes=settings.max_audio_bytes,
        clip_minutes=settings.clip_minutes,
    )


def _answer_text(value: AskResult) -> str:
    lines = [value.answer]
    if value.sources:
        lines += ["", "Sources:"]
        lines += [
            f"[{number}] {one.title} ({one.uri}): “{one.quote}”"
            for number, one in enumerate(value.sources, 1)
        ]
    if value.audio is not None:
        lines += ["", _where(value.audio)]
    return "\n".join(lines)


def _where(spoken: SpokenAudio) -> str:
    return f"Speech, {spoken.seconds:.1f} s: {spoken.path or spoken.uri}"


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 4)

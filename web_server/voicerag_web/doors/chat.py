"""``/v1/chat/completions``: an answer from the documents, written or spoken, whole or streamed."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Final, Literal
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from voicerag_core import Answer, NotFoundError, Sampling, Strategy, Turn, sentence_spans
from voicerag_core.serving import (
    SOUND_FORMATS,
    Query,
    QuestionSource,
    SoundEncoder,
    SoundFormat,
    Where,
)
from voicerag_web.errors import RequestError
from voicerag_web.service import MODEL, WebService
from voicerag_web.sources import found_passages, sources_of, url_citations
from voicerag_web.streams import begun, events

__all__ = ["chat_doors"]

_MOST_MESSAGES: Final = 400
_MOST_INSTRUCTIONS: Final = 8000
_USAGE: Final = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


class InputAudio(BaseModel):
    """Sound in a message."""

    data: str = Field(description="Bytes of a sound file, in base64")
    format: str = Field(default="wav", description="Not needed: the bytes tell it")


class ContentPart(BaseModel):
    """A part of a message."""

    type: str
    text: str = ""
    refusal: str = ""
    input_audio: InputAudio | None = None


class PastAudio(BaseModel):
    """A spoken answer of this server, by its id."""

    id: str = Field(max_length=200)


class Message(BaseModel):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None
    audio: PastAudio | None = None


class OutputAudio(BaseModel):
    """How the answer sounds."""

    voice: str | dict[str, object] = "default"
    format: str = "wav"


class StreamOptions(BaseModel):
    """What a stream carries besides."""

    include_usage: bool = False


class OwnOptions(BaseModel):
    """What this server knows besides OpenAI's fields."""

    collection: str | None = Field(default=None, min_length=1, max_length=200)
    limit: int | None = Field(default=None, ge=1, le=50)
    where: Where | None = None
    strategy: Strategy | None = None


class ChatRequest(BaseModel):
    """Body of ``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=_MOST_MESSAGES)]
    model: str = MODEL
    stream: bool = False
    stream_options: StreamOptions | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    audio: OutputAudio | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = None
    n: int | None = Field(default=None, ge=1, le=1)
    voicerag: OwnOptions | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A checked request."""

    query: Query
    speaks: SoundFormat | None
    model: str
    name: str
    tenant: str


def chat_doors(service: WebService) -> APIRouter:
    """Return the door of chat completions."""
    doors = APIRouter(tags=["answers"])

    @doors.post("/v1/chat/completions")
    async def complete(body: ChatRequest, request: Request) -> Response:
        """Answer the last message from the documents.

        The sources are in the message's `annotations`, and with the passages in `voicerag`.
        """
        asked = _checked(service, body, service.tenant(request))
        pieces = service.serving.workers.stream(
            lambda job: service.serving.asking.stream(
                job, asked.tenant, asked.query, speak=asked.speaks is not None
            ),
            disconnected=request.is_disconnected,
            tenant=asked.tenant,
        )
        if body.stream:
            started = await begun(pieces)
            usage = body.stream_options is not None and body.stream_options.include_usage
            lines = events(_chunks(service, asked, started, usage=usage))
            return StreamingResponse(lines, media_type="text/event-stream")
        answer = Answer()
        async with aclosing(pieces):
            async for piece in pieces:
                answer += piece
        service.answers.keep(asked.tenant, asked.name, answer)
        message = _message(service, asked, answer)
        return JSONResponse(
            {
                **_head(asked, "chat.completion"),
                "choices": [
                    {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
                ],
                "usage": _USAGE,
                "voicerag": _own(answer),
            }
        )

    @doors.get("/v1/responses/{name}/sources")
    async def sources(name: str, request: Request) -> dict[str, object]:
        """Return passages and sources of a recent answer, by its id."""
        return _own(service.answers.get(service.tenant(request), name))

    return doors


def _head(asked: _Asked, kind: str) -> dict[str, object]:
    return {"id": asked.name, "object": kind, "created": int(time.time()), "model": asked.model}


def _own(answer: Answer) -> dict[str, object]:
    return {
        "answered": answer.answered,
        "asked_back": answer.asked_back,
        "transcript": answer.transcript,
        "sources": [source.model_dump() for source in sources_of(answer)],
        "passages": [passage.model_dump() for passage in found_passages(answer.hits)],
        "notes": list(answer.notes),
        "timings": {stage: round(seconds, 4) for stage, seconds in answer.timings.items()},
    }


def _message(service: WebService, asked: _Asked, answer: Answer) -> dict[str, object]:
    message: dict[str, object] = {
        "role": "assistant",
        "content": answer.text,
        "refusal": None,
        "annotations": url_citations(answer),
    }
    if asked.speaks is not None and answer.audio is not None:
        encoder = SoundEncoder(asked.speaks)
        data = encoder.add(answer.audio) + encoder.end()
        message["content"] = None
        message["audio"] = {
            "id": asked.name,
            "data": base64.b64encode(data).decode(),
            "expires_at": _expiry(service),
            "transcript": answer.text,
        }
    return message


def _expiry(service: WebService) -> int:
    return int(time.time() + service.serving.clips.lifetime)


async def _chunks(
    service: WebService, asked: _Asked, pieces: AsyncGenerator[Answer, None], *, usage: bool
) -> AsyncGenerator[str, None]:
    """Write one chunk for each sentence and each piece of sound."""
    head = _head(asked, "chat.completion.chunk")

    def chunk(delta: dict[str, object], reason: str | None = None, **more: object) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return json.dumps({**head, "choices": [choice], **more})

    yield chunk({"role": "assistant", "content": None if asked.speaks else ""})
    answer = Answer()
    encoder = SoundEncoder("pcm")
    named = {"id": asked.name}
    async with aclosing(pieces):
        async for piece in pieces:
            answer += Answer(
                piece.text, None, piece.hits, piece.citations, piece.answered, piece.asked_back,
                piece.transcript, timings=piece.timings,
            )  # fmt: skip
            for sentence in _sentences(piece.text):
                if asked.speaks is None:
                    yield chunk({"content": sentence})
                else:
                    yield chunk({"audio": {**named, "transcript": sentence}})
            if piece.audio is not None and asked.speaks is not None:
                data = base64.b64encode(encoder.add(piece.audio)).decode()
                yield chunk({"audio": {**named, "data": data}})
    if asked.speaks is not None:
        data = base64.b64encode(encoder.end()).decode()
        if data:
            yield chunk({"audio": {**named, "data": data}})
        yield chunk({"audio": {**named, "expires_at": _expiry(service)}})
    service.answers.keep(asked.tenant, asked.name, answer)
    yield chunk({"annotations": url_citations(answer)}, "stop", voicerag=_own(answer))
    if usage:
        yield json.dumps({**head, "choices": [], "usage": _USAGE})
    yield "[DONE]"


def _sentences(text: str) -> list[str]:
    """Cut a text before each sentence but the first; the pieces add up to it."""
    starts = [start for start, _ in sentence_spans(text)][1:]
    cuts = [0, *starts, len(text)]
    return [text[a:b] for a, b in pairwise(cuts) if b > a]


def _checked(service: WebService, body: ChatRequest, tenant: str) -> _Asked:
    *earlier, last = body.messages
    if last.role != "user":
        raise RequestError("the last message is the user's question", "messages")
    own = body.voicerag or OwnOptions()
    source = _question(service, last)
    collection = own.collection or service.collection(body.model)
    query = Query(
        source,
        collection,
        own.limit,
        own.where,
        own.strategy,
        history=_turns(service, earlier, tenant),
        sampling=_sampling(service, body),
        instructions=_instructions(earlier),
    )
    return _Asked(
        query, _spoken_as(body), service.model(collection), f"chatcmpl-{uuid4().hex}", tenant
    )


def _sampling(service: WebService, body: ChatRequest) -> Sampling | None:
    most = body.max_completion_tokens or body.max_tokens
    chosen = service.serving.asking.sampling(body.temperature, body.top_p, most)
    if body.seed is None:
        return chosen
    return replace(chosen or service.tenants.settings.sampling, seed=body.seed)


def _spoken_as(body: ChatRequest) -> SoundFormat | None:
    """Return the format of the speech, or None for an answer in text."""
    if "audio" not in (body.modalities or ()):
        return None
    form = (body.audio or OutputAudio()).format
    name = "pcm" if form == "pcm16" else form
    known = next((one for one in SOUND_FORMATS if one == name), None)
    if known is None:
        raise RequestError(
            f"sound is not written as {form!r} here; choose pcm16 or one of "
            f"{', '.join(SOUND_FORMATS)}",
            "audio.format",
            "unsupported_format",
        )
    if body.stream and known != "pcm":
        raise RequestError(f"sound is streamed as pcm16, not as {form!r}", "audio.format")
    return known


def _question(service: WebService, message: Message) -> QuestionSource:
    """Return the question of a message: its sound if it has any, else its words."""
    for part in message.content if isinstance(message.content, list) else ():
        if part.type == "input_audio" and part.input_audio is not None:
            return QuestionSource(data=_decoded(part.input_audio.data))
        if part.type not in {"text", "input_audio"}:
            raise RequestError(f"a question is text or input_audio, not {part.type!r}", "messages")
    words = _words(message)
    most = service.settings.max_question_chars
    if len(words) > most:
        raise RequestError(
            f"the question has {len(words)} characters, and {most} are taken; shorten it",
            "messages",
            "question_too_long",
        )
    return QuestionSource(text=words)


def _decoded(data: str) -> bytes:
    body = data.partition(";base64,")[2] if data.startswith("data:") else data
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            f"input_audio.data is not base64 ({error}); give the bytes of a sound file",
            "messages",
            "invalid_base64",
        ) from error


def _words(message: Message) -> str:
    if isinstance(message.content, list):
        return "\n".join(part.text or part.refusal for part in message.content if part.text)
    return message.content or ""


def _turns(service: WebService, messages: list[Message], tenant: str) -> tuple[Turn, ...]:
    """Pair the earlier questions with their answers."""
    turns: list[Turn] = []
    question: str | None = None
    for message in messages:
        if message.role == "user":
            question = _words(message) or "(a spoken question)"
        elif message.role == "assistant" and question is not None:
            turns.append(Turn(question, _past_answer(service, message, tenant)))
            question = None
    return tuple(turns)


def _instructions(messages: list[Message]) -> str | None:
    """Return what the messages of the system say: the manner of answering."""
    said = [_words(message) for message in messages if message.role in {"system", "developer"}]
    return "\n".join(filter(None, said))[:_MOST_INSTRUCTIONS] or None


def _past_answer(service: WebService, message: Message, tenant: str) -> Answer:
    if message.audio is None:
        return Answer(_words(message))
    try:
        return service.answers.get(tenant, message.audio.id)
    except NotFoundError as error:
        raise RequestError(
            f"{error}; send the answer's transcript as the content of its message instead",
            "messages",
            "audio_not_found",
        ) from error

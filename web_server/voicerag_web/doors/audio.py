"""``/v1/audio/transcriptions`` and ``/v1/audio/speech``."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from voicerag_core.serving import (
    SOUND_FORMATS,
    Job,
    QuestionSource,
    SoundEncoder,
    SoundFormat,
    Transcribed,
)
from voicerag_web.errors import RequestError
from voicerag_web.service import MODEL, WebService
from voicerag_web.streams import begun, events

__all__ = ["audio_doors", "check_language"]

_MEDIA = {
    "wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac", "ogg": "audio/ogg",
    "opus": "audio/ogg", "pcm": "audio/pcm",
}  # fmt: skip

TranscriptFormat = Literal["json", "text", "verbose_json", "srt", "vtt"]


class SpeechRequest(BaseModel):
    """Body of ``POST /v1/audio/speech``."""

    input: str
    model: str = ""
    voice: str | dict[str, object] = Field(
        default="default", description="An unknown one is the default voice"
    )
    response_format: str = Field(default="mp3", description=", ".join(SOUND_FORMATS))
    speed: float = Field(default=1.0, ge=0.25, le=4.0)
    instructions: str | None = Field(default=None, max_length=8000)
    stream_format: Literal["audio", "sse"] = "audio"


def audio_doors(service: WebService) -> APIRouter:
    """Return the doors that transcribe and speak."""
    doors = APIRouter(tags=["audio"])
    asking, workers = service.serving.asking, service.serving.workers

    @doors.post("/v1/audio/transcriptions")
    async def transcribe(
        request: Request,
        file: Annotated[UploadFile, File(description="Sound; its bytes tell the format")],
        *,
        model: Annotated[str, Form()] = MODEL,
        language: Annotated[str | None, Form(max_length=35)] = None,
        prompt: Annotated[str | None, Form(max_length=8000)] = None,
        response_format: Annotated[TranscriptFormat, Form()] = "json",
        stream: Annotated[bool, Form()] = False,
    ) -> Response:
        """Transcribe a recording."""
        check_language(service, language, "language")
        most = service.settings.max_audio_bytes
        data = await file.read(most + 1)
        if len(data) > most:
            raise RequestError(f"the sound has more than {most} bytes; give a shorter one", "file")
        tenant = service.tenant(request)
        heard = await workers.run(
            lambda job: asking.transcribe(
                job,
                tenant,
                QuestionSource(data=data),
                max_seconds=service.settings.max_recording_seconds,
            ),
            tenant=tenant,
            disconnected=request.is_disconnected,
        )
        if stream:
            return StreamingResponse(
                events(_transcript_events(heard)), media_type="text/event-stream"
            )
        return _transcript(heard, response_format)

    @doors.post("/v1/audio/speech")
    async def speak(body: SpeechRequest, request: Request) -> Response:
        """Speak a text, sentence by sentence."""
        form = _sound_format(body.response_format)
        _check_speed(body.speed)

        def encoded(job: Job) -> Generator[bytes, None, None]:
            encoder = SoundEncoder(form)
            for piece in asking.stream_speech(job, body.input):
                yield encoder.add(piece)
            yield encoder.end()

        pieces = await begun(
            workers.stream(
                encoded, disconnected=request.is_disconnected, tenant=service.tenant(request)
            )
        )
        if body.stream_format == "sse":
            return StreamingResponse(events(_speech_events(pieces)), media_type="text/event-stream")
        return StreamingResponse(pieces, media_type=_MEDIA[form])

    return doors


def check_language(service: WebService, language: str | None, param: str) -> None:
    """Refuse a language that the recogniser of this server does not hear.

    Raises:
        RequestError: It hears another one.
    """
    own = service.tenants.settings.language
    code = (language or "").partition("-")[0].lower()
    if code and own not in {"auto", code}:
        raise RequestError(
            f"this server hears {own!r}, not {language!r}; leave the language out, or let whoever "
            "runs it set VOICERAG_LANGUAGE",
            param,
            "unsupported_language",
        )


def _sound_format(name: str) -> SoundFormat:
    for known in SOUND_FORMATS:
        if name == known:
            return known
    raise RequestError(
        f"sound is not written as {name!r} here; choose one of {', '.join(SOUND_FORMATS)}",
        "response_format",
        "unsupported_format",
    )


def _check_speed(speed: float) -> None:
    if speed != 1.0:
        raise RequestError(
            "this voice speaks at one speed; leave `speed` out, or play it faster", "speed"
        )


def _transcript(heard: Transcribed, form: TranscriptFormat) -> Response:
    end = heard.audio_seconds
    if form == "text":
        return PlainTextResponse(f"{heard.text}\n")
    if form == "srt":
        return PlainTextResponse(f"1\n{_time(0, ',')} --> {_time(end, ',')}\n{heard.text}\n\n")
    if form == "vtt":
        return PlainTextResponse(f"WEBVTT\n\n{_time(0)} --> {_time(end)}\n{heard.text}\n\n")
    usage = {"type": "duration", "seconds": round(end, 3)}
    if form == "json":
        return JSONResponse({"text": heard.text, "usage": usage})
    segment = {
        "id": 0, "seek": 0, "start": 0.0, "end": round(end, 3), "text": heard.text, "tokens": [],
        "temperature": 0.0, "avg_logprob": 0.0, "compression_ratio": 0.0, "no_speech_prob": 0.0,
    }  # fmt: skip
    return JSONResponse(
        {
            "task": "transcribe",
            "language": heard.language or "",
            "duration": round(end, 3),
            "text": heard.text,
            "segments": [segment],
            "confidence": heard.confidence,
            "usage": usage,
        }
    )


def _time(seconds: float, comma: str = ".") -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    whole, thousandths = divmod(round(rest * 1000), 1000)
    return f"{hours:02}:{minutes:02}:{whole:02}{comma}{thousandths:03}"


async def _transcript_events(heard: Transcribed) -> AsyncGenerator[str, None]:
    yield json.dumps({"type": "transcript.text.delta", "delta": heard.text})
    yield json.dumps({"type": "transcript.text.done", "text": heard.text})


async def _speech_events(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[str, None]:
    async with aclosing(pieces):
        async for piece in pieces:
            audio = base64.b64encode(piece).decode()
            yield json.dumps({"type": "speech.audio.delta", "audio": audio})
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    yield json.dumps({"type": "speech.audio.done", "usage": usage})

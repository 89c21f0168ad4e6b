"""``/generate_stream``: the model server of GLM-4-Voice, for its own web demo and scripts."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from voicerag_core import Sampling
from voicerag_web.service import WebService
from voicerag_web.streams import begun

__all__ = ["bare_doors"]

_MOST_CHARS = 200_000


class GenerateRequest(BaseModel):
    """Body of ``POST /generate_stream``; the defaults are those of GLM-4-Voice's web demo."""

    prompt: str = Field(min_length=1, max_length=_MOST_CHARS)
    temperature: float = Field(default=0.2, ge=0, le=2)
    top_p: float = Field(default=0.8, gt=0, le=1)
    max_new_tokens: int = Field(default=2000, ge=1, le=8192)


def bare_doors(service: WebService) -> APIRouter:
    """Return the door of the bare language model; it sees no documents."""
    doors = APIRouter(tags=["server"])
    serving = service.serving

    @doors.post("/generate_stream")
    async def generate(body: GenerateRequest, request: Request) -> StreamingResponse:
        """Continue a prompt of GLM-4-Voice; one line of JSON for each token.

        A line has `token_id` and `error_code`; the line of an error ends the reply, with its words
        in `text`.
        """
        sampling = Sampling(body.temperature, body.top_p, body.max_new_tokens)
        tokens = serving.workers.stream(
            lambda job: serving.asking.tokens(job, body.prompt, sampling),
            disconnected=request.is_disconnected,
            tenant=service.tenant(request),
        )
        return StreamingResponse(_lines(await begun(tokens)), media_type="application/x-ndjson")

    return doors


async def _lines(tokens: AsyncGenerator[tuple[int, str], None]) -> AsyncGenerator[str, None]:
    async with aclosing(tokens):
        async for token, problem in tokens:
            line: dict[str, object] = {"token_id": token, "error_code": int(bool(problem))}
            yield json.dumps({**line, "text": problem} if problem else line) + "\n"

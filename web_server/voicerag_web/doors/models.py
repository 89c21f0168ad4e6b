"""``/v1/models``, ``/v1/embeddings`` and the names of voices."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Literal

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from voicerag_core import NotFoundError, VoiceRAGError
from voicerag_web.errors import RequestError
from voicerag_web.service import MODEL, WebService

__all__ = ["model_doors"]

_MOST_TEXTS = 2048
_MOST_CHARS = 100_000


class EmbeddingRequest(BaseModel):
    """Body of ``POST /v1/embeddings``."""

    input: str | list[str] | list[int] | list[list[int]]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    input_type: Literal["passage", "query"] = Field(
        default="passage", description="What the texts are; some models embed questions otherwise"
    )
    user: str | None = None


def model_doors(service: WebService) -> APIRouter:
    """Return the doors that name models and embed texts."""
    doors = APIRouter(tags=["models"])

    async def names(tenant: str) -> list[str]:
        try:
            known = await service.serving.workers.run(
                lambda _: service.tenants.collections(tenant), tenant=tenant
            )
        except VoiceRAGError:
            known = ()  # the database is away; the names that need none stay
        embedder = service.tenants.parts.embedder.model_id
        return [
            MODEL,
            *(service.model(one.name) for one in known),
            *(f"{MODEL}-tts" for _ in service.voices()[:1]),
            embedder,
        ]

    @doors.get("/v1/models")
    async def list_models(request: Request) -> dict[str, object]:
        """List the model that answers, once for each collection, the voice and the embedder."""
        found = await names(service.tenant(request))
        return {"object": "list", "data": [_model(name) for name in found]}

    @doors.get("/v1/models/{name:path}")
    async def get_model(name: str, request: Request) -> dict[str, object]:
        """Describe a model."""
        if name not in await names(service.tenant(request)):
            raise NotFoundError(f"there is no model {name[:100]!r}; GET /v1/models lists them")
        return _model(name)

    @doors.get("/v1/audio/voices", tags=["audio"])
    async def list_voices() -> dict[str, object]:
        """List the voices."""
        return {"voices": [{"id": name, "name": name} for name in service.voices()]}

    @doors.get("/v1/audio/models", tags=["audio"])
    async def list_audio_models() -> dict[str, object]:
        """List the models that speak."""
        return {"models": [{"id": f"{MODEL}-tts"} for _ in service.voices()[:1]]}

    @doors.post("/v1/embeddings")
    async def embed(body: EmbeddingRequest, request: Request) -> dict[str, object]:
        """Embed texts in the space of the passages."""
        texts = _texts(body.input)
        dim = service.tenants.parts.embedder.dim
        _check_texts(texts, body.dimensions, dim)
        vectors = await service.serving.workers.run(
            lambda job: service.serving.asking.embed(
                job, texts, questions=body.input_type == "query"
            ),
            tenant=service.tenant(request),
        )
        data = [
            {
                "object": "embedding",
                "index": row,
                "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode()
                if body.encoding_format == "base64"
                else [float(number) for number in np.asarray(vector)],
            }
            for row, vector in enumerate(vectors)
        ]
        return {
            "object": "list",
            "data": data,
            "model": service.tenants.parts.embedder.model_id,
            "usage": {"prompt_tokens": 0, "total_tokens": 0},
        }

    return doors


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": MODEL}


def _texts(given: str | list[str] | list[int] | list[list[int]]) -> list[str]:
    if isinstance(given, str):
        return [given]
    texts = [one for one in given if isinstance(one, str)]
    if len(texts) != len(given):
        raise RequestError(
            "input is a text or a list of texts; the numbers of another model's tokens mean "
            "nothing here (LangChain's OpenAIEmbeddings: check_embedding_ctx_length=False)",
            "input",
            "tokens_not_supported",
        )
    return texts


def _check_texts(texts: Sequence[str], dimensions: int | None, dim: int) -> None:
    if not texts or len(texts) > _MOST_TEXTS:
        raise RequestError(f"give 1 to {_MOST_TEXTS} texts, not {len(texts)}", "input")
    if any(not text.strip() for text in texts):
        raise RequestError("a text is empty; give words", "input")
    if sum(map(len, texts)) > _MOST_CHARS:
        raise RequestError(f"give at most {_MOST_CHARS} characters in one call", "input")
    if dimensions is not None and dimensions != dim:
        raise RequestError(
            f"the vectors have {dim} dimensions, not {dimensions}; leave `dimensions` out",
            "dimensions",
        )

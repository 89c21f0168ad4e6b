"""``/v1/search`` and ``/v1/documents``: passages as plain JSON, and new documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import UploadFile

from voicerag_core import Strategy
from voicerag_core.serving import Query as Question
from voicerag_core.serving import QuestionSource, Where, visitor_of
from voicerag_web.errors import RequestError
from voicerag_web.service import WebService
from voicerag_web.sources import FoundPassage, found_passages

__all__ = ["search_doors"]


class SearchRequest(BaseModel):
    """Body of ``POST /v1/search``; a spoken question is `audio`, or the file of a form."""

    query: str | None = Field(default=None, description="The question as text")
    audio: str | None = Field(default=None, description="Bytes of a sound file, in base64")
    collection: str | None = Field(default=None, min_length=1, max_length=200)
    limit: int | None = Field(default=None, ge=1, le=50)
    where: Where | None = Field(
        default=None, description="Required metadata values; a list means any of its values"
    )
    strategy: Strategy | None = None


class SearchResponse(BaseModel):
    """The passages found for a question."""

    object: Literal["search"] = "search"
    passages: list[FoundPassage] = Field(description="Best first")
    collection: str
    transcript: str | None = Field(description="Transcript of a spoken question, if known")
    notes: list[str] = Field(
        default_factory=list, description="What of the search did not go as it was set"
    )
    seconds: float


class DocumentRequest(BaseModel):
    """Body of ``POST /v1/documents``."""

    text: str = Field(min_length=1)
    source: str | None = Field(default=None, min_length=1, max_length=1000)
    title: str = Field(default="", max_length=500)
    collection: str | None = Field(default=None, min_length=1, max_length=200)


class DocumentResponse(BaseModel):
    """What became of a document."""

    collection: str
    documents: int = Field(description="New or changed documents")
    unchanged: int
    passages: int = Field(description="Passages written or deleted")
    failures: list[str]
    seconds: float


def search_doors(service: WebService) -> APIRouter:
    """Return the doors of search and, if the server takes documents, of documents."""
    doors = APIRouter(tags=["documents"])
    serving = service.serving

    async def found(request: Request, asked: SearchRequest, data: bytes | None) -> SearchResponse:
        ways = [asked.query is not None, asked.audio is not None, data is not None]
        if sum(ways) != 1:
            raise RequestError("give the question once: query, audio, or a file", "query")
        if len(asked.query or "") > service.settings.max_question_chars:
            most = service.settings.max_question_chars
            raise RequestError(f"a question has at most {most} characters; shorten it", "query")
        source = QuestionSource(text=asked.query, audio_base64=asked.audio, data=data)
        query = Question(source, asked.collection, asked.limit, asked.where, asked.strategy)
        tenant = service.tenant(request)
        result = await serving.workers.run(
            lambda job: serving.asking.search(job, tenant, query),
            disconnected=request.is_disconnected,
            tenant=tenant,
        )
        return SearchResponse(
            passages=found_passages(result.hits),
            collection=result.collection,
            transcript=result.transcript,
            notes=list(result.notes),
            seconds=round(result.seconds, 4),
        )

    @doors.get("/v1/search")
    async def search(
        request: Request,
        q: Annotated[str, Query(description="The question as text")],
        *,
        collection: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
        limit: Annotated[int | None, Query(ge=1, le=50)] = None,
        strategy: Strategy | None = None,
    ) -> SearchResponse:
        """Find the passages for a typed question."""
        asked = SearchRequest(query=q, collection=collection, limit=limit, strategy=strategy)
        return await found(request, asked, None)

    @doors.post(
        "/v1/search",
        openapi_extra={
            "requestBody": {
                "content": {
                    "application/json": {"schema": SearchRequest.model_json_schema()},
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "properties": {"file": {"type": "string", "format": "binary"}},
                        }
                    },
                }
            }
        },
    )
    async def search_spoken(request: Request) -> SearchResponse:
        """Find the passages for a spoken or typed question."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind.startswith("audio/") or kind == "application/octet-stream":
            options = _options(dict(request.query_params))
            return await found(request, options, await request.body())
        if kind == "multipart/form-data":
            async with request.form(max_files=1, max_fields=16) as form:
                files = [part for part in form.values() if isinstance(part, UploadFile)]
                fields = {key: value for key, value in form.items() if isinstance(value, str)}
                data = await files[0].read(service.settings.max_audio_bytes) if files else None
            return await found(request, _options(fields), data)
        return await found(request, _options(await _json(request)), None)

    if service.settings.allow_ingest:

        @doors.post("/v1/documents")
        async def add_document(body: DocumentRequest, request: Request) -> DocumentResponse:
            """Add a text to a collection; a document of the same source is replaced."""
            caller = visitor_of(request.scope).caller
            taken = await serving.workers.run(
                lambda job: serving.ingesting.take_text(
                    job,
                    caller,
                    body.text,
                    source=body.source,
                    title=body.title,
                    collection=body.collection,
                ),
                tenant=caller.tenant,
            )
            return DocumentResponse(
                collection=taken.collection,
                documents=taken.sources,
                unchanged=taken.unchanged,
                passages=taken.passages,
                failures=list(taken.failures),
                seconds=round(taken.seconds, 3),
            )

    return doors


async def _json(request: Request) -> dict[str, object]:
    try:
        value = json.loads(await request.body() or b"{}")
    except ValueError as error:
        raise RequestError(f"the body is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise RequestError("the body is a JSON object")
    return value


def _options(fields: Mapping[str, object]) -> SearchRequest:
    try:
        return SearchRequest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RequestError(f"{place}: {first['msg']}", place) from error

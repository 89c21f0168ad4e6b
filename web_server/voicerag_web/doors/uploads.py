"""What the page sends and plays: recordings, files as documents, and recordings by passage."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from fastapi.responses import FileResponse, Response

from voicerag_core import SilentError, resample
from voicerag_core.serving import Job, pcm16, visitor_of
from voicerag_web.doors.search import DocumentResponse
from voicerag_web.errors import RequestError
from voicerag_web.service import WebService

__all__ = ["upload_doors"]


def upload_doors(service: WebService) -> APIRouter:
    """Return the doors of files; those of documents only if the server takes documents."""
    doors = APIRouter(tags=["documents"])
    serving = service.serving

    @doors.post("/v1/audio/samples")
    async def samples(
        request: Request, *, rate: Annotated[int, Query(ge=8_000, le=48_000)] = 24_000
    ) -> Response:
        """Read a sound file of any kind; return its 16-bit mono samples at a rate in Hz.

        A Realtime session takes them as the sound of a question, and says that it heard none in
        those of a silent file.
        """
        data = await request.body()

        def read(job: Job) -> bytes:
            job.report("reading")
            try:
                return pcm16(resample(serving.asking.decoded(data), rate).samples)
            except SilentError as error:
                return bytes(2 * round(error.seconds * rate))

        content = await serving.workers.run(
            read, disconnected=request.is_disconnected, tenant=service.tenant(request)
        )
        return Response(content, media_type="audio/pcm")

    @doors.get("/v1/recordings")
    async def recording(
        request: Request,
        passage: Annotated[str, Query(min_length=1, max_length=1000)],
        *,
        collection: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    ) -> FileResponse:
        """Return the recording that a passage is a part of, if it is as it was when indexed."""
        tenant = service.tenant(request)
        path = await serving.workers.run(
            lambda job: serving.asking.recording(job, tenant, passage, collection=collection),
            tenant=tenant,
        )
        return FileResponse(path)

    if service.settings.allow_ingest:

        @doors.post("/v1/documents/files")
        async def add_file(
            request: Request,
            file: Annotated[UploadFile, File(description="Its name's ending tells the kind")],
            *,
            collection: Annotated[str | None, Form(min_length=1, max_length=200)] = None,
        ) -> DocumentResponse:
            """Add the text of a file to a collection; a file of the same name is replaced."""
            caller = visitor_of(request.scope).caller
            data = await file.read()
            name = file.filename or ""
            if not name:
                raise RequestError("the file has a name, whose ending tells its kind", "file")
            taken = await serving.workers.run(
                lambda job: serving.ingesting.take_file(
                    job, caller, name, data, collection=collection
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

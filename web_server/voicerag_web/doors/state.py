"""Health, readiness, metrics, the page's state, and secrets that open a socket."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from voicerag_core import NotFoundError, VoiceRAGError
from voicerag_core.serving import message_for_caller, visitor_of
from voicerag_core.serving.status import load_of, status_of
from voicerag_web.service import MODEL, WebService

__all__ = ["OPEN_PATHS", "state_doors"]

OPEN_PATHS = ("/health", "/ready", "/v1/audio/voices", "/v1/audio/models")
"""Paths that need no token; they say nothing about documents."""


class SecretRequest(BaseModel):
    """Body of ``POST /v1/realtime/client_secrets``."""

    session: dict[str, object] = Field(default_factory=dict)
    expires_after: dict[str, object] | None = None


def state_doors(service: WebService) -> APIRouter:
    """Return the doors that tell the server's state."""
    doors = APIRouter(tags=["server"])
    serving = service.serving

    @doors.get("/health")
    async def health() -> dict[str, object]:
        """Tell that the process answers, and how busy it is, for load balancers."""
        load = load_of(serving.workers, service.tenants.parts.model)
        return {"status": "ok", "load": asdict(load)}

    @doors.get("/ready")
    async def ready() -> JSONResponse:
        """Tell whether questions can be answered: models loaded, database reached."""
        problem = "" if service.ready else "the models are being loaded"
        if not problem:
            tenant = service.tenants.settings.tenant
            try:
                await serving.workers.run(lambda _: service.tenants.collections(tenant))
            except VoiceRAGError as error:
                problem = message_for_caller(error)
        state = {"status": problem or "ok"}
        return JSONResponse(state, 503 if problem else 200)

    @doors.get("/metrics")
    async def metrics() -> Response:
        """Counts, durations and load, for Prometheus."""
        if not service.metrics.enabled:
            raise NotFoundError(
                "metrics need the extra 'telemetry': pip install 'voicerag-core[telemetry]'"
            )
        text = service.metrics.page(
            sessions=service.sessions.open,
            load=load_of(serving.workers, service.tenants.parts.model),
        )
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @doors.get("/v1/status")
    async def status(request: Request) -> dict[str, object]:
        """Tell what the page needs to know: models, collections, limits, what the caller may do."""
        visitor = visitor_of(request.scope)
        tenant = visitor.caller.tenant
        state = await serving.workers.run(
            lambda _: status_of(service.tenants, tenant), tenant=tenant
        )
        try:
            known = await serving.workers.run(
                lambda _: service.tenants.collections(tenant), tenant=tenant
            )
        except VoiceRAGError:
            known = ()
        return {
            "object": "status",
            "version": state.version,
            "stack": state.stack,
            "database": state.database,
            "tenant": tenant,
            "collection": state.collection,
            "collections": [
                {"name": one.name, "passages": one.passages, "documents": one.documents}
                for one in known
            ],
            "empty": not state.passages,
            "how_to_fill": None if state.passages else service.how_to_fill(state.collection),
            "language": service.tenants.settings.language,
            "strategy": state.strategy,
            "voices": list(service.voices()),
            "load": asdict(load_of(serving.workers, service.tenants.parts.model)),
            "may_ingest": service.settings.allow_ingest and visitor.caller.may_write,
            "max_question_seconds": state.max_question_seconds,
            "max_question_chars": service.settings.max_question_chars,
        }

    @doors.post("/v1/realtime/client_secrets")
    async def client_secret(body: SecretRequest, request: Request) -> dict[str, object]:
        """Issue a secret that opens one Realtime socket from the caller's origin."""
        visitor = visitor_of(request.scope)
        secret, expires = service.tickets.issue(visitor.caller, visitor.client, visitor.origin)
        session = {"type": "realtime", "object": "realtime.session", "model": MODEL, "id": ""}
        return {
            "value": secret,
            "expires_at": int(expires),
            "session": {**session, **body.session},
        }

    return doors

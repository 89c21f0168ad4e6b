"""The server over HTTP: authentication and uploads of clips, behind its guard."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias
from urllib.parse import urlsplit

from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http import EventStore
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from voicerag_core import BusyError, CancelledError, VoiceRAGError
from voicerag_core.serving import (
    WRITE,
    Caller,
    CallRate,
    Exposure,
    Guard,
    message_for_caller,
)
from voicerag_mcp.guard import EXPOSED, Health, Methods, TrailingSlashes, WholeBodies
from voicerag_mcp.listening import serve
from voicerag_mcp.service import Service
from voicerag_mcp.settings import ServerSettings
from voicerag_mcp.verifiers import SdkUser

__all__ = ["guarded_app", "http_app", "serve"]

PATH = "/mcp"
CLIPS = "/clips"
_WELL_KNOWN = "/.well-known/oauth-protected-resource"
_MULTIPART_ROOM = 16_384
"""Bytes of a multipart body beyond the file in it."""

_RETRY_MILLISECONDS = 100

_logger = logging.getLogger(__name__)

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


def http_app(
    service: Service, server: MCPServer[None], *, event_store: EventStore | None = None
) -> Starlette:
    """Create the ASGI application: ``/mcp``, ``/clips``, ``/health``, and RFC 9728's metadata.

    Args:
        service: Stores the uploads; has the settings.
        server: The server object.
        event_store: Lets clients with a session resume a broken stream.

    Raises:
        ConfigError: The settings would expose the server without tokens.
    """
    settings = service.settings
    settings.check_exposure()
    exposure = settings.exposure
    inner, app = guarded_app(service, server, event_store=event_store)
    routes: list[BaseRoute] = []
    challenge = "Bearer"
    open_paths: tuple[str, ...] = ()
    if exposure.authenticates:
        resource = settings.public_url or f"http://{settings.host}:{settings.port}{PATH}"
        path = _WELL_KNOWN + urlsplit(resource).path.rstrip("/")
        routes.append(Route(path, _metadata_endpoint(settings, resource), methods=["GET"]))
        challenge = (
            'Bearer error="invalid_token", error_description="Authentication required", '
            f'resource_metadata="{_metadata_url(resource)}"'
        )
        open_paths = (path,)
    routes.append(Mount("/", app=app))
    middleware = [
        Middleware(TrailingSlashes),
        Middleware(Health),
        Middleware(
            _guard,
            exposure=exposure,
            owner=Caller(service.serving.tenants.settings.tenant, may_write=True),
            challenge=challenge,
            open_paths=open_paths,
            rate=CallRate(settings.calls_per_minute),
            tenant_rate=CallRate(settings.tenant_calls_per_minute),
            most_bytes=max(settings.max_body_bytes, settings.max_audio_bytes + _MULTIPART_ROOM),
        ),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with inner.router.lifespan_context(inner):
            yield

    app_as_a_whole = Starlette(routes=routes, middleware=middleware, lifespan=lifespan)
    app_as_a_whole.state.stop_calls = service.serving.workers.stop_all
    return app_as_a_whole


def guarded_app(
    service: Service, server: MCPServer[None], *, event_store: EventStore | None = None
) -> tuple[Starlette, ASGIApp]:
    """Create ``/mcp`` and ``/clips`` as they stand behind a `Guard`.

    Returns:
        The application of the SDK, whose lifespan the caller enters, and what serves requests.
    """
    settings = service.settings
    inner = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=not settings.sessions,
        event_store=event_store,
        retry_interval=None if event_store is None else _RETRY_MILLISECONDS,
        max_request_body_size=settings.max_body_bytes,
        transport_security=TransportSecuritySettings(  # the `Guard` stands before it
            enable_dns_rebinding_protection=False
        ),
    )
    inner.router.routes.append(_upload_route(service))
    # without sessions there is nothing to stream on GET, and nothing to end by DELETE
    methods = ("GET", "POST", "DELETE") if settings.sessions else ("POST",)
    app: ASGIApp = WholeBodies(
        inner,
        {PATH: settings.max_body_bytes, CLIPS: settings.max_audio_bytes + _MULTIPART_ROOM},
    )
    app = Methods(app, {PATH: methods, CLIPS: ("POST",)})
    resource = settings.public_url if settings.issuer is not None else None
    return inner, SdkUser(app, resource)


def _guard(
    app: ASGIApp,
    *,
    exposure: Exposure,
    owner: Caller,
    challenge: str,
    open_paths: Sequence[str],
    rate: CallRate,
    tenant_rate: CallRate,
    most_bytes: int,
) -> ASGIApp:
    return Guard(
        app,
        hosts=exposure.hosts(),
        prefix=exposure.prefix,
        origins=exposure.origins(),
        readable=exposure.allowed_origins,
        exposed=EXPOSED,
        owner=owner,
        tokens=exposure.tokens(),
        rate=rate,
        tenant_rate=tenant_rate,
        open_paths=open_paths,
        most_bytes=most_bytes,
        challenge=challenge,
    )


def _metadata_url(resource: str) -> str:
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{parts.path.rstrip('/')}"


def _metadata_endpoint(settings: ServerSettings, resource: str) -> Endpoint:
    """Serve the metadata of a protected resource (RFC 9728, section 2)."""
    metadata: dict[str, object] = {
        "resource": resource,
        "resource_name": "voicerag",
        "bearer_methods_supported": ["header"],
        "scopes_supported": [WRITE],
    }
    if settings.issuer is not None:
        metadata["authorization_servers"] = [settings.issuer]

    async def serve(_: Request) -> Response:
        return JSONResponse(metadata, headers={"Access-Control-Allow-Origin": "*"})

    return serve


def _upload_route(service: Service) -> Route:
    serving, most = service.serving, service.settings.max_audio_bytes

    async def upload(request: Request) -> Response:
        """Store a clip, sent as the file of a multipart form or as the body."""
        tenant = service.caller.tenant
        try:
            data = await _uploaded(request, most)
        except HTTPException as error:
            return JSONResponse({"error": error.detail}, status_code=error.status_code)
        except OSError as error:  # a form's file is spooled to disk
            _logger.error("an upload cannot be kept: %s", error)
            return JSONResponse(
                {"error": "this server has no room for uploads at the moment; repeat this later"},
                503,
                {"Retry-After": "60"},
            )
        try:
            clip = await serving.workers.run(
                lambda job: serving.asking.keep_clip(job, tenant, data), tenant=tenant
            )
        except (BusyError, CancelledError) as error:
            seconds = error.retry_after if isinstance(error, BusyError) else None
            again = {"Retry-After": f"{math.ceil(seconds or 5)}"}
            return JSONResponse({"error": message_for_caller(error)}, 503, again)
        except VoiceRAGError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(
            {
                "clip": clip.id,
                "uri": clip.uri,
                "seconds": round(clip.seconds, 3),
                "expires_in": round(serving.clips.lifetime),
            },
            status_code=201,
        )

    return Route(CLIPS, upload, methods=["POST"])


async def _uploaded(request: Request, most: int) -> bytes:
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith("multipart/form-data"):
        async with request.form(max_files=1, max_fields=8) as form:
            files = [part for part in form.values() if isinstance(part, UploadFile)]
            if len(files) != 1:
                raise HTTPException(400, "send one file, in a field of any name")
            return await files[0].read(most + 1)
    if kind.startswith(("audio/", "application/octet-stream")):
        return await request.body()
    raise HTTPException(
        415, "send multipart/form-data with one file, or the sound itself as audio/*"
    )

"""The server over HTTP: authentication, rate limits and uploads of clips."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias
from urllib.parse import urlsplit

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import (
    AuthenticatedUser,
    BearerAuthBackend,
    RequireAuthMiddleware,
)
from mcp.server.auth.provider import TokenVerifier
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http import EventStore
from mcp.server.transport_security import (
    RequestBodyLimitMiddleware,
    TransportSecurityMiddleware,
    TransportSecuritySettings,
)
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from voicerag_core import BusyError, CancelledError, VoiceRAGError
from voicerag_core.serving import WRITE, SignedTokens, TokenFile, message_for_caller
from voicerag_mcp.service import Service
from voicerag_mcp.settings import ServerSettings
from voicerag_mcp.verifiers import GrantVerifier

__all__ = ["http_app"]

PATH = "/mcp"
_WELL_KNOWN = "/.well-known/oauth-protected-resource"
_MULTIPART_ROOM = 16_384
"""Bytes of a multipart body beyond the file in it."""

_MOST_CLIENTS = 10_000
_RETRY_MILLISECONDS = 100

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

_logger = logging.getLogger(__name__)


def http_app(
    service: Service, server: MCPServer[None], *, event_store: EventStore | None = None
) -> Starlette:
    """Create the ASGI application: ``/mcp``, ``/clips``, and the metadata of RFC 9728.

    Args:
        service: Stores the uploads; has the settings.
        server: The server object.
        event_store: Lets clients with a session resume a broken stream.

    Raises:
        ConfigError: The settings would expose the server without tokens.
    """
    settings = service.settings
    settings.check_exposure()
    security = TransportSecuritySettings(
        allowed_hosts=settings.hosts(), allowed_origins=settings.origins()
    )
    inner = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=not settings.sessions,
        event_store=event_store,
        retry_interval=None if event_store is None else _RETRY_MILLISECONDS,
        max_request_body_size=settings.max_body_bytes,
        transport_security=security,
    )
    inner.router.routes.append(_upload_route(service))
    verifier = _verifier(settings)
    middleware = [Middleware(_HostCheck, security=security)]
    routes: list[BaseRoute] = []
    app: ASGIApp = inner
    if verifier is not None:
        backend = BearerAuthBackend(verifier)
        resource = settings.public_url or f"http://{settings.host}:{settings.port}{PATH}"
        path = _WELL_KNOWN + urlsplit(resource).path.rstrip("/")
        app = RequireAuthMiddleware(app, [], AnyHttpUrl(_metadata_url(resource)))
        middleware.append(Middleware(AuthenticationMiddleware, backend=backend))
        middleware.append(Middleware(AuthContextMiddleware))
        routes.append(Route(path, _metadata_endpoint(settings, resource), methods=["GET"]))
    middleware.append(Middleware(_RateLimit, calls_per_minute=settings.calls_per_minute))
    routes.append(Mount("/", app=app))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with inner.router.lifespan_context(inner):
            yield

    return Starlette(routes=routes, middleware=middleware, lifespan=lifespan)


def _verifier(settings: ServerSettings) -> TokenVerifier | None:
    if settings.token_file is not None:
        return GrantVerifier(TokenFile(settings.token_file))
    if settings.issuer is not None:
        assert settings.public_url is not None
        tokens = SignedTokens(
            settings.issuer, settings.public_url, tenant_claim=settings.tenant_claim
        )
        return GrantVerifier(tokens, resource=settings.public_url)
    return None


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
            clip = await serving.workers.run(
                lambda job: serving.asking.keep_clip(job, tenant, data)
            )
        except (BusyError, CancelledError) as error:
            return JSONResponse({"error": message_for_caller(error)}, 503, {"Retry-After": "5"})
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

    return Route(
        "/clips",
        RequestBodyLimitMiddleware(_endpoint(upload), most + _MULTIPART_ROOM),
        methods=["POST"],
    )


def _endpoint(serve: Endpoint) -> ASGIApp:
    """Create an ASGI application from a function of a request."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await serve(request)
        except HTTPException as error:
            response = JSONResponse({"error": error.detail}, status_code=error.status_code)
        await response(scope, receive, send)

    return app


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


class _HostCheck:
    """Rejects requests for other hosts or origins (DNS rebinding)."""

    def __init__(self, app: ASGIApp, security: TransportSecuritySettings) -> None:
        self._app = app
        self._check = TransportSecurityMiddleware(security)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refused = await self._check.validate_request(Request(scope))
            if refused is not None:
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _RateLimit:
    """Limits requests per minute and client, by token or else by address (token bucket)."""

    def __init__(self, app: ASGIApp, calls_per_minute: int) -> None:
        self._app = app
        self._most = float(calls_per_minute)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (wait := self._take(_client(scope))) > 0:
            refused = JSONResponse(
                {"error": "too many requests; slow down"}, 429, {"Retry-After": str(int(wait) + 1)}
            )
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _take(self, client: str) -> float:
        """Take one request from a client's bucket; return the seconds to wait if it is empty."""
        now = time.monotonic()
        left, when = self._left.pop(client, (self._most, now))
        left = min(self._most, left + (now - when) * self._most / 60)
        wait = 0.0 if left >= 1 else (1 - left) * 60 / self._most
        self._left[client] = (left - 1 if left >= 1 else left, now)
        while len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        return wait


def _client(scope: Scope) -> str:
    user = scope.get("user")
    if isinstance(user, AuthenticatedUser):
        return f"{user.access_token.client_id} {user.access_token.subject}"
    address = scope.get("client")
    return str(address[0]) if address else ""


async def serve(app: Starlette, settings: ServerSettings) -> None:
    """Serve until a signal arrives; calls get a few seconds to finish."""
    import uvicorn

    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    _logger.info("listening on http://%s:%d%s", settings.host, settings.port, PATH)
    await asyncio.shield(server.serve())

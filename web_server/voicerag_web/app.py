"""The ASGI application: doors, page and documentation behind one guard."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.datastructures import MutableHeaders
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voicerag_core import StoreUnavailableError, VoiceRAGError
from voicerag_core.serving import Caller, CallRate, Guard, Job, is_loopback, settle
from voicerag_web.doors.audio import audio_doors
from voicerag_web.doors.bare import bare_doors
from voicerag_web.doors.chat import chat_doors
from voicerag_web.doors.models import model_doors
from voicerag_web.doors.search import search_doors
from voicerag_web.doors.state import OPEN_PATHS, state_doors
from voicerag_web.doors.uploads import upload_doors
from voicerag_web.errors import add_error_handlers, error_body
from voicerag_web.mounting import MCP_PATHS, mcp_app
from voicerag_web.realtime.socket import realtime_doors
from voicerag_web.service import WebService

__all__ = ["web_app"]

PAGE: Final = Path(__file__).with_name("page")
"""Folder of the page: plain files, no build step."""

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_AGAIN_SECONDS: Final = 5.0
"""Seconds after which a database that was not there is tried again."""

_logger = logging.getLogger(__name__)


def web_app(service: WebService) -> Guard:
    """Create the application of a service, which is closed by its opener.

    Raises:
        ConfigError: The settings would expose the server without tokens.
    """
    exposure = service.settings.exposure
    exposure.check()

    mcp = mcp_app(service) if service.settings.mcp else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(_warm(service))
        async with AsyncExitStack() as stack:
            stack.callback(gc.unfreeze)
            stack.callback(service.serving.workers.stop_all)
            stack.callback(warming.cancel)
            if mcp is not None:
                inner, _app = mcp
                await stack.enter_async_context(inner.router.lifespan_context(inner))
            yield

    app = FastAPI(
        title="voicerag",
        summary="Ask your documents by voice.",
        version=version("voicerag-core"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    add_error_handlers(app)
    for doors in (
        state_doors(service),
        model_doors(service),
        chat_doors(service),
        audio_doors(service),
        search_doors(service),
        upload_doors(service),
        realtime_doors(service),
    ):
        app.include_router(doors)
    if service.tenants.settings.stack == "glm" and is_loopback(service.settings.host):
        app.include_router(bare_doors(service))
    _add_page(app)
    if mcp is not None:
        for path in MCP_PATHS:
            app.router.routes.append(Route(path, _Served(mcp[1])))
    return Guard(
        _Headers(app, service),
        hosts=exposure.hosts(),
        prefix=exposure.prefix,
        readable=exposure.allowed_origins,
        owner=Caller(service.tenants.settings.tenant, may_write=True),
        tokens=exposure.tokens(),
        tickets=service.tickets,
        rate=CallRate(service.settings.calls_per_minute),
        open_paths=(*OPEN_PATHS, *_page_paths()),
        most_bytes=service.settings.max_body_bytes,
        error=error_body,
    )


class _Served:
    """Serves every method of a path by an ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def _warm(service: WebService) -> None:
    """Load the models before the first question, one job on the workers."""
    if service.settings.warm:

        def load(job: Job) -> None:
            for part in service.tenants.parts.loads.values():
                job.check()
                part()

        while True:
            try:
                await service.serving.workers.run(load)
                break
            except StoreUnavailableError as error:
                _logger.warning("the database is not there yet: %s", error)
                await asyncio.sleep(_AGAIN_SECONDS)
            except VoiceRAGError as error:
                _logger.error("the models cannot be loaded: %s", error)
                return
        if service.tenants.settings.stack == "glm":
            settle()  # no search for garbage among its networks stops replies that are heard
    service.ready = True


class _Headers:
    """Adds the headers that keep strangers out, and counts what was answered.

    Args:
        app: The application.
        service: Has the metrics.
    """

    def __init__(self, app: ASGIApp, service: WebService) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                route = getattr(scope.get("route"), "path", "other")
                self._service.metrics.request(route, message["status"])
            await send(message)

        await self._app(scope, receive, sending)


def _page_paths() -> list[str]:
    files = [path for path in PAGE.rglob("*") if path.is_file()] if PAGE.is_dir() else []
    return ["/", "/docs", *(f"/page/{path.relative_to(PAGE).as_posix()}" for path in files)]


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "docs.html")

    app.mount("/page", StaticFiles(directory=PAGE), name="page")

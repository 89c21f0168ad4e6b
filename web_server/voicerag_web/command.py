"""What ``voicerag serve`` does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn

from voicerag_core import ConfigError, MissingExtraError, Settings, VoiceRAGError
from voicerag_core.ending import close_in_peace
from voicerag_core.serving import Guard
from voicerag_mcp.listening import ENDING_SECONDS, Connection, Listener
from voicerag_web.app import web_app
from voicerag_web.service import WebService, open_web_service
from voicerag_web.settings import WebSettings

__all__ = ["MOST_FRAME_BYTES", "listener", "run", "serve"]

MOST_FRAME_BYTES = 1_572_864
"""Largest WebSocket message: 1 MiB of sound in base64, and its event."""

_logger = logging.getLogger(__name__)


def run(settings: Settings, web_settings: WebSettings, say: Callable[[str], None]) -> int:
    """Serve until a signal arrives; return the exit code: 128 and the signal's number.

    Args:
        settings: Settings of models and database.
        web_settings: Settings of the server.
        say: Shows a line to the user.
    """
    with open_web_service(settings, web_settings) as service:
        code = asyncio.run(serve(service, say))
        close_in_peace(code)
    return code


async def serve(service: WebService, say: Callable[[str], None]) -> int:
    """Serve a service until a signal arrives; calls get a few seconds to finish.

    Returns:
        The exit code: 128 and the signal's number, or 0.
    """
    server = listener(web_app(service), service.settings)
    stop = service.serving.workers.stop_all
    async with _wyoming(service, say):
        serving = asyncio.create_task(server.serve_until_signal(stop))
        await _announce(server, service, serving, say)
        return await serving


@asynccontextmanager
async def _wyoming(service: WebService, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Serve Wyoming beside it, if the settings want it."""
    port = service.settings.wyoming
    if port is None:
        yield
        return
    try:
        from voicerag_web.wyoming import WyomingDoor
    except ModuleNotFoundError as error:
        raise MissingExtraError("wyoming", "Wyoming") from error
    door = WyomingDoor(service)
    try:
        server = await door.open()
    except OSError as error:
        raise ConfigError(f"Wyoming cannot listen on port {port}: {error.strerror}") from error
    try:
        bound = server.sockets[0].getsockname()[1]
        reach = "every address" if service.settings.wyoming_open else "this machine"
        say(f"Wyoming is served on port {bound} of {reach}")
        yield
    finally:
        server.close()
        await door.close()


def listener(app: Guard, settings: WebSettings) -> Listener:
    """Create the server of an application: it ends slow and surplus connections by itself."""

    class Bounded(Connection):
        most = settings.connections
        request_seconds = settings.request_seconds

    return Listener(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=Bounded,
            ws="websockets-sansio",
            ws_max_size=MOST_FRAME_BYTES,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=ENDING_SECONDS,
        )
    )


async def _announce(
    server: uvicorn.Server,
    service: WebService,
    serving: asyncio.Task[int],
    say: Callable[[str], None],
) -> None:
    """Print the address once somebody can connect, and how to fill an empty collection."""
    while not server.started and not serving.done():
        await asyncio.sleep(0.02)
    if not server.started:
        return
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    shown = "localhost" if host in {"127.0.0.1", "::1"} else host
    settings = service.tenants.settings
    say(f"voicerag is served at {service.settings.public_url or f'http://{shown}:{port}'}")
    try:
        known = await service.serving.workers.run(
            lambda _: {
                one.name: one.passages for one in service.tenants.collections(settings.tenant)
            }
        )
    except VoiceRAGError as error:
        say(f"the database cannot be used yet: {error}")
        return
    if not known.get(settings.collection):
        say(service.how_to_fill(settings.collection))

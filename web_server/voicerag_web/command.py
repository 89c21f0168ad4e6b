"""What ``voicerag serve`` does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from voicerag_core import Settings, VoiceRAGError
from voicerag_web.app import web_app
from voicerag_web.service import WebService, open_web_service
from voicerag_web.settings import WebSettings

if TYPE_CHECKING:
    import uvicorn

__all__ = ["run", "serve"]

MOST_FRAME_BYTES = 1_572_864
"""Largest WebSocket message: 1 MiB of sound in base64, and its event."""

_logger = logging.getLogger(__name__)


def run(settings: Settings, web_settings: WebSettings, say: Callable[[str], None]) -> None:
    """Serve until a signal arrives.

    Args:
        settings: Settings of models and database.
        web_settings: Settings of the server.
        say: Shows a line to the user.
    """
    with open_web_service(settings, web_settings) as service:
        asyncio.run(serve(service, say))


async def serve(service: WebService, say: Callable[[str], None]) -> None:
    """Serve a service until a signal arrives; calls get a few seconds to finish."""
    import uvicorn

    config = uvicorn.Config(
        web_app(service),
        host=service.settings.host,
        port=service.settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
        ws="websockets-sansio",
        ws_max_size=MOST_FRAME_BYTES,
        limit_concurrency=None,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await _announce(server, service, serving, say)
    await asyncio.shield(serving)


async def _announce(
    server: uvicorn.Server,
    service: WebService,
    serving: asyncio.Task[None],
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

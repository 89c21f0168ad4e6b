"""Services on fakes, a client in memory, and servers on ports of this machine."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import numpy as np
import pytest
import uvicorn

from tests.mcp.fakes import FakeModels, fake_service
from tests.waiting import PATIENCE
from voicerag_core import Audio, to_wav_bytes
from voicerag_mcp.http import http_app
from voicerag_mcp.server import build_server
from voicerag_mcp.service import Service
from voicerag_mcp.settings import load_server_settings

Serve = Callable[[Service], AbstractContextManager[str]]
Open = Callable[..., Service]


@pytest.fixture
def wav() -> bytes:
    """One second of a tone."""
    tone = 0.3 * np.sin(np.arange(16_000, dtype=np.float32) / 9)
    return to_wav_bytes(Audio(tone.astype(np.float32), 16_000))


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open services on fakes; they are closed after the test."""
    with ExitStack() as stack:

        def open_one(models: FakeModels | None = None, **settings: object) -> Service:
            return stack.enter_context(fake_service(load_server_settings(**settings), models))

        yield open_one


@pytest.fixture
def service(opened: Open) -> Service:
    return opened()


@contextmanager
def running(service: Service) -> Iterator[str]:
    """Serve over HTTP in a thread; return the server's root URL."""
    app = http_app(service, build_server(service))
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def serve() -> Serve:
    return running

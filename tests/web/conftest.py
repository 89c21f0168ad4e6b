"""Web servers on fakes, on ports of this machine, and sound to send to them."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest

from tests.serving.fakes import FakeModels, fake_tenants
from tests.waiting import PATIENCE
from tests.web.browsing import CHROMIUM
from voicerag_core import Audio, Settings, to_wav_bytes
from voicerag_core.local.turns.activity import LoudnessActivity
from voicerag_core.local.turns.detector import FrameTurnDetector
from voicerag_core.serving import Tenants
from voicerag_web.app import web_app
from voicerag_web.command import listener
from voicerag_web.service import WebService, open_web_service
from voicerag_web.settings import load_web_settings

Serve = Callable[..., AbstractContextManager["Running"]]


class Running:
    """A server that answers.

    Args:
        url: Its root.
        service: What it serves.
    """

    def __init__(self, url: str, service: WebService) -> None:
        self.url = url
        self.service = service
        self.ws = url.replace("http://", "ws://")


def speech(seconds: float = 1.0, rate: int = 24_000) -> bytes:
    """Return 16-bit PCM of something loud."""
    times = np.arange(int(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * 220 * times) * (1 + 0.5 * np.sin(2 * np.pi * 4 * times))
    return (wave * 32767 / 1.5).astype("<i2").tobytes()


def silence(seconds: float = 1.0, rate: int = 24_000) -> bytes:
    """Return 16-bit PCM of nothing."""
    return bytes(2 * int(seconds * rate))


@pytest.fixture
def wav() -> bytes:
    """One second of a tone."""
    tone = 0.3 * np.sin(np.arange(16_000, dtype=np.float32) / 9)
    return to_wav_bytes(Audio(tone.astype(np.float32), 16_000))


@contextmanager
def running(
    models: FakeModels | None = None,
    *,
    tenants: Tenants | None = None,
    by_loudness: bool = True,
    **settings: object,
) -> Iterator[Running]:
    """Serve in a thread."""
    with ExitStack() as stack:
        ingests = bool(settings.get("allow_ingest"))
        chosen = tenants or fake_tenants(models, read_only=not ingests)[0]
        web_settings = load_web_settings(**{"port": 0, **settings})
        service = stack.enter_context(open_web_service(Settings(), web_settings, tenants=chosen))
        if by_loudness:  # a tone is no speech
            service.detector = lambda rules: FrameTurnDetector(LoudnessActivity(), rules)
        server = listener(web_app(service), web_settings)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            bound = server.servers[0].sockets[0].getsockname()[1]
            yield Running(f"http://127.0.0.1:{bound}", service)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.fixture
def serve() -> Serve:
    return running


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server on fakes, shared by the tests of a module."""
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    """What starts browsers."""
    if CHROMIUM is None:
        if os.environ.get("CI_BROWSER"):
            pytest.fail("this job installs Chromium, and it is not there")
        pytest.skip("Chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        yield started

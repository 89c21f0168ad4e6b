"""A real Chromium with a microphone that plays a file, and pages in it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = os.environ.get("VOICERAG_TEST_CHROMIUM") or shutil.which("chromium")
MS = 90_000
"""How long the browser may take for one thing, in milliseconds; then it hangs."""


@contextmanager
def launched(engine: Any, clip: Path, permission: str) -> Iterator[Any]:
    started = engine.chromium.launch(
        executable_path=CHROMIUM,
        args=[
            "--no-sandbox",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={clip}",
            "--host-resolver-rules=MAP kb.test 127.0.0.1",
            permission,
        ],
    )
    yield started
    started.close()


class Page:
    """A page, the errors in it and the addresses that it asked."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.page.goto(url)

    def connected(self) -> Page:
        self.page.wait_for_selector("#connection[data-state=open]", timeout=MS)
        return self

    def ask(self, words: str) -> None:
        self.page.fill("#question", words)
        self.page.press("#question", "Enter")

    def answered(self, number: int = 1, status: str = "completed") -> Any:
        place = f".turn:nth-child({number}) .answer[data-status={status}]"
        return self.page.wait_for_selector(place, timeout=MS)

    def read(self, expression: str) -> Any:
        return json.loads(self.page.evaluate(f"JSON.stringify({expression}) ?? 'null'"))

    def eventually(self, expression: str, least: float = 1) -> Any:
        for _ in range(MS // 100):
            value = self.read(expression)
            if value is not None and value >= least:
                return value
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{expression} stays at {value}")

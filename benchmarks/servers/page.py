"""The page in a real Chromium: when its user hears the answer to a spoken question.

Each question has a browser of its own, whose microphone plays the recording. The page itself says
when the first sample of the answer left the loudspeaker (`AudioContext.getOutputTimestamp`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.web.browsing import MS, Page, launched
from voicerag_core import Audio, read_audio, write_wav

__all__ = ["page_latencies"]

BEFORE_SECONDS, AFTER_SECONDS = 2.0, 60.0
RATE = 48_000


async def page_latencies(port: int, clips: Sequence[Path]) -> list[dict[str, float]]:
    """Ask each question by a microphone, hands-free.

    Returns:
        For each, seconds from the last voiced sample by stage: those of the server, and ``heard``.
    """
    return await asyncio.to_thread(_ask_all, port, clips)


def _ask_all(port: int, clips: Sequence[Path]) -> list[dict[str, float]]:
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as folder, sync_playwright() as engine:
        return [_ask(engine, port, _microphone(clip, Path(folder))) for clip in clips]


def _microphone(clip: Path, folder: Path) -> Path:
    """Write what the microphone hears: the question, with silence around it."""
    asked = read_audio(clip, sample_rate=RATE).samples
    before, after = (np.zeros(int(RATE * some)) for some in (BEFORE_SECONDS, AFTER_SECONDS))
    file = folder / f"{clip.stem}.wav"
    write_wav(file, Audio(np.concatenate([before, asked, after]).astype(np.float32), RATE))
    return file


def _ask(engine: object, port: int, microphone: Path) -> dict[str, float]:
    with launched(engine, microphone, "--use-fake-ui-for-media-stream") as browser:
        page = Page(browser, f"http://localhost:{port}/").connected()
        page.page.wait_for_timeout(2000)  # the start of the browser is not to be measured
        page.page.click("#hands-free")
        page.page.wait_for_selector(".turn .answer[data-status]", timeout=MS)
        page.eventually("voicerag.turns[0].stages.heard", 0.001)
        stages: dict[str, float] = page.read("voicerag.turns[0].stages")
        page.context.close()
    return stages

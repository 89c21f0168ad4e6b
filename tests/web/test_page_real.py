"""The page, a real browser, a recorded question in the microphone, and the real local stack."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.waiting import wait_until
from tests.web.browsing import MS, Page, launched
from voicerag_core import SPEECH_RATE_HZ, Audio, read_audio, resample, write_wav

pytestmark = [pytest.mark.slow, pytest.mark.enable_socket]

SAMPLE = Path(__file__).parents[2] / "examples/sample"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`voicerag serve` on a part of the sample base, in a process of its own."""
    folder = tmp_path_factory.mktemp("serve")
    lines = (SAMPLE / "passages.jsonl").read_text("utf-8").splitlines()
    (folder / "passages.jsonl").write_text("\n".join(lines[::4]), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    voicerag = [sys.executable, "-m", "voicerag_core.cli", "--data-dir", str(folder / "data")]
    subprocess.run([*voicerag, "index", str(folder / "passages.jsonl")], check=True, timeout=600)
    with subprocess.Popen([*voicerag, "serve", "--port", str(port)]) as server:
        try:
            wait_until(lambda: _listens(port))
            yield f"http://localhost:{port}"
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def question() -> tuple[Path, dict[str, Any]]:
    """Return the first recorded question whose passage is in the part that is indexed."""
    kept = {
        json.loads(line)["id"]
        for line in (SAMPLE / "passages.jsonl").read_text("utf-8").splitlines()[::4]
    }
    rows = map(json.loads, (SAMPLE / "questions.jsonl").read_text("utf-8").splitlines())
    row = next(row for row in rows if row["passage"] in kept)
    return SAMPLE / row["audio"], row


def test_a_spoken_question_is_answered_and_a_second_one_interrupts(
    engine: Any, address: str, tmp_path: Path
) -> None:
    recording, row = question()
    rate = 48_000
    asked = resample(Audio(read_audio(recording).samples, SPEECH_RATE_HZ), rate).samples
    sound = np.concatenate([np.zeros(rate // 2), asked, np.zeros(4 * rate)])
    clip = tmp_path / "microphone.wav"
    write_wav(clip, Audio(np.tile(sound, 8).astype(np.float32), rate))
    with launched(engine, clip, "--use-fake-ui-for-media-stream") as browser:
        page = Page(browser, address)
        page.connected()
        page.page.click("#hands-free")
        page.page.wait_for_selector(".turn:first-child .source.cited mark", timeout=3 * MS)
        page.page.wait_for_selector(".flag", timeout=3 * MS)  # the next one came while it spoke
        page.page.click("#hands-free")
        words = page.page.inner_text(".turn:first-child .asked").lower()
        right = row["question"].lower().strip("?").split()
        assert sum(word in words for word in right) >= len(right) / 2
        page.page.evaluate("document.getElementById('stop').click()")
        for _ in range(MS // 100):
            heard = page.read("voicerag.player")
            if not heard["active"]:
                break
            page.page.wait_for_timeout(100)
        assert heard["played"] + heard["flushed"] == heard["received"]
        assert page.errors == []
        page.context.close()

"""LangChain's and LlamaIndex's own MCP clients, each in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.mcp.test_conformance import ROOT, everything

CLIENTS = {
    "langchain_client.py": ["langchain[mcp]==1.4.7"],
    "llamaindex_client.py": ["llama-index-tools-mcp==0.6.0"],
}
ASKED = {"text": "where does the rhine rise"}

pytestmark = [pytest.mark.slow, pytest.mark.enable_socket, pytest.mark.timeout(1200)]


def calls(sound: Path) -> dict[str, dict[str, Any]]:
    return {
        "voice_search": ASKED,
        "voice_ask": ASKED,
        "voice_transcribe": {"audio_path": str(sound)},
        "voice_speak": {"text": "Hello there."},
        "voice_ingest": {"text": "Tea grows in Assam.", "source": "tea"},
        "voice_collections": {},
        "voice_status": {},
    }


@pytest.mark.parametrize("client", CLIENTS)
def test_a_framework_calls_every_tool(client: str, tmp_path: Path, wav: bytes) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    quiet: list[Path | str] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    done = subprocess.run([*quiet, *CLIENTS[client]], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{CLIENTS[client]} cannot be installed: {done.stderr[-200:]}")
    sound, plan = tmp_path / "q.wav", tmp_path / "calls.json"
    sound.write_bytes(wav)
    plan.write_text(json.dumps(calls(sound)))
    stdio = [sys.executable, "-m", "tests.mcp.everything", "stdio"]
    with everything("--bare") as url:
        for target in (url, stdio):
            script = ROOT / "tests" / "mcp" / "clients" / client
            done = subprocess.run(
                [python, script, json.dumps(target), plan, ROOT],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            given = json.loads(done.stdout)
            assert set(given["tools"]) >= set(calls(sound))
            check(given["said"])


def check(said: dict[str, str]) -> None:
    assert "Swiss Alps" in said["voice_search"]
    assert "The Rhine rises in the Swiss Alps." in said["voice_ask"]
    assert "voicerag://clip/" in said["voice_ask"]
    assert "voicerag://clip/" in said["voice_speak"]
    assert "where does the rhine rise" in said["voice_transcribe"]
    assert "1 documents ingested" in said["voice_ingest"] or "unchanged" in said["voice_ingest"]
    assert "passages" in said["voice_collections"]
    assert "database: ok" in said["voice_status"] or "'ok'" in said["voice_status"]
    for text in said.values():
        assert len(text) < 50_000
        assert "UklGR" not in text, "no sound in words"

"""The program itself, on standard input and output."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from tests.waiting import PATIENCE
from voicerag_mcp.cli import main

HEAVY = ("ctranslate2", "onnxruntime", "tokenizers", "libpq", "soundfile")


class Program:
    """A running ``python -m voicerag_mcp`` and its messages."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "voicerag_mcp", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "VOICERAG_DATA_DIR": str(data)},
        )

    def send(self, method: str, number: int | None = None, **params: Any) -> None:
        assert self.process.stdin is not None
        body = {"jsonrpc": "2.0", "method": method, "params": params}
        self.process.stdin.write(json.dumps(body | ({} if number is None else {"id": number})))
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def raw(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self, number: int) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            got: dict[str, Any] = json.loads(line)
            if got.get("id") == number and ("result" in got or "error" in got):
                return got
        raise AssertionError("the program ended")

    def hello(self) -> None:
        who = {"name": "test", "version": "1"}
        self.send("initialize", 0, protocolVersion="2025-11-25", capabilities={}, clientInfo=who)
        self.answer(0)
        self.send("notifications/initialized")


@contextmanager
def program(data: Path, *arguments: str) -> Iterator[Program]:
    started = Program(data, *arguments)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()
        for pipe in (started.process.stdin, started.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def test_tools_are_listed_and_nothing_heavy_is_loaded(tmp_path: Path) -> None:
    with program(tmp_path / "data") as running:
        running.hello()
        running.send("tools/list", 1)
        assert len(running.answer(1)["result"]["tools"]) == 7
        mapped = Path(f"/proc/{running.process.pid}/maps").read_text()
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
        assert children.read_text() == "", "neither Postgres nor a voice runs"
    assert not [name for name in HEAVY if name in mapped]
    assert not (tmp_path / "data").exists(), "not even the database"


def test_it_ends_with_its_client(tmp_path: Path) -> None:
    for end in ("close", "SIGTERM"):
        with program(tmp_path) as running:
            running.hello()
            if end == "close":
                assert running.process.stdin is not None
                running.process.stdin.close()
            else:
                running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(PATIENCE) == (0 if end == "close" else 143)


def test_malformed_lines_change_nothing(tmp_path: Path) -> None:
    lines = [
        *("", "{", "[]", "null", '"x"', "\x00", "[" * 3000),
        '{"jsonrpc":"2.0","id":[]}',
        '{"jsonrpc":"2.0","id":7,"method":"no/such"}',
        '{"jsonrpc":"2.0","method":"x"}',
    ]
    with program(tmp_path) as running:
        running.hello()
        for number in range(1000):
            running.raw(lines[number % len(lines)])
        running.send("tools/list", 99)
        assert len(running.answer(99)["result"]["tools"]) == 7


async def test_the_official_client_starts_it(tmp_path: Path) -> None:
    env = {"VOICERAG_DATA_DIR": str(tmp_path), "VOICERAG_SPEAK": "false"}
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "voicerag_mcp", "--read-only"], env=env
    )
    async with Client(server) as client:
        assert len((await client.list_tools()).tools) == 6
        refused = await client.call_tool("voice_ask", {})
    assert refused.is_error


def test_the_command_refuses_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--transport", "http", "--host", "0.0.0.0"]) == 2
    assert "VOICERAG_MCP_TOKEN_FILE" in capsys.readouterr().err
    assert main(["--allow-path", "/no/such/folder"]) == 2
    assert "not a folder" in capsys.readouterr().err


def test_a_missing_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicerag_mcp.cli.find_spec", lambda _: None)
    assert main([]) == 2
    assert "voicerag-core[mcp]" in capsys.readouterr().err


def test_a_token_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voicerag_core.serving import TokenFile

    monkeypatch.setattr("voicerag_mcp.cli.find_spec", lambda _: None)  # the web server's users
    assert main(["token", "alice b", "--tenant", "acme", "--write"]) == 0
    told = capsys.readouterr()
    file = tmp_path / "tokens.toml"
    file.write_text(told.out)
    file.chmod(0o600)
    TokenFile(file)
    assert "vr_" in told.err
    assert "vr_" not in told.out

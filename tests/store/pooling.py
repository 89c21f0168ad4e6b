"""PgBouncer before a database, where it is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.waiting import wait_until


def program() -> str:
    """Find PgBouncer, or skip the test by its name."""
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("pgbouncer is not installed")
    return found


@contextmanager
def pooler(dsn: str, *, connections: int = 1) -> Iterator[str]:
    """Yield the DSN of a PgBouncer in transaction mode, with so many connections to the server."""
    command = [program(), "-q"]
    server = conninfo_to_dict(dsn)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="pooler") as folder:
        Path(folder).chmod(0o755)
        place = " ".join(f"{key}={server[key]}" for key in ("host", "port", "dbname", "user"))
        config = Path(folder) / "pgbouncer.ini"
        config.write_text(
            f"[databases]\nkb = {place} pool_size={connections}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
            "pool_mode = transaction\nunix_socket_dir =\nmax_client_conn = 200\n"
        )
        if os.geteuid() == 0:  # it refuses to run as root; the socket admits the server's account
            command += ["-u", pwd.getpwuid(Path(str(server["host"])).stat().st_uid).pw_name]
        with subprocess.Popen([*command, str(config)], stderr=subprocess.DEVNULL) as running:
            try:
                wait_until(lambda: answers(port), "PgBouncer does not listen")
                yield f"postgresql://any@127.0.0.1:{port}/kb"
            finally:
                running.terminate()
                running.wait(20)


@contextmanager
def slowed(dsn: str, seconds: float = 0.02) -> Iterator[str]:
    """Yield the DSN of a way to a pooler on which each message of a client takes so long."""
    port = int(str(conninfo_to_dict(dsn)["port"]))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_admit, args=(listening, port, seconds), daemon=True).start()
        yield dsn.replace(f":{port}/", f":{listening.getsockname()[1]}/") + "?sslmode=disable"
        listening.shutdown(socket.SHUT_RDWR)


def _admit(listening: socket.socket, port: int, seconds: float) -> None:
    with suppress(OSError):
        while True:
            client, _ = listening.accept()
            server = socket.create_connection(("127.0.0.1", port))
            for work in (_messages, _bytes):
                given = (client, server, seconds)
                threading.Thread(target=work, args=given, daemon=True).start()


def _messages(client: socket.socket, server: socket.socket, seconds: float) -> None:
    """Pass on what a client says, message by message: the first of them has no type."""
    with suppress(OSError, struct.error), client.makefile("rb") as said, server:
        kind = b""
        while True:
            head = said.read(4)
            (size,) = struct.unpack(">I", head)
            time.sleep(seconds)
            server.sendall(kind + head + said.read(size - 4))
            kind = said.read(1)


def _bytes(client: socket.socket, server: socket.socket, _: float) -> None:
    with suppress(OSError), client:
        while told := server.recv(65536):
            client.sendall(told)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True

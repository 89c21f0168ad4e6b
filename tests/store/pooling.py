"""PgBouncer before a database, where it is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True

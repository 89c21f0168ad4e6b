"""The embedded server, reached by a network address: for programs that take no socket's."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo


def _forward(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def reached_by_tcp(dsn: str) -> Iterator[str]:
    """Yield the same database with the host 127.0.0.1, through a port of this process."""
    path = Path(str(conninfo_to_dict(dsn)["host"])) / ".s.PGSQL.5432"
    door = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = door.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(path))
                for ends in ((caller, server), (server, caller)):
                    threading.Thread(target=_forward, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield make_conninfo(dsn, host="127.0.0.1", port=str(door.getsockname()[1]))
    finally:
        door.close()

"""A pool of connections that heals itself, and whose statements end when the caller gives up."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

import psycopg
from psycopg_pool import ConnectionPool

from voicerag_core.cancellation import interruptible
from voicerag_core.errors import StoreError
from voicerag_core.store.errors import connection_lost

__all__ = ["Connection", "Pool", "Row"]

Row: TypeAlias = tuple[object, ...]
Connection: TypeAlias = psycopg.Connection[Row]

_T = TypeVar("_T")

_CANCEL_SECONDS = 5.0

# The pool reports each failed attempt to connect; callers get the error itself.
logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())


class Pool:
    """Connections to one database; its errors are the driver's.

    Args:
        dsn: The database.
        size: Most connections.
        prepare: Prepare statements.
        timeout: Seconds to wait for a connection.
        configure: Called with every new connection.
    """

    def __init__(
        self,
        dsn: str,
        *,
        size: int,
        prepare: bool,
        timeout: float,
        configure: Callable[[Connection], None],
    ) -> None:
        self._dsn = dsn
        self._timeout = timeout
        self._active: set[Connection] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            dsn,
            kwargs={
                "autocommit": True,
                "prepare_threshold": 0 if prepare else None,
                "connect_timeout": max(2, round(timeout)),
            },
            min_size=0,
            max_size=size,
            timeout=timeout,
            reconnect_timeout=timeout,
            num_workers=1,
            configure=configure,
            name="voicerag",
            open=True,
        )

    def connect(self) -> Connection:
        """Open a connection outside the pool, as the login; its errors say why it failed."""
        return psycopg.connect(
            self._dsn, autocommit=True, connect_timeout=max(2, round(self._timeout))
        )

    def run(self, work: Callable[[Connection], _T], *, attempts: int) -> _T:
        """Run `work` with a connection; one that was lost is replaced for the next attempt."""
        while True:
            attempts -= 1
            try:
                with self._pool.connection() as connection, self._registered(connection):
                    return work(connection)
            except psycopg.OperationalError as error:
                if self._closed:
                    raise StoreError("the store was closed while a query ran") from error
                if not connection_lost(error):
                    raise
                self.connect().close()  # the server is gone: its own error, at once
                self._pool.check()
                if attempts <= 0:
                    raise

    def close(self) -> None:
        """Cancel what runs on the server, and close every connection."""
        with self._lock:
            self._closed = True
            active = list(self._active)
        for connection in active:
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=_CANCEL_SECONDS)
        self._pool.close(timeout=self._timeout)

    @contextlib.contextmanager
    def _registered(self, connection: Connection) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise StoreError("the store is closed; open it again")
            self._active.add(connection)
        try:
            with interruptible(lambda: connection.cancel_safe(timeout=_CANCEL_SECONDS)):
                yield
        finally:
            with self._lock:
                self._active.discard(connection)

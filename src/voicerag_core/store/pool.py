"""A pool of connections that heals itself, and whose statements end when the caller gives up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from voicerag_core.cancellation import interruptible
from voicerag_core.errors import StoreError
from voicerag_core.store.connecting import Connection, Row, connect, connection_options
from voicerag_core.store.embedded import restart_embedded
from voicerag_core.store.errors import OutcomeUnknownError, connection_lost, is_starting
from voicerag_core.store.forks import renewed_in_children

__all__ = ["ATTEMPTS", "Connection", "Pool", "Row"]

_T = TypeVar("_T")

ATTEMPTS: Final = 3
"""Times that work is begun on a new connection when one is lost: idle ones that the server closed,
and once more if it dies meanwhile."""

_CANCEL_SECONDS = 5.0
_STARTING_PAUSE_SECONDS = 0.1


class Pool:
    """Connections to one database; its errors are the driver's.

    A process that is forked off gets connections of its own.

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
        self._size = size
        self._prepare = prepare
        self._timeout = timeout
        self._configure = configure
        self._active: set[Connection] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._pool: ConnectionPool[Connection] | None = None
        self._of_parents: list[object] = []
        renewed_in_children(self, Pool._leave_to_parent)

    def connect(self) -> Connection:
        """Open a connection outside the pool, as the login; its errors say why it failed."""
        return connect(self._dsn, timeout=self._timeout)

    def run(self, work: Callable[[Connection], _T]) -> _T:
        """Run `work` with a connection; if that is lost, begin again with another.

        Only what left nothing behind is begun again: `work` must be a transaction, and raise
        `OutcomeUnknownError` when the connection was lost while it was committed.
        """
        for remaining in reversed(range(ATTEMPTS)):
            pool = self._opened()
            try:
                with pool.connection() as connection, self._registered(connection):
                    return work(connection)
            except OutcomeUnknownError:
                raise
            except PoolTimeout:
                if not (remaining and restart_embedded(self._dsn)):
                    self.connect().close()  # if the server is the reason: its own error
                    raise
            except psycopg.OperationalError as error:
                if self._closed:
                    raise StoreError("the store was closed while a query ran") from error
                if not connection_lost(error):
                    raise
                self._reach()  # if the server is gone: its own error, at once
                pool.check()
                if not remaining:
                    raise
        raise AssertionError

    def close(self) -> None:
        """Cancel what runs on the server, and close every connection."""
        with self._lock:
            self._closed = True
            active = list(self._active)
            pool = self._pool
        for connection in active:
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=_CANCEL_SECONDS)
        if pool is not None:
            pool.close(timeout=self._timeout)

    def _opened(self) -> ConnectionPool[Connection]:
        with self._lock:
            if self._closed:
                raise StoreError("the store is closed; open it again")
            if self._pool is None:
                self._pool = ConnectionPool(
                    self._dsn,
                    kwargs=connection_options(self._timeout, prepare=self._prepare),
                    min_size=0,
                    max_size=self._size,
                    timeout=self._timeout,
                    reconnect_timeout=self._timeout,
                    num_workers=1,
                    configure=self._configure,
                    name="voicerag",
                    open=True,
                )
            return self._pool

    def _reach(self) -> None:
        """Connect once; a server that is starting is waited for, as long as for a connection."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError as error:
                if not is_starting(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_STARTING_PAUSE_SECONDS)
            else:
                return

    def _leave_to_parent(self) -> None:
        """In a child: keep what is the parent's, since letting go of it would end it."""
        self._of_parents += [self._pool, self._active]
        self._pool, self._active = None, set()
        self._lock = threading.Lock()

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

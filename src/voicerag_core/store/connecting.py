"""The one way in which a connection to a database is opened, whatever login and environment say."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import IsolationLevel

from voicerag_core.store.embedded import restart_embedded

__all__ = [
    "SESSION",
    "Connection",
    "Row",
    "connect",
    "connection_options",
    "is_pooled",
    "pipelined",
    "read_transaction",
    "set_defaults",
    "transaction",
    "unlimited",
]

Row: TypeAlias = tuple[object, ...]
Connection: TypeAlias = psycopg.Connection[Row]

SESSION: Final = {
    "row_security": "on",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
}
"""Settings that the statements rely on and that a login or a database may have changed; they are
set in each transaction."""

_TRANSACTION_TIMEOUT_SINCE: Final = 170_000
"""Version of the server that brought transaction_timeout."""

# The driver reports each attempt that failed; callers get the error itself.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


def connection_options(timeout: float, *, prepare: bool = False) -> dict[str, Any]:
    """Return the driver's options for a connection.

    Texts pass as UTF-8, whatever client_encoding the connection string, the login or the
    environment ask for.

    Args:
        timeout: Seconds to wait for the server.
        prepare: Prepare statements.
    """
    return {
        "autocommit": True,
        "client_encoding": "utf8",
        "connect_timeout": max(2, round(timeout)),
        "fallback_application_name": "voicerag",
        "prepare_threshold": 0 if prepare else None,
    }


def connect(dsn: str, *, timeout: float = 5.0, write: bool = False) -> Connection:
    """Open a connection as the login; an embedded server of this process that died is restarted.

    A statement outside a transaction is one of its own; each sees what others commit meanwhile,
    whatever the login's default is.

    Args:
        dsn: The database.
        timeout: Seconds to wait for the server.
        write: Let transactions write, even if those of the login only read by default; a replica
            refuses such transactions.
    """
    options = connection_options(timeout)
    try:
        connection = psycopg.connect(dsn, **options)
    except psycopg.OperationalError:
        if restart_embedded(dsn) is None:
            raise
        connection = psycopg.connect(dsn, **options)
    set_defaults(connection, write=write)
    return connection


def set_defaults(connection: Connection, *, write: bool) -> None:
    """Choose how transactions begin, whatever the login's defaults are; nothing is sent yet."""
    connection.isolation_level = IsolationLevel.READ_COMMITTED
    if write:
        connection.read_only = False


def unlimited(connection: Connection) -> dict[str, str]:
    """Return the settings under which a transaction takes as long as it needs."""
    settings = {"statement_timeout": "0", "lock_timeout": "0"}
    if connection.info.server_version >= _TRANSACTION_TIMEOUT_SINCE:
        settings["transaction_timeout"] = "0"
    return settings


@contextmanager
def transaction(connection: Connection, settings: Mapping[str, str]) -> Iterator[None]:
    """Run a block in a transaction of a connection outside a pool, under settings of its own.

    Args:
        connection: Not in a transaction yet.
        settings: Server settings besides `SESSION`.
    """
    chosen = {**settings, **SESSION}
    calls = ", ".join(["set_config(%s, %s, true)"] * len(chosen))
    values = [part for setting in chosen.items() for part in setting]
    with connection.transaction():
        connection.execute(f"SELECT {calls}".encode(), values)
        yield


def is_pooled(connection: Connection) -> bool:
    """Tell whether a pooler is between: it gives its clients other process numbers than theirs."""
    (row,) = connection.execute("SELECT pg_backend_pid()").fetchall()
    return row[0] != connection.info.backend_pid


def pipelined(connection: Connection, *, pooled: bool) -> AbstractContextManager[object]:
    """Send the statements of a block together, or one by one behind a pooler.

    The driver ends a pipeline with a Sync and then a Flush. A pooler in transaction mode takes the
    server's connection back after the Sync; a Flush that arrives later checks out another one,
    which nothing gives back until this client's next transaction: when all of a pool are held so,
    every other client waits (seen with PgBouncer 1.18; compare its issue 759).
    """
    return nullcontext() if pooled else connection.pipeline()


@contextmanager
def read_transaction(connection: Connection, *, pooled: bool) -> Iterator[None]:
    """Run a block that does not write in a transaction, `pipelined` where that is safe.

    Args:
        connection: Not in a transaction yet; in autocommit, so that a pipeline is a transaction.
        pooled: Whether a pooler is between.
    """
    if not pooled:
        with connection.pipeline():
            yield
        return
    before, connection.read_only = connection.read_only, True
    try:
        with connection.transaction():
            yield
    finally:
        if not connection.closed:
            connection.read_only = before

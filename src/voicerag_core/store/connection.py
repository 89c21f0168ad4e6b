"""Pooled connections that act for one tenant, with the rights of one role and never more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import LiteralString, TypeAlias, TypeVar

import psycopg
from psycopg import errors as pg
from psycopg import pq, sql
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.rows import BaseRowFactory

from voicerag_core.store.connecting import (
    SESSION,
    Connection,
    Row,
    connect,
    is_pooled,
    read_transaction,
    set_defaults,
    transaction,
    unlimited,
)
from voicerag_core.store.errors import OutcomeUnknownError, connection_lost, redacted, translated
from voicerag_core.store.migrations import check_schema, extension_schema
from voicerag_core.store.pool import Pool
from voicerag_core.store.retrying import given_way
from voicerag_core.store.rights import refuse_missing_grants

__all__ = ["Connection", "Database", "Encoded", "Row", "Statement"]

Statement: TypeAlias = tuple[sql.Composed | sql.SQL, Mapping[str, object]]
"""A statement with its named parameters."""

_T = TypeVar("_T")

_MAX_SCAN_TUPLES = 40_000
"""Vectors that an iterative scan visits at most before it gives up; twice pgvector's default."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value in the binary form in which Postgres receives it; the statement names its type."""

    data: bytes


class _EncodedDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: Encoded) -> Buffer:
        return obj.data


class Database:
    """A pool of connections to one database, for one tenant.

    Role and tenant are set for each transaction alone, the other settings for each connection.
    Behind a pooler, which gives connections to other programs, they are set for each transaction
    too, so that nothing stays on a connection.

    ``keeps_sessions`` says whether a connection stays with one of the server, so that a lock of the
    session is that of its process.

    Args:
        dsn: The database.
        tenant: Tenant to read and write as.
        role: Role of the schema that all statements run as.
        pool_size: Most connections.
        prepare: Prepare statements. False is for a pooler that shares server connections between
            transactions; None finds out whether there is one.
        timeout: Seconds to wait for a connection.
        statement_timeout: Seconds that a read may take, and that a write waits for a lock.

    Raises:
        SchemaError: The schema is missing, older or newer.
        StoreUnavailableError: The database cannot be reached.
    """

    def __init__(
        self,
        dsn: str,
        *,
        tenant: str,
        role: LiteralString,
        pool_size: int,
        prepare: bool | None,
        timeout: float,
        statement_timeout: float,
    ) -> None:
        self.dsn = dsn
        self.tenant = tenant
        self._connect_timeout = timeout
        milliseconds = str(round(statement_timeout * 1000))
        with (
            translated(dsn),
            self.connect() as connection,
            transaction(connection, {"statement_timeout": milliseconds}),
        ):
            check_schema(connection, redacted(dsn))
            path = sql.SQL("voicerag, {}").format(sql.Identifier(extension_schema(connection)))
            schemas = path.as_string(connection)
            if prepare is None:
                prepare = not is_pooled(connection)
            self.keeps_sessions = prepare
            self._unlimited = unlimited(connection)
            del self._unlimited["lock_timeout"]
        self._session = {
            "search_path": schemas,
            "hnsw.iterative_scan": "relaxed_order",
            "hnsw.max_scan_tuples": str(_MAX_SCAN_TUPLES),
            "jit": "off",
            "lock_timeout": milliseconds,
            "statement_timeout": milliseconds,
            **SESSION,
        }
        self._own = prepare
        self._per_transaction = {"role": role, "voicerag.tenant": tenant}
        if not self._own:
            self._per_transaction |= self._session
        self._pool = Pool(
            dsn, size=pool_size, prepare=prepare, timeout=timeout, configure=self._configure
        )

    def connect(self) -> Connection:
        """Open a connection outside the pool, as the login; its errors say why it failed."""
        return connect(self.dsn, timeout=self._connect_timeout)

    def enter(self, connection: Connection) -> None:
        """Give a connection of `connect` settings, role and tenant of those in the pool, for good.

        Its statements are prepared, and planned without a look at the values. Only where
        ``keeps_sessions``.
        """
        self._configure(connection)
        connection.prepare_threshold = 0
        generic = {"plan_cache_mode": "force_generic_plan"}
        _set_for_good(connection, {**self._per_transaction, **generic})

    def read(
        self,
        *statements: Statement,
        rows: BaseRowFactory[_T],
        settings: Mapping[str, str] | None = None,
    ) -> list[list[_T]]:
        """Run statements in one transaction; return the rows of each.

        They take one round trip, or one each behind a pooler.

        A connection that was lost is replaced, and the statements are sent once more.

        Args:
            statements: They must not write.
            rows: What makes a row of a statement's columns, such as ``args_row(SearchRow)``.
            settings: Server settings of this transaction.
        """
        chosen = self._settings(settings or {})

        def run(connection: Connection) -> list[list[_T]]:
            with read_transaction(connection, pooled=not self._own):
                connection.execute(*chosen)
                cursors = [
                    connection.cursor(row_factory=rows).execute(query, values)
                    for query, values in statements
                ]
            return [cursor.fetchall() for cursor in cursors]

        return self._checked_out(run)

    def write(
        self, work: Callable[[Connection], _T], *, settings: Mapping[str, str] | None = None
    ) -> _T:
        """Run `work` in a transaction of its own; all of it happens, or nothing.

        It is run once more if the connection is lost before it is committed.

        Args:
            work: Writes.
            settings: Server settings of this transaction.
        """

        def run(connection: Connection) -> _T:
            committing = False
            try:
                with connection.transaction():
                    connection.execute(*self._settings({**self._unlimited, **(settings or {})}))
                    done = work(connection)
                    committing = True
            except psycopg.OperationalError as error:
                if committing and connection_lost(error):
                    raise OutcomeUnknownError(str(error)) from error
                raise
            return done

        return self._checked_out(run)

    def close(self) -> None:
        """Cancel what runs on the server, and close every connection."""
        self._pool.close()

    def _settings(self, extra: Mapping[str, str]) -> Statement:
        """Compose the statement that sets what holds for one transaction."""
        chosen = {**self._per_transaction, **extra}
        calls = [
            sql.SQL("set_config({}, {}, true)").format(
                sql.Literal(name), sql.Placeholder(f"v{index}")
            )
            for index, name in enumerate(chosen)
        ]
        values = {f"v{index}": value for index, value in enumerate(chosen.values())}
        return sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls)), values

    def _configure(self, connection: Connection) -> None:
        """Prepare a new connection; nothing is sent on one that is shared with other programs."""
        connection.adapters.register_dumper(Encoded, _EncodedDumper)
        connection.add_notice_handler(_ignore_notice)
        set_defaults(connection, write=True)
        if self._own:
            _set_for_good(connection, self._session)

    def _checked_out(self, run: Callable[[Connection], _T]) -> _T:
        with translated(self.dsn):
            try:
                return given_way(lambda: self._pool.run(run))
            except pg.InsufficientPrivilege as error:
                with self.connect() as connection:
                    refuse_missing_grants(connection, self.dsn, error)
                raise


def _set_for_good(connection: Connection, settings: Mapping[str, str]) -> None:
    """Set what holds for a connection until it ends."""
    calls = ", ".join(["set_config(%s, %s, false)"] * len(settings))
    values = [part for setting in settings.items() for part in setting]
    connection.execute(f"SELECT {calls}".encode(), values, prepare=False)


def _ignore_notice(_: psycopg.errors.Diagnostic) -> None:
    """Say nothing: a notice such as "word is too long to be indexed" is no fault."""

"""Pooled connections that act for one tenant, with the rights of one role and never more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import LiteralString, TypeAlias, TypeVar

import psycopg
from psycopg import pq, sql
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.rows import BaseRowFactory

from voicerag_core.store.errors import translated
from voicerag_core.store.migrations import extension_schema
from voicerag_core.store.pool import Connection, Pool, Row

__all__ = ["Connection", "Database", "HalfVector", "Row", "Statement"]

Statement: TypeAlias = tuple[sql.Composed | sql.SQL, Mapping[str, object]]
"""A statement with its named parameters."""

_T = TypeVar("_T")

_MAX_SCAN_TUPLES = 40_000
"""Vectors that an iterative scan visits at most before it gives up; twice pgvector's default."""


@dataclass(frozen=True, slots=True)
class HalfVector:
    """A vector in the form in which Postgres receives a halfvec."""

    data: bytes


class _HalfVectorDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: HalfVector) -> Buffer:
        return obj.data


class Database:
    """A pool of connections to one database, for one tenant.

    Every connection takes a role of the schema as soon as it is made. The tenant is set for each
    transaction alone, so nothing of it stays on a pooled connection.

    ``keeps_sessions`` says whether a connection stays with one of the server, so that a lock of the
    session is that of its process.

    Args:
        dsn: The database.
        tenant: Tenant to read and write as.
        role: Role of the schema that all statements run as.
        pool_size: Most connections.
        prepare: Prepare statements. False is for a pooler that shares server connections between
            transactions: then role and settings are set for each transaction too.
        timeout: Seconds to wait for a connection.
        statement_timeout: Seconds that a read may take, and that a write waits for a lock.
    """

    def __init__(
        self,
        dsn: str,
        *,
        tenant: str,
        role: LiteralString,
        pool_size: int,
        prepare: bool,
        timeout: float,
        statement_timeout: float,
    ) -> None:
        self.dsn = dsn
        self.tenant = tenant
        self.keeps_sessions = prepare
        self._connect_timeout = timeout
        milliseconds = str(round(statement_timeout * 1000))
        with translated(dsn), self.connect() as connection:
            schemas = f'voicerag, "{extension_schema(connection)}"'
        self._session = {
            "role": role,
            "search_path": schemas,
            "application_name": "voicerag",
            "hnsw.iterative_scan": "relaxed_order",
            "hnsw.max_scan_tuples": str(_MAX_SCAN_TUPLES),
            "jit": "off",
            "lock_timeout": milliseconds,
            "statement_timeout": milliseconds,
        }
        self._per_transaction = {"voicerag.tenant": tenant}
        if not prepare:
            self._per_transaction |= self._session
        self._pool = Pool(
            dsn, size=pool_size, prepare=prepare, timeout=timeout, configure=self._configure
        )

    def connect(self) -> Connection:
        """Open a connection outside the pool, as the login; its errors say why it failed."""
        return psycopg.connect(
            self.dsn, autocommit=True, connect_timeout=max(2, round(self._connect_timeout))
        )

    def read(
        self,
        *statements: Statement,
        rows: BaseRowFactory[_T],
        settings: Mapping[str, str] | None = None,
    ) -> list[list[_T]]:
        """Run statements in one round trip and one transaction; return the rows of each.

        A connection that was lost is replaced, and the statements are sent once more.

        Args:
            statements: They must not write.
            rows: What makes a row of a statement's columns, such as ``args_row(SearchRow)``.
            settings: Server settings of this transaction.
        """
        chosen = self._settings(settings or {})

        def run(connection: Connection) -> list[list[_T]]:
            with connection.pipeline():
                connection.execute(*chosen)
                cursors = [
                    connection.cursor(row_factory=rows).execute(query, values)
                    for query, values in statements
                ]
            return [cursor.fetchall() for cursor in cursors]

        return self._checked_out(run, attempts=2)

    def write(
        self, work: Callable[[Connection], _T], *, settings: Mapping[str, str] | None = None
    ) -> _T:
        """Run `work` in a transaction of its own; all of it happens, or nothing.

        Args:
            work: Writes.
            settings: Server settings of this transaction.
        """

        def run(connection: Connection) -> _T:
            with connection.transaction():
                connection.execute(*self._settings({"statement_timeout": "0", **(settings or {})}))
                return work(connection)

        return self._checked_out(run, attempts=1)

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
        connection.adapters.register_dumper(HalfVector, _HalfVectorDumper)
        connection.add_notice_handler(_ignore_notice)
        calls = sql.SQL(", ").join(
            sql.SQL("set_config({}, {}, false)").format(name, value)
            for name, value in self._session.items()
        )
        connection.execute(sql.SQL("SELECT {}").format(calls), prepare=False)

    def _checked_out(self, run: Callable[[Connection], _T], *, attempts: int) -> _T:
        with translated(self.dsn):
            return self._pool.run(run, attempts=attempts)


def _ignore_notice(_: psycopg.errors.Diagnostic) -> None:
    """Say nothing: a notice such as "word is too long to be indexed" is no fault."""

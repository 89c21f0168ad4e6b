"""Read-only transactions on somebody else's database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TypeVar

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import BaseRowFactory

from voicerag_core.closing import Closing
from voicerag_core.errors import StoreError
from voicerag_core.store.connecting import is_pooled, pipelined
from voicerag_core.store.connection import Statement
from voicerag_core.store.errors import checked_dsn, reason, redacted, translated
from voicerag_core.store.pool import Connection, Pool

__all__ = ["TableDatabase"]

_T = TypeVar("_T")


class TableDatabase(Closing):
    """Reads from a database in transactions that cannot write.

    Nothing is set beyond a transaction and nothing is prepared, so a pooler may stand between. The
    statements of a read go together, or one by one behind a pooler (`pipelined`). Works on a
    standby.

    Args:
        dsn: The database.
        pool_size: Most connections.
        timeout: Seconds to wait for a connection.
        statement_timeout: Seconds that a statement may take.
    """

    def __init__(
        self, dsn: str, *, pool_size: int, timeout: float, statement_timeout: float
    ) -> None:
        self.place = redacted(checked_dsn(dsn))
        self.dsn = dsn
        self._settings = {
            "statement_timeout": str(round(statement_timeout * 1000)),
            "jit": "off",
            "standard_conforming_strings": "on",
            "extra_float_digits": "1",
        }
        self._pooled: bool | None = None
        self._pool = Pool(
            dsn, size=pool_size, prepare=False, timeout=timeout, configure=lambda _: None
        )

    def read(
        self,
        *statements: Statement,
        rows: BaseRowFactory[_T],
        settings: Mapping[str, str] | None = None,
        table: str | None = None,
    ) -> list[list[_T]]:
        """Run statements in one transaction, and return the rows of each.

        Args:
            statements: They cannot write.
            rows: What makes a row of a statement's columns.
            settings: Server settings of this transaction.
            table: The table that is read, for error messages.

        Raises:
            StoreError: The database cannot be reached, or refused.
        """
        chosen = {**self._settings, **(settings or {})}
        calls = sql.SQL(", ").join(
            sql.SQL("set_config({}, {}, true)").format(sql.Literal(key), sql.Literal(value))
            for key, value in chosen.items()
        )

        def run(connection: Connection) -> list[list[_T]]:
            with pipelined(connection, pooled=self._pooled is not False), connection.transaction():
                if self._pooled is None:
                    self._pooled = is_pooled(connection)
                connection.execute("SET TRANSACTION READ ONLY")
                connection.execute(sql.SQL("SELECT {}").format(calls))
                cursors = [
                    connection.cursor(row_factory=rows).execute(query, values)
                    for query, values in statements
                ]
                return [cursor.fetchall() for cursor in cursors]

        with translated(self.dsn), _explained(self.place, table):
            return self._pool.run(run)

    def close(self) -> None:
        """Cancel what runs on the server, and close every connection."""
        self._pool.close()


@contextlib.contextmanager
def _explained(place: str, table: str | None) -> Iterator[None]:
    """Say what to do about the faults that a table of somebody else has."""
    named = "a table" if table is None else table
    try:
        yield
    except pg.InsufficientPrivilege as error:
        raise StoreError(
            f"the login may not read {named} on {place}: {reason(error)}; let its owner run "
            f"`GRANT USAGE ON SCHEMA ... TO login` and `GRANT SELECT ON {named} TO login`"
        ) from error
    except pg.UndefinedTable as error:
        raise StoreError(f"{place} has no {named} any more: {reason(error)}") from error
    except pg.UndefinedColumn as error:
        raise StoreError(
            f"{named} on {place} was changed, or a name is wrong: {reason(error)}"
        ) from error
    except pg.QueryCanceled as error:
        raise StoreError(
            f"the search of {named} on {place} was stopped: {reason(error)}; allow more time "
            "(statement_timeout=), or let its owner build an index: `voicerag table inspect` shows "
            "which"
        ) from error
    except pg.DataException as error:
        raise StoreError(f"{named} on {place} cannot be searched: {reason(error)}") from error
    except psycopg.errors.SyntaxError as error:
        raise StoreError(
            f"the condition `only` for {named} is not SQL that {place} takes: {reason(error)}"
        ) from error

"""What a database holds, table by table and part by part, in the form that a backup keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, NamedTuple

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import args_row, scalar_row

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import StoreError
from voicerag_core.store.backups.archive import BLOCK, Part
from voicerag_core.store.connecting import Connection, connect
from voicerag_core.store.errors import checked_dsn, reason, redacted, translated
from voicerag_core.store.migrations import schema_version
from voicerag_core.store.rows import COPY_END, COPY_START

__all__ = [
    "ALL_TENANTS_SINCE", "Group", "Table", "become_owner", "connected", "copy_part", "groups_of",
    "tables_of", "version_of_schema",
]  # fmt: skip

ALL_TENANTS_SINCE = 4
"""The version of the schema whose owner may ask for the rows of all tenants."""

_CONNECT_SECONDS = 5
_LOCK_SECONDS = 5

_TRANSACTION_TIMEOUT_SINCE = 170_000


class Table(NamedTuple):
    """A table of the schema.

    Args:
        name: Its name.
        columns: Those that are not computed.
        types: Of these, as Postgres names them.
        texts: Which of the key's columns are texts, to be put in the order of code points.
        key: Columns of the primary key.
    """

    name: str
    columns: list[str]
    types: list[str]
    texts: list[str]
    key: list[str]

    @property
    def collection(self) -> str | None:
        """The column with the number of the collection, if there is one."""
        if self.name == "collections":
            return "id"
        return "collection_id" if "collection_id" in self.columns else None


class Group(NamedTuple):
    """Whose rows a part holds: a collection of a tenant, or a tenant's in a table without."""

    tenant: str
    collection: int | None


_TABLES = """
SELECT c.relname::text,
    (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''),
    (SELECT array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) FROM pg_attribute a
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''),
    (SELECT coalesce(array_agg(a.attname::text), '{}') FROM pg_attribute a
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.atttypid = 'text'::regtype),
    (SELECT array_agg(a.attname::text ORDER BY k.place) FROM pg_index i,
        unnest(i.indkey) WITH ORDINALITY k(number, place)
        JOIN pg_attribute a ON a.attnum = k.number
     WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid)
FROM pg_class c
WHERE c.relnamespace = 'voicerag'::regnamespace AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition AND c.relname <> 'migrations'
ORDER BY c.relname
"""


@contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    """Yield a connection whose statements may take as long as they do."""
    with translated(checked_dsn(dsn)), connect(dsn, timeout=_CONNECT_SECONDS) as connection:
        connection.add_notice_handler(lambda _: None)
        yield connection


def become_owner(connection: Connection, dsn: str) -> None:
    """Act as the owner of the schema until the end of the transaction, without limits of time.

    Raises:
        StoreError: The login may not.
    """
    settings = {
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "lock_timeout": f"{_LOCK_SECONDS}s",
        "row_security": "on",
    }
    if connection.info.server_version >= _TRANSACTION_TIMEOUT_SINCE:
        settings["transaction_timeout"] = "0"
    for name, value in settings.items():
        connection.execute("SELECT set_config(%s, %s, true)", (name, value))
    try:
        connection.execute("SET LOCAL ROLE voicerag_owner")
    except (pg.InsufficientPrivilege, pg.InvalidParameterValue, pg.UndefinedObject) as error:
        raise _not_owner(dsn, error) from error


def version_of_schema(connection: Connection, dsn: str) -> int:
    """Return the version of the schema, 0 when there is none.

    Raises:
        StoreError: The login may not even look.
    """
    try:
        return schema_version(connection)
    except pg.InsufficientPrivilege as error:
        raise _not_owner(dsn, error) from error


def _not_owner(dsn: str, error: psycopg.Error) -> StoreError:
    return StoreError(
        f"the login may not act for all tenants on {redacted(dsn)}: {reason(error)}; use the "
        "login that ran `voicerag db migrate` or a superuser, or let an administrator run "
        "`GRANT voicerag_owner TO login`"
    )


def tables_of(connection: Connection) -> list[Table]:
    """Return the tables that hold rows of tenants, by name."""
    cursor = connection.cursor(row_factory=args_row(Table))
    return cursor.execute(_TABLES).fetchall()


def groups_of(connection: Connection, tables: Sequence[Table], version: int) -> list[Group]:
    """Return every tenant without a collection, and each of its collections.

    As the owner, in a transaction that reads: from version 4 of the schema on by asking for all
    tenants. Before, row-level security is lifted for the list of collections and put back at once;
    the lock that this takes is given back with it.
    """
    collections = [table for table in tables if table.name == "collections"]
    if version < ALL_TENANTS_SINCE:
        found: list[Group] = []
        with connection.transaction(force_rollback=True):
            connection.execute("ALTER TABLE voicerag.collections NO FORCE ROW LEVEL SECURITY")
            found += _groups(connection, collections)
        return found
    connection.execute("SELECT set_config('voicerag.all_tenants', 'on', true)")
    others = [table for table in tables if table.collection is None]
    found = _groups(connection, [*collections, *others])
    connection.execute("SELECT set_config('voicerag.all_tenants', 'off', true)")
    return found


def _groups(connection: Connection, tables: Sequence[Table]) -> list[Group]:
    found: set[Group] = set()
    for table in tables:
        column = sql.SQL("NULL") if table.collection is None else sql.Identifier(table.collection)
        query = sql.SQL("SELECT DISTINCT tenant, {} FROM voicerag.{}").format(
            column, sql.Identifier(table.name)
        )
        rows = connection.cursor(row_factory=args_row(Group)).execute(query).fetchall()
        found.update(rows)
        found.update(Group(row.tenant, None) for row in rows)
    return sorted(found, key=lambda group: (group.tenant, group.collection or 0))


def copy_part(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    group: Group,
    out: IO[bytes] | None = None,
) -> Part:
    """Read a part in the order of its key, and write it to `out` if that is given.

    Args:
        connection: In a transaction as the owner.
        table: Which one.
        columns: Of it, in the order of the binary rows.
        group: Whose rows.
        out: Takes the binary rows.
    """
    connection.execute("SELECT set_config('voicerag.tenant', %s, true)", (group.tenant,))
    digest = hashlib.sha256()
    size = 0
    with connection.cursor(row_factory=scalar_row) as cursor:
        with cursor.copy(_statement(table, columns, group)) as stream:
            for block in _blocks(iter(stream)):
                check_cancelled()
                digest.update(block)
                size += len(block)
                if out is not None:
                    out.write(block)
        rows = cursor.rowcount
    return Part(table.name, group.tenant, group.collection, rows, size, digest.hexdigest())


def _statement(table: Table, columns: Sequence[str], group: Group) -> sql.Composed:
    condition: sql.Composable = sql.SQL("tenant = {}").format(sql.Literal(group.tenant))
    if table.collection is not None:
        condition += sql.SQL(" AND {} = {}").format(
            sql.Identifier(table.collection), sql.Literal(group.collection)
        )
    order = sql.SQL(", ").join(
        sql.SQL('{} COLLATE "C"' if name in table.texts else "{}").format(sql.Identifier(name))
        for name in table.key
    )
    return sql.SQL(
        "COPY (SELECT {columns} FROM voicerag.{table} WHERE {condition} ORDER BY {order}) "
        "TO STDOUT (FORMAT binary)"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        table=sql.Identifier(table.name),
        condition=condition,
        order=order,
    )


def _blocks(rows: Iterator[bytes | bytearray | memoryview]) -> Iterator[bytes]:
    """Yield binary rows in blocks, without the header and the end mark.

    Source: PostgreSQL 18 documentation, COPY, "Binary Format".
    """
    block = bytearray()
    start = len(COPY_START)
    for row in rows:
        block += row
        if len(block) >= BLOCK + len(COPY_START) + len(COPY_END):
            yield bytes(block[start : -len(COPY_END)])
            del block[: -len(COPY_END)]
            start = 0
    if last := bytes(block[start : -len(COPY_END)]):
        yield last

"""Writing a backup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path

from psycopg import sql
from psycopg.rows import scalar_row

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import SchemaError
from voicerag_core.store.backups.archive import (
    ArchiveWriter,
    Manifest,
    Part,
    TableContent,
)
from voicerag_core.store.backups.content import (
    ALL_TENANTS_SINCE,
    Group,
    Table,
    become_owner,
    connected,
    copy_part,
    groups_of,
    tables_of,
    version_of_schema,
)
from voicerag_core.store.connecting import Connection
from voicerag_core.store.errors import MIGRATE, redacted
from voicerag_core.store.migrations import check_not_newer
from voicerag_core.store.whole_file import whole_file

__all__ = ["BackupReport", "OnRows", "backup"]

OnRows = Callable[[str, int], None]
"""Called with the name of a table and how many of its rows are done."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A backup that was written.

    Args:
        path: The file.
        bytes: Its size.
        sha256: Its checksum: of all but its last 64 bytes, which hold it.
        schema: Version of the schema.
        tenants: How many have rows.
        rows: Of each table.
    """

    path: Path
    bytes: int
    sha256: str
    schema: int
    tenants: int
    rows: dict[str, int]


def backup(
    dsn: str, path: Path, *, replace: bool = False, on_rows: OnRows | None = None
) -> BackupReport:
    """Write all that voicerag keeps in a database, of every tenant, into one file.

    The rows are those of one moment; reading and writing go on meanwhile. Works with any version of
    the schema up to this program's, on every server, and without programs of Postgres. The file is
    there whole or not at all; memory does not grow with the database. A replica will do.

    Args:
        dsn: The database; its login must be a member of voicerag_owner, as the one that ran
            `migrate` is.
        path: The file to write, mode 0600.
        replace: Take the place of a file of this name.
        on_rows: Told after each collection of each table.

    Raises:
        SchemaError: There is no schema, or a newer one.
        StoreError: The login lacks rights, or the file cannot be written.
        StoreUnavailableError: The database cannot be reached or went away.
    """
    with connected(dsn) as connection, whole_file(path, replace=replace) as file:
        archive = ArchiveWriter(file)
        try:
            with connection.transaction():
                manifest = _written(connection, dsn, archive, on_rows)
            digest = archive.finish(manifest)
        except BaseException:
            archive.abandon()
            raise
        size = file.tell()
    return BackupReport(
        path=path,
        bytes=size,
        sha256=digest,
        schema=manifest.schema,
        tenants=len({part.tenant for table in manifest.tables for part in table.parts}),
        rows={table.name: sum(part.rows for part in table.parts) for table in manifest.tables},
    )


def _written(
    connection: Connection, dsn: str, archive: ArchiveWriter, on_rows: OnRows | None
) -> Manifest:
    """Write the rows of one snapshot, and return what they are."""
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    place = redacted(dsn)
    schema = version_of_schema(connection, dsn)
    check_not_newer(schema, place)
    if not schema:
        raise SchemaError(f"{place} has no voicerag schema to back up; {MIGRATE} to make it")
    become_owner(connection, dsn)
    tables = tables_of(connection)
    names = sql.SQL(", ").join(sql.Identifier("voicerag", table.name) for table in tables)
    connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
    groups = groups_of(connection, tables, schema)
    if schema >= ALL_TENANTS_SINCE:
        connection.execute("SET TRANSACTION READ ONLY")
    contents = []
    for table in tables:
        parts: list[Part] = []
        with archive.table(table.name) as member:
            for group in _of(groups, table):
                check_cancelled()
                part = copy_part(connection, table, table.columns, group, member)
                if part.rows:
                    parts.append(part)
                if on_rows is not None:
                    on_rows(table.name, sum(one.rows for one in parts))
        contents.append(
            TableContent(table.name, tuple(table.columns), tuple(table.types), tuple(parts))
        )
    return Manifest(
        schema=schema,
        created=_text(connection, "SELECT to_char(now() AT TIME ZONE 'UTC', "
                      "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"),
        program=version_of("voicerag-core"),
        server=_text(connection, "SELECT current_setting('server_version')"),
        extension=_text(connection, "SELECT extversion FROM pg_extension WHERE extname = 'vector'"),
        tables=tuple(contents),
        sequences=_sequences(connection),
        indexed=_indexed(connection, groups),
    )  # fmt: skip


def _of(groups: Sequence[Group], table: Table) -> list[Group]:
    """Return the groups that a table is read by."""
    return [group for group in groups if (group.collection is None) == (table.collection is None)]


def _indexed(connection: Connection, groups: Sequence[Group]) -> tuple[tuple[str, int], ...]:
    return tuple(
        (group.tenant, group.collection)
        for group in groups
        if group.collection is not None
        and _text(
            connection,
            f"SELECT to_regclass('voicerag.vectors_hnsw_{group.collection}') IS NOT NULL",
        )
        == "True"
    )


def _sequences(connection: Connection) -> dict[str, int]:
    cursor = connection.cursor(row_factory=scalar_row)
    cursor.execute(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'voicerag'::regnamespace "
        "AND relkind = 'S' ORDER BY 1"
    )
    found = {}
    for name in cursor.fetchall():
        query = sql.SQL("SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END FROM {}")
        value = cursor.execute(query.format(sql.Identifier("voicerag", name))).fetchone()
        found[str(name)] = int(value or 0)
    return found


def _text(connection: Connection, query: str) -> str:
    return str(connection.cursor(row_factory=scalar_row).execute(query.encode()).fetchone())

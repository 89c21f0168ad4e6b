"""Restoring a backup into an empty database, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import args_row, scalar_row

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import SchemaError, StoreError
from voicerag_core.store.backups.archive import (
    ArchiveReader,
    Manifest,
    OnBytes,
    TableContent,
    open_archive,
)
from voicerag_core.store.backups.content import (
    Group,
    Table,
    become_owner,
    connected,
    copy_part,
    tables_of,
    version_of_schema,
)
from voicerag_core.store.connecting import Connection
from voicerag_core.store.errors import reason, redacted
from voicerag_core.store.migrations import (
    LATEST,
    apply_migrations,
    check_not_newer,
    take_migration_lock,
)
from voicerag_core.store.rows import COPY_END, COPY_START

__all__ = ["RestoreReport", "restore"]


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """A restore that was done.

    Args:
        schema: Version of the schema that the backup had.
        migrated: Later migrations that were applied to its rows.
        rows: Of each table, all compared with the backup.
        indexes: HNSW indexes that were built.
    """

    schema: int
    migrated: tuple[int, ...]
    rows: dict[str, int]
    indexes: int


def restore(dsn: str, path: Path, *, on_bytes: OnBytes | None = None) -> RestoreReport:
    """Bring back all that a backup holds, into a database without rows of voicerag.

    The checksum of the file is compared first. Then, in one transaction that nobody sees before its
    end: the schema of the backup's version is made, the rows are copied in and compared with the
    backup one collection of one table at a time, later migrations are applied, and the indexes
    are built. Whatever fails, the database stays as it was.

    Args:
        dsn: The database; its login must be able to `migrate` it.
        path: The backup.
        on_bytes: Told how much of the file was checked, and of each table restored.

    Raises:
        SchemaError: The schema of database or backup is newer than this program.
        StoreError: The backup cannot be used, the database holds rows, another restore or migration
            runs, or the login lacks rights.
        StoreUnavailableError: The database cannot be reached or went away.
    """
    with open_archive(path, on_bytes=on_bytes) as archive, connected(dsn) as connection:
        manifest = archive.manifest
        if manifest.schema > LATEST:
            raise SchemaError(
                f"the backup {path} has version {manifest.schema} of the schema (written by "
                f"voicerag-core {manifest.program}), and this program knows versions up to "
                f"{LATEST}; install a newer voicerag-core"
            )
        with connection.transaction():
            migrated, indexes = _restored(connection, redacted(dsn), dsn, archive, on_bytes)
        with connection.transaction():
            become_owner(connection, dsn)
            connection.execute("SELECT voicerag.refresh_statistics()")
    return RestoreReport(
        schema=manifest.schema,
        migrated=tuple(migrated),
        rows={table.name: sum(part.rows for part in table.parts) for table in manifest.tables},
        indexes=indexes,
    )


def _restored(
    connection: Connection, place: str, dsn: str, archive: ArchiveReader, on_bytes: OnBytes | None
) -> tuple[list[int], int]:
    """Restore within the caller's transaction; return later migrations and how many indexes."""
    manifest = archive.manifest
    connection.execute("SET TRANSACTION READ WRITE")  # whatever the login's default is
    take_migration_lock(connection, place)
    current = version_of_schema(connection, dsn)
    check_not_newer(current, place)
    if current:
        become_owner(connection, dsn)
        _refuse_rows(connection, place)
        connection.execute("DROP SCHEMA voicerag CASCADE")
        connection.execute("RESET ROLE")
    apply_migrations(connection, place, until=manifest.schema)
    become_owner(connection, dsn)
    tables = {table.name: table for table in tables_of(connection)}
    _refuse_other_tables(archive, tables)
    with _bare(connection, list(tables.values())):
        for content in manifest.tables:
            _fill(connection, archive, content, on_bytes)
    for name, value in manifest.sequences.items():
        connection.execute(
            "SELECT setval(format('voicerag.%%I', %s::text)::regclass, greatest(1, %s), %s)",
            (name, value, value > 0),
        )
    _compare(connection, archive, tables)
    connection.execute("RESET ROLE")
    migrated = apply_migrations(connection, place)
    become_owner(connection, dsn)
    return migrated, _build_indexes(connection, manifest, on_bytes)


def _refuse_rows(connection: Connection, place: str) -> None:
    """Refuse a database that holds rows, of whatever tenant."""
    for table in tables_of(connection):
        name = sql.Identifier("voicerag", table.name)
        try:
            connection.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(name))
        except pg.LockNotAvailable as error:
            raise StoreError(
                f"other programs use {place} at the moment ({reason(error)}), and a restore needs "
                "an empty database; restore into a new one, or stop them"
            ) from error
        query = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(name)
        if connection.cursor(row_factory=scalar_row).execute(query).fetchone():
            raise StoreError(
                f"{place} already holds {table.name} of voicerag, and a restore never mixes with "
                "them or replaces them; restore into a new database (createdb, or another "
                "--data-dir for an embedded one), or empty this one with `voicerag db reset --all`"
            )


def _refuse_other_tables(archive: ArchiveReader, tables: dict[str, Table]) -> None:
    for content in archive.manifest.tables:
        here = tables.get(content.name)
        if (
            here is None
            or list(content.columns) != here.columns
            or _plain(content.types) != _plain(here.types)
        ):
            raise StoreError(
                f"the backup {archive.path} holds a table {content.name!r} with other columns than "
                f"version {archive.manifest.schema} of the schema has; use the version of "
                "voicerag-core that wrote it"
            )


_SCHEMA = re.compile(r'^(?:"(?:[^"]|"")*"|[^".( ]+)\.')


def _plain(types: Sequence[str]) -> list[str]:
    """Return names of types without the schema, which pgvector has on one server and not another.

    Postgres names it where the login's search_path does not lead there.
    """
    return [_SCHEMA.sub("", name) for name in types]


class _Index(NamedTuple):
    """An index that no constraint needs."""

    name: str
    definition: str


_INDEXES = (
    "SELECT i.relname::text, pg_get_indexdef(i.oid) FROM pg_index x "
    "JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid "
    "WHERE t.relnamespace = 'voicerag'::regnamespace AND t.relkind = 'r' AND NOT x.indisunique "
    "ORDER BY 1"
)


@contextmanager
def _bare(connection: Connection, tables: Sequence[Table]) -> Iterator[None]:
    """Lift row-level security, triggers and secondary indexes inside the block."""
    names = [sql.Identifier("voicerag", table.name) for table in tables]
    indexes = connection.cursor(row_factory=args_row(_Index)).execute(_INDEXES).fetchall()
    for name in names:
        connection.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(name))
        connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(name))
    for index in indexes:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier("voicerag", index.name)))
    yield
    for index in indexes:
        connection.execute(index.definition.encode())
    for name in names:
        connection.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(name))
        connection.execute(sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(name))


def _fill(
    connection: Connection, archive: ArchiveReader, content: TableContent, on_bytes: OnBytes | None
) -> None:
    """Copy the rows of a table in."""
    statement = sql.SQL("COPY voicerag.{} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(content.name), sql.SQL(", ").join(map(sql.Identifier, content.columns))
    )
    done = 0
    try:
        with connection.cursor() as cursor, cursor.copy(statement) as stream:
            stream.write(COPY_START)
            for block in archive.blocks(content):
                check_cancelled()
                stream.write(block)
                done += len(block)
                if on_bytes is not None:
                    on_bytes(content.name, done, content.size)
            stream.write(COPY_END)
    except (pg.DataError, pg.IntegrityError) as error:
        raise StoreError(
            f"the backup {archive.path} cannot be used: Postgres refuses its rows of "
            f"{content.name} ({reason(error)}); use another copy"
        ) from error


def _compare(connection: Connection, archive: ArchiveReader, tables: dict[str, Table]) -> None:
    """Read every part back, and refuse one that differs from the backup."""
    for content in archive.manifest.tables:
        for part in content.parts:
            check_cancelled()
            group = Group(part.tenant, part.collection)
            found = copy_part(connection, tables[content.name], content.columns, group)
            if found != part:
                raise StoreError(
                    f"what was restored of {part.table} (tenant {part.tenant!r}, collection "
                    f"{part.collection}) differs from the backup: {found.rows} rows of "
                    f"{part.rows}; nothing was kept, report it with the versions that "
                    "`voicerag db status` prints"
                )


def _build_indexes(connection: Connection, manifest: Manifest, on_bytes: OnBytes | None) -> int:
    """Build the HNSW indexes that there were, and keep what the collections said of them."""
    name = sql.Identifier("voicerag", "collections")
    columns = connection.cursor(row_factory=scalar_row).execute(_SAID_OF_INDEXES).fetchall()
    connection.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(name))
    connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE voicerag_said ON COMMIT DROP AS SELECT * FROM {}").format(
            name
        )
    )
    wanted = sql.SQL(", index_kind" if "index_kind" in columns else "")
    built = 0
    for done, (tenant, collection) in enumerate(manifest.indexed, 1):
        check_cancelled()
        connection.execute("SELECT set_config('voicerag.tenant', %s, true)", (tenant,))
        cursor = connection.cursor(row_factory=scalar_row)
        cursor.execute(
            sql.SQL("SELECT voicerag.build_vector_index(id{}) FROM {} WHERE id = {}").format(
                wanted, name, sql.Literal(collection)
            )
        )
        built += bool(cursor.fetchone())
        if on_bytes is not None:
            on_bytes("indexes", done, len(manifest.indexed))
    for column in columns:
        connection.execute(
            sql.SQL("UPDATE {name} c SET {column} = s.{column} FROM voicerag_said s "
                    "WHERE s.id = c.id AND s.{column} IS DISTINCT FROM c.{column}").format(
                        name=name, column=sql.Identifier(str(column))
                    )
        )  # fmt: skip
    connection.execute(sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(name))
    return built


_SAID_OF_INDEXES = (
    "SELECT attname::text FROM pg_attribute WHERE attrelid = 'voicerag.collections'::regclass "
    "AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND attname NOT IN ('tenant', 'id')"
)

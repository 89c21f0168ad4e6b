"""Comparing a backup with its own checksums, and with a database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import SchemaError
from voicerag_core.store.backups.archive import Manifest, OnBytes, Part, open_archive
from voicerag_core.store.backups.content import (
    Group,
    become_owner,
    connected,
    copy_part,
    groups_of,
    tables_of,
    version_of_schema,
)
from voicerag_core.store.connecting import Connection
from voicerag_core.store.errors import MIGRATE, redacted

__all__ = ["Difference", "VerifyReport", "verify"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows of one collection of one tenant that are not the same in backup and database.

    Args:
        table: Where they are.
        tenant: Whose.
        collection: Number of the collection, or None in a table that has none.
        in_backup: How many rows the backup has.
        in_database: How many the database has.
    """

    table: str
    tenant: str
    collection: int | None
    in_backup: int
    in_database: int


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was compared.

    Args:
        manifest: What the backup says of itself; all of its bytes agree with their checksums.
        database: The database it was compared with, or None.
        parts: How many parts were compared with it.
        rows: How many rows these have.
        differences: Those parts that differ.
    """

    manifest: Manifest
    database: str | None
    parts: int
    rows: int
    differences: tuple[Difference, ...]


def verify(path: Path, dsn: str | None = None, *, on_bytes: OnBytes | None = None) -> VerifyReport:
    """Check every byte of a backup, and compare its rows with those of a database.

    A row is the same when all its columns are, in their binary form. The rows of the database are
    those of one moment; nothing is locked.

    Args:
        path: The backup.
        dsn: The database; its login must be a member of voicerag_owner. None compares the backup
            with its own checksums alone.
        on_bytes: Told how much was checked of the file, of each table, and compared.

    Raises:
        StoreError: The backup was cut or altered, or the login lacks rights.
        SchemaError: The database has no schema, or lacks columns that the backup has.
        StoreUnavailableError: The database cannot be reached or went away.
    """
    with open_archive(path, on_bytes=on_bytes) as archive:
        manifest = archive.manifest
        for content in manifest.tables:
            done = 0
            for block in archive.blocks(content):
                check_cancelled()
                done += len(block)
                if on_bytes is not None:
                    on_bytes(content.name, done, content.size)
    if dsn is None:
        return VerifyReport(manifest, None, 0, 0, ())
    found: list[Part] = []
    with connected(dsn) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for part in _parts(connection, dsn, manifest):
            found.append(part)
            if on_bytes is not None:
                on_bytes("compare", len(found), None)
    return VerifyReport(
        manifest=manifest,
        database=redacted(dsn),
        parts=len(found),
        rows=sum(part.rows for part in found),
        differences=tuple(_differences(manifest, found)),
    )


def _parts(connection: Connection, dsn: str, manifest: Manifest) -> Iterator[Part]:
    """Yield the parts that the database has of the tables of a backup."""
    version = version_of_schema(connection, dsn)
    if not version:
        raise SchemaError(f"{redacted(dsn)} has no voicerag schema to compare with; {MIGRATE}")
    become_owner(connection, dsn)
    tables = {table.name: table for table in tables_of(connection)}
    groups = groups_of(connection, list(tables.values()), version)
    for content in manifest.tables:
        table = tables.get(content.name)
        if table is None or not set(content.columns) <= set(table.columns):
            raise SchemaError(
                f"{redacted(dsn)} has version {version} of the schema and lacks columns of "
                f"{content.name} that the backup has (version {manifest.schema}); compare it with "
                "the database that it was restored into"
            )
        known = {Group(part.tenant, part.collection) for part in content.parts}
        here = {
            group for group in groups if (group.collection is None) == (table.collection is None)
        }
        for group in sorted(known | here, key=lambda one: (one.tenant, one.collection or 0)):
            check_cancelled()
            yield copy_part(connection, table, content.columns, group)


def _differences(manifest: Manifest, found: list[Part]) -> Iterator[Difference]:
    known = {
        (part.table, part.tenant, part.collection): part
        for content in manifest.tables
        for part in content.parts
    }
    for part in found:
        before = known.get((part.table, part.tenant, part.collection))
        if part != before and (part.rows or before is not None):
            yield Difference(
                part.table,
                part.tenant,
                part.collection,
                0 if before is None else before.rows,
                part.rows,
            )

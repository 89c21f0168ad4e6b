"""The schema of the store: numbered SQL files, applied when asked and never otherwise."""

from __future__ import annotations

import functools
import hashlib
from importlib.resources import files
from typing import LiteralString

from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import scalar_row

from voicerag_core.errors import SchemaError, StoreError
from voicerag_core.store.connecting import Connection, connect, transaction, unlimited
from voicerag_core.store.errors import MIGRATE, checked_dsn, reason, redacted, translated
from voicerag_core.store.rights import give_roles_what_they_need, refuse_foreign_schema

__all__ = [
    "LATEST",
    "apply_migrations",
    "check_not_newer",
    "check_schema",
    "extension_schema",
    "migrate",
    "schema_version",
    "take_migration_lock",
]

_SCRIPTS = {
    int(entry.name[:4]): entry
    for entry in files("voicerag_core.store").joinpath("sql").iterdir()
    if entry.name[:4].isdigit() and entry.name.endswith(".sql")
}

LATEST = max(_SCRIPTS)
"""The schema version that this program works with."""

_LOCK_KEY = 0x766F6963655F7261
"""Key of the advisory lock that lets one migration run at a time: "voice_ra" in ASCII."""

_CHECKSUMS_SINCE = 4
"""The version of the schema that keeps the checksums of its migrations."""

_OLDEST_EXTENSION = (0, 8)
"""pgvector 0.8 brought iterative scans; without them a filtered index search gives too few rows."""


def migrate(dsn: str, *, timeout: float = 5.0) -> list[int]:
    """Bring the schema of a database up to date; safe to run by several at once.

    The login must be able to make roles (CREATEROLE) and a schema (CREATE on the database), or be
    a superuser; `pgvector` must be installed on the server.

    Args:
        dsn: The database.
        timeout: Seconds to wait for a connection.

    Returns:
        The versions applied now; none when the schema was up to date.

    Raises:
        SchemaError: The extension is missing or old, the login may not make the schema, or the
            schema is newer than this program.
        StoreUnavailableError: The database cannot be reached.
    """
    place = redacted(checked_dsn(dsn))
    with (
        translated(dsn),
        connect(dsn, timeout=timeout, write=True) as connection,
        transaction(connection, unlimited(connection)),
    ):
        connection.add_notice_handler(lambda _: None)
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_KEY,))
        return apply_migrations(connection, place)


def take_migration_lock(connection: Connection, place: str) -> None:
    """Keep migrations and restores out until the end of the transaction.

    Raises:
        StoreError: One runs at the moment.
    """
    if not _value(connection, sql.SQL("SELECT pg_try_advisory_xact_lock({})").format(_LOCK_KEY)):
        raise StoreError(
            f"another restore or migration of {place} is running; wait until it is done, then "
            "look with `voicerag db status` before you repeat this one"
        )


def apply_migrations(connection: Connection, place: str, *, until: int | None = None) -> list[int]:
    """Bring the schema up to a version, in the caller's transaction and under its lock.

    The transaction then runs as voicerag_owner.

    Args:
        connection: In a transaction.
        place: The database, for messages.
        until: The version; None is the newest.

    Returns:
        The versions applied now.

    Raises:
        SchemaError: As for `migrate`.
    """
    _require_unicode(connection, place)
    refuse_foreign_schema(connection, place)
    current = schema_version(connection)
    check_not_newer(current, place)
    _refuse_drift(connection, current, place)
    last = LATEST if until is None else until
    pending = sorted(version for version in _SCRIPTS if current < version <= last)
    if not pending:
        give_roles_what_they_need(connection, place)
        return []
    _require_extension(connection, place)
    try:
        connection.execute(_script("bootstrap.sql"))
        give_roles_what_they_need(connection, place)
        connection.execute("SET LOCAL ROLE voicerag_owner")
        connection.execute(
            sql.SQL("SET LOCAL search_path = voicerag, {}, pg_catalog, pg_temp").format(
                sql.Identifier(extension_schema(connection))
            )
        )
        for version in pending:
            connection.execute(_SCRIPTS[version].read_bytes())
            connection.execute(
                "INSERT INTO voicerag.migrations (version, name) VALUES (%s, %s)",
                (version, _SCRIPTS[version].name),
            )
        if pending[-1] >= _CHECKSUMS_SINCE:
            _write_checksums(connection)
    except pg.InsufficientPrivilege as error:
        raise SchemaError(
            f"the login may not set up voicerag on {place}: {reason(error)}; "
            "let an administrator run `ALTER ROLE login CREATEROLE` and `GRANT CREATE ON "
            "DATABASE database TO login`, or run `voicerag db migrate` as a superuser and "
            "`GRANT voicerag_owner, voicerag_writer, voicerag_reader TO login` afterwards"
        ) from error
    return pending


def schema_version(connection: Connection) -> int:
    """Return the version of the schema in a database, 0 when there is none."""
    if _value(connection, "SELECT to_regclass('voicerag.migrations')") is None:
        return 0
    latest = _value(connection, "SELECT max(version) FROM voicerag.migrations")
    return int(str(latest or 0))


def check_schema(connection: Connection, place: str) -> None:
    """Refuse a database whose schema is not the one that this program works with.

    Raises:
        SchemaError: It is absent, older or newer.
    """
    refuse_foreign_schema(connection, place)
    try:
        current = schema_version(connection)
    except pg.InsufficientPrivilege as error:
        raise StoreError(
            f"the login may not use voicerag's schema on {place}: {reason(error)}; "
            "let an administrator run `GRANT voicerag_writer, voicerag_reader TO login`"
        ) from error
    check_not_newer(current, place)
    if current == 0:
        raise SchemaError(f"{place} has no voicerag schema; {MIGRATE} to make it")
    if current < LATEST:
        raise SchemaError(
            f"the voicerag schema on {place} has version {current} and this program needs "
            f"{LATEST}; {MIGRATE}"
        )
    _refuse_drift(connection, current, place)


def check_not_newer(current: int, place: str) -> None:
    """Refuse a schema that a newer program made.

    Raises:
        SchemaError: It is newer.
    """
    if current > LATEST:
        raise SchemaError(
            f"the voicerag schema on {place} has version {current}, and this program knows "
            f"versions up to {LATEST}; install a newer voicerag-core"
        )


def extension_schema(connection: Connection) -> str:
    """Name the schema that holds the vector types, or "public" when the extension is absent."""
    found = _value(
        connection,
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = 'vector'",
    )
    return "public" if found is None else str(found)


def _recorded(connection: Connection) -> dict[int, str | None]:
    """Return the checksum of each migration of a database; None where none was written down."""
    rows = connection.execute(
        "SELECT version, to_jsonb(m) ->> 'checksum' FROM voicerag.migrations m"
    ).fetchall()
    return {int(str(version)): None if known is None else str(known) for version, known in rows}


def _refuse_drift(connection: Connection, current: int, place: str) -> None:
    """Refuse a schema that other migrations made than those of this program.

    Raises:
        SchemaError: A migration differs, or one is missing among those written down.
    """
    if not current:
        return
    recorded = _recorded(connection)
    for version in range(1, current + 1):
        known = recorded.get(version)
        if version in recorded and known in (None, _checksum(version)):
            continue
        name = _SCRIPTS[version].name
        said = (
            f"has no record of migration {name}"
            if version not in recorded
            else f"was made by another migration {name} (SHA-256 {str(known)[:12]}… in the "
            f"database, {_checksum(version)[:12]}… in this program)"
        )
        raise SchemaError(
            f"the voicerag schema on {place} {said}; use the program that made it, or let that "
            "write a backup (voicerag db backup) and restore it into a new database with this one"
        )


def _write_checksums(connection: Connection) -> None:
    """Write down what each migration is made of, where that is not known yet."""
    for version in _SCRIPTS:
        connection.execute(
            "UPDATE voicerag.migrations SET checksum = %s WHERE version = %s AND checksum IS NULL",
            (_checksum(version), version),
        )


@functools.cache
def _checksum(version: int) -> str:
    return hashlib.sha256(_SCRIPTS[version].read_bytes()).hexdigest()


def _require_unicode(connection: Connection, place: str) -> None:
    encoding = _value(connection, "SHOW server_encoding")
    if encoding != "UTF8":
        raise SchemaError(
            f"{place} is encoded in {encoding}, and voicerag needs UTF8; make the database with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


def _require_extension(connection: Connection, place: str) -> None:
    create = "CREATE EXTENSION IF NOT EXISTS vector"
    try:
        try:
            with connection.transaction():
                connection.execute(create)
        except pg.InvalidSchemaName:  # the login's search_path names none
            with connection.transaction():
                connection.execute(f"{create} SCHEMA public")
    except pg.InsufficientPrivilege as error:
        raise SchemaError(
            f"the login may not install pgvector on {place}: {reason(error)}; "
            "let an administrator run CREATE EXTENSION vector in this database"
        ) from error
    except (pg.FeatureNotSupported, pg.UndefinedFile) as error:
        raise SchemaError(
            f"the server of {place} has no pgvector: {reason(error)}; install pgvector 0.8 or "
            "newer on it "
            "(https://github.com/pgvector/pgvector#installation), or give no DSN and use the "
            "embedded server of voicerag-core[local]"
        ) from error
    version = str(
        _value(connection, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    )
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_EXTENSION:
        raise SchemaError(
            f"{place} has pgvector {version}, and voicerag needs 0.8 or newer; update it on the "
            "server and run ALTER EXTENSION vector UPDATE"
        )


def _value(connection: Connection, query: LiteralString | sql.Composed) -> object:
    """Return the only column of the only row, or None when there is no row."""
    return connection.cursor(row_factory=scalar_row).execute(query).fetchone()


def _script(name: str) -> bytes:
    return files("voicerag_core.store").joinpath("sql", name).read_bytes()

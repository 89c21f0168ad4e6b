"""What can be asked about a database, and how to empty it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString, NamedTuple

from psycopg.rows import args_row, class_row, scalar_row

from voicerag_core.store.collection import IndexKind
from voicerag_core.store.connecting import Connection, connect, transaction, unlimited
from voicerag_core.store.errors import checked_dsn, redacted, translated
from voicerag_core.store.migrations import LATEST, check_schema, migrate, schema_version

__all__ = ["CollectionInfo", "DatabaseStatus", "list_collections", "reset", "status"]

_CONNECT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection and how much it holds.

    Args:
        name: Its name.
        model_id: The embedding model that filled it.
        dim: Width of its vectors.
        language: Text search configuration of its words.
        passages: How many it holds.
        vectors: How many vectors those own.
        documents: How many documents they came from; passages may have none.
        indexed: Whether it has an HNSW index.
        index_kind: What the index is over: "halfvec", the vectors, or "bit", their signs.
        ef_search: How many candidates a search keeps; None before the index was tuned.
        recall: Share of the ten nearest passages that this finds, as measured by tuning.
        words: Whether it is searched by words, too.
    """

    name: str
    model_id: str
    dim: int
    language: str
    passages: int
    vectors: int
    documents: int
    indexed: bool
    index_kind: IndexKind = "halfvec"
    ef_search: int | None = None
    recall: float | None = None
    words: bool = True


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """What a database is and has.

    Args:
        place: Server, database and user, without a password.
        server_version: Such as "18.6".
        extension_version: Of pgvector, or None when it is not in the database.
        extension_available: Newest pgvector on the server, or None when there is none.
        schema_version: Of voicerag's schema; 0 when there is none.
        schema_expected: The version that this program works with.
        superuser: Whether the login is one; the program then still works as a lesser role.
        size: Bytes of the whole database.
        tables: Bytes of voicerag's tables with their indexes.
    """

    place: str
    server_version: str
    extension_version: str | None
    extension_available: str | None
    schema_version: int
    schema_expected: int
    superuser: bool
    size: int
    tables: int


def list_collections(dsn: str, *, tenant: str = "default") -> tuple[CollectionInfo, ...]:
    """Return the collections of a tenant, by name.

    Raises:
        SchemaError: The schema is missing, older or newer.
        StoreUnavailableError: The database cannot be reached.
    """
    with _connected(dsn) as connection, transaction(connection, {"voicerag.tenant": tenant}):
        check_schema(connection, redacted(dsn))
        connection.execute("SET LOCAL ROLE voicerag_reader")
        cursor = connection.cursor(row_factory=class_row(CollectionInfo))
        cursor.execute(
            "SELECT name, model_id, dim, language, passages, vectors, (SELECT count(*) "
            "FROM voicerag.documents d WHERE d.collection_id = c.id) AS documents, "
            "to_regclass('voicerag.vectors_hnsw_' || id) IS NOT NULL AS indexed, "
            "index_kind, ef_search, recall, words "
            "FROM voicerag.collections c ORDER BY name"
        )
        return tuple(cursor)


class _ServerRow(NamedTuple):
    """A row of `_SERVER`."""

    version: str
    extension: str | None
    available: str | None
    superuser: bool
    size: int
    tables: int


_SERVER = (
    "SELECT split_part(current_setting('server_version'), ' ', 1), "
    "(SELECT extversion FROM pg_extension WHERE extname = 'vector'), "
    "(SELECT default_version FROM pg_available_extensions WHERE name = 'vector'), "
    "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user), "
    "pg_database_size(current_database()), "
    "(SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = 'voicerag' AND c.relkind = 'r')"
)


def status(dsn: str) -> DatabaseStatus:
    """Say what a database is and has, whether or not voicerag's schema is in it.

    Raises:
        StoreUnavailableError: The database cannot be reached.
    """
    with _connected(dsn) as connection:
        server = connection.cursor(row_factory=args_row(_ServerRow)).execute(_SERVER).fetchone()
        version = schema_version(connection)
    assert server is not None
    return DatabaseStatus(
        place=redacted(dsn),
        server_version=server.version,
        extension_version=server.extension,
        extension_available=server.available,
        schema_version=version,
        schema_expected=LATEST,
        superuser=server.superuser,
        size=server.size,
        tables=server.tables,
    )


def reset(dsn: str, *, collection: str | None = None, tenant: str = "default") -> int:
    """Delete a collection, or everything that voicerag keeps in a database.

    Without a collection the schema is made anew, for all tenants; that takes its owner's rights.

    Args:
        dsn: The database.
        collection: Which one to delete; None deletes all of every tenant.
        tenant: Whose collection.

    Returns:
        How many passages went.

    Raises:
        SchemaError: A collection was named and the schema is missing, older or newer.
        StoreError: The login may not do it.
    """
    with (
        _connected(dsn, write=True) as connection,
        transaction(connection, {"voicerag.tenant": tenant, **unlimited(connection)}),
    ):
        if collection is not None:
            check_schema(connection, redacted(dsn))
            connection.execute("SET LOCAL ROLE voicerag_writer")
            return _number(
                connection, "SELECT coalesce(voicerag.drop_collection(%s), 0)", collection
            )
        gone = 0
        if schema_version(connection):
            connection.execute("SET LOCAL ROLE voicerag_owner")
            gone = _count_everything(connection)
            connection.add_notice_handler(lambda _: None)
            connection.execute("DROP SCHEMA voicerag CASCADE")
    migrate(dsn)
    return gone


def _count_everything(connection: Connection) -> int:
    """Count passages of all tenants, which row-level security hides even from the owner."""
    connection.execute("ALTER TABLE voicerag.passages NO FORCE ROW LEVEL SECURITY")
    return _number(connection, "SELECT count(*) FROM voicerag.passages")


def _number(connection: Connection, query: LiteralString, *values: object) -> int:
    cursor = connection.cursor(row_factory=scalar_row).execute(query, values)
    return int(cursor.fetchone() or 0)


@contextmanager
def _connected(dsn: str, *, write: bool = False) -> Iterator[Connection]:
    checked_dsn(dsn)
    with (
        translated(dsn),
        connect(dsn, timeout=_CONNECT_SECONDS, write=write) as connection,
    ):
        yield connection

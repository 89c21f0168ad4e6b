"""Access to the database of the settings: the server, one collection, or all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from voicerag_core.errors import ConfigError, StoreError, StoreUnavailableError
from voicerag_core.languages import text_search_configuration
from voicerag_core.ports import Embedder
from voicerag_core.settings import Settings
from voicerag_core.stack.late import LateStore

if TYPE_CHECKING:
    from voicerag_core.store import CollectionInfo, ExistingTable, PgVectorStore, ReplicatedStore

__all__ = [
    "embedded_folder",
    "existing_table",
    "late_store",
    "list_collections",
    "open_collection_to_tune",
    "open_database",
    "open_store",
    "require_server",
]


@contextmanager
def open_database(settings: Settings) -> Iterator[str]:
    """Yield the DSN of the database: the one in the settings, or that of a started embedded server.

    The schema of an embedded database is migrated automatically; that of an external server only by
    ``voicerag db migrate``.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    from voicerag_core.store import EmbeddedPostgres, migrate

    with EmbeddedPostgres(embedded_folder(settings)) as server:
        migrate(server.dsn)
        yield server.dsn


def embedded_folder(settings: Settings) -> Path:
    """Return the folder of the embedded server."""
    return settings.data_dir / "postgres"


def require_server(settings: Settings, what: str) -> None:
    """Refuse a database that only this machine reaches.

    Args:
        settings: Which database.
        what: What needs it, the subject of the message.

    Raises:
        ConfigError: It is the embedded one, or one behind a socket of this machine.
        StoreError: The connection string cannot be read.
    """
    how = "name a server by its address: VOICERAG_DATABASE_URL=postgresql://USER@HOST/DATABASE"
    if settings.database_url is None:
        raise ConfigError(
            f"{what} needs a database that every machine reaches, and the embedded one listens on "
            f"a socket of this machine alone; {how}, and run `voicerag db migrate` once"
        )
    from voicerag_core.store.errors import checked_dsn, other_machines_reach, redacted

    dsn = checked_dsn(settings.database_url.get_secret_value())
    if not other_machines_reach(dsn):
        raise ConfigError(
            f"{what} needs a database that every machine reaches, and {redacted(dsn) or 'this one'}"
            f" is behind a socket of this machine; {how}"
        )


def list_collections(settings: Settings) -> tuple[CollectionInfo, ...]:
    """Return the collections of the settings' tenant, sorted by name.

    Raises:
        SchemaError: The schema is missing, older or newer.
        StoreUnavailableError: The database cannot be reached.
    """
    from voicerag_core.store import list_collections as listed

    if settings.read_database_url is not None:
        with suppress(StoreUnavailableError):  # the primary is asked instead
            return listed(settings.read_database_url.get_secret_value(), tenant=settings.tenant)
    with open_database(settings) as dsn:
        return listed(dsn, tenant=settings.tenant)


@contextmanager
def open_store(
    settings: Settings, embedder: Embedder, *, read_only: bool = False, auto_index: bool = True
) -> Iterator[PgVectorStore | ReplicatedStore]:
    """Open the collection of the settings' tenant for the vectors of an embedder.

    With a database to read from in the settings, searches go there, and writes to the primary.

    A program that serves several tenants or collections can share one set of models this way.

    Args:
        settings: Which database, tenant and collection.
        embedder: Its model and width must be those of the collection.
        read_only: Connect as a role that can only read; the collection must exist.
        auto_index: Build the index when a load is over; False leaves it to another process.
    """
    from voicerag_core.store import PgVectorStore

    if settings.read_database_url is not None:
        with _replicated(
            settings, embedder, read_only=read_only, auto_index=auto_index
        ) as replicated:
            yield replicated
        return
    code = settings.collection_language
    with (
        open_database(settings) as dsn,
        PgVectorStore.open(
            dsn,
            collection=settings.collection,
            tenant=settings.tenant,
            model_id=embedder.model_id,
            dim=embedder.dim,
            language=None if code is None else text_search_configuration(code),
            words=settings.words,
            read_only=read_only,
            auto_index=auto_index,
            index_kind=settings.index,
            index_memory=_index_memory(settings),
            prepare=None if settings.database_pooler is None else not settings.database_pooler,
        ) as store,
    ):
        yield store


@contextmanager
def open_collection_to_tune(settings: Settings) -> Iterator[PgVectorStore]:
    """Open the collection of the settings whatever model filled it, to look after its index.

    Raises:
        StoreError: There is no such collection.
    """
    from voicerag_core.store import PgVectorStore
    from voicerag_core.store import list_collections as listed

    with open_database(settings) as dsn:
        known = {one.name: one for one in listed(dsn, tenant=settings.tenant)}
        if settings.collection not in known:
            raise StoreError(
                f"there is no collection {settings.collection!r} of tenant {settings.tenant!r}; "
                f"there are: {', '.join(known) or 'none'}"
            )
        found = known[settings.collection]
        with PgVectorStore.open(
            dsn,
            collection=found.name,
            tenant=settings.tenant,
            model_id=found.model_id,
            dim=found.dim,
            index_kind=settings.index,
            index_memory=_index_memory(settings),
            prepare=None if settings.database_pooler is None else not settings.database_pooler,
        ) as store:
            yield store


def _index_memory(settings: Settings) -> int | None:
    """Return how many bytes building an index may take on the server; None leaves it to that."""
    if settings.index_memory is not None:
        return settings.index_memory * 2**20
    if settings.database_url is not None:
        return None
    from voicerag_core.store.embedded import index_memory

    return index_memory()


@contextmanager
def _replicated(
    settings: Settings, embedder: Embedder, *, read_only: bool, auto_index: bool
) -> Iterator[ReplicatedStore]:
    """Yield a store that searches on the replica and writes on the primary."""
    from voicerag_core.store import ReplicatedStore

    if settings.database_url is None:
        raise ConfigError(
            "VOICERAG_READ_DATABASE_URL names a replica, and no primary server is named; set "
            "VOICERAG_DATABASE_URL, too"
        )
    primary = settings.model_copy(update={"read_database_url": None})
    replica = primary.model_copy(update={"database_url": settings.read_database_url})
    with ExitStack() as opened:

        def opener(chosen: Settings, *, read_only: bool) -> Callable[[], PgVectorStore]:
            def enter() -> PgVectorStore:
                store = opened.enter_context(
                    open_store(chosen, embedder, read_only=read_only, auto_index=auto_index)
                )
                return cast("PgVectorStore", store)

            return enter

        yield opened.enter_context(
            ReplicatedStore(opener(replica, read_only=True), opener(primary, read_only=read_only))
        )


def existing_table(settings: Settings, embedder: Embedder | None) -> ExistingTable:
    """Return the table of the settings, which connects at its first use; the caller closes it.

    Args:
        settings: Which database, table, columns and rows.
        embedder: What filled the table must be of this model; None does not check.

    Raises:
        ConfigError: No table or no database was named.
    """
    from voicerag_core.store import ExistingTable

    if settings.table is None:
        raise ConfigError("no table was named; give --table, or set VOICERAG_TABLE")
    if settings.database_url is None:
        raise ConfigError(
            f"the table {settings.table} is in a database of another program; name that: "
            "--database-url, or VOICERAG_DATABASE_URL"
        )
    columns = settings.table_columns
    own = settings.table_tenant_column
    return ExistingTable(
        settings.database_url.get_secret_value(),
        settings.table,
        id=settings.table_id,
        text=settings.table_text,
        embedding=settings.table_embedding,
        metadata=settings.table_metadata,
        columns=None if columns is None else [one.strip() for one in columns.split(",")],
        title=settings.table_title,
        source=settings.table_source,
        collection=settings.table_collection,
        only=settings.table_only,
        equal={} if own is None else {own: settings.tenant},
        embedder=embedder,
    )


@contextmanager
def late_store(
    settings: Settings, embedder: Embedder, *, read_only: bool = False
) -> Iterator[LateStore]:
    """Yield the store of `open_store`, opened by the first call that needs it."""
    with ExitStack() as opened:
        store = LateStore(
            lambda: opened.enter_context(open_store(settings, embedder, read_only=read_only))
        )
        try:
            yield store
        finally:
            store.close()  # close this first: no thread may open a store that nobody would close

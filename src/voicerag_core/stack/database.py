"""Access to the database of the settings: the server, one collection, or all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from voicerag_core.ports import Embedder
from voicerag_core.settings import Settings
from voicerag_core.stack.late import LateStore

if TYPE_CHECKING:
    from voicerag_core.store import CollectionInfo, PgVectorStore

__all__ = ["embedded_folder", "late_store", "list_collections", "open_database", "open_store"]


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


def list_collections(settings: Settings) -> tuple[CollectionInfo, ...]:
    """Return the collections of the settings' tenant, sorted by name.

    Raises:
        SchemaError: The schema is missing, older or newer.
        StoreUnavailableError: The database cannot be reached.
    """
    from voicerag_core.store import list_collections as listed

    with open_database(settings) as dsn:
        return listed(dsn, tenant=settings.tenant)


@contextmanager
def open_store(
    settings: Settings, embedder: Embedder, *, read_only: bool = False
) -> Iterator[PgVectorStore]:
    """Open the collection of the settings' tenant for the vectors of an embedder.

    A program that serves several tenants or collections can share one set of models this way.

    Args:
        settings: Which database, tenant and collection.
        embedder: Its model and width must be those of the collection.
        read_only: Connect as a role that can only read; the collection must exist.
    """
    from voicerag_core.store import PgVectorStore

    with (
        open_database(settings) as dsn,
        PgVectorStore.open(
            dsn,
            collection=settings.collection,
            tenant=settings.tenant,
            model_id=embedder.model_id,
            dim=embedder.dim,
            read_only=read_only,
        ) as store,
    ):
        yield store


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

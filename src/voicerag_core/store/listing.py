"""The documents of a collection, whatever model filled it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql
from psycopg.rows import class_row

from voicerag_core.errors import StoreError
from voicerag_core.store.admin import CollectionInfo, list_collections
from voicerag_core.store.connecting import connect, transaction
from voicerag_core.store.errors import checked_dsn, translated
from voicerag_core.store.pgvector import PgVectorStore

__all__ = ["DocumentInfo", "known_collection", "list_documents", "open_collection"]


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A document of a collection.

    Args:
        source: Its name: the path of a file, an address, or what else it was given.
        passages: How many it has.
        updated_at: When it was written last.
    """

    source: str
    passages: int
    updated_at: datetime


def known_collection(dsn: str, collection: str, *, tenant: str = "default") -> CollectionInfo:
    """Return what a collection is and holds.

    Raises:
        SchemaError: The schema is missing, older or newer.
        StoreError: The tenant has no collection of this name.
        StoreUnavailableError: The database cannot be reached.
    """
    listed = {one.name: one for one in list_collections(dsn, tenant=tenant)}
    if collection not in listed:
        raise StoreError(
            f"there is no collection {collection!r} of tenant {tenant!r}; there are: "
            f"{', '.join(listed) or 'none'}"
        )
    return listed[collection]


def list_documents(
    dsn: str, *, collection: str = "default", tenant: str = "default"
) -> tuple[DocumentInfo, ...]:
    """Return the documents of a collection, by source.

    Raises:
        SchemaError: The schema is missing, older or newer.
        StoreError: The tenant has no collection of this name.
        StoreUnavailableError: The database cannot be reached.
    """
    known_collection(dsn, collection, tenant=tenant)
    with (
        translated(checked_dsn(dsn)),
        connect(dsn) as connection,
        transaction(connection, {"role": "voicerag_reader", "voicerag.tenant": tenant}),
    ):
        cursor = connection.cursor(row_factory=class_row(DocumentInfo))
        cursor.execute(_DOCUMENTS, {"name": collection})
        return tuple(cursor)


@contextmanager
def open_collection(
    dsn: str, collection: str, *, tenant: str = "default", read_only: bool = False
) -> Iterator[PgVectorStore]:
    """Open a collection that is there, with the model that filled it.

    Raises:
        StoreError: As for `known_collection`.
    """
    known = known_collection(dsn, collection, tenant=tenant)
    with PgVectorStore.open(
        dsn,
        collection=collection,
        tenant=tenant,
        model_id=known.model_id,
        dim=known.dim,
        read_only=read_only,
    ) as store:
        yield store


_DOCUMENTS = sql.SQL(
    "SELECT d.source, count(p.pid) AS passages, d.updated_at FROM voicerag.documents d "
    "LEFT JOIN voicerag.passages p ON (p.tenant, p.collection_id, p.document_id) = "
    "(d.tenant, d.collection_id, d.id) "
    "WHERE d.collection_id = (SELECT id FROM voicerag.collections WHERE name = %(name)s) "
    'GROUP BY d.source, d.updated_at ORDER BY d.source COLLATE "C"'
)

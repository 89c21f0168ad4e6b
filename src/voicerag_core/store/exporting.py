"""The passages of a collection with their vectors, as they are at one moment."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from psycopg.rows import args_row

from voicerag_core.cancellation import check_cancelled
from voicerag_core.store.admin import CollectionInfo
from voicerag_core.store.backups.content import connected
from voicerag_core.store.listing import known_collection
from voicerag_core.store.migrations import extension_schema
from voicerag_core.types import JSONValue, Passage

__all__ = ["ExportedPassage", "export_passages"]

_PAGE = 200
"""Rows that the server sends at a time."""


@dataclass(frozen=True, slots=True)
class ExportedPassage:
    """A passage of a document, or one without; a document without passages has one with None.

    Args:
        source: Of its document, or None.
        digest: Of its document, or None.
        passage: The passage, or None.
        vectors: [M, D] float16, or None when they were not asked for.
    """

    source: str | None
    digest: str | None
    passage: Passage | None
    vectors: NDArray[np.float16] | None


class _Row(NamedTuple):
    source: str | None
    digest: str | None
    id: str | None
    text: str
    metadata: dict[str, JSONValue]
    vectors: bytes | None


@contextmanager
def export_passages(
    dsn: str, *, collection: str = "default", tenant: str = "default", vectors: bool = True
) -> Iterator[tuple[CollectionInfo, Iterator[ExportedPassage]]]:
    """Yield a collection and its passages: document by document, then those without one.

    As the reading role; a replica will do. Rows are read in pages, whatever their number.

    Args:
        dsn: The database.
        collection: Which one.
        tenant: Whose.
        vectors: Read them, too.

    Raises:
        SchemaError: The schema is missing, older or newer.
        StoreError: The tenant has no collection of this name.
        StoreUnavailableError: The database cannot be reached or went away.
    """
    known = known_collection(dsn, collection, tenant=tenant)
    with connected(dsn) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        path = f'voicerag, "{extension_schema(connection)}"'
        connection.execute(
            "SELECT set_config('role', 'voicerag_reader', true), "
            "set_config('voicerag.tenant', %s, true), set_config('search_path', %s, true), "
            "set_config('statement_timeout', '0', true), set_config('row_security', 'on', true)",
            (tenant, path),
        )

        def rows() -> Generator[ExportedPassage]:
            with connection.cursor("exported", row_factory=args_row(_Row)) as cursor:
                cursor.itersize = _PAGE
                chosen = _VECTORS if vectors else _NONE
                cursor.execute(_ROWS.format(vectors=chosen), (collection,))
                for row in cursor:
                    check_cancelled()
                    yield _exported(row, known.dim, vectors=vectors)

        with closing(rows()) as found:  # a reader that stops early leaves no cursor open
            yield known, found


def _exported(row: _Row, dim: int, *, vectors: bool) -> ExportedPassage:
    if row.id is None:
        return ExportedPassage(row.source, row.digest, None, None)
    found = None
    if vectors:
        found = np.frombuffer(row.vectors or b"", dtype=">f2").reshape(-1, dim).astype(np.float16)
    return ExportedPassage(row.source, row.digest, Passage(row.id, row.text, row.metadata), found)


_NONE = sql.SQL("NULL::bytea")
_VECTORS = sql.SQL(
    "(SELECT string_agg(substring(halfvec_send(v.embedding) FROM 5), ''::bytea "
    "ORDER BY v.ordinal) FROM voicerag.vectors v "
    "WHERE v.collection_id = p.collection_id AND v.passage = p.pid)"
)
_ROWS = sql.SQL(
    "WITH c AS (SELECT id FROM voicerag.collections WHERE name = %s) "
    "SELECT source, digest, key, body, metadata, vectors FROM ("
    "SELECT d.source, d.digest, p.id AS key, p.body, p.metadata, {vectors} AS vectors, p.pid "
    "FROM voicerag.documents d LEFT JOIN voicerag.passages p "
    "ON (p.tenant, p.collection_id, p.document_id) = (d.tenant, d.collection_id, d.id) "
    "WHERE d.collection_id = (SELECT id FROM c) "
    "UNION ALL SELECT NULL, NULL, p.id, p.body, p.metadata, {vectors}, p.pid "
    "FROM voicerag.passages p WHERE p.document_id IS NULL AND p.collection_id = (SELECT id FROM c)"
    ') r ORDER BY source COLLATE "C" NULLS LAST, pid'
)

"""Documents: their passages are replaced, or removed, as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql
from psycopg.rows import scalar_row

from voicerag_core.errors import StoreError
from voicerag_core.store.ahead import WordsAhead
from voicerag_core.store.collection import Collection
from voicerag_core.store.connection import Connection
from voicerag_core.store.statements import named
from voicerag_core.store.values import known_keys
from voicerag_core.store.writing import Batch, forget_passages, write_batch

__all__ = ["remove_documents", "replace_document"]


def replace_document(
    connection: Connection, collection: Collection, source: str, digest: str, batch: Batch, *,
    all_new: bool = False, ahead: WordsAhead | None = None,
) -> int:  # fmt: skip
    """Make a batch the only passages of a document; return how many were changed or deleted.

    Raises:
        StoreError: Another program removed the document meanwhile.
    """
    cursor = connection.cursor(row_factory=scalar_row)
    cursor.execute(*named("claim_document", collection, {"source": source, "digest": digest}))
    number = cursor.fetchone()
    if number is None:  # there already: lock it, so that two replacements follow each other
        cursor.execute(*named("lock_document", collection, {"source": source}))
        number = cursor.fetchone()
    if number is None:
        raise StoreError(f"the document {source!r} was removed meanwhile; repeat the call")
    connection.execute(*named("set_digest", collection, {"document": number, "digest": digest}))
    changed = write_batch(connection, collection, batch, number, all_new=all_new, ahead=ahead)
    gone = sql.SQL(
        "SELECT pid FROM voicerag.passages WHERE collection_id = {} "
        "AND document_id = %(document)s AND NOT id = ANY(%(kept)s::text[])"
    ).format(sql.Literal(collection.number))
    return changed + forget_passages(
        connection, collection, (gone, {"document": number, "kept": batch.ids})
    )


def remove_documents(connection: Connection, collection: Collection, sources: Sequence[str]) -> int:
    """Delete documents with their passages, and return how many passages went."""
    values: dict[str, object] = {"sources": known_keys(sources)}
    cursor = connection.cursor(row_factory=scalar_row)
    numbers = cursor.execute(*named("remove_documents", collection, values)).fetchall()
    chosen = sql.SQL(
        "SELECT pid FROM voicerag.passages WHERE collection_id = {} "
        "AND document_id = ANY(%(documents)s::bigint[])"
    ).format(sql.Literal(collection.number))
    return forget_passages(connection, collection, (chosen, {"documents": numbers}))

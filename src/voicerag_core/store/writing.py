"""Writing passages: staged by binary COPY, then merged, so that unchanged rows stay untouched."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import args_row, scalar_row

from voicerag_core.errors import StoreError
from voicerag_core.store.collection import Collection
from voicerag_core.store.connection import Connection, Statement
from voicerag_core.store.rows import (
    checked_embeddings,
    passage_rows,
    vector_rows,
)
from voicerag_core.store.statements import CountedRow, named
from voicerag_core.store.values import as_owners, as_vectors
from voicerag_core.types import Embeddings, Passage

__all__ = ["Batch", "count_words", "forget_passages", "prepare_batch", "write_batch"]

_SURELY_INDEXED_BYTES = 100_000
"""Texts up to here always fit into a tsvector of 1 MiB: a character of Chinese, 3 bytes, becomes a
pair of 6, an aligned head and a position, 12 bytes in all, and a hyphenated word is listed with
its parts."""

_GROWTH = 1.2
"""Words are counted again when a collection has grown by a fifth since the last count."""


_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """Passages of one call as bytes for COPY.

    Args:
        ids: Their ids, each once.
        passages: Rows of the passages.
        vectors: Rows of the vectors.
        places: Places of the passages in the call.
        long: Those whose words may be more than Postgres can index, by place.
    """

    ids: list[str]
    passages: bytes
    vectors: bytes
    places: list[int]
    long: dict[int, Passage]


def prepare_batch(
    passages: Sequence[Passage],
    embeddings: Embeddings,
    collection: Collection,
    owners: NDArray[np.int64] | None,
) -> Batch:
    """Check a call's passages and vectors and make their rows; of a repeated id the last stays.

    Raises:
        EmbeddingMismatchError: The vectors have another width.
        StoreError: Passages, vectors and owners do not fit, or cannot be stored.
    """
    embeddings = as_vectors(embeddings)
    if not passages and not embeddings.size:
        embeddings = np.zeros((0, collection.dim), np.float32)
    owned_by = checked_embeddings(embeddings, collection.dim, len(passages), as_owners(owners))
    order = np.argsort(owned_by, kind="stable")
    halves = embeddings[order].astype(">f2")
    sorted_owners = owned_by[order]
    starts = np.searchsorted(sorted_owners, np.arange(len(passages) + 1))
    last = {passage.id: place for place, passage in enumerate(passages)}
    places = sorted(last.values())
    if len(places) < len(passages):
        kept = np.isin(sorted_owners, places)
    else:
        kept = np.ones(len(halves), dtype=np.bool_)
    ordinals = np.arange(len(halves)) - starts[sorted_owners]
    return Batch(
        ids=list(last),
        passages=passage_rows(passages, places, halves, starts, collection.tenant),
        long={place: passages[place] for place in places if _may_be_long(passages[place])},
        vectors=vector_rows(sorted_owners[kept], ordinals[kept], halves[kept]),
        places=places,
    )


def write_batch(
    connection: Connection, collection: Collection, batch: Batch, document: int | None = None
) -> int:
    """Stage and merge a batch inside the caller's transaction; return how many passages changed."""
    if not batch.places:
        return 0
    with connection.pipeline():
        for name in ("new_passages", "new_vectors", "new_vectors_storage", "changed"):
            _run(connection, name, collection)
    for name, rows in (("copy_passages", batch.passages), ("copy_vectors", batch.vectors)):
        statement, _ = named(name, collection, {})
        with connection.cursor() as cursor, cursor.copy(statement) as stream:
            stream.write(rows)
    for place, passage in batch.long.items():
        _cut_words(connection, collection, place, passage)
    values = {"document": document, "language": collection.language}
    changed = _run(connection, "upsert_passages", collection, values).rowcount
    if changed == 0:
        return 0
    dropped = _run(connection, "drop_old_vectors", collection).rowcount
    inserted = _run(connection, "insert_vectors", collection).rowcount
    fresh = _run(connection, "count_fresh", collection).fetchone() or 0
    _resize(connection, collection, passages=fresh, vectors=inserted - dropped)
    return changed


def _may_be_long(passage: Passage) -> bool:
    """Tell whether a passage may have more words than a tsvector holds."""
    named = sum(len(str(passage.metadata.get(key, ""))) for key in ("title", "path", "lead"))
    return 4 * (len(passage.text) + named) > _SURELY_INDEXED_BYTES


def _cut_words(
    connection: Connection, collection: Collection, place: int, passage: Passage
) -> None:
    """Index only the beginning of a staged passage, as much as fits; it is stored whole.

    Raises:
        StoreError: Not even its title and headings fit.
    """
    characters = len(passage.text)
    while True:
        values = {"place": place, "searched": characters, "language": collection.language}
        try:
            with connection.transaction():
                _run(connection, "try_words", collection, values)
        except pg.ProgramLimitExceeded as error:
            if characters == 0:
                raise StoreError(
                    f"passage {passage.id!r} has more words in its title and headings than "
                    f"Postgres indexes: {error.diag.message_primary}; shorten them"
                ) from error
            characters //= 2
            continue
        if characters < len(passage.text):
            _logger.warning(
                "passage %r is found by the words of its first %d characters of %d, which is what "
                "Postgres indexes of one text; split it into smaller passages",
                passage.id, characters, len(passage.text),
            )  # fmt: skip
            _run(connection, "search_less", collection, values)
        return


def forget_passages(connection: Connection, collection: Collection, chosen: Statement) -> int:
    """Delete the passages whose pid a query gives, with their vectors, and return how many went."""
    query, values = chosen
    deletion = sql.SQL(
        "DELETE FROM voicerag.passages WHERE collection_id = {} AND pid IN ({}) RETURNING pid"
    ).format(sql.Literal(collection.number), query)
    cursor = connection.cursor(row_factory=scalar_row)
    gone = cursor.execute(deletion, values, prepare=False).fetchall()
    if not gone:
        return 0
    vectors = _run(connection, "forget_vectors", collection, {"passages": gone}).rowcount
    _resize(connection, collection, passages=-len(gone), vectors=-vectors)
    return len(gone)


def count_words(connection: Connection, collection: Collection) -> None:
    """Count words that a first load put off; and the common ones, if the collection has grown."""
    _run(connection, "count_vocabulary", collection)
    cursor = connection.cursor(row_factory=args_row(CountedRow))
    row = cursor.execute(*named("counted", collection, {}), prepare=False).fetchone()
    if row is None or row.passages <= _GROWTH * row.counted_at:
        return
    if not _run(connection, "lock_words", collection).fetchone():
        return  # another writer is at it
    _run(connection, "count_words", collection)


def _resize(connection: Connection, collection: Collection, *, passages: int, vectors: int) -> None:
    """Keep the collection's sizes; its row is locked until the end of the transaction."""
    values = {"passages": passages, "vectors": vectors}
    if _run(connection, "resize", collection, values).rowcount == 0:
        raise StoreError("the collection was deleted meanwhile; open the store again")


def _run(
    connection: Connection, name: str, collection: Collection,
    values: Mapping[str, object] | None = None,
) -> psycopg.Cursor[Any]:  # fmt: skip
    """Run a fixed statement, whose rows are read as their first column."""
    statement, bound = named(name, collection, values or {})
    return connection.cursor(row_factory=scalar_row).execute(statement, bound, prepare=False)

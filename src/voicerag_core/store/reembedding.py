"""Give a collection the vectors of another embedding model, from its stored texts.

The new vectors are written into a second collection beside the first, document by document, and
take its place in one transaction at the end. Until then the first is searched and written as
before; a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from psycopg.rows import args_row, scalar_row

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import StoreError
from voicerag_core.store.admin import CollectionInfo, list_collections, reset
from voicerag_core.store.connection import Connection, Database
from voicerag_core.store.pgvector import PgVectorStore
from voicerag_core.store.statements import DocumentRow, PassageRow
from voicerag_core.types import Embeddings, Passage

__all__ = ["UNFINISHED", "EmbedPassages", "reembed"]

UNFINISHED = " (being embedded again)"
"""Behind the name of a collection that is not complete yet."""
BATCH = 64
"""Passages that are embedded together."""
ROUNDS = 5
"""Times that what was written meanwhile is embedded, too, before giving up."""

EmbedPassages: TypeAlias = Callable[[Sequence[Passage]], tuple[Embeddings, NDArray[np.int64]]]
"""A function from passages to their vectors [M, D] and owners [M]."""

_OF = sql.SQL("collection_id = (SELECT id FROM voicerag.collections WHERE name = {})")
_NAMED, _OLD, _NEW = (_OF.format(sql.Placeholder(key)) for key in ("name", "old", "new"))

_DOCUMENTS = sql.SQL("SELECT source, digest FROM voicerag.documents WHERE {}").format(_NAMED)
_OF_DOCUMENT = sql.SQL(
    "SELECT id, body, metadata FROM voicerag.passages WHERE {named} AND document_id = "
    "(SELECT id FROM voicerag.documents WHERE {named} AND source = %(source)s) ORDER BY pid"
).format(named=_NAMED)
_LOOSE = sql.SQL(
    "SELECT id, body, metadata FROM voicerag.passages WHERE {} AND document_id IS NULL "
    'AND id COLLATE "C" > %(last)s ORDER BY id COLLATE "C" LIMIT %(most)s'
).format(_NAMED)
_LOOSE_IDS = sql.SQL("SELECT id FROM voicerag.passages WHERE {} AND document_id IS NULL").format(
    _NAMED
)
_PLACED = """
    SELECT p.id, p.body, p.metadata, d.source, d.digest FROM voicerag.passages p
    LEFT JOIN voicerag.documents d ON d.tenant = p.tenant
        AND d.collection_id = p.collection_id AND d.id = p.document_id
    WHERE p.{}
"""
_OLD_ROWS, _NEW_ROWS = (sql.SQL(_PLACED).format(which) for which in (_OLD, _NEW))
_STALE = sql.SQL(
    "SELECT DISTINCT source FROM (({old} EXCEPT {new}) UNION ALL ({new} EXCEPT {old})) AS odd "
    "WHERE source IS NOT NULL"
).format(old=_OLD_ROWS, new=_NEW_ROWS)
_DIFFERS = sql.SQL(
    "SELECT EXISTS (({old} EXCEPT {new}) UNION ALL ({new} EXCEPT {old})) OR EXISTS ("
    "SELECT source, digest FROM voicerag.documents WHERE {of_old} "
    "EXCEPT SELECT source, digest FROM voicerag.documents WHERE {of_new})"
).format(old=_OLD_ROWS, new=_NEW_ROWS, of_old=_OLD, of_new=_NEW)
_LOCK = "SELECT id FROM voicerag.collections WHERE name IN (%(old)s, %(new)s) FOR UPDATE"
_RENAME = "UPDATE voicerag.collections SET name = %(old)s WHERE name = %(new)s RETURNING passages"


def reembed(
    dsn: str,
    *,
    collection: str,
    tenant: str,
    model_id: str,
    dim: int,
    embed: EmbedPassages,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Embed the passages of a collection with another model; nothing else of it changes.

    Args:
        dsn: The database.
        collection: Which one.
        tenant: Whose.
        model_id: The new model.
        dim: Width of its vectors.
        embed: Computes them.
        on_progress: Called with the passages done and those in all.

    Returns:
        How many passages the collection has now; 0 if it was of this model already.

    Raises:
        StoreError: There is no such collection, or other programs write to it all the time.
        ModelError: The model failed; what is done is kept.
    """
    known = {one.name: one for one in list_collections(dsn, tenant=tenant)}
    if collection not in known:
        raise StoreError(
            f"there is no collection {collection!r} of tenant {tenant!r}; there are: "
            f"{', '.join(known) or 'none'}"
        )
    old = known[collection]
    if (old.model_id, old.dim) == (model_id, dim):
        return 0
    name = collection + UNFINISHED
    if name in known and (known[name].model_id, known[name].dim) != (model_id, dim):
        reset(dsn, collection=name, tenant=tenant)  # of a run with a third model
    database = Database(
        dsn,
        tenant=tenant,
        role="voicerag_writer",
        pool_size=2,
        prepare=False,
        timeout=5.0,
        statement_timeout=30.0,
    )
    try:
        with PgVectorStore.open(
            dsn, collection=name, tenant=tenant, model_id=model_id, dim=dim,
            language=old.language, words=old.words,
        ) as store:  # fmt: skip
            return _filled(_Move(database, store, old, name, dim, embed, on_progress))
    finally:
        database.close()


@dataclass(frozen=True, slots=True)
class _Move:
    """One run.

    Args:
        database: Of the old collection.
        store: The new collection.
        old: The old one.
        name: Name of the new one until it is complete.
        dim: Width of the new vectors.
        embed: Computes them.
        on_progress: Called with the passages done and those in all.
    """

    database: Database
    store: PgVectorStore
    old: CollectionInfo
    name: str
    dim: int
    embed: EmbedPassages
    on_progress: Callable[[int, int], None] | None

    def documents(self) -> None:
        """Embed the documents that are new or changed, and remove those that are gone."""
        have = dict(self.store.document_digests())
        rows = self.database.read((_DOCUMENTS, {"name": self.old.name}), rows=args_row(DocumentRow))
        want = {row.source: row.digest for row in rows[0]}
        self.store.remove_documents([source for source in have if source not in want])
        names = {"old": self.old.name, "new": self.name}
        stale = set(self.database.read((_STALE, names), rows=scalar_row)[0])
        for source, digest in want.items():
            if have.get(source) == digest and source not in stale:
                continue
            check_cancelled()
            values = {"name": self.old.name, "source": source}
            (found,) = self.database.read((_OF_DOCUMENT, values), rows=args_row(PassageRow))
            passages = [Passage(row.id, row.text, row.metadata) for row in found]
            vectors, owners = self._vectors(passages)
            self.store.replace_document(source, digest, passages, vectors, owners=owners)
            self._report()

    def passages(self) -> None:
        """Embed the passages without a document that are new or changed, and drop those gone."""
        seen: set[str] = set()
        for passages in self._pages():
            check_cancelled()
            seen.update(passage.id for passage in passages)
            have = {passage.id: passage for passage in self.store.get([p.id for p in passages])}
            fresh = [passage for passage in passages if have.get(passage.id) != passage]
            if fresh:
                vectors, owners = self._vectors(fresh)
                self.store.add(fresh, vectors, owners=owners)
                self._report()
        (kept,) = self.database.read((_LOOSE_IDS, {"name": self.name}), rows=scalar_row)
        gone = [name for name in kept if name not in seen]
        if gone:
            self.store.delete(gone)

    def swap(self) -> int | None:
        """Put the new collection in the place of the old one, unless that has changed meanwhile."""
        values = {"old": self.old.name, "new": self.name}

        def swapped(connection: Connection) -> int | None:
            cursor = connection.cursor(row_factory=scalar_row)
            cursor.execute(_LOCK, values)  # whoever writes waits, and then finds another one
            if cursor.execute(_DIFFERS, values).fetchone():
                return None
            cursor.execute("SELECT voicerag.drop_collection(%(old)s)", values)
            cursor.execute(_RENAME, values)
            return int(cursor.fetchone() or 0)

        return self.database.write(swapped)

    def _vectors(self, passages: Sequence[Passage]) -> tuple[Embeddings, NDArray[np.int64]]:
        """Embed passages in batches."""
        rows: list[Embeddings] = [np.zeros((0, self.dim), np.float32)]
        owners: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        for start in range(0, len(passages), BATCH):
            check_cancelled()
            vectors, owned = self.embed(passages[start : start + BATCH])
            rows.append(vectors)
            owners.append(owned + start)
        return np.concatenate(rows), np.concatenate(owners)

    def _pages(self) -> Iterator[list[Passage]]:
        """Yield the passages without a document, in the order of their ids."""
        last = ""
        while True:
            values = {"name": self.old.name, "last": last, "most": BATCH}
            (found,) = self.database.read((_LOOSE, values), rows=args_row(PassageRow))
            if not found:
                return
            yield [Passage(row.id, row.text, row.metadata) for row in found]
            last = found[-1].id

    def _report(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.store.count(), self.old.passages)


def _filled(move: _Move) -> int:
    for _ in range(ROUNDS):
        move.documents()
        move.passages()
        passages = move.swap()
        if passages is not None:
            return passages
    raise StoreError(
        f"other programs write to the collection {move.old.name!r} all the time; what is embedded "
        "is kept, so run it again when they are done"
    )

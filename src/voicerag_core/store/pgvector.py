"""Passages, their vectors and their documents in Postgres with pgvector."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from psycopg.rows import args_row, scalar_row

from voicerag_core.closing import Closing
from voicerag_core.errors import EmptyCollectionError, StoreError
from voicerag_core.filters import Filter
from voicerag_core.store.collection import (
    Collection,
    IndexKind,
    check_language,
    check_words,
    collection_names,
    find_collection,
    make_collection,
)
from voicerag_core.store.connection import Database
from voicerag_core.store.documents import remove_documents, replace_document
from voicerag_core.store.errors import checked_dsn, redacted
from voicerag_core.store.filter_sql import compile_filter
from voicerag_core.store.indexes import INDEX_FROM
from voicerag_core.store.opened import OpenedCollection
from voicerag_core.store.search_sql import Query
from voicerag_core.store.searching import IndexInfo, checked, explained, searched
from voicerag_core.store.statements import DocumentRow, PassageRow, WordRow, named
from voicerag_core.store.thresholds import KeptThresholds
from voicerag_core.store.tuning import Tuning
from voicerag_core.store.upkeep import Upkeep
from voicerag_core.store.values import (
    as_limit,
    as_question,
    as_vectors,
    checked_name,
    checked_source,
    known_keys,
    least_score,
)
from voicerag_core.store.writing import (
    PLANNING,
    forget_passages,
    prepare_batch,
    write_batch,
)
from voicerag_core.types import (
    Embedding,
    Embeddings,
    Hit,
    Passage,
    Thresholds,
    Vocabulary,
)

__all__ = ["INDEX_FROM", "IndexInfo", "PgVectorStore"]

MOST_WORDS: Final = 20_000
"""Of a collection's words that recognisers get to know; names first, then the commonest."""

_USUAL_LANGUAGE: Final = "english"
"""Text search configuration of a new collection."""


class PgVectorStore(Closing):
    """One collection of one tenant; a `PassageStore` and a `DocumentStore`.

    Safe to share between threads. Scores come from vectors kept as float16: they differ from the
    exact cosine by less than 0.002. Made by `open`, ended by `close` or as a context manager.
    """

    def __init__(
        self, database: Database, collection: Collection, *, name: str, read_only: bool,
        auto_index: bool, index_kind: IndexKind | None = None, index_memory: int | None = None,
    ) -> None:  # fmt: skip
        self._database = database
        self._opened = OpenedCollection(database, collection, name=name, read_only=read_only)
        self._upkeep = Upkeep(
            self._opened, auto_index=auto_index, kind=index_kind, memory=index_memory
        )
        self._vocabulary: tuple[int, Vocabulary] | None = None
        self._thresholds = KeptThresholds(database, collection.number)

    @classmethod
    def open(
        cls,
        dsn: str,
        *,
        collection: str = "default",
        tenant: str = "default",
        model_id: str,
        dim: int,
        language: str | None = None,
        words: bool | None = None,
        read_only: bool = False,
        auto_index: bool = True,
        pool_size: int = 4,
        prepare: bool | None = None,
        timeout: float = 5.0,
        statement_timeout: float = 30.0,
        index_kind: IndexKind | None = None,
        index_memory: int | None = None,
    ) -> PgVectorStore:
        """Open a collection, and make it when there is none.

        Args:
            dsn: The database, as a URL or as ``key=value`` pairs. Its schema must be there.
            collection: Name of the collection.
            tenant: Whose collection; the rows of other tenants are out of reach.
            model_id: Names the embedding model; written down with the collection.
            dim: Width of its vectors.
            language: Postgres' text search configuration for the words of the collection, such as
                "english", "german" or "simple" (no stemming). Chinese and Japanese are indexed by
                pairs of characters under each of them. A collection keeps the one that it was made
                with. None: that, or "english" for a new one.
            words: Let passages be found by words, too. Without, they are written in less time and
                room, a search by vector and text is one by the vector alone, one by text alone is
                refused, and `vocabulary` is empty. A collection keeps the choice that it was made
                with. None: that, or True for a new one.
            read_only: Take the role that can only read; the collection must exist.
            auto_index: Build the index when a load is over that leaves 20,000 vectors; see
                `bulk_load`. Pass False to call `build_index` yourself.
            pool_size: Most connections at a time.
            prepare: Prepare statements on the server. None: unless a pooler, such as PgBouncer, is
                found to be between; False: never.
            timeout: Seconds to wait for a connection.
            statement_timeout: Seconds that a search may take, or a write may wait for a lock.
            index_kind: What an index is over that this store builds: "halfvec", the vectors, or
                "bit", the signs of their elements, which takes a fraction of memory and disk; the
                vectors then sort more candidates. None: that of the last index, or "halfvec".
            index_memory: Most bytes that building an index may take on the server; None: the
                server's ``maintenance_work_mem``.

        Raises:
            SchemaError: The schema is missing, older or newer.
            EmbeddingMismatchError: The collection was filled by another model or width.
            StoreUnavailableError: The database cannot be reached.
            EmptyCollectionError: The collection is absent and the store read-only.
            StoreError: Its words are in another language, it was made with or without words
                and the other is asked for, or the login lacks rights.
        """
        place = redacted(checked_dsn(dsn))
        for kind, given in (("collection", collection), ("tenant", tenant), ("model_id", model_id)):
            checked_name(kind, given)
        database = Database(
            dsn,
            tenant=tenant,
            role="voicerag_reader" if read_only else "voicerag_writer",
            pool_size=pool_size,
            prepare=prepare,
            timeout=timeout,
            statement_timeout=statement_timeout,
        )
        try:
            if not read_only:
                make_collection(
                    database,
                    collection,
                    model_id=model_id,
                    dim=dim,
                    language=language or _USUAL_LANGUAGE,
                    words=words is not False,
                )
            opened = find_collection(database, collection, model_id, dim)
            if opened is None:
                known = ", ".join(collection_names(database)) or "none"
                raise EmptyCollectionError(
                    f"{place} has no collection {collection!r} of tenant {tenant!r}, there are: "
                    f"{known}; index something into it first: voicerag index PATHS... --collection "
                    f"{shlex.quote(collection)} (from Python: open it without read_only)"
                )
            check_words(opened, collection, words)
            check_language(opened, collection, language)
        except BaseException:
            database.close()
            raise
        return cls(
            database,
            opened,
            name=collection,
            read_only=read_only,
            auto_index=auto_index,
            index_kind=index_kind,
            index_memory=index_memory,
        )

    def close(self) -> None:
        """Cancel what runs on the server and close every connection; a second call does nothing."""
        self._upkeep.load.close()
        self._database.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; if the block ended well, build the index first that was put off."""
        try:
            if kind is None and self._upkeep.load.waiting:
                self._upkeep.finish_load()
        finally:
            self.close()

    @contextmanager
    def bulk_load(self) -> Iterator[None]:
        """Write much in the block; what serves searches is brought up to date once, at its end.

        Without it, a load is over when the thread that wrote searches, when no write came for five
        seconds, or when the ``with`` block of the store ends. An index that is there grows, until
        that has cost as much as building it anew would; if nobody searches by it, it is then
        dropped, and built at the end. Of several processes that load one collection, the last one
        builds, unless they reach the server through a pooler (``prepare=False``): then each tries.
        While calls of more than 500 passages fill an empty collection, a second process of the
        server makes the words of the next ones: that of the connection which the load has besides.
        A block that fails leaves the rows, and the index to the next load.
        """
        self._opened.refuse_read_only()
        with self._upkeep.bulk_load():
            yield

    def add(
        self,
        passages: Sequence[Passage],
        embeddings: Embeddings,
        *,
        owners: NDArray[np.int64] | None = None,
    ) -> int:
        """Insert or replace passages by id; see `PassageStore.add`."""
        self._opened.refuse_read_only()
        batch = prepare_batch(passages, embeddings, self._opened.here, owners)
        if not batch.passages:
            return 0
        start = time.perf_counter()
        changed = self._database.write(
            lambda connection: write_batch(
                connection,
                self._opened.here,
                batch,
                all_new=self._upkeep.load.first,
                ahead=self._upkeep.load.ahead,
            ),
            settings={**PLANNING, **self._upkeep.load.settings},
        )
        self._upkeep.wrote(changed, time.perf_counter() - start)
        return changed

    def search(
        self,
        embedding: Embedding | None,
        *,
        text: str | None = None,
        limit: int,
        where: Filter | None = None,
        min_score: float | None = None,
        with_vectors: bool = False,
        ids: Sequence[str] | None = None,
    ) -> tuple[Hit, ...]:
        """Find the best passages; see `PassageStore.search`.

        A collection without words is searched by the embedding, whatever the text: each hit is
        `matched_by` its vector.

        Raises:
            FilterError: The filter has no meaning.
            StoreError: Neither embedding nor text was given, or a text alone in a collection
                without words, `limit` is below 1, `min_score` came without an embedding, a value is
                of another kind, or the database failed.
        """
        vector = None if embedding is None else as_question(embedding)
        keys = None if ids is None else tuple(known_keys(ids))
        query = Query(
            vector, text, as_limit(limit), where, least_score(min_score), with_vectors, keys
        )
        return self._search([query])[0]

    def search_many(
        self, embeddings: Embeddings, *, limit: int, where: Filter | None = None
    ) -> list[tuple[Hit, ...]]:
        """Search for each of N rows in one round trip; see `PassageStore.search_many`."""
        embeddings = as_vectors(embeddings)
        if embeddings.ndim != 2:  # noqa: PLR2004 - [N, D]
            raise StoreError(
                f"embeddings have shape [N, {self._opened.here.dim}], not {list(embeddings.shape)}"
            )
        most = as_limit(limit)
        return self._search([Query(as_question(row), None, most, where) for row in embeddings])

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages of these ids that exist, in the order asked."""
        rows = self._opened.read("get", {"ids": known_keys(ids)}, rows=args_row(PassageRow))
        found = {row.id: Passage(row.id, row.text, row.metadata) for row in rows}
        return [found[key] for key in ids if key in found]

    def delete(self, ids: Sequence[str] | None = None, *, where: Filter | None = None) -> int:
        """Delete the passages that match ids and filter, and return how many went."""
        self._opened.refuse_read_only()
        if ids is None and where is None:
            raise StoreError(
                "delete needs ids or a filter; delete(where=And(())) deletes every passage"
            )
        condition, values = compile_filter(where)
        values["ids"] = None if ids is None else known_keys(ids)
        chosen = sql.SQL(
            "SELECT pid FROM voicerag.tenant_passages WHERE collection_id = {n} AND {filter} "
            "AND (%(ids)s::text[] IS NULL OR id = ANY(%(ids)s::text[]))"
        ).format(n=sql.Literal(self._opened.here.number), filter=condition)
        return self._database.write(
            lambda connection: forget_passages(connection, self._opened.here, (chosen, values))
        )

    def count(self, *, where: Filter | None = None) -> int:
        """Count passages."""
        condition, values = compile_filter(where)
        statement = sql.SQL(
            "SELECT count(*) FROM voicerag.tenant_passages WHERE collection_id = {} AND {}"
        ).format(sql.Literal(self._opened.here.number), condition)
        ((number,),) = self._database.read((statement, values), rows=scalar_row)
        return int(number)

    def vocabulary(self) -> Vocabulary:
        """Return the words of the collection; see `WordStore.vocabulary`."""
        statement = named("vocabulary_version", self._opened.here, {})
        (versions,) = self._database.read(statement, rows=scalar_row)
        if not versions:
            raise self._opened.deleted()
        (version,) = versions
        known = self._vocabulary
        if known is None or known[0] != version:
            rows = self._opened.read("vocabulary", {"most": MOST_WORDS}, rows=args_row(WordRow))
            known = (int(version), Vocabulary(tuple((row.word, row.passages) for row in rows)))
            self._vocabulary = known
        return known[1]

    def thresholds(self) -> Thresholds:
        """Return the thresholds of the collection; see `CalibratedStore.thresholds`."""
        return self._thresholds.read()

    def set_thresholds(self, thresholds: Thresholds) -> None:
        """Keep thresholds with the collection; a program that runs notices within 30 s.

        Raises:
            StoreError: The store is read-only.
        """
        self._thresholds.write(thresholds)

    def document_digests(self) -> Mapping[str, str]:
        """Return the digest of every document, by source."""
        rows = self._opened.read("digests", {}, rows=args_row(DocumentRow))
        return {row.source: row.digest for row in rows}

    def replace_document(
        self,
        source: str,
        digest: str,
        passages: Sequence[Passage],
        embeddings: Embeddings,
        *,
        owners: NDArray[np.int64] | None = None,
    ) -> int:
        """Make these the only passages of a document; see `DocumentStore.replace_document`."""
        self._opened.refuse_read_only()
        checked_source(source)
        batch = prepare_batch(passages, embeddings, self._opened.here, owners)
        start = time.perf_counter()
        changed = self._database.write(
            lambda connection: replace_document(
                connection,
                self._opened.here,
                source,
                digest,
                batch,
                all_new=self._upkeep.load.first,
                ahead=self._upkeep.load.ahead,
            ),
            settings={**PLANNING, **self._upkeep.load.settings},
        )
        self._upkeep.wrote(changed, time.perf_counter() - start)
        return changed

    def remove_documents(self, sources: Sequence[str]) -> int:
        """Delete documents with their passages, and return how many passages went."""
        self._opened.refuse_read_only()
        return self._database.write(
            lambda connection: remove_documents(connection, self._opened.here, sources)
        )

    def build_index(
        self,
        *,
        kind: IndexKind | None = None,
        anew: bool = False,
        memory: int | None = None,
        workers: int | None = None,
        tune: bool = True,
    ) -> bool:
        """Build the HNSW index of the collection, whatever its size; searches go on meanwhile.

        Then how widely it has to be searched is measured; see `tune`. Writes to any collection of
        the database wait until it is built, or to those of one partition.

        Args:
            kind: What it is over, "halfvec" or "bit"; None: as the store was opened.
            anew: Drop the index that is there; until the new one is built, searches compare all.
            memory: Most bytes to take on the server; None: as the store was opened.
            workers: Processes that help the server's own; None: as the server is set up.
            tune: Measure afterwards.

        Returns:
            False when the collection has its index already, or is wider than HNSW takes (4,000;
            64,000 for "bit").

        Raises:
            StoreError: The database failed, or the store is read-only.
        """
        self._opened.refuse_read_only()
        return self._upkeep.build(kind=kind, anew=anew, memory=memory, workers=workers, tune=tune)

    def tune(
        self,
        recall: float | None = None,
        *,
        ef_search: int | None = None,
        questions: int | None = None,
    ) -> Tuning | None:
        """Measure how widely the index has to be searched, and let searches do so from now on.

        Questions are made of stored vectors, each turned away from its place as far as its tenth
        neighbour is, and asked for their ten nearest passages, by the index and exactly.

        Args:
            recall: Share of them that is to be found; None: as last time, or 0.97 at first.
            ef_search: Take this number of candidates, and measure what recall it gives.
            questions: How many to ask; None: 100, and fewer of more than 200,000 vectors.

        Returns:
            What was measured and kept, or None when there is no index.

        Raises:
            StoreError: A value is out of range, the database failed, or the store is read-only.
        """
        self._opened.refuse_read_only()
        return self._upkeep.tune(recall, ef_search=ef_search, questions=questions)

    def index_info(self) -> IndexInfo:
        """Say how a search of this collection runs, by asking the planner."""
        self._upkeep.finish_own_load()
        return explained(self._opened)

    def _search(self, queries: Sequence[Query]) -> list[tuple[Hit, ...]]:
        checked(self._opened, queries)
        if not queries:
            return []
        self._upkeep.finish_own_load()
        return searched(self._opened, queries)

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled: connections belong to one process."""
        raise StoreError(
            f"the open store of the collection {self._opened.name!r} cannot be copied or pickled; "
            "open another one where it is needed (PgVectorStore.open)"
        )

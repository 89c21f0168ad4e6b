"""Passages, their vectors and their documents in Postgres with pgvector."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NoReturn, TypeVar, cast

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.rows import BaseRowFactory, args_row, scalar_row

from voicerag_core.closing import Closing
from voicerag_core.errors import EmbeddingMismatchError, StoreError
from voicerag_core.filters import Filter
from voicerag_core.store import indexes
from voicerag_core.store.collection import (
    Collection,
    IndexKind,
    check_language,
    find_collection,
    looked_up,
    make_collection,
)
from voicerag_core.store.connection import Connection, Database
from voicerag_core.store.documents import remove_documents, replace_document
from voicerag_core.store.errors import checked_dsn, redacted, translated
from voicerag_core.store.filter_sql import compile_filter
from voicerag_core.store.forks import renewed_in_children
from voicerag_core.store.indexes import INDEX_FROM
from voicerag_core.store.loads import Load, others_wait, sharing
from voicerag_core.store.rows import halfvec_array
from voicerag_core.store.search_sql import (
    MOST_EF_SEARCH,
    Query,
    SearchRow,
    search_settings,
    search_statement,
)
from voicerag_core.store.statements import DocumentRow, PassageRow, WordRow, named
from voicerag_core.store.thresholds import KeptThresholds
from voicerag_core.store.tuning import RECALL_TARGET, Tuning, keep, questions_of, sample, tuned
from voicerag_core.store.values import (
    SAME,
    as_vectors,
    checked_name,
    checked_source,
    known_keys,
)
from voicerag_core.store.writing import (
    count_words,
    forget_passages,
    prepare_batch,
    write_batch,
)
from voicerag_core.types import (
    Embedding,
    Embeddings,
    Hit,
    MatchedBy,
    Passage,
    Thresholds,
    Vocabulary,
)

__all__ = ["INDEX_FROM", "IndexInfo", "PgVectorStore"]

MOST_WORDS: Final = 20_000
"""Of a collection's words that recognisers get to know; names first, then the commonest."""

_USUAL_LANGUAGE: Final = "english"
"""Text search configuration of a new collection."""

_WIDER = 8
"""How many times more vectors a second look into the index takes."""

_GROWN_SECONDS = 5.0
"""An index that grew for less is kept in any case."""

_BUILD_SHARE = 0.2
"""Of the time in which an index grows by a vector, what building it of all takes for each; until
the first build has been measured."""

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """How a search of a collection runs.

    Args:
        index: The HNSW index that the planner uses, or None when it compares all vectors.
        built: Whether the collection has an index; the planner leaves one of few rows unused.
        passages: How many the collection holds.
        vectors: How many vectors those own.
        plan: The planner's own words.
        kind: What the index is over: "halfvec", the vectors, or "bit", their signs.
        ef_search: How many candidates a search keeps; None before the index was tuned.
    """

    index: str | None
    built: bool
    passages: int
    vectors: int
    plan: str
    kind: IndexKind = "halfvec"
    ef_search: int | None = None


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
        self._collection = collection
        self._name = name
        self._read_only = read_only
        self._auto_index = auto_index
        self._index_kind = index_kind
        self._index_memory = index_memory
        self._load = Load(self._finish_load)
        self._index_lock = threading.Lock()
        renewed_in_children(self, PgVectorStore._renew_lock)
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
            StoreError: The collection is absent and the store read-only, its words are in another
                language, or the login lacks rights.
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
                )
            opened = find_collection(database, collection, model_id, dim)
            if opened is None:
                raise StoreError(
                    f"{place} has no collection {collection!r} of tenant {tenant!r}; index "
                    "something into it first (voicerag index PATHS...), or open it without "
                    "read_only"
                )
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
        self._load.close()
        self._database.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; if the block ended well, build the index first that was put off."""
        try:
            if kind is None and self._load.waiting:
                self._finish_load()
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
        A block that fails leaves the rows, and the index to the next load.
        """
        self._refuse_read_only()
        before = self._collection
        number = before.number
        with ExitStack() as stack:
            mine = None
            if self._database.keeps_sessions:
                with translated(self._database.dsn):
                    mine = stack.enter_context(sharing(self._database, number))
            with self._load.hold(first=before.passages == 0):
                yield
            if self._load.held:
                return
            self._refresh()  # others may have written in the name of this load
            here = self._collection
            missed = not here.indexed and here.vectors >= INDEX_FROM
            if self._load.waiting or missed or here.vectors != before.vectors:
                self._finish_load(mine)

    def add(
        self,
        passages: Sequence[Passage],
        embeddings: Embeddings,
        *,
        owners: NDArray[np.int64] | None = None,
    ) -> int:
        """Insert or replace passages by id; see `PassageStore.add`."""
        self._refuse_read_only()
        batch = prepare_batch(passages, embeddings, self._collection, owners)
        if not batch.places:
            return 0
        start = time.perf_counter()
        changed = self._database.write(
            lambda connection: write_batch(connection, self._collection, batch),
            settings=self._load.settings,
        )
        self._after_write(changed, time.perf_counter() - start)
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

        Raises:
            FilterError: The filter has no meaning.
            StoreError: Neither embedding nor text was given, `limit` is below 1, `min_score` came
                without an embedding, or the database failed.
        """
        vector = None if embedding is None else as_vectors(embedding)
        keys = None if ids is None else tuple(known_keys(ids))
        query = Query(vector, text, limit, where, min_score, with_vectors, keys)
        return self._search([query])[0]

    def search_many(
        self, embeddings: Embeddings, *, limit: int, where: Filter | None = None
    ) -> list[tuple[Hit, ...]]:
        """Search for each of N rows in one round trip; see `PassageStore.search_many`."""
        embeddings = as_vectors(embeddings)
        if embeddings.ndim != 2:  # noqa: PLR2004 - [N, D]
            raise StoreError(
                f"embeddings have shape [N, {self._collection.dim}], not {list(embeddings.shape)}"
            )
        return self._search([Query(row, None, limit, where) for row in embeddings])

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages of these ids that exist, in the order asked."""
        rows = self._read("get", {"ids": known_keys(ids)}, rows=args_row(PassageRow))
        found = {row.id: Passage(row.id, row.text, row.metadata) for row in rows}
        return [found[key] for key in ids if key in found]

    def delete(self, ids: Sequence[str] | None = None, *, where: Filter | None = None) -> int:
        """Delete the passages that match ids and filter, and return how many went."""
        self._refuse_read_only()
        if ids is None and where is None:
            raise StoreError(
                "delete needs ids or a filter; delete(where=And(())) deletes every passage"
            )
        condition, values = compile_filter(where)
        values["ids"] = None if ids is None else known_keys(ids)
        chosen = sql.SQL(
            "SELECT pid FROM voicerag.tenant_passages WHERE collection_id = {n} AND {filter} "
            "AND (%(ids)s::text[] IS NULL OR id = ANY(%(ids)s::text[]))"
        ).format(n=sql.Literal(self._collection.number), filter=condition)
        return self._database.write(
            lambda connection: forget_passages(connection, self._collection, (chosen, values))
        )

    def count(self, *, where: Filter | None = None) -> int:
        """Count passages."""
        condition, values = compile_filter(where)
        statement = sql.SQL(
            "SELECT count(*) FROM voicerag.tenant_passages WHERE collection_id = {} AND {}"
        ).format(sql.Literal(self._collection.number), condition)
        ((number,),) = self._database.read((statement, values), rows=scalar_row)
        return int(number)

    def vocabulary(self) -> Vocabulary:
        """Return the words of the collection; see `WordStore.vocabulary`."""
        statement = named("vocabulary_version", self._collection, {})
        (versions,) = self._database.read(statement, rows=scalar_row)
        if not versions:
            raise StoreError(f"the collection {self._name!r} was deleted; open the store again")
        (version,) = versions
        known = self._vocabulary
        if known is None or known[0] != version:
            rows = self._read("vocabulary", {"most": MOST_WORDS}, rows=args_row(WordRow))
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
        rows = self._read("digests", {}, rows=args_row(DocumentRow))
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
        self._refuse_read_only()
        checked_source(source)
        batch = prepare_batch(passages, embeddings, self._collection, owners)
        start = time.perf_counter()
        changed = self._database.write(
            lambda connection: replace_document(
                connection, self._collection, source, digest, batch
            ),
            settings=self._load.settings,
        )
        self._after_write(changed, time.perf_counter() - start)
        return changed

    def remove_documents(self, sources: Sequence[str]) -> int:
        """Delete documents with their passages, and return how many passages went."""
        self._refuse_read_only()
        return self._database.write(
            lambda connection: remove_documents(connection, self._collection, sources)
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
        self._refuse_read_only()
        chosen = kind or self._index_kind or self._collection.index_kind
        with self._index_lock:
            self._refresh()
            if anew and indexes.drop(self._database, self._collection):
                self._refresh()
            built = indexes.build(
                self._database,
                self._collection,
                kind=chosen,
                memory=self._index_memory if memory is None else memory,
                workers=workers,
            )
            self._database.write(
                lambda connection: connection.execute("SELECT voicerag.refresh_statistics()")
            )
            self._load.over()
        self._refresh()
        if built and tune and self._collection.vectors:
            self.tune()
        return built

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
        self._refuse_read_only()
        if recall is not None and not 0 < recall <= 1:
            raise StoreError(f"a recall is above 0 and at most 1, such as 0.97, not {recall}")
        if ef_search is not None and not 1 <= ef_search <= MOST_EF_SEARCH:
            raise StoreError(
                f"ef_search is 1 to {MOST_EF_SEARCH:,} candidates, not {ef_search}; "
                "leave it out to have it measured"
            )
        if questions is not None and questions < 1:
            raise StoreError(f"at least 1 question is asked, not {questions}")
        self._refresh()
        here = self._collection
        if not here.indexed:
            return None

        def ask(
            queries: Sequence[Query], collection: Collection, by_index: bool
        ) -> Sequence[Sequence[SearchRow]]:
            return self._ask(queries, use_index=by_index, collection=collection)

        tuning = tuned(
            here,
            questions_of(sample(self._database, here, questions), ask, here),
            ask,
            target=recall or here.recall_target or RECALL_TARGET,
            ef_search=ef_search,
        )
        keep(self._database, here, tuning)
        if not tuning.reached and ef_search is None:
            _logger.warning(
                "the index finds %.3f of the nearest passages with %d candidates, less than %.3f; "
                "build the index over the vectors (VOICERAG_INDEX=halfvec), or aim lower",
                tuning.recall,
                tuning.ef_search,
                tuning.target,
            )
        self._refresh()
        return tuning

    def index_info(self) -> IndexInfo:
        """Say how a search of this collection runs, by asking the planner."""
        self._finish_own_load()
        self._refresh()
        unit = np.full(self._collection.dim, self._collection.dim**-0.5, dtype=np.float32)
        query = Query(unit, None, 4)
        fetch = _fetch(self._collection, query)
        statement, values = search_statement(self._collection, query, fetch)
        (lines,) = self._database.read(
            (sql.SQL("EXPLAIN {}").format(statement), values),
            rows=scalar_row,
            settings=search_settings(self._collection, query, fetch),
        )
        plan = "\n".join(map(str, lines))
        name = f"vectors_hnsw_{self._collection.number}"
        return IndexInfo(
            index=name if f"using {name} on" in plan else None,
            built=self._collection.indexed,
            passages=self._collection.passages,
            vectors=self._collection.vectors,
            plan=plan,
            kind=self._collection.index_kind,
            ef_search=self._collection.ef_search,
        )

    def _search(self, queries: Sequence[Query]) -> list[tuple[Hit, ...]]:
        for query in queries:
            self._check(query)
        if not queries:
            return []
        self._finish_own_load()
        answers = self._ask(queries, use_index=True)
        short = [i for i, rows in enumerate(answers) if self._short(queries[i], rows)]
        # The index gives vectors, and passages are asked for: where a few passages own many of the
        # nearest vectors, or a filter lets few through, too few different ones come out of it. Most
        # such queries are satisfied by more vectors from the index, which costs milliseconds; only
        # what is still short is worth comparing with every vector.
        for use_index in (True, False):
            if not short:
                break
            again = self._ask([queries[i] for i in short], use_index=use_index, wider=_WIDER)
            for i, rows in zip(short, again, strict=True):
                answers[i] = rows
            short = [i for i in short if self._short(queries[i], answers[i])]
        return [_hits(rows) for rows in answers]

    def _check(self, query: Query) -> None:
        if query.limit < 1:
            raise StoreError(f"a search gives at least 1 passage; limit is {query.limit}")
        if query.embedding is None:
            if query.text is None:
                raise StoreError("a search needs an embedding, a text, or both")
            if query.min_score is not None:
                raise StoreError(
                    "min_score is a cosine similarity, and a search by words alone has none; "
                    "give an embedding too, or leave min_score out"
                )
        elif query.embedding.shape != (self._collection.dim,):
            raise EmbeddingMismatchError(
                f"the collection {self._name!r} holds vectors of width {self._collection.dim}, and "
                f"the question's has shape {list(query.embedding.shape)}; use the embedding model "
                "that filled the collection"
            )

    def _ask(
        self,
        queries: Sequence[Query],
        *,
        use_index: bool,
        wider: int = 1,
        collection: Collection | None = None,
    ) -> list[list[SearchRow]]:
        here = collection or self._collection
        fetches = [_fetch(here, query, wider) if use_index else None for query in queries]
        answers = self._database.read(
            *(
                search_statement(here, query, fetch)
                for query, fetch in zip(queries, fetches, strict=True)
            ),
            rows=args_row(SearchRow),
            settings=search_settings(here, queries[0], fetches[0]),
        )
        if answers[0][0].state != self._collection.state:
            self._refresh()  # another process wrote, or changed the index
        return answers

    def _short(self, query: Query, rows: Sequence[SearchRow]) -> bool:
        """Tell whether the index gave too few passages because few owned many of the vectors."""
        return (
            query.embedding is not None
            and not rows[0].complete
            and rows[0].nearest < min(query.depth, self._collection.passages)
        )

    def _after_write(self, changed: int, seconds: float) -> None:
        if not changed:
            return
        before = self._collection.vectors
        self._load.wrote()
        if not self._load.held:
            self._database.write(lambda connection: count_words(connection, self._collection))
        self._refresh()
        if self._auto_index and self._collection.indexed:
            self._weigh_growth(seconds, max(0, self._collection.vectors - before))

    def _weigh_growth(self, seconds: float, vectors: int) -> None:
        """Drop an index that costs more to grow than to build, if nobody searches by it.

        How much is still to come is not known. Growing it until that has cost as much as building
        it anew would is never worse than twice the better of the two.
        """
        load, here = self._load, self._collection
        load.grown += seconds
        load.vectors += vectors
        if load.scans is None:
            load.scans = indexes.scans(self._database, here)
        rate = here.build_rate or _BUILD_SHARE * load.grown / max(1, load.vectors)
        if load.grown < max(_GROWN_SECONDS, rate * here.vectors):
            return
        if indexes.scans(self._database, here) > load.scans:
            load.scans, load.grown, load.vectors = None, 0.0, 0  # it serves; ask again later
            return
        _logger.info("the index is dropped, and built when the load is over")
        indexes.drop(self._database, here)
        self._refresh()

    def _finish_own_load(self) -> None:
        """Build the index that was put off, if it was this thread that wrote."""
        if self._load.is_mine():
            self._finish_load()

    def _finish_load(self, mine: Connection | None = None) -> None:
        """Bring up to date what serves searches; rows are kept whatever happens here."""
        self._load.over()
        try:
            if not self._database.keeps_sessions:
                self._bring_up_to_date()
                return
            with others_wait(self._database, self._collection.number, mine) as alone:
                if alone:  # else the last one that loads does it
                    self._bring_up_to_date()
        except (StoreError, psycopg.Error) as error:
            _logger.warning("the rows were added, but their index was not built: %s", error)

    def _bring_up_to_date(self) -> None:
        self._database.write(lambda connection: count_words(connection, self._collection))
        self._refresh()
        here = self._collection
        if not self._auto_index or here.vectors < INDEX_FROM:
            return
        if not here.indexed:
            self.build_index()
        elif here.vectors >= 2 * here.tuned_vectors:
            self.tune()

    def _refresh(self) -> None:
        """Read the collection's sizes again, and what index it has."""
        now = looked_up(self._database, self._collection)
        if now is None:
            raise StoreError(f"the collection {self._name!r} was deleted; open the store again")
        self._collection = now

    def _read(
        self, name: str, values: Mapping[str, object], *, rows: BaseRowFactory[_T]
    ) -> list[_T]:
        return self._database.read(named(name, self._collection, values), rows=rows)[0]

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled: connections belong to one process."""
        raise StoreError(
            f"the open store of the collection {self._name!r} cannot be copied or pickled; open "
            "another one where it is needed (PgVectorStore.open)"
        )

    def _renew_lock(self) -> None:
        self._index_lock = threading.Lock()
        self._load = Load(self._finish_load)

    def _refuse_read_only(self) -> None:
        if self._read_only:
            raise StoreError("this store was opened with read_only; open it without to change it")


def _fetch(collection: Collection, query: Query, wider: int = 1) -> int | None:
    """Say how many vectors to take from the index, or None for an exact scan."""
    if not collection.indexed or query.embedding is None:
        return None
    each = -(-collection.vectors // max(collection.passages, 1))
    return query.depth * (1 if each == 1 else 2 * each) * wider


def _hits(rows: Sequence[SearchRow]) -> tuple[Hit, ...]:
    return tuple(
        Hit(
            Passage(row.id, row.text, row.metadata),
            1.0 if row.score >= SAME else row.score,
            rank,
            tuple(sorted(cast("list[MatchedBy]", row.matched_by))),
            None if row.vector is None else halfvec_array(row.vector),
        )
        for rank, row in enumerate(rows, start=1)
        if row.id is not None
    )

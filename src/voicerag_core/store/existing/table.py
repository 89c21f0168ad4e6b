"""A table of somebody else as a passage store that only reads."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import args_row, scalar_row

from voicerag_core.closing import Closing
from voicerag_core.errors import StoreError
from voicerag_core.filters import Filter
from voicerag_core.store.connection import Statement
from voicerag_core.store.existing.fitting import EmbedsPassages, compared, fitting
from voicerag_core.store.existing.layouts import Named
from voicerag_core.store.existing.opening import (
    Asked,
    OpenedTable,
    count_collections,
    open_table,
)
from voicerag_core.store.existing.ordering import Order, scan_settings
from voicerag_core.store.existing.probe import ModelMatch, refuse_other
from voicerag_core.store.existing.ranking import Found, ranked, valid_ids
from voicerag_core.store.existing.reading import TableDatabase
from voicerag_core.store.existing.table_sql import MOST_BY_WORDS, FoundRow, TableQuery
from voicerag_core.store.values import (
    as_limit,
    as_question,
    as_vectors,
    known_keys,
    least_score,
    searched_words,
)
from voicerag_core.types import Embedding, Embeddings, Hit, Passage

__all__ = ["ExistingTable"]

WORD_DEPTH = 200
"""Nearest rows whose words are weighed where the database has indexed no words."""
SLOW_ROWS = 200_000
"""Rows from which a search without an index is worth a warning."""
FUSION_DEPTH = 10
"""Nearest rows that count as found by their vector where words take part, at least."""
MOST_REPEATED = 64
"""How many times more rows are taken where many have one id."""

_logger = logging.getLogger(__name__)


class ExistingTable(Closing):
    """A Postgres table with vectors that another program fills; a `PassageStore` that only reads.

    Tables of langchain-postgres (v1 and v2), LlamaIndex, Supabase, Spring AI, Open WebUI, Haystack,
    mem0, vecs and others are known by their columns; of any other, name the columns. It is searched
    through its own index, with the index's own operator, in transactions that cannot write; its
    row-level security holds for the login. Nothing is ever written: no extension, index or
    temporary table. Connects at the first call that needs it. Thread-safe.

    Args:
        dsn: The database, as a URL or as ``key=value`` pairs; SELECT on the table is enough.
        table: Name of the table or view, alone or as ``schema.table``, as it is written there.
        id: Column of the ids.
        text: Column of the texts; ``payload->>data`` is an entry of a JSON column.
        embedding: Column of the vectors, where there are several.
        metadata: Column of the metadata, json or jsonb.
        columns: Further columns that become metadata, for filters too; None takes those that the
            layout suggests.
        title: Column or metadata key of the title.
        source: Column or metadata key of the source.
        collection: One of the collections in the table, by its name.
        only: A condition in SQL that every row must meet, such as ``deleted_at IS NULL``. It is
            sent as it is: take it from code or settings alone, never from a request.
        equal: Columns that must hold these values, such as ``{"org": "acme"}``; values are quoted.
        embedder: Its vectors of some rows are compared with those of the table when it is opened,
            and another model is refused.
        language: Text search configuration, where the table names none.
        pool_size: Most connections at a time.
        timeout: Seconds to wait for a connection.
        statement_timeout: Seconds that a search may take.
    """

    def __init__(
        self,
        dsn: str,
        table: str,
        *,
        id: str | None = None,  # noqa: A002 - the name of the column
        text: str | None = None,
        embedding: str | None = None,
        metadata: str | None = None,
        columns: Sequence[str] | None = None,
        title: str | None = None,
        source: str | None = None,
        collection: str | None = None,
        only: str | None = None,
        equal: Mapping[str, str] | None = None,
        embedder: EmbedsPassages | None = None,
        language: str = "english",
        pool_size: int = 4,
        timeout: float = 5.0,
        statement_timeout: float = 10.0,
    ) -> None:
        named = Named(id, text, metadata, columns, title, source)
        self._asked = Asked(table, embedding, named, collection, only, dict(equal or {}), language)
        self._embedder = embedder
        self._database = TableDatabase(
            dsn, pool_size=pool_size, timeout=timeout, statement_timeout=statement_timeout
        )
        self._lock = threading.Lock()
        self._opened: OpenedTable | None = None

    def warm(self) -> None:
        """Look the table up now, and compare its vectors with the embedder's.

        Raises:
            ConfigError: The table or a column does not exist, or is not clear.
            EmbeddingMismatchError: The table was filled by another model than the embedder.
            StoreError: It cannot be read.
        """
        self.opened()

    def opened(self) -> OpenedTable:
        """Return what was found out about the table; see `warm`."""
        with self._lock:
            if self._opened is None:
                found = open_table(self._database, self._asked)
                if self._embedder is not None:
                    self._refuse_other(found, self._embedder)
                self._opened = found
                self._warn(found)
            return self._opened

    def close(self) -> None:
        """Cancel what runs on the server and close every connection; a second call does nothing."""
        self._database.close()

    def probe(self, embedder: EmbedsPassages) -> ModelMatch:
        """Tell whether the table's vectors are those of an embedder, by embedding a few texts.

        Raises:
            StoreError: The table cannot be read.
            ModelError: The embedder failed.
        """
        return compared(self.opened(), embedder)

    def check_model(self, embedder: EmbedsPassages) -> None:
        """Refuse an embedder that did not fill the table, now or when it is opened.

        Raises:
            EmbeddingMismatchError: The table was filled by another model.
        """
        with self._lock:
            self._embedder = embedder
            if self._opened is not None:
                self._refuse_other(self._opened, embedder)

    def collections(self) -> dict[str, int]:
        """Count the vectors of each collection in the table; {} where it has none.

        Raises:
            StoreError: It cannot be read.
        """
        return count_collections(self._database, self._asked)

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

        Words are those that the database has indexed, if it has; otherwise they re-rank what the
        vector found.

        Raises:
            EmbeddingMismatchError: The embedding is not of the width of the table's vectors.
            FilterError: The filter has no meaning.
            StoreError: Neither embedding nor text was given, `limit` is below 1, `ids` were given,
                or the database failed.
        """
        if ids is not None:
            raise StoreError(
                "a table of another program is not searched by ids; give a condition on its "
                "metadata, or take the passages themselves (get)"
            )
        limit, bound = as_limit(limit), least_score(min_score)
        if embedding is None and (text is None or min_score is not None):
            raise StoreError("a search needs an embedding or a text, and min_score an embedding")
        table = self.opened()
        if embedding is not None:
            embedding = fitting(table, as_question(embedding))
        lexemes = None if text is None else self._lexemes(table, text)
        query = TableQuery(embedding, lexemes, where, with_vectors)
        least = max(2 * limit, FUSION_DEPTH)
        depth = limit
        if lexemes is not None:
            depth = least if table.statements.words else max(least, WORD_DEPTH)
        nearest = [] if embedding is None else self._nearest(table, query, depth)
        by_words: list[FoundRow] = []
        if lexemes and (embedding is None or table.statements.words):
            by_words = self._read(table, table.statements.by_words(query, MOST_BY_WORDS))
        found = Found(nearest, by_words, lexemes, by_vector=least)
        hits = ranked(found, table.layout, width=table.sample.content or None)
        if bound is not None:
            hits = [hit for hit in hits if hit.score >= bound]
        return tuple(hits[:limit])

    def search_many(
        self, embeddings: Embeddings, *, limit: int, where: Filter | None = None
    ) -> list[tuple[Hit, ...]]:
        """Search for each of N rows; see `PassageStore.search_many`."""
        embeddings = as_vectors(embeddings)
        if embeddings.ndim != 2:  # noqa: PLR2004 - [N, D]
            raise StoreError(f"embeddings have shape [N, D], not {list(embeddings.shape)}")
        return [self.search(row, limit=limit, where=where) for row in embeddings]

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages of these ids that exist, in the order asked."""
        table = self.opened()
        wanted = valid_ids(known_keys(ids), table.layout.id_type)
        rows = self._read(table, table.statements.get(wanted)) if wanted else []
        hits = ranked(Found(rows, [], None, by_vector=0), table.layout, width=None)
        found = {hit.passage.id: hit.passage for hit in hits}
        return [found[key] for key in ids if key in found]

    def count(self, *, where: Filter | None = None) -> int:
        """Count rows that have a text and a vector and that this login may see."""
        table = self.opened()
        ((number,),) = self._database.read(
            table.statements.count(where), rows=scalar_row, table=table.column.full_name
        )
        return int(number)

    def why_empty(self) -> str:
        """Say what may be the reason that there is no row to find."""
        table = self.opened()
        name = table.column.full_name
        if table.column.row_security:
            return (
                f"{name} has no row that this login may see: row-level security is on; let its "
                "owner add a policy for the login"
            )
        return (
            f"{name} has no row with a text and a vector yet; the program that fills it adds them"
        )

    def add(
        self,
        passages: Sequence[Passage],
        embeddings: Embeddings,
        *,
        owners: NDArray[np.int64] | None = None,
    ) -> int:
        """Refuse: the table is another program's.

        Raises:
            StoreError: Always.
        """
        del passages, embeddings, owners
        self._refuse_write()

    def delete(self, ids: Sequence[str] | None = None, *, where: Filter | None = None) -> int:
        """Refuse: the table is another program's.

        Raises:
            StoreError: Always.
        """
        del ids, where
        self._refuse_write()

    def _nearest(self, table: OpenedTable, query: TableQuery, depth: int) -> list[FoundRow]:
        """Take the nearest rows; where a scan of the index gives too few, compare all."""
        fetch = depth
        rows = self._scan(table, table.order, query, depth)
        if table.order.serves and len(rows) < min(depth, table.rows):
            rows = self._scan(table, table.exact, query, depth)
        while not table.layout.unique and len(rows) == fetch < MOST_REPEATED * depth:
            if len({row.id for row in rows}) >= depth:
                break
            fetch *= 4
            rows = self._scan(table, table.exact, query, fetch)
        return rows

    def _scan(
        self, table: OpenedTable, order: Order, query: TableQuery, fetch: int
    ) -> list[FoundRow]:
        settings: dict[str, str] | None = {}
        if order.serves:
            filtered = query.where is not None or bool(table.statements.only)
            settings = scan_settings(
                order, table.extension, fetch=fetch, rows=table.rows, filtered=filtered
            )
            if settings is None:
                order, settings = table.exact, {}
        rows = self._read(table, table.statements.nearest(query, order, fetch), settings)
        found = [row for row in rows if row.score is not None and not math.isnan(row.score)]
        return sorted(found, key=lambda row: (-(row.score or 0.0), row.id))

    def _lexemes(self, table: OpenedTable, text: str) -> list[str]:
        ((found,),) = self._database.read(
            table.statements.lexemes(searched_words(text)),
            rows=scalar_row,
            table=table.column.full_name,
        )
        return list(found)

    def _read(
        self, table: OpenedTable, statement: Statement, settings: dict[str, str] | None = None
    ) -> list[FoundRow]:
        name = table.column.full_name
        return self._database.read(
            statement, rows=args_row(FoundRow), settings=settings, table=name
        )[0]

    def _refuse_other(self, table: OpenedTable, embedder: EmbedsPassages) -> None:
        match = compared(table, embedder)
        refuse_other(match, embedder.model_id, table.column.full_name)
        if match.verdict == "same, other text":
            _logger.info(
                "the vectors of %s are of %s over more or other text than its column (agreement "
                "%.2f), such as a head of metadata before it",
                table.column.full_name, embedder.model_id, match.agreement,
            )  # fmt: skip

    def _warn(self, table: OpenedTable) -> None:
        if not table.order.serves and table.rows > SLOW_ROWS:
            _logger.warning(
                "%s has about %d rows and no index that serves a search: each compares all of "
                "them; `voicerag table inspect` shows an index that its owner may build",
                table.column.full_name, table.rows,
            )  # fmt: skip

    def _refuse_write(self) -> NoReturn:
        raise StoreError(
            f"the table {self._asked.table} is filled by another program and only read here; index "
            "into a collection of voicerag, or add the documents with that program"
        )

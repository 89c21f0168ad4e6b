"""Searching one collection: through its index, wider where that falls short, and exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from psycopg import sql
from psycopg.rows import args_row, scalar_row

from voicerag_core.errors import EmbeddingMismatchError, StoreError
from voicerag_core.store.collection import Collection, IndexKind
from voicerag_core.store.opened import OpenedCollection
from voicerag_core.store.rows import halfvec_array
from voicerag_core.store.search_sql import Query, SearchRow, search_settings, search_statement
from voicerag_core.store.values import SAME
from voicerag_core.types import Hit, MatchedBy, Passage

__all__ = ["IndexInfo", "asked", "checked", "explained", "searched"]

_WIDER = 8
"""How many times more vectors a second look into the index takes."""


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


def checked(opened: OpenedCollection, queries: Sequence[Query]) -> None:
    """Refuse what cannot be searched for.

    Raises:
        StoreError: A query has neither embedding nor text, a least score without an embedding, or
            text alone in a collection without words.
        EmbeddingMismatchError: An embedding has another width than the collection.
    """
    for query in queries:
        if query.embedding is None:
            if query.text is None:
                raise StoreError("a search needs an embedding, a text, or both")
            if not opened.here.words:
                raise StoreError(
                    f"the collection {opened.name!r} was made without a search by words; search it "
                    "by an embedding, or index into a collection with words"
                )
            if query.min_score is not None:
                raise StoreError(
                    "min_score is a cosine similarity, and a search by words alone has none; "
                    "give an embedding too, or leave min_score out"
                )
        elif query.embedding.shape != (opened.here.dim,):
            raise EmbeddingMismatchError(
                f"the collection {opened.name!r} holds vectors of width {opened.here.dim}, and "
                f"the question's has shape {list(query.embedding.shape)}; use the embedding model "
                "that filled the collection"
            )


def searched(opened: OpenedCollection, queries: Sequence[Query]) -> list[tuple[Hit, ...]]:
    """Answer queries that were checked, in one round trip unless the index falls short.

    The index gives vectors, and passages are asked for: where a few passages own many of the
    nearest vectors, or a filter lets few through, too few different ones come out of it. Most such
    queries are satisfied by more vectors from the index, which costs milliseconds; only what is
    still short is worth comparing with every vector.
    """
    if not opened.here.words:
        queries = [replace(query, text=None) for query in queries]
    answers = asked(opened, queries, use_index=True)
    short = [i for i, rows in enumerate(answers) if _short(opened.here, queries[i], rows)]
    for use_index in (True, False):
        if not short:
            break
        again = asked(opened, [queries[i] for i in short], use_index=use_index, wider=_WIDER)
        for i, rows in zip(short, again, strict=True):
            answers[i] = rows
        short = [i for i in short if _short(opened.here, queries[i], answers[i])]
    return [_hits(rows) for rows in answers]


def asked(
    opened: OpenedCollection,
    queries: Sequence[Query],
    *,
    use_index: bool,
    wider: int = 1,
    collection: Collection | None = None,
) -> list[list[SearchRow]]:
    """Run queries, at least one, and return the rows of each.

    Args:
        opened: The collection.
        queries: Of one kind: all with an embedding, or none.
        use_index: Take the nearest vectors from the index; False: compare all.
        wider: How many times more of them than usual.
        collection: The collection as it is to be seen, such as with another tuning.
    """
    here = collection or opened.here
    fetches = [_fetch(here, query, wider) if use_index else None for query in queries]
    answers = opened.database.read(
        *(
            search_statement(here, query, fetch)
            for query, fetch in zip(queries, fetches, strict=True)
        ),
        rows=args_row(SearchRow),
        settings=search_settings(here, queries[0], fetches[0]),
    )
    if answers[0][0].state != opened.here.state:
        opened.refresh()  # another process wrote, or changed the index
    return answers


def explained(opened: OpenedCollection) -> IndexInfo:
    """Say how a search of the collection runs, by asking the planner."""
    here = opened.refresh()
    unit = np.full(here.dim, here.dim**-0.5, dtype=np.float32)
    query = Query(unit, None, 4)
    fetch = _fetch(here, query)
    statement, values = search_statement(here, query, fetch)
    (lines,) = opened.database.read(
        (sql.SQL("EXPLAIN {}").format(statement), values),
        rows=scalar_row,
        settings=search_settings(here, query, fetch),
    )
    plan = "\n".join(map(str, lines))
    name = f"vectors_hnsw_{here.number}"
    return IndexInfo(
        index=name if f"using {name} on" in plan else None,
        built=here.indexed,
        passages=here.passages,
        vectors=here.vectors,
        plan=plan,
        kind=here.index_kind,
        ef_search=here.ef_search,
    )


def _short(here: Collection, query: Query, rows: Sequence[SearchRow]) -> bool:
    """Tell whether the index gave too few passages because few owned many of the vectors."""
    return (
        query.embedding is not None
        and not rows[0].complete
        and rows[0].nearest < min(query.depth, here.passages)
    )


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

"""The statements that search: one per search, whether by vector, by words or by both.

Each is put together from named parts (common table expressions):

- ``chosen``: the passages that the filter lets through, materialised, so that the planner cannot
  mistake a selective filter for a harmless one;
- ``nearest``: passages with the distance of their nearest vector, from an exact scan or the index;
- ``shares``: those and the passages that hold the question's rarest words, each with its share of
  the words;
- ``found``: what goes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString, NamedTuple

from psycopg import sql

from voicerag_core.filters import Filter
from voicerag_core.store.collection import STATE, Collection
from voicerag_core.store.connection import Encoded, Statement
from voicerag_core.store.filter_sql import compile_filter
from voicerag_core.store.rows import halfvec
from voicerag_core.store.values import least_score, searched_words
from voicerag_core.store.word_sql import word_parts
from voicerag_core.types import Embedding, JSONValue

__all__ = [
    "EF_SEARCH",
    "MOST_EF_SEARCH",
    "Query",
    "SearchRow",
    "candidates",
    "search_settings",
    "search_statement",
]

FUSION_DEPTH = 10
"""Passages that each source contributes to a ranking by both, at least, and twice as many as asked
for. More changed no answer."""

EXACT_PASSAGES = 2000
"""Up to so many passages that pass a filter are compared one by one even where there is an index,
which takes a few milliseconds and is exact."""

EXACT_SHARE = 0.05
"""The same as a share of the collection, where that is more: the ten nearest of those that pass
such a filter are so far down among all that a scan of the index misses many
(benchmarks/results/store_scale.md)."""
MOST_EXACT = 50_000

FILTERED = 20
"""Times more candidates that a scan of an index keeps where a filter passes over some of them."""

EF_SEARCH = {"halfvec": 80, "bit": 400}
"""Candidates that a scan of an index keeps before it was tuned."""

MOST_EF_SEARCH = 1000
"""Source: pgvector 0.8.6, src/hnsw.h, ``HNSW_MAX_EF_SEARCH``."""

_NO_OTHER_PLAN = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_sort": "off"}
"""Where a filter meets the index, the planner's guess at how many passages match is too rough to
let it give the index up."""


@dataclass(frozen=True, slots=True)
class Query:
    """One search.

    Args:
        embedding: [D], or None to search by words.
        text: Words, or None to search by the vector.
        limit: Most passages to give.
        where: Metadata filter.
        min_score: Least cosine similarity.
        with_vectors: Give the nearest vector too.
        ids: Find none but these passages.
    """

    embedding: Embedding | None
    text: str | None
    limit: int
    where: Filter | None = None
    min_score: float | None = None
    with_vectors: bool = False
    ids: tuple[str, ...] | None = None

    @property
    def filtered(self) -> bool:
        """Whether not every passage may be found."""
        return self.where is not None or self.ids is not None

    @property
    def depth(self) -> int:
        """How many passages each source, vector or words, contributes."""
        return self.limit if self.text is None else max(2 * self.limit, FUSION_DEPTH)


class SearchRow(NamedTuple):
    """A row of a search statement: a passage, and three columns that are the same in every row.

    A search that found nothing has a single row, whose columns of the passage are null.

    Args:
        id: Of the passage, or None.
        text: Of the passage.
        metadata: Of the passage.
        score: That of `Hit`.
        matched_by: The sources that found the passage: "vector", "words" or both.
        vector: The nearest vector in binary form, if it was asked for.
        nearest: How many passages the search by vector found.
        complete: Whether those came from an exact scan.
        state: That of the `Collection` now, or None when it is gone.
    """

    id: str | None
    text: str
    metadata: dict[str, JSONValue]
    score: float
    matched_by: list[str]
    vector: bytes | None
    nearest: int
    complete: bool
    state: str | None


def candidates(collection: Collection, fetch: int) -> int:
    """Say how many candidates a scan of the index keeps that gives `fetch` vectors."""
    tuned = collection.ef_search or EF_SEARCH[collection.index_kind]
    return min(max(tuned, 2 * fetch), MOST_EF_SEARCH)


def search_settings(collection: Collection, query: Query, fetch: int | None) -> dict[str, str]:
    """Return the server settings that a search runs under; `fetch` is that of its statement."""
    if fetch is None:
        return {}
    kept = candidates(collection, fetch)
    if not query.filtered:
        return {"hnsw.ef_search": str(kept)}
    return {"hnsw.ef_search": str(min(FILTERED * kept, MOST_EF_SEARCH)), **_NO_OTHER_PLAN}


def search_statement(collection: Collection, query: Query, fetch: int | None) -> Statement:
    """Compose the statement of one search.

    Its rows are those of `SearchRow`, at least one.

    Args:
        collection: Where to search.
        query: What to search for.
        fetch: How many vectors to take from the index; None compares all of them.
    """
    condition, values = compile_filter(query.where)
    if query.ids is not None:
        condition = sql.SQL("({} AND id = ANY(%(ids)s::text[]))").format(condition)
        values["ids"] = list(query.ids)
    values |= {"limit": query.limit, "min_score": least_score(query.min_score)}
    if query.embedding is not None:
        values["q"] = Encoded(halfvec(query.embedding))
    parts: dict[str, sql.Composable] = {}
    names = {
        "n": sql.Literal(collection.number),
        "d": sql.Literal(collection.dim),
        "depth": sql.Literal(query.depth),
        "filter": condition,
        "passage": _PASSAGES.format(n=sql.Literal(collection.number), filter=condition),
    }
    if query.embedding is not None:
        if fetch is None:
            parts |= _exact(query, names)
        else:
            parts |= _indexed(collection, query, names, fetch)
    if query.text is not None:
        values["words"] = searched_words(query.text)
        values["language"] = collection.language
        values["passages"] = max(collection.passages, 1)
        parts |= word_parts(names, by_vector=query.embedding is not None)
    parts["found"] = _found(query, names)
    clauses = [
        sql.SQL("{} AS {} ({})").format(
            sql.Identifier(name),
            sql.SQL("" if name == "complete" else "MATERIALIZED"),
            part,
        )
        for name, part in parts.items()
    ]
    return sql.SQL("WITH {} {}").format(sql.SQL(", ").join(clauses), _answer(query, names)), values


_PASSAGES = sql.SQL("voicerag.tenant_passages WHERE collection_id = {n} AND {filter}")

_QUERY_VECTOR = sql.SQL("%(q)s::halfvec")

_ORDERS: dict[str, LiteralString] = {
    "halfvec": "v.embedding::halfvec({d}) <#> %(q)s::halfvec({d})",
    "bit": "binary_quantize(v.embedding::halfvec({d}))::bit({d}) "
    "<~> binary_quantize(%(q)s::halfvec({d}))::bit({d})",
}


def _exact(query: Query, names: dict[str, sql.Composable]) -> dict[str, sql.Composable]:
    parts: dict[str, sql.Composable] = {"complete": sql.SQL("SELECT true AS yes")}
    join: sql.Composable = sql.SQL("")
    if query.filtered:
        parts["chosen"] = sql.SQL("SELECT pid FROM {passage}").format(**names)
        join = sql.SQL("JOIN chosen c ON c.pid = v.passage")
    parts["nearest"] = sql.SQL(
        "SELECT v.passage, min(v.embedding <#> {q}) AS distance FROM voicerag.vectors v {join} "
        "WHERE v.collection_id = {n} GROUP BY v.passage ORDER BY distance, v.passage LIMIT {depth}"
    ).format(join=join, q=_QUERY_VECTOR, **names)
    return parts


def _indexed(
    collection: Collection, query: Query, names: dict[str, sql.Composable], fetch: int
) -> dict[str, sql.Composable]:
    """Scan the index; where there is a filter, only if it lets many passages through."""
    # The index is over this very expression: without the cast to a fixed width, which the column
    # lacks because collections differ, the planner does not recognise it.
    order = sql.SQL(_ORDERS[collection.index_kind]).format(**names)
    if collection.index_kind == "bit":  # signs are a hint: the vectors decide among more of them
        fetch = max(fetch, candidates(collection, fetch))
    # A scan gives vectors, and a passage may own several: the nearest one counts. ORDER BY and
    # LIMIT stand inside {rows}, because only there does the index serve them.
    best = sql.SQL(
        "SELECT passage, min(embedding <#> {q}) AS distance FROM ({rows}) r "
        "GROUP BY passage ORDER BY distance, passage LIMIT {depth}"
    )
    names = {**names, "q": _QUERY_VECTOR, "order": order, "fetch": sql.Literal(fetch)}
    if not query.filtered:
        rows = sql.SQL(
            "SELECT v.passage, v.embedding FROM voicerag.vectors v "
            "WHERE v.collection_id = {n} ORDER BY {order} LIMIT {fetch}"
        ).format(**names)
        return {
            "complete": sql.SQL("SELECT false AS yes"),
            "nearest": best.format(rows=rows, **names),
        }
    # Two halves of which one runs: `complete` does not depend on the row, so Postgres tests it once
    # and skips the other half. Behind a filter that few passages pass, a scan visits much of the
    # index before it has enough of them; comparing those few is fast and exact.
    rows = sql.SQL(
        "SELECT v.passage, v.embedding "
        "FROM chosen c JOIN voicerag.vectors v ON v.passage = c.pid "
        "WHERE v.collection_id = {n} AND (SELECT yes FROM complete) "
        "UNION ALL (SELECT v.passage, v.embedding FROM voicerag.vectors v "
        "JOIN voicerag.tenant_passages p ON p.pid = v.passage AND p.collection_id = {n} "
        "WHERE v.collection_id = {n} AND NOT (SELECT yes FROM complete) AND {filter} "
        "ORDER BY {order} LIMIT {fetch})"
    ).format(**names)
    few = min(MOST_EXACT, max(EXACT_PASSAGES, int(EXACT_SHARE * collection.passages)))
    return {
        # One more than may be compared tells "few" from "many" without counting them all.
        "chosen": sql.SQL("SELECT pid FROM {passage} LIMIT {most}").format(
            most=sql.Literal(few + 1), **names
        ),
        "complete": sql.SQL("SELECT count(*) <= {} AS yes FROM chosen").format(sql.Literal(few)),
        "nearest": best.format(rows=rows, **names),
    }


def _found(query: Query, names: dict[str, sql.Composable]) -> sql.Composable:
    """Make one ranking of what vector and words found; `score` is a cosine if there is one."""
    if query.embedding is None:
        return sql.SQL(
            "SELECT passage, share AS fused, share AS score, ARRAY['words'] AS matched_by "
            "FROM shares WHERE share > 0 ORDER BY share DESC, passage LIMIT {depth}"
        ).format(**names)
    if query.text is None:
        found: sql.Composable = sql.SQL(
            "SELECT passage, -distance AS fused, -distance AS score, "
            "ARRAY['vector'] AS matched_by FROM nearest"
        )
    else:
        found = _FUSED.format(q=_QUERY_VECTOR, **names)
    if query.min_score is None:
        return found
    return sql.SQL("SELECT * FROM ({found}) f WHERE score >= %(min_score)s").format(found=found)


# Cosine and share are added as they are. Of the passages that only words found, the cosine is that
# of their own nearest vector.
_FUSED = sql.SQL(
    "SELECT passage, score + share AS fused, score, array_remove(ARRAY["
    "CASE WHEN near THEN 'vector' END, CASE WHEN share > 0 THEN 'words' END], NULL) AS matched_by "
    "FROM (SELECT passage, share, distance IS NOT NULL AS near, coalesce(-distance, "
    "(SELECT -min(v.embedding <#> {q}) FROM voicerag.vectors v "
    "WHERE v.collection_id = {n} AND v.passage = r.passage)) AS score "
    "FROM (SELECT *, row_number() OVER (ORDER BY share DESC, passage) AS place FROM shares) r "
    "WHERE distance IS NOT NULL OR (share > 0 AND place <= {depth}) OFFSET 0) f"
)


def _answer(query: Query, names: dict[str, sql.Composable]) -> sql.Composable:
    vector: sql.Composable = sql.SQL("NULL::bytea")
    if query.with_vectors:
        order: sql.Composable = sql.SQL("v.ordinal")
        if query.embedding is not None:
            order = sql.SQL("v.embedding <#> {q}, v.ordinal").format(q=_QUERY_VECTOR)
        vector = sql.SQL(
            "(SELECT halfvec_send(v.embedding) FROM voicerag.vectors v "
            "WHERE v.collection_id = {n} AND v.passage = h.passage ORDER BY {order} LIMIT 1)"
        ).format(order=order, **names)
    state = sql.SQL("SELECT 0 AS nearest, true AS complete")
    if query.embedding is not None:
        state = sql.SQL(
            "SELECT (SELECT count(*) FROM nearest) AS nearest, "
            "(SELECT yes FROM complete) AS complete"
        )
    return sql.SQL(
        "SELECT h.id, h.body, h.metadata, h.score, h.matched_by, {vector}, s.nearest, s.complete, "
        "(SELECT {revision} FROM voicerag.collections WHERE id = {n}) "
        "FROM ({state}) s LEFT JOIN LATERAL ("
        "SELECT p.id, p.body, p.metadata, f.fused, f.score, f.matched_by, f.passage FROM found f "
        "JOIN voicerag.tenant_passages p ON p.pid = f.passage AND p.collection_id = {n} "
        "ORDER BY f.fused DESC, p.id LIMIT %(limit)s) h ON true ORDER BY h.fused DESC, h.id"
    ).format(vector=vector, state=state, revision=STATE, **names)

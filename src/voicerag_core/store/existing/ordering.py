"""How rows are ordered by distance, so that the table's own index serves the search.

Postgres uses an index only for its very operator and expression; anything else is a sequential
scan, without a warning. Source: pgvector 0.8.6, README, "Indexing" and "Iterative Index Scans".
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from voicerag_core.store.existing.catalog import Extension, IndexOn, VectorColumn
from voicerag_core.store.existing.naming import name, raw

__all__ = ["Order", "candidate_orders", "exact_order", "query_vector", "scan_settings"]

COSINE = "<=>"
_OPERATORS = {"cosine_ops": COSINE, "ip_ops": "<#>", "l2_ops": "<->"}
_CAST = re.compile(r"::(?:\"?[\w]+\"?\.)?(vector|halfvec)\((\d+)\)")

ITERATIVE_FROM = (0, 8)
"""The version of pgvector from which a scan goes on until a filter has let enough rows through."""
EF_SEARCH, MOST_EF_SEARCH = 100, 1000
"""Candidates that an index scan keeps: at least, four times as many as asked, and at most."""
MAX_SCAN_TUPLES = 40_000
DEFAULT_LISTS = 100
ALL_PROBES_BELOW = 50_000
"""Rows up to which every list of an ivfflat index is probed: an index made on an empty table has
lists that mean nothing."""
LEAST_PROBES = 10


@dataclass(frozen=True, slots=True)
class Order:
    """What rows are ordered by.

    Args:
        distance: The expression, with the query vector as ``%(q)s``.
        index: The index that serves it; None where none does, or where it is not known.
        serves: Whether an index serves it.
    """

    distance: sql.Composable
    index: IndexOn | None
    serves: bool


def query_vector(column: VectorColumn, extension: Extension) -> sql.Composed:
    """Return the query vector in the type of the column."""
    return sql.SQL("%(q)s::{}.{}").format(name(extension.schema), sql.SQL(column.type))


def exact_order(column: VectorColumn, extension: Extension) -> Order:
    """Order by cosine distance, out of reach of every index."""
    distance = _distance(name(column.column), COSINE, query_vector(column, extension), extension)
    return Order(sql.SQL("({}) + 0.0").format(distance), None, serves=False)


def candidate_orders(
    column: VectorColumn, extension: Extension, *, width: int, unit: bool
) -> Sequence[Order]:
    """Return the orders that an index may serve, best first; the planner says whether it does.

    Args:
        column: The vectors.
        extension: Of their database.
        width: Of the vectors; an index over others serves no search.
        unit: Whether all vectors have length 1, so that every distance orders alike.
    """
    found: list[tuple[tuple[bool, bool, bool], Order]] = []
    for index in column.indexes:
        operator = _operator(index)
        if operator is None or not index.valid or (operator != COSINE and not unit):
            continue
        cast = _CAST.search(index.expression)
        kind: sql.SQL | sql.Composed = sql.SQL(column.type)
        if cast is not None and int(cast[2]) != width:
            continue
        if cast is not None:
            kind = sql.SQL("{}({})").format(sql.SQL(cast[1]), sql.Literal(int(cast[2])))
        elif "halfvec" in index.operator_class:
            kind = sql.SQL("halfvec")
        query = sql.SQL("%(q)s::{}.{}").format(name(extension.schema), kind)
        distance = _distance(raw(index.expression), operator, query, extension)
        rank = (operator != COSINE, index.method != "hnsw", index.predicate is not None)
        found.append((rank, Order(distance, index, serves=True)))
    if not found:  # a view, or a foreign table: whether an index lies below it, the plan says
        query = query_vector(column, extension)
        plain = _distance(name(column.column), COSINE, query, extension)
        return [Order(plain, None, serves=True)]
    return [order for _, order in sorted(found, key=lambda one: one[0])]


def scan_settings(
    order: Order, extension: Extension, *, fetch: int, rows: int, filtered: bool
) -> dict[str, str] | None:
    """Return the server settings of a scan; None: this pgvector needs an exact search.

    Args:
        order: What the rows are ordered by.
        extension: Its version decides what a scan can do.
        fetch: How many rows are wanted.
        rows: How many the table has, about.
        filtered: Whether rows are filtered during the scan.
    """
    iterative = extension.version >= ITERATIVE_FROM
    candidates = min(max(EF_SEARCH, 4 * fetch), MOST_EF_SEARCH)
    if not iterative and (filtered or fetch > candidates):
        return None
    method = "" if order.index is None else order.index.method
    settings: dict[str, str] = {}
    if method in ("hnsw", ""):
        settings["hnsw.ef_search"] = str(candidates)
        if iterative:
            settings["hnsw.iterative_scan"] = "strict_order"
            settings["hnsw.max_scan_tuples"] = str(MAX_SCAN_TUPLES)
    if method == "ivfflat":
        assert order.index is not None
        lists = int(order.index.options.get("lists", DEFAULT_LISTS))
        probes = max(LEAST_PROBES, math.isqrt(lists))
        settings["ivfflat.probes"] = str(lists if rows < ALL_PROBES_BELOW else probes)
        if iterative:
            settings["ivfflat.iterative_scan"] = "relaxed_order"
    return settings


def _operator(index: IndexOn) -> str | None:
    kind, _, measure = index.operator_class.partition("_")
    return _OPERATORS.get(measure) if kind in ("vector", "halfvec") else None


def _distance(
    vectors: sql.Composable, operator: str, query: sql.Composable, extension: Extension
) -> sql.Composable:
    return sql.SQL("{} OPERATOR({}.{}) {}").format(
        vectors,
        name(extension.schema),
        sql.SQL(operator),
        query,
    )

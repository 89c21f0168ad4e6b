"""How searches of the collections run, in words: a check of ``voicerag doctor``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from voicerag_core.cli.checks import Finding

if TYPE_CHECKING:
    from voicerag_core.store import CollectionInfo, IndexInfo, PgVectorStore

__all__ = ["in_words", "plans"]

SLOW_SECONDS = 0.25
"""A search that takes longer is one to do something about."""

_RUNS = 3

_NODES = (
    ("using vectors_hnsw_", "walks the vector index"),
    ("Seq Scan on vectors", "reads the vectors of every collection of every tenant"),
    ("using vectors_pkey", "reads the vectors of the collection by its key"),
    ("on vectors_pkey", "reads the vectors of the collection by its key"),
    ("Seq Scan on passages", "reads the passages of every collection of every tenant"),
    ("on passages_words", "finds words by their index"),
    ("using passages_pkey", "fetches passages by their key"),
)
"""Parts of a plan, and what they are; source: PostgreSQL 18 documentation, "Using EXPLAIN"."""


def plans(dsn: str, tenant: str, collections: Sequence[CollectionInfo]) -> Iterator[Finding]:
    """Ask the planner about the search of each collection, and time it.

    The search is the product's own, for a vector of equal elements.
    """
    from voicerag_core.store import open_collection

    for collection in collections:
        if collection.vectors:
            with open_collection(dsn, collection.name, tenant=tenant, read_only=True) as store:
                yield _finding(collection, store.index_info(), _seconds(store, collection.dim))


def in_words(plan: str) -> str:
    """Say what the planner does, in the order of its plan."""
    lines = plan.splitlines()
    said = [
        words
        for words in dict.fromkeys(words for _, words in _NODES)
        if any(part in line for line in lines for part, meant in _NODES if meant == words)
    ]
    return ", ".join(said) or "runs as no plan that is known here"


def _seconds(store: PgVectorStore, dim: int) -> float:
    """Return the median time of a few searches."""
    import numpy as np

    vector = np.full(dim, dim**-0.5, dtype=np.float32)
    spent = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        store.search(vector, limit=4)
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def _finding(collection: CollectionInfo, info: IndexInfo, seconds: float) -> Finding:
    from voicerag_core.store import INDEX_FROM

    name = collection.name
    took = f"a search of {name} takes {1000 * seconds:.1f} ms"
    large = info.vectors >= INDEX_FROM
    rebuild = f"voicerag db reindex --collection {name}"
    said = f"{took} and {in_words(info.plan)}"
    if info.index is not None:
        if seconds > SLOW_SECONDS:
            cure = f"{rebuild} if much was deleted or replaced; give the server more shared_buffers"
            return Finding("database", "warn", f"{said}; it is slow:\n{info.plan}", cure)
        return Finding("database", "ok", f"{said}, of {info.vectors:,} vectors")
    if not large:
        return Finding(
            "database", "ok", f"{said}: all {info.vectors:,} vectors are compared, exactly"
        )
    if not info.built:
        return Finding(
            "database", "warn", f"{said}: {info.vectors:,} vectors have no index", rebuild
        )
    return Finding(
        "database",
        "warn",
        f"{said}: the index of {info.vectors:,} vectors is not used\n{info.plan}",
        f"{rebuild}, which takes the planner's numbers anew, too",
    )

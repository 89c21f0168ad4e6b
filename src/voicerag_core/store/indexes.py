"""Building and dropping the HNSW index of a collection, within the memory that is given for it."""

from __future__ import annotations

import logging
from typing import Final

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from voicerag_core.errors import StoreError
from voicerag_core.store.collection import Collection, IndexKind
from voicerag_core.store.connection import Connection, Database

__all__ = ["INDEX_FROM", "WIDEST", "build", "drop", "graph_bytes", "scans", "vacuum"]

INDEX_FROM: Final = 20_000
"""Vectors from which a collection gets an HNSW index; below, comparing all is fast and exact."""

WIDEST: Final = {"halfvec": 4000, "bit": 64_000}
"""Most elements that HNSW takes. Source: pgvector 0.8.6, README, "HNSW"."""

_ELEMENT_BYTES = 800
"""Of a graph under construction for each vector, without the vector: its neighbours (m = 16) above
all. Measured by benchmarks/store/scale.py as 740 to 790; see benchmarks/results/store_scale.md."""

_LEAST_BYTES = 64 * 2**20

_logger = logging.getLogger(__name__)


def graph_bytes(kind: IndexKind, dim: int, vectors: int) -> int:
    """Say how many bytes of memory the graph of an index takes while it is built at full speed."""
    value = 2 * dim if kind == "halfvec" else dim // 8
    return vectors * (_ELEMENT_BYTES + value)


def build(
    database: Database,
    collection: Collection,
    *,
    kind: IndexKind,
    memory: int | None,
    workers: int | None,
) -> bool:
    """Build the index, and return False if the collection has one or is too wide for it.

    Args:
        database: Of the collection.
        collection: Its sizes say how much memory is needed; no more is taken.
        kind: What the index is over.
        memory: Most bytes; None: the server's ``maintenance_work_mem``.
        workers: Processes besides the server's own; None: ``max_parallel_maintenance_workers``.
    """
    needed = max(graph_bytes(kind, collection.dim, collection.vectors), _LEAST_BYTES)

    def run(connection: Connection, *, alone: bool) -> bool:
        cursor = connection.cursor(row_factory=scalar_row)
        cursor.execute(_SERVER_MEMORY)
        given = int(str(cursor.fetchone())) if memory is None else memory
        settings = {"maintenance_work_mem": f"{max(min(needed, given) // 1024, 1024)}kB"}
        if alone or workers is not None:
            settings["max_parallel_maintenance_workers"] = str(0 if alone else workers)
        for name, value in settings.items():
            cursor.execute("SELECT set_config(%s, %s, true)", (name, value), prepare=False)
        if given < needed:
            _logger.warning(
                "the index of %d vectors takes %d MiB of memory to build at full speed, and %d MiB "
                "are given: the rest is added more slowly; raise VOICERAG_INDEX_MEMORY (MiB), or "
                "take the index over signs (VOICERAG_INDEX=bit)",
                collection.vectors,
                needed // 2**20,
                given // 2**20,
            )
        cursor.execute(_BUILD, {"n": collection.number, "kind": kind}, prepare=False)
        return bool(cursor.fetchone())

    try:
        return database.write(lambda connection: run(connection, alone=False))
    except Exception as error:
        if not _without_shared_memory(error):
            raise
        # Parallel workers meet in shared memory, of which a container may have 64 MB.
        _logger.warning("the index is built by one process: %s", error)
        return database.write(lambda connection: run(connection, alone=True))


def vacuum(database: Database) -> None:
    """Vacuum the passages after a load, if the login may; else the server does it in its time.

    Plans take an index of metadata that was never vacuumed for a costly one, and read every row
    behind a filter of ten values: 42 ms instead of 2 at 50,000 rows.
    """
    try:
        with database.connect() as connection:
            connection.execute("VACUUM (SKIP_LOCKED, PARALLEL 0) voicerag.passages")
    except (StoreError, psycopg.Error) as error:
        _logger.debug("the passages were not vacuumed: %s", error)


def drop(database: Database, collection: Collection) -> bool:
    """Drop the index, and return False if there is none."""

    def run(connection: Connection) -> bool:
        cursor = connection.cursor(row_factory=scalar_row)
        cursor.execute("SELECT voicerag.drop_vector_index(%s)", (collection.number,), prepare=False)
        return bool(cursor.fetchone())

    return database.write(run)


def scans(database: Database, collection: Collection) -> int:
    """Say how many searches the index has served so far, by the server's own count."""
    statement = _SCANS.format(sql.Literal(f"voicerag.vectors_hnsw_{collection.number}"))
    (rows,) = database.read((statement, {}), rows=scalar_row)
    return int(rows[0] or 0)


_SERVER_MEMORY = (
    "SELECT 1024 * setting::bigint FROM pg_settings WHERE name = 'maintenance_work_mem'"
)

_BUILD = "SELECT voicerag.build_vector_index(%(n)s::integer, %(kind)s::text)"

_SCANS = sql.SQL("SELECT pg_stat_get_numscans(to_regclass({}))")


def _without_shared_memory(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, psycopg.errors.DiskFull | psycopg.errors.OutOfMemory) and (
        "shared memory" in str(cause)
    )

"""How large the tables and indexes of a database are, and how they are used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, scalar_row

from voicerag_core.store.backups.content import connected
from voicerag_core.store.errors import redacted
from voicerag_core.store.migrations import check_schema

__all__ = ["DatabaseStats", "IndexStats", "TableStats", "database_stats"]


@dataclass(frozen=True, slots=True)
class TableStats:
    """A table, as the server counts it; numbers of rows are its estimates.

    Args:
        name: In the schema.
        rows: Live ones.
        dead: Rows that were changed or deleted and are not yet cleared away.
        bytes: Of its rows.
        index_bytes: Of its indexes.
        vacuumed: When dead rows were cleared away last.
        analyzed: When the planner's numbers were taken last.
    """

    name: str
    rows: int
    dead: int
    bytes: int
    index_bytes: int
    vacuumed: datetime | None
    analyzed: datetime | None


@dataclass(frozen=True, slots=True)
class IndexStats:
    """An index.

    Args:
        name: In the schema.
        table: Of which table.
        bytes: Its size.
        scans: How many queries used it since the server's counters began.
        valid: False: an interrupted rebuild left it, and nothing uses it.
    """

    name: str
    table: str
    bytes: int
    scans: int
    valid: bool


@dataclass(frozen=True, slots=True)
class DatabaseStats:
    """The state of a database.

    Args:
        tables: The largest first.
        indexes: The largest first.
        cached: Share of the pages read that were in the server's memory, or None.
        connections: How many there are to the server.
        connections_most: How many it takes.
        longest_transaction: Seconds that the longest running transaction that this login sees has
            taken so far.
    """

    tables: tuple[TableStats, ...]
    indexes: tuple[IndexStats, ...]
    cached: float | None
    connections: int
    connections_most: int
    longest_transaction: float


def database_stats(dsn: str) -> DatabaseStats:
    """Say how large voicerag's tables and indexes are, and how they are used.

    Raises:
        SchemaError: The schema is missing, older or newer.
        StoreUnavailableError: The database cannot be reached.
    """
    with connected(dsn) as connection:
        check_schema(connection, redacted(dsn))
        tables = connection.cursor(row_factory=class_row(TableStats)).execute(_TABLES).fetchall()
        indexes = connection.cursor(row_factory=class_row(IndexStats)).execute(_INDEXES).fetchall()
        number = connection.cursor(row_factory=scalar_row)
        cached = number.execute(_CACHED).fetchone()
        return DatabaseStats(
            tables=tuple(tables),
            indexes=tuple(indexes),
            cached=None if cached is None else float(cached),
            connections=int(number.execute(_CONNECTIONS).fetchone() or 0),
            connections_most=int(number.execute(_MOST).fetchone() or 0),
            longest_transaction=float(number.execute(_LONGEST).fetchone() or 0.0),
        )


_TABLES = (
    "SELECT relname::text AS name, n_live_tup AS rows, n_dead_tup AS dead, "
    "pg_table_size(relid) AS bytes, pg_indexes_size(relid) AS index_bytes, "
    "greatest(last_vacuum, last_autovacuum) AS vacuumed, "
    "greatest(last_analyze, last_autoanalyze) AS analyzed "
    "FROM pg_stat_all_tables WHERE schemaname = 'voicerag' "
    "ORDER BY pg_total_relation_size(relid) DESC, relname"
)
_INDEXES = (
    "SELECT s.indexrelname::text AS name, s.relname::text AS table, "
    "pg_relation_size(s.indexrelid) AS bytes, s.idx_scan AS scans, x.indisvalid AS valid "
    "FROM pg_stat_all_indexes s JOIN pg_index x ON x.indexrelid = s.indexrelid "
    "WHERE s.schemaname = 'voicerag' ORDER BY pg_relation_size(s.indexrelid) DESC, 1"
)
_CACHED = (
    "SELECT sum(heap_blks_hit + coalesce(idx_blks_hit, 0)) / nullif(sum(heap_blks_hit "
    "+ heap_blks_read + coalesce(idx_blks_hit, 0) + coalesce(idx_blks_read, 0)), 0) "
    "FROM pg_statio_all_tables WHERE schemaname = 'voicerag'"
)
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
_MOST = "SELECT current_setting('max_connections')::integer"
_LONGEST = (
    "SELECT extract(epoch FROM max(now() - xact_start)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)

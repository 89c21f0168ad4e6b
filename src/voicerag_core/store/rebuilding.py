"""Building the index of a collection anew while it is searched and written."""

from __future__ import annotations

from psycopg import sql
from psycopg.rows import scalar_row

from voicerag_core.store.backups.content import connected
from voicerag_core.store.errors import redacted
from voicerag_core.store.listing import known_collection, open_collection
from voicerag_core.store.migrations import check_schema

__all__ = ["reindex"]


def reindex(dsn: str, *, collection: str = "default", tenant: str = "default") -> bool:
    """Build the HNSW index of a collection anew, or for the first time.

    An index from which many passages were deleted or replaced is larger and slower than a new one.
    Searches and writes go on meanwhile; an interrupted rebuild leaves the old index in use, and
    what it left half made is removed by the next one. Not through a pooler in transaction mode.

    Args:
        dsn: The database; to rebuild, its login must be a member of voicerag_owner.
        collection: Which one.
        tenant: Whose.

    Returns:
        True when an index was built anew, False when it was the first one.

    Raises:
        StoreError: There is no such collection, or the login may not.
    """
    known = known_collection(dsn, collection, tenant=tenant)
    if not known.indexed:
        with open_collection(dsn, collection, tenant=tenant) as store:
            store.build_index()
        return False
    with connected(dsn) as connection:
        check_schema(connection, redacted(dsn))
        cursor = connection.cursor(row_factory=scalar_row)
        with connection.transaction():
            connection.execute(
                "SELECT set_config('role', 'voicerag_reader', true), "
                "set_config('voicerag.tenant', %s, true)",
                (tenant,),
            )
            query = "SELECT id FROM voicerag.collections WHERE name = %s"
            number = cursor.execute(query, (collection,)).fetchone()
        name = f"vectors_hnsw_{number}"
        connection.execute("SET ROLE voicerag_owner")
        try:
            connection.execute("SET statement_timeout = 0")
            leftovers = cursor.execute(_LEFTOVERS, (rf"^{name}_cc(new|old)\d*$",)).fetchall()
            for leftover in leftovers:
                connection.execute(
                    sql.SQL("DROP INDEX CONCURRENTLY {}").format(
                        sql.Identifier("voicerag", str(leftover))
                    )
                )
            connection.execute(
                sql.SQL("REINDEX INDEX CONCURRENTLY {}").format(sql.Identifier("voicerag", name))
            )
            connection.execute("SELECT voicerag.refresh_statistics()")
        finally:
            if not connection.closed:
                connection.execute("RESET ROLE")
    return True


_LEFTOVERS = (
    "SELECT i.relname::text FROM pg_class i JOIN pg_index x ON x.indexrelid = i.oid "
    "WHERE i.relnamespace = 'voicerag'::regnamespace AND i.relname ~ %s AND NOT x.indisvalid"
)

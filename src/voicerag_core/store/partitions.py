"""Vectors in several tables instead of one: declarative partitions by a hash of the collection.

A collection lies in one partition as a whole, with an index of its own as before, and every
statement names it, so that the planner looks at that partition alone. What changes is what a
collection shares with others: while an index is built, only the writes to its partition wait, and
vacuuming one does not read the others. What a search finds stays the same, since the graph does.
Splitting one collection over partitions is left out: a search would have to scan a graph in each.
"""

from __future__ import annotations

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import scalar_row

from voicerag_core.errors import StoreError
from voicerag_core.store.connection import Connection
from voicerag_core.store.errors import checked_dsn, reason, redacted, translated
from voicerag_core.store.migrations import check_schema, extension_schema

__all__ = ["MOST_PARTS", "partition"]

MOST_PARTS = 256
"""A plan looks at each partition before it leaves it out."""

_CONNECT_SECONDS = 5


def partition(dsn: str, parts: int) -> int:
    """Spread the vectors of all collections over partitions, and build their indexes there.

    Everything happens in one transaction; reads and writes wait until it is done, and it needs room
    for a second copy of the vectors.

    Args:
        dsn: The database; its login must be a member of voicerag_owner.
        parts: How many.

    Returns:
        How many indexes were built.

    Raises:
        SchemaError: The schema is missing, older or newer.
        StoreError: There are partitions already, `parts` is out of range, or the login may not.
    """
    place = redacted(checked_dsn(dsn))
    if not 2 <= parts <= MOST_PARTS:  # noqa: PLR2004 - one is none
        raise StoreError(f"vectors are spread over 2 to {MOST_PARTS} partitions, not {parts}")
    with (
        translated(dsn),
        psycopg.connect(dsn, connect_timeout=_CONNECT_SECONDS) as connection,
    ):
        check_schema(connection, place)
        try:
            connection.execute("SET LOCAL ROLE voicerag_owner")
        except pg.InsufficientPrivilege as error:
            raise StoreError(
                f"the login may not partition the tables on {place}: {reason(error)}; run it as "
                "the one that ran `voicerag db migrate`"
            ) from error
        connection.execute(
            sql.SQL("SET LOCAL search_path = voicerag, {}, pg_catalog, pg_temp").format(
                sql.Identifier(extension_schema(connection))
            )
        )
        return _partition(connection, parts, place)


def _partition(connection: Connection, parts: int, place: str) -> int:
    cursor = connection.cursor(row_factory=scalar_row)
    cursor.execute("LOCK TABLE voicerag.vectors IN ACCESS EXCLUSIVE MODE")
    cursor.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = 'voicerag.vectors'::regclass")
    if cursor.fetchone():
        raise StoreError(f"the vectors on {place} are in partitions already")
    policies = connection.execute(_POLICIES).fetchall()
    for statement in _ASIDE:
        connection.execute(statement)
    for part in range(parts):
        connection.execute(
            sql.SQL(
                "CREATE TABLE voicerag.{} PARTITION OF voicerag.vectors FOR VALUES "
                "WITH (MODULUS {}, REMAINDER {}) WITH (toast_tuple_target = 8160)"
            ).format(sql.Identifier(f"vectors_{part}"), sql.Literal(parts), sql.Literal(part))
        )
    connection.execute("INSERT INTO voicerag.vectors SELECT * FROM voicerag.vectors_whole")
    connection.execute("ALTER TABLE voicerag.collections NO FORCE ROW LEVEL SECURITY")
    indexed = connection.execute(_INDEXED).fetchall()
    connection.execute("DROP TABLE voicerag.vectors_whole")
    for policy in policies:
        connection.execute(str(policy[0]).encode())
    for statement in _GUARD:
        connection.execute(statement)
    for tenant, number in indexed:
        connection.execute("SELECT set_config('voicerag.tenant', %s, true)", (tenant,))
        connection.execute("SELECT voicerag.build_vector_index(%s)", (number,))
    connection.execute("ANALYZE voicerag.vectors")
    return len(indexed)


_ASIDE = (
    b"ALTER TABLE voicerag.vectors RENAME TO vectors_whole",
    b"ALTER TABLE voicerag.vectors_whole RENAME CONSTRAINT vectors_pkey TO vectors_whole_pkey",
    b"ALTER TABLE voicerag.vectors_whole NO FORCE ROW LEVEL SECURITY",
    (
        b"CREATE TABLE voicerag.vectors (LIKE voicerag.vectors_whole INCLUDING STORAGE, "
        b"CONSTRAINT vectors_pkey PRIMARY KEY (tenant, collection_id, passage, ordinal)) "
        b"PARTITION BY HASH (collection_id)"
    ),
)

_GUARD = (
    b"ALTER TABLE voicerag.vectors ENABLE ROW LEVEL SECURITY",
    b"ALTER TABLE voicerag.vectors FORCE ROW LEVEL SECURITY",
    b"ALTER TABLE voicerag.collections FORCE ROW LEVEL SECURITY",
    b"GRANT SELECT ON voicerag.vectors TO voicerag_reader",
    b"GRANT SELECT, INSERT, UPDATE, DELETE ON voicerag.vectors TO voicerag_writer",
)

_INDEXED = (
    "SELECT tenant, id FROM voicerag.collections "
    "WHERE to_regclass('voicerag.vectors_hnsw_' || id) IS NOT NULL ORDER BY id"
)

_POLICIES = """
    SELECT format('CREATE POLICY %I ON voicerag.vectors AS %s FOR %s TO %s', policyname, permissive,
                  cmd, (SELECT string_agg(quote_ident(role), ', ') FROM unnest(roles) role))
           || coalesce(' USING (' || qual || ')', '')
           || coalesce(' WITH CHECK (' || with_check || ')', '')
    FROM pg_policies WHERE schemaname = 'voicerag' AND tablename = 'vectors' ORDER BY policyname
"""

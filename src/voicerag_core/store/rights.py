"""The grants without which voicerag's roles cannot work, and which of them a database lacks."""

from __future__ import annotations

import contextlib
from typing import LiteralString

from psycopg import errors as pg
from psycopg.rows import scalar_row

from voicerag_core.errors import SchemaError, StoreError
from voicerag_core.store.connecting import Connection
from voicerag_core.store.errors import reason, redacted

__all__ = ["give_roles_what_they_need", "refuse_foreign_schema", "refuse_missing_grants"]

# What lies outside the schema voicerag: its own grants are those of the migrations.
_OUTSIDE: LiteralString = """
    WITH e AS (SELECT e.oid, n.nspname, n.oid AS schema FROM pg_extension e
               JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'),
    r(role) AS (SELECT rolname FROM pg_roles
                WHERE rolname IN ('voicerag_owner', 'voicerag_writer', 'voicerag_reader')),
    member AS (SELECT classid, objid FROM pg_depend, e
               WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass AND refobjid = e.oid)
    SELECT format('GRANT USAGE ON SCHEMA %I TO %s', nspname, string_agg(role, ', ' ORDER BY role))
    FROM e, r WHERE NOT has_schema_privilege(role, schema, 'USAGE') GROUP BY nspname
    UNION ALL
    SELECT format('GRANT USAGE ON TYPE %s TO %s', t.oid::regtype,
                  string_agg(role, ', ' ORDER BY role))
    FROM member m JOIN pg_type t ON t.oid = m.objid AND m.classid = 'pg_type'::regclass, r
    WHERE t.typelem = 0 AND NOT has_type_privilege(role, t.oid, 'USAGE') GROUP BY t.oid
    UNION ALL
    SELECT format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %I TO %s', nspname,
                  string_agg(role, ', ' ORDER BY role))
    FROM e, r WHERE EXISTS (SELECT FROM member m WHERE m.classid = 'pg_proc'::regclass
                            AND NOT has_function_privilege(role, m.objid, 'EXECUTE'))
    GROUP BY nspname
"""

_INSIDE: LiteralString = """
    WITH r(role, rights) AS (VALUES ('voicerag_writer', 'SELECT, INSERT, UPDATE, DELETE'),
                                    ('voicerag_reader', 'SELECT'))
    SELECT format('GRANT USAGE ON SCHEMA voicerag TO %s', role) FROM r
    WHERE NOT has_schema_privilege(role, 'voicerag', 'USAGE')
    UNION ALL
    SELECT format('GRANT %s ON voicerag.%I TO %s', rights, relname, role)
    FROM r, pg_class c WHERE relnamespace = 'voicerag'::regnamespace AND relkind IN ('r', 'p')
    AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant')
    AND EXISTS (SELECT FROM unnest(string_to_array(rights, ', ')) one
                WHERE NOT has_table_privilege(role, c.oid, one))
    UNION ALL
    SELECT format('GRANT SELECT ON voicerag.%I TO %s', relname, role)
    FROM r, pg_class c WHERE relnamespace = 'voicerag'::regnamespace
    AND relname IN ('tenant_passages', 'migrations')
    AND NOT has_table_privilege(role, c.oid, 'SELECT')
"""

_MEMBERSHIP: LiteralString = """
    SELECT format('GRANT %s TO %I', string_agg(role, ', ' ORDER BY role DESC), session_user)
    FROM unnest(ARRAY['voicerag_writer', 'voicerag_reader']) role
    WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = role)
    AND NOT pg_has_role(session_user, role, CASE
        WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)
    HAVING count(*) > 0
"""


def give_roles_what_they_need(connection: Connection, place: str) -> None:
    """Grant voicerag's roles what they lack outside their schema, as far as the login may.

    Raises:
        SchemaError: The login may not; the message names every grant.
    """
    for grant in _rows(connection, _OUTSIDE):
        with contextlib.suppress(pg.InsufficientPrivilege), connection.transaction():
            connection.execute(grant.encode())  # quoted by the server
    lacking = _rows(connection, _OUTSIDE)
    if lacking:
        raise SchemaError(
            f"voicerag's roles lack rights on {place}, and the login may not grant them; let an "
            f"administrator run {_listed(lacking)}, then run `voicerag db migrate` again"
        )


def refuse_missing_grants(
    connection: Connection, dsn: str, refusal: pg.InsufficientPrivilege
) -> None:
    """Say which grants are missing, after the database refused a statement; return if none is.

    Raises:
        StoreError: Some are; the message names every one.
    """
    lacking = _rows(connection, _MEMBERSHIP)
    with contextlib.suppress(pg.Error):
        lacking += _rows(connection, _INSIDE)
        lacking += _rows(connection, _OUTSIDE)
    if lacking:
        raise StoreError(
            f"the login may not do this on {redacted(dsn)}: {reason(refusal)}; let an "
            f"administrator run {_listed(lacking)}"
        ) from refusal


def refuse_foreign_schema(connection: Connection, place: str) -> None:
    """Refuse a schema named voicerag that somebody else made.

    Raises:
        SchemaError: There is one.
    """
    owners = _rows(
        connection,
        "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = 'voicerag'",
    )
    if owners and owners != ["voicerag_owner"]:
        raise SchemaError(
            f"the schema voicerag on {place} belongs to {owners[0]!r} and is not the one that "
            "voicerag makes; give voicerag a database of its own, or rename that one (ALTER SCHEMA "
            "voicerag RENAME TO other)"
        )


def _rows(connection: Connection, query: LiteralString) -> list[str]:
    return connection.cursor(row_factory=scalar_row).execute(query).fetchall()


def _listed(grants: list[str]) -> str:
    return ", ".join(f"`{grant}`" for grant in grants)

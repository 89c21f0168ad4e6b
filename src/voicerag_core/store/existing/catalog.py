"""The columns of vectors in a database, from its catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from psycopg import sql
from psycopg.rows import scalar_row

from voicerag_core.errors import ConfigError, StoreError
from voicerag_core.store.existing.naming import name
from voicerag_core.store.existing.reading import TableDatabase

__all__ = [
    "Extension",
    "IndexOn",
    "VectorColumn",
    "find_table",
    "list_vector_columns",
    "read_catalog",
]

_KINDS: Final = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}


@dataclass(frozen=True, slots=True)
class Extension:
    """pgvector in a database.

    Args:
        schema: Where its types and operators are.
        version: Its version, such as (0, 8, 6).
        collations: Whether the server can compare texts of all languages without regard to case.
    """

    schema: str
    version: tuple[int, ...]
    collations: bool


@dataclass(frozen=True, slots=True)
class IndexOn:
    """An index of a table.

    Args:
        name: Its name.
        method: Its access method, such as hnsw.
        operator_class: That of its first column, such as vector_cosine_ops.
        expression: Its first column as SQL, as Postgres writes it.
        predicate: The condition of a partial index.
        valid: False while it is being built, or after that failed.
        options: Its parameters, such as lists.
    """

    name: str
    method: str
    operator_class: str
    expression: str
    predicate: str | None
    valid: bool
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """A column of vectors, and the table that it is in.

    Args:
        schema: Schema of the table.
        table: Name of the table.
        kind: table, partitioned table, view, materialized view or foreign table.
        column: Name of the column.
        type: vector or halfvec.
        width: Width of the vectors, or None where the column takes any.
        columns: Types of all columns, by name, in order.
        primary_key: Its columns.
        unique: Columns that are unique by themselves.
        indexes: Those of the vectors, and those of words (access method gin).
        row_security: Whether row-level security decides what this login sees.
        readable: Whether the login may read the table, or some columns of it.
        rows: Estimate of the server; None before its first statistics.
        visible: Whether the table is found without its schema.
    """

    schema: str
    table: str
    kind: str
    column: str
    type: Literal["vector", "halfvec"]
    width: int | None
    columns: Mapping[str, str]
    primary_key: tuple[str, ...]
    unique: tuple[str, ...]
    indexes: tuple[IndexOn, ...]
    row_security: bool
    readable: bool
    rows: int | None
    visible: bool

    @property
    def full_name(self) -> str:
        """The name with its schema."""
        return f"{self.schema}.{self.table}"

    @property
    def reference(self) -> sql.Composable:
        """The table as part of a statement."""
        return sql.SQL("{}.{}").format(name(self.schema), name(self.table))


_EXTENSION = sql.SQL(
    "SELECT json_build_object('schema', n.nspname, 'version', e.extversion, 'collations', "
    "EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu')) "
    "FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
)

# An index counts when its first column is the vectors, an expression over them, or words.
_COLUMNS = sql.SQL("""
SELECT json_build_object(
    'schema', n.nspname, 'table', c.relname, 'kind', c.relkind, 'column', a.attname,
    'type', t.typname, 'width', nullif(a.atttypmod, -1),
    'columns', (SELECT json_agg(json_build_array(b.attname, format_type(b.atttypid, NULL))
        ORDER BY b.attnum) FROM pg_attribute b
        WHERE b.attrelid = c.oid AND b.attnum > 0 AND NOT b.attisdropped),
    'primary_key', (SELECT json_agg(k.attname ORDER BY k.attnum) FROM pg_index i
        JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = ANY (i.indkey)
        WHERE i.indrelid = c.oid AND i.indisprimary),
    'unique', (SELECT json_agg(k.attname) FROM pg_index i
        JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = i.indkey[0]
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indnkeyatts = 1 AND i.indpred IS NULL),
    'indexes', (SELECT json_agg(json_build_object(
            'name', x.relname, 'method', m.amname, 'operator_class', o.opcname,
            'expression', pg_get_indexdef(i.indexrelid, 1, false),
            'predicate', pg_get_expr(i.indpred, i.indrelid), 'valid', i.indisvalid,
            'options', (SELECT json_object_agg(option_name, option_value)
                FROM pg_options_to_table(x.reloptions))) ORDER BY x.relname)
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
        JOIN pg_opclass o ON o.oid = i.indclass[0]
        WHERE i.indrelid = c.oid AND (i.indkey[0] = a.attnum OR m.amname = 'gin'
            OR (i.indkey[0] = 0
                AND strpos(pg_get_indexdef(i.indexrelid, 1, false), quote_ident(a.attname)) > 0))),
    'row_security', row_security_active(c.oid),
    'readable', has_schema_privilege(n.oid, 'USAGE')
        AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT')),
    'rows', c.reltuples::int8, 'visible', pg_table_is_visible(c.oid))
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
WHERE t.typname IN ('vector', 'halfvec') AND t.typnamespace =
    (SELECT extnamespace FROM pg_extension WHERE extname = 'vector')
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
    AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'voicerag')
ORDER BY n.nspname, c.relname, a.attnum
""")


def read_catalog(database: TableDatabase) -> tuple[Extension, tuple[VectorColumn, ...]]:
    """Return what the database says of pgvector and of its columns of vectors.

    Raises:
        StoreError: The database has no pgvector, or cannot be read.
    """
    extension, columns = database.read((_EXTENSION, {}), (_COLUMNS, {}), rows=scalar_row)
    if not extension:
        raise StoreError(
            f"{database.place} has no pgvector, so there is no table of vectors in it; check "
            "VOICERAG_DATABASE_URL"
        )
    said: Any = extension[0]
    version = tuple(int(part) for part in said["version"].split(".") if part.isdigit())
    found = Extension(said["schema"], version, said["collations"])
    return found, tuple(_column(column) for column in columns)


def list_vector_columns(dsn: str, *, timeout: float = 5.0) -> tuple[VectorColumn, ...]:
    """Return every column of vectors in a database, those of voicerag itself left out.

    Any login may ask, even for tables that it may not read. Nothing is written.

    Args:
        dsn: The database.
        timeout: Seconds to wait for a connection.

    Raises:
        StoreUnavailableError: The database cannot be reached.
        StoreError: The database has no pgvector.
    """
    with TableDatabase(dsn, pool_size=1, timeout=timeout, statement_timeout=30) as database:
        return read_catalog(database)[1]


def find_table(
    columns: Sequence[VectorColumn], table: str, embedding: str | None, place: str
) -> VectorColumn:
    """Return the column of vectors that a name stands for.

    Args:
        columns: Those of the database.
        table: Name of a table, alone or after its schema and a dot, exactly as it is written.
        embedding: Name of the column, where the table has several.
        place: The database, for error messages.

    Raises:
        ConfigError: There is none, or there are several.
    """
    found = [one for one in columns if table in (one.table, one.full_name)]
    full = [one for one in found if one.full_name == table]
    visible = [one for one in found if one.visible]
    found = full or visible or found
    if embedding is not None:
        found = [one for one in found if one.column == embedding]
    if len(found) == 1:
        return found[0]
    if not found:
        there = ", ".join(sorted({one.full_name for one in columns})) or "none"
        column = "with vectors" if embedding is None else f"with a column {embedding!r} of vectors"
        raise ConfigError(
            f"{place} has no table {table} {column}; tables with vectors: {there} (the name is "
            "written as it stands there, upper and lower case alike)"
        )
    if len({one.full_name for one in found}) > 1:
        names = ", ".join(sorted({one.full_name for one in found}))
        raise ConfigError(f"{table!r} is the name of several tables: {names}; give the schema too")
    raise ConfigError(
        f"{table!r} has several columns of vectors: {', '.join(one.column for one in found)}; name "
        "one (embedding=, or VOICERAG_TABLE_EMBEDDING)"
    )


def _column(said: dict[str, Any]) -> VectorColumn:
    return VectorColumn(
        said["schema"],
        said["table"],
        _KINDS[said["kind"]],
        said["column"],
        said["type"],
        said["width"],
        dict(said["columns"]),
        tuple(said["primary_key"] or ()),
        tuple(said["unique"] or ()),
        tuple(IndexOn(**{**one, "options": one["options"] or {}}) for one in said["indexes"] or ()),
        said["row_security"],
        said["readable"],
        said["rows"] if said["rows"] is not None and said["rows"] >= 0 else None,
        said["visible"],
    )

"""What is found out about a table when it is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from psycopg import sql
from psycopg.rows import args_row, scalar_row, tuple_row

from voicerag_core.errors import ConfigError, StoreError
from voicerag_core.store.existing.catalog import (
    Extension,
    VectorColumn,
    find_table,
    read_catalog,
)
from voicerag_core.store.existing.layouts import Layout, Named, find_layout
from voicerag_core.store.existing.naming import literal, name, raw
from voicerag_core.store.existing.ordering import (
    ALL_PROBES_BELOW,
    Order,
    candidate_orders,
    exact_order,
)
from voicerag_core.store.existing.reading import TableDatabase
from voicerag_core.store.existing.table_sql import FoundRow, TableStatements, word_index
from voicerag_core.types import Embeddings

__all__ = ["Asked", "OpenedTable", "TableSample", "count_collections", "open_table"]

SAMPLED = 200
"""Rows looked at when a table is opened."""
UNIT_LENGTHS = 0.01
LEAST_PADDING = 8
"""Zeros at the end of all vectors that are taken for padding."""

_TEXT_KEYS = ("text", "content", "document", "page_content", "chunk", "data", "body")


@dataclass(frozen=True, slots=True)
class Asked:
    """How a table is to be read.

    Args:
        table: Its name.
        embedding: Column of the vectors, where it has several.
        named: Which columns hold what.
        collection: One of several collections in it.
        only: A condition in SQL, from code or settings.
        equal: Columns that must hold these values.
        language: Text search configuration.
    """

    table: str
    embedding: str | None
    named: Named
    collection: str | None
    only: str | None
    equal: Mapping[str, str]
    language: str


@dataclass(frozen=True, slots=True)
class TableSample:
    """Some rows of a table.

    Args:
        texts: Their texts.
        vectors: Their vectors, [N, W], as stored; [0, 0] when there are none.
        content: Width without the zeros that pad every vector.
    """

    texts: tuple[str, ...]
    vectors: Embeddings
    content: int

    @property
    def unit(self) -> bool:
        """Whether all vectors have length 1."""
        norms = np.linalg.norm(self.vectors, axis=1)
        return bool(len(norms) and (abs(norms - 1) < UNIT_LENGTHS).all())


@dataclass(frozen=True, slots=True)
class OpenedTable:
    """A table, and how it is searched.

    Args:
        column: Its vectors.
        extension: pgvector in its database.
        layout: Which columns hold what.
        sample: Some rows.
        statements: Compose what is sent.
        order: What a search is ordered by.
        exact: The order out of reach of every index.
        rows: How many it has: a count up to 50,000, above that the server's estimate.
    """

    column: VectorColumn
    extension: Extension
    layout: Layout
    sample: TableSample
    statements: TableStatements
    order: Order
    exact: Order
    rows: int

    @property
    def width(self) -> int | None:
        """Width of the vectors in the column; None when there are none yet and it takes any."""
        held = self.sample.vectors.shape[1]
        return held or self.column.width


def open_table(database: TableDatabase, asked: Asked) -> OpenedTable:
    """Look a table up, and find out how to search it; nothing is written.

    Raises:
        ConfigError: The table or a column does not exist, or is not clear.
        StoreError: The table cannot be read, or its vectors are of several widths.
    """
    extension, columns = read_catalog(database)
    column = find_table(columns, asked.table, asked.embedding, database.place)
    if not column.readable:
        raise StoreError(
            f"the login may not read {column.full_name} on {database.place}; let its owner run "
            f"`GRANT USAGE ON SCHEMA {column.schema} TO login` and "
            f"`GRANT SELECT ON {column.full_name} TO login`"
        )
    layout = find_layout(column, asked.named)
    only = _collection(database, column, layout, asked.collection)
    for key, value in asked.equal.items():
        if key not in column.columns:
            raise ConfigError(
                f"{column.full_name} has no column {key!r} to choose rows by; it has "
                f"{', '.join(column.columns)}"
            )
        only = [*only, sql.SQL("{} = {}").format(name(key), literal(value))]
    if asked.only is not None:
        only = [*only, sql.SQL("({})").format(raw(asked.only))]
    statements = TableStatements(
        column, layout, extension, tuple(only), word_index(column), asked.language
    )
    if layout.text == layout.metadata and not layout.text_path:
        layout = _text_in_metadata(database, column, statements)
        statements = replace(statements, layout=layout)
    sample = _sample(database, statements)
    rows = _rows(database, statements)
    order = _order(database, statements, sample)
    return OpenedTable(
        column, extension, layout, sample, statements, order,
        exact_order(column, extension), rows,
    )  # fmt: skip


def count_collections(database: TableDatabase, asked: Asked) -> dict[str, int]:
    """Count the vectors of each collection in a table; {} where it has none.

    Raises:
        ConfigError: The table or a column does not exist, or is not clear.
        StoreError: The table cannot be read.
    """
    column = find_table(read_catalog(database)[1], asked.table, asked.embedding, database.place)
    layout = find_layout(column, asked.named)
    if layout.collection is None:
        return {}
    keys = _collection_keys(database, column, layout)
    query = sql.SQL("SELECT {}::text, count(*) FROM {} WHERE {} IS NOT NULL GROUP BY 1").format(
        name(layout.collection), column.reference, name(column.column)
    )
    (rows,) = database.read((query, {}), rows=tuple_row, table=column.full_name)
    sizes = {str(key): int(str(count)) for key, count in rows}
    return {one: sizes.get(key, 0) for one, key in sorted(keys.items())}


def _collection(
    database: TableDatabase, column: VectorColumn, layout: Layout, wanted: str | None
) -> list[sql.Composable]:
    """Return the condition that chooses a collection, if a table has some."""
    if layout.collection is None:
        if wanted is not None:
            raise ConfigError(
                f"{column.full_name} has no collections ({layout.program}); leave out the "
                "collection, or choose rows by a condition (only=)"
            )
        return []
    keys = _collection_keys(database, column, layout)
    names = tuple(sorted(keys))
    if wanted is None and layout.program != "langchain-postgres v1":
        return []
    if wanted is None and len(names) == 1:
        wanted = names[0]
    if wanted is None or wanted not in keys:
        said = "name one of its collections" if wanted is None else f"no collection {wanted!r}"
        raise ConfigError(
            f"{column.full_name}: {said} (collection=, --collection or VOICERAG_COLLECTION); it "
            f"has {', '.join(names) or 'none'}"
        )
    kind = column.columns[layout.collection]
    condition = sql.SQL("{} = {}::{}").format(
        name(layout.collection),
        literal(keys[wanted]),
        sql.SQL(kind),
    )
    return [condition]


def _collection_keys(
    database: TableDatabase, column: VectorColumn, layout: Layout
) -> dict[str, str]:
    assert layout.collection is not None
    if layout.program == "langchain-postgres v1":
        query = sql.SQL("SELECT name, uuid::text FROM {}.langchain_pg_collection").format(
            name(column.schema)
        )
        table = f"{column.schema}.langchain_pg_collection"
    else:
        key = name(layout.collection)
        query = sql.SQL("SELECT DISTINCT {}, {} FROM {}").format(key, key, column.reference)
        table = column.full_name
    (rows,) = database.read((query, {}), rows=tuple_row, table=table)
    return {str(key): str(value) for key, value in rows if key is not None}


def _text_in_metadata(
    database: TableDatabase, column: VectorColumn, statements: TableStatements
) -> Layout:
    """Find the entry of the metadata that holds the text, as in tables of vecs."""
    (rows,) = database.read(
        statements.sample(SAMPLED), rows=args_row(FoundRow), table=column.full_name
    )
    held = {
        key
        for row in rows
        if isinstance(row.metadata, dict)
        for key, value in row.metadata.items()
        if isinstance(value, str)
    }
    found = [key for key in _TEXT_KEYS if key in held]
    if not found:
        raise ConfigError(
            f"{column.full_name} has no column of text, and its {statements.layout.metadata} no "
            f"entry for it ({', '.join(sorted(held)) or 'no texts'}); name it "
            f'(text="{statements.layout.metadata}->>KEY")'
        )
    return replace(statements.layout, text_path=(found[0],))


def _sample(database: TableDatabase, statements: TableStatements) -> TableSample:
    table = statements.column.full_name
    (rows,) = database.read(statements.sample(SAMPLED), rows=args_row(FoundRow), table=table)
    widths = sorted({len(row.vector or ()) for row in rows})
    if len(widths) > 1:
        raise StoreError(
            f"{table} holds vectors of several widths ({widths[0]} to {widths[-1]}), which cannot "
            "be compared; choose rows of one width (collection=, or a condition, only=)"
        )
    if not rows:
        return TableSample((), np.zeros((0, 0), np.float32), 0)
    vectors = np.asarray([row.vector for row in rows], np.float32)
    used = np.flatnonzero((vectors != 0).any(axis=0))
    content = int(used[-1]) + 1 if len(used) else vectors.shape[1]
    if vectors.shape[1] - content < LEAST_PADDING:
        content = vectors.shape[1]
    return TableSample(tuple(row.text for row in rows), vectors, content)


def _rows(database: TableDatabase, statements: TableStatements) -> int:
    """Count the rows up to a number; above it, the server's estimate is good enough."""
    table = statements.column.full_name
    (counted,) = database.read(
        statements.rows_at_most(ALL_PROBES_BELOW + 1), rows=scalar_row, table=table
    )
    return max(int(counted[0]), statements.column.rows or 0)


def _order(database: TableDatabase, statements: TableStatements, sample: TableSample) -> Order:
    """Choose the first order that the planner serves by an index."""
    column, extension = statements.column, statements.extension
    width = sample.vectors.shape[1] or column.width
    exact = exact_order(column, extension)
    if not width:
        return exact
    for order in candidate_orders(column, extension, width=width, unit=sample.unit):
        (lines,) = database.read(
            statements.plan(order, width),
            rows=scalar_row,
            settings={"enable_seqscan": "off", "enable_sort": "off"},
            table=column.full_name,
        )
        if _serves(lines, order):
            return order
    return exact


def _serves(lines: Sequence[Any], order: Order) -> bool:
    plan = "\n".join(map(str, lines))
    if order.index is not None and f"using {order.index.name}" in plan.replace('"', ""):
        return True
    return "Order By:" in plan

"""What there is to know about a table before it is searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voicerag_core.store.existing.opening import OpenedTable
from voicerag_core.store.existing.probe import ModelMatch
from voicerag_core.store.existing.table import SLOW_ROWS, ExistingTable

__all__ = ["TableReport", "inspect_table"]

_SOFT_DELETES = ("deleted_at", "is_deleted", "deleted", "archived", "archived_at", "is_archived")


@dataclass(frozen=True, slots=True)
class TableReport:
    """How a table is read and searched.

    Args:
        table: Its name with the schema.
        kind: table, view, ...
        program: Whose layout it has.
        columns: Column by what it holds: id, text, embedding, metadata, further columns.
        vectors: Type and width of the vectors.
        collections: The collections in it.
        rows: Rows that can be found.
        index: The index that serves a search, with its method and operator class; "" for none.
        words: Whether the database has indexed the words.
        model: Whether the vectors are those of the embedder; None if it was not asked.
        warnings: What to look at, one sentence each.
        grants: What its owner grants a login that reads.
        suggestion: The index that its owner may build; "" where one serves.
    """

    table: str
    kind: str
    program: str
    columns: dict[str, str]
    vectors: str
    collections: tuple[str, ...]
    rows: int
    index: str
    words: bool
    model: ModelMatch | None
    warnings: tuple[str, ...]
    grants: tuple[str, ...]
    suggestion: str


def inspect_table(table: ExistingTable, model: ModelMatch | None = None) -> TableReport:
    """Look a table up and report; nothing is written.

    Args:
        table: The table.
        model: The comparison of `ExistingTable.probe`, if it was made.

    Raises:
        ConfigError: The table or a column does not exist, or is not clear.
        StoreError: It cannot be read.
    """
    opened = table.opened()
    column, layout = opened.column, opened.layout
    rows = table.count()
    columns = {
        "id": layout.id,
        "text": "->>".join([layout.text, *layout.text_path]),
        "embedding": column.column,
    }
    if layout.metadata is not None:
        columns["metadata"] = f"{layout.metadata} ({layout.metadata_type})"
    if layout.columns:
        columns["further"] = ", ".join(layout.columns)
    index = opened.order.index
    named = "" if index is None else f"{index.name} ({index.method}, {index.operator_class})"
    return TableReport(
        column.full_name,
        column.kind,
        layout.program,
        columns,
        _vectors(opened),
        tuple(table.collections()),
        rows,
        named or ("of the table below" if opened.order.serves else ""),
        opened.statements.words is not None,
        model,
        tuple(_warnings(opened, rows, table.why_empty, model)),
        (
            f"GRANT USAGE ON SCHEMA {column.schema} TO reader",
            f"GRANT SELECT ON {column.full_name} TO reader",
        ),
        "" if opened.order.serves else _suggestion(opened),
    )


def _vectors(opened: OpenedTable) -> str:
    width = opened.width
    kind = f"{opened.column.type}({width or 'any width'})"
    content = opened.sample.content
    return f"{kind}, of which {content} are used" if width and content < width else kind


def _warnings(
    opened: OpenedTable, rows: int, why_empty: object, model: ModelMatch | None
) -> Sequence[str]:
    column = opened.column
    said: list[str] = []
    if rows == 0 and callable(why_empty):
        said.append(str(why_empty()))
    elif column.row_security:
        said.append("row-level security is on: the login decides which rows are found")
    deleted = [name for name in _SOFT_DELETES if name in column.columns]
    if deleted and not opened.statements.only:
        said.append(
            f"the column {deleted[0]} looks like a mark of deleted rows, which are found too; "
            f'leave them out by a condition (only="{deleted[0]} IS NULL", or VOICERAG_TABLE_ONLY)'
        )
    if "collection_ids" in column.columns or "owner_id" in column.columns:
        said.append(
            "its columns of owners look like access rights, which are not looked at; choose rows "
            "by a condition (VOICERAG_TABLE_ONLY)"
        )
    if not opened.order.serves and opened.rows > 0:
        speed = "slow" if opened.rows > SLOW_ROWS else "quick at this size"
        why = "no index serves a search"
        if column.indexes and any(one.method in ("hnsw", "ivfflat") for one in column.indexes):
            why = "its index cannot serve a search by cosine (another operator, or not valid)"
        said.append(f"{why}: each compares all of about {opened.rows} rows, which is {speed}")
    if column.kind in ("view", "foreign table"):
        said.append(f"it is a {column.kind}: an index below is used only if it is a simple one")
    if not opened.layout.unique:
        said.append(f"{opened.layout.id} is not unique: of rows with one id the nearest is found")
    if model is not None and model.verdict == "same, other text":
        said.append(
            "the vectors are of more or other text than the column, such as a head of metadata "
            f"before it (agreement {model.agreement:.2f})"
        )
    if model is not None and model.verdict == "another":
        said.append(
            f"the vectors are of another model than the embedder's (agreement "
            f"{model.agreement:.2f}); set VOICERAG_EMBEDDER to the one that filled the table"
        )
    return said


def _suggestion(opened: OpenedTable) -> str:
    column, width = opened.column, opened.width or 0
    expression, kind = f'"{column.column}"', column.type
    if width > 2000 and kind == "vector":  # noqa: PLR2004 - the most that an index of it takes
        expression, kind = f'("{column.column}"::halfvec({width}))', "halfvec"
    elif column.width is None:
        expression = f'("{column.column}"::{kind}({width}))'
    return (
        f'CREATE INDEX CONCURRENTLY ON "{column.schema}"."{column.table}" '
        f"USING hnsw ({expression} {kind}_cosine_ops)"
    )

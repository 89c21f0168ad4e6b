"""Tables: one document a row, from JSON lines and from delimited text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

from voicerag_core.documents.plain import check_value, decode, one_line
from voicerag_core.errors import DocumentError
from voicerag_core.types import Document, JSONValue

__all__ = ["read_csv", "read_jsonl"]

_DELIMITERS = (",", ";", "\t", "|")


def read_jsonl(source: str, data: bytes, *, text_key: str) -> list[Document]:
    """Read one JSON object a line; rows with empty text and empty lines are passed over.

    `title` becomes the title, `metadata` (an object) and every other key the metadata; `source`
    is kept there as `origin`, since the source of a row is its place in the file.

    Raises:
        DocumentError: A line is not such an object; nothing of the file is given then.
    """
    documents = []
    for number, line in enumerate(decode(source, data).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{source}, line {number}"
        row = _object(line, where)
        if text_key not in row:
            raise DocumentError(
                f"{where} has no key {text_key!r}, only {_listed(row)}; "
                "name the key of the text with text_column (--text-column)"
            )
        text = row.pop(text_key)
        if not isinstance(text, str):
            raise DocumentError(f"{where}: {text_key!r} is text in quotes, not {_kind(text)}")
        if text.strip():
            documents.append(_document(f"{source}#line={number}", text, row, where))
    return documents


def read_csv(
    source: str, data: bytes, *, text_column: str, delimiter: str | None
) -> list[Document]:
    """Read a table whose first row names the columns; rows with empty text are passed over.

    The column `title` becomes the title, the others the metadata, as text; empty cells are left
    out, and `source` is kept as `origin`. A comparison of column names ignores case when no name
    fits exactly.

    Args:
        source: Absolute path.
        data: The file's bytes.
        text_column: Column of the text.
        delimiter: Between cells; None takes the one of comma, semicolon, tab and bar that the
            first line has most of.

    Raises:
        DocumentError: No such column, or a row that does not fit; nothing of the file is given.
    """
    rows = _rows(source, decode(source, data), delimiter)
    _, header = next(rows, (0, []))
    if not header:
        return []
    columns = [name.strip() for name in header]
    repeated = {name for name in columns if name and columns.count(name) > 1}
    if repeated:
        raise DocumentError(f"{source} names columns twice: {_listed(repeated)}; rename one")
    text_at = _column(columns, text_column)
    if text_at is None:
        raise DocumentError(
            f"{source} has no column {text_column!r}, only {_listed(columns)}; "
            "name the column of the text with text_column (--text-column)"
        )
    title_at = _column(columns, "title")
    documents = []
    for number, cells in rows:
        where = f"{source}, row {number}"
        if len(cells) > len(columns):
            raise DocumentError(
                f"{where} has {len(cells)} cells, the header {len(columns)}; "
                "put quotes around a cell that holds the delimiter"
            )
        text = cells[text_at] if text_at < len(cells) else ""
        if text.strip():
            row: dict[str, JSONValue] = {
                "title" if at == title_at else name: cell
                for at, (name, cell) in enumerate(zip(columns, cells, strict=False))
                if name and cell and at != text_at
            }
            documents.append(_document(f"{source}#row={number}", text, row, where))
    return documents


def _document(source: str, text: str, row: dict[str, JSONValue], where: str) -> Document:
    title = row.pop("title", None)
    if not isinstance(title, str | None):
        raise DocumentError(f"{where}: 'title' is text in quotes, not {_kind(title)}")
    nested = row.pop("metadata", None)
    if isinstance(nested, dict):
        row = {**nested, **row}
    elif nested is not None:
        row["metadata"] = nested
    if "source" in row:
        row["origin"] = row.pop("source")
    return Document(source, text, one_line(title or ""), row)


def _object(line: str, where: str) -> dict[str, JSONValue]:
    try:
        row = json.loads(line, parse_constant=_refuse_constant)
        check_value(row, where)
    except DocumentError:
        raise
    except (ValueError, RecursionError) as e:
        raise DocumentError(f"{where} is not JSON ({e}); each line holds one object") from e
    if not isinstance(row, dict):
        raise DocumentError(f"{where} holds {_kind(row)}; each line holds one object")
    return row


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _rows(source: str, text: str, delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield rows that are not empty, counted from 1, the header among them."""
    if delimiter is None:
        first = text.lstrip("\n").split("\n", 1)[0]
        delimiter = max(_DELIMITERS, key=first.count)
    if csv.field_size_limit() < len(text):
        csv.field_size_limit(len(text))  # of the whole process; 131,072 characters by default
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    try:
        for cells in reader:
            number += 1
            if any(cell.strip() for cell in cells):
                yield number, cells
    except csv.Error as e:
        raise DocumentError(
            f"{source}, line {reader.line_num}: {e}; check the quotes around its cells"
        ) from e


def _column(columns: list[str], name: str) -> int | None:
    if name in columns:
        return columns.index(name)
    folded = [column.casefold() for column in columns]
    return folded.index(name.casefold()) if name.casefold() in folded else None


def _listed(names: object) -> str:
    assert isinstance(names, dict | set | list)
    shown = [repr(name) for name in names if name][:20]
    return ", ".join(shown) or "none"


def _kind(value: JSONValue) -> str:
    kinds = {
        bool: "a truth value",
        dict: "an object",
        list: "a list",
        type(None): "null",
        str: "a string",
    }
    return kinds.get(type(value), "a number")

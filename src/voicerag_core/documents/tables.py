"""Tables: delimited text and JSON lines."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from voicerag_core.blocks import Place
from voicerag_core.documents.decoding import check_text, decode
from voicerag_core.documents.elements import Draft, Element, Notice, Paragraph, Table, Term
from voicerag_core.documents.unicode import tidy
from voicerag_core.errors import DocumentError
from voicerag_core.types import JSONValue

__all__ = ["TEXT_COLUMN", "check_value", "read_csv", "read_jsonl"]

TEXT_COLUMN = "text"
"""Column or key that holds the text when no other is named."""

_DELIMITERS = (",", ";", "\t", "|")
_SEPARATOR_LINE = re.compile(r"[\ufeff\"]*sep=(.)\"?[ \t]*\n", re.IGNORECASE)
_SAMPLE_LINES = 20
_MAX_NOTICES = 20
_MAX_BROKEN = 200
_TITLE_ROWS = 5
_DATA = re.compile(
    r"[-+\d\s.,:/%\u20ac$\u00a3()]*\d[-+\d\s.,:/%\u20ac$\u00a3()]*|\S+@\S+\.\w+|https?://\S+"
)
_QUESTIONS = ("question", "questions", "q", "frage")
_ANSWERS = ("answer", "answers", "a", "response", "antwort")
_EMPTY_LINE = re.compile(r"\n[^\S\n]*\n\s*")


def read_csv(
    data: bytes,
    source: str,
    encoding: str | None = None,
    *,
    text_column: str | None,
    delimiter: str | None,
) -> list[Draft]:
    """Read a table of delimited text.

    With a column of texts, each row is a document: the text, and behind it the other columns as
    "name: value", which are its metadata, too; the column `title` gives the title, and `source` is
    kept as `origin`. Rows with empty text are passed over. Without such a column the whole table is
    one document: of questions with their answers when two columns are named so, else of rows. A
    comparison of column names ignores case when no name fits exactly.

    Args:
        data: The file's bytes.
        source: Absolute path.
        encoding: What the caller knows of it.
        text_column: Column of the text; None takes "text" when there is one.
        delimiter: Between cells; None finds it out.

    Raises:
        DocumentError: The named column is not there.
    """
    text, elements = decode(data, source, encoding=encoding)
    if stated := _SEPARATOR_LINE.match(text):
        delimiter, text = stated[1], text[stated.end() :]
    notices = _Notices(elements)
    rows = list(_rows(text, delimiter or _delimiter(text), notices))
    caption: list[str] = []
    while len(rows) > 2 and len(caption) < _TITLE_ROWS and _is_title(rows):  # noqa: PLR2004
        caption.append(next(tidy(cell) for cell in rows.pop(0)[1] if cell.strip()))
    if not rows:
        return [Draft(notices.elements)] if notices.elements else []
    has_header = (
        len(rows) > 1
        or text_column is not None
        or _column([tidy(name) for name in rows[0][1]], TEXT_COLUMN) is not None
    )
    has_header = has_header and not any(_DATA.fullmatch(cell.strip()) for cell in rows[0][1])
    columns = _names(rows[0][1]) if has_header else []
    text_at = _column(columns, text_column or TEXT_COLUMN)
    if text_column is not None and text_at is None:
        raise DocumentError(
            f"{source} has no column {text_column!r}, only {_listed(columns)}; "
            "name the column of the text with text_column (--text-column)"
        )
    fitting = list(_fitting(rows[has_header:], len(columns) if has_header else 0, notices))
    if text_at is not None:
        drafts = [
            _row_draft(cells, columns, text_at, number)
            for number, cells in fitting
            if text_at < len(cells) and cells[text_at].strip()
        ]
        return [Draft(notices.elements), *drafts] if notices.elements else drafts
    asked, answered = (_first(columns, names) for names in (_QUESTIONS, _ANSWERS))
    if asked is not None and answered is not None:
        pairs = [_pair(cells, columns, asked, answered, number) for number, cells in fitting]
        return [Draft([*notices.elements, *(pair for pair in pairs if pair is not None)])]
    places: list[Place | None] = [Place("row", number) for number, _ in fitting]
    cells_of = [cells for _, cells in fitting]
    if has_header:
        places.insert(0, Place("row", rows[0][0]))
        cells_of.insert(0, columns)
    table = Table(cells_of, int(has_header), " ".join(caption), places)
    return [Draft([*notices.elements, table])] if cells_of else []


def read_jsonl(
    data: bytes, source: str, encoding: str | None = None, *, text_key: str | None
) -> list[Draft]:
    """Read one JSON object a line.

    Each line with a text is a document: `title` becomes the title, `metadata` (an object) and every
    other key the metadata; `source` is kept there as `origin`, since the source of a row is its
    place in the file. Lines with empty text or null are passed over. When no key is named and none
    is "text", every line is a row of "key: value".

    Raises:
        DocumentError: No line is such an object.
    """
    text, elements = decode(data, source, encoding=encoding)
    notices = _Notices(elements)
    rows: list[tuple[int, dict[str, JSONValue]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append((number, _object(line)))
            except DocumentError as e:
                notices.add(f"line {number} {e}")
    key = text_key or TEXT_COLUMN
    if rows and text_key is None and not any(key in row for _, row in rows):
        places = [Place("line", number) for number, _ in rows]
        tables = [_object_row(row, place) for (_, row), place in zip(rows, places, strict=True)]
        return [Draft([*notices.elements, *tables])]
    drafts = []
    for number, row in rows:
        try:
            draft = _line_draft(row, key, number)
        except DocumentError as e:
            notices.add(f"line {number} {e}")
        else:
            if draft is not None:
                drafts.append(draft)
    if notices.added and not drafts:
        raise DocumentError(f"{source} holds no row that can be read: {notices.first}")
    return [Draft(notices.elements), *drafts] if notices.elements else drafts


def check_value(value: JSONValue, where: str) -> None:
    """Refuse what JSON in a database cannot hold.

    Raises:
        DocumentError: A number that is not finite, or text with a zero or half a character.
    """
    if isinstance(value, str):
        check_text(value, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise DocumentError(f"{where} has a number that JSON cannot hold; write it as text")
    elif isinstance(value, list):
        for item in value:
            check_value(item, where)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key, where)
            check_value(item, where)


class _Notices:
    """Notices of rows that were left out, the first of them in full."""

    def __init__(self, elements: Sequence[Element]) -> None:
        self._elements = list(elements)
        self.added = 0
        self.first = ""

    def add(self, text: str) -> None:
        self.added += 1
        self.first = self.first or text
        if self.added <= _MAX_NOTICES:
            self._elements.append(Notice(f"{text}; it is left out"))

    @property
    def elements(self) -> list[Element]:
        """All notices."""
        if self.added <= _MAX_NOTICES:
            return self._elements
        rest = self.added - _MAX_NOTICES
        return [*self._elements, Notice(f"{rest} more rows are left out")]


def _rows(text: str, delimiter: str, notices: _Notices) -> Iterator[tuple[int, list[str]]]:
    """Yield rows that are not empty, counted from 1, the header among them.

    A quote that is never closed costs its line alone.
    """
    if csv.field_size_limit() < len(text):
        csv.field_size_limit(len(text))  # of the whole process; 131,072 characters by default
    lines = text.split("\n")
    line = number = broken = 0
    while line < len(lines) and broken < _MAX_BROKEN:
        reader = csv.reader(
            (each + "\n" for each in lines[line:]), delimiter=delimiter, strict=True
        )
        done = 0
        try:
            for cells in reader:
                done = reader.line_num
                number += 1
                if any(cell.strip() for cell in cells):
                    yield number, cells
            return
        except csv.Error:
            number += 1
            broken += 1
            line += done
            try:
                cells = next(csv.reader([lines[line]], delimiter=delimiter))
            except (csv.Error, StopIteration):
                cells = []
            if '"' in lines[line] and lines[line].count('"') % 2:
                notices.add(f"row {number} (line {line + 1}) has a quote that is never closed")
            elif cells:
                yield number, cells
            line += 1


def _delimiter(text: str) -> str:
    """Return the delimiter that cuts the first lines most evenly."""
    sample = [line for line in text[:200_000].split("\n") if line.strip()][:_SAMPLE_LINES]

    def evenness(delimiter: str) -> tuple[float, int]:
        counts = []
        try:
            counts = [len(row) for row in csv.reader(sample, delimiter=delimiter) if row]
        except csv.Error:
            return 0.0, 0
        usual = max(set(counts), key=lambda count: (counts.count(count), count), default=1)
        return (counts.count(usual) / len(counts) if usual > 1 else 0.0), usual

    return max(_DELIMITERS, key=evenness)


def _is_title(rows: Sequence[tuple[int, list[str]]]) -> bool:
    """Whether the first row is a title above the table."""
    filled = [sum(bool(cell.strip()) for cell in cells) for _, cells in rows[:3]]
    return filled[0] == 1 and filled[1] > 1 and filled[-1] > 1


def _names(header: Sequence[str]) -> list[str]:
    """Return the names of columns, repeated ones counted."""
    names: list[str] = []
    counts: Counter[str] = Counter()
    for cell in header:
        name = tidy(cell)
        counts[name] += 1
        names.append(f"{name} ({counts[name]})" if name and counts[name] > 1 else name)
    return names


def _fitting(
    rows: Sequence[tuple[int, list[str]]], columns: int, notices: _Notices
) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with no more cells than there are columns; empty cells behind do not count."""
    for number, row in rows:
        cells = row
        while columns and len(cells) > columns and not cells[-1].strip():
            cells = cells[:-1]
        if columns and len(cells) > columns:
            notices.add(f"row {number} has {len(cells)} cells, the header {columns}")
        elif any("\0" in cell for cell in cells):
            notices.add(f"row {number} has a zero character")
        else:
            yield number, cells


def _row_draft(cells: Sequence[str], columns: Sequence[str], text_at: int, number: int) -> Draft:
    title_at = _column(columns, "title")
    row = {
        name: cell
        for at, (name, cell) in enumerate(zip(columns, cells, strict=False))
        if name and cell and at not in (text_at, title_at)
    }
    elements: list[Element] = _paragraphs(cells[text_at])
    if row:
        elements.append(Table([list(row), list(row.values())], 1))
    title = cells[title_at] if title_at is not None and title_at < len(cells) else ""
    if "source" in row:
        row["origin"] = row.pop("source")
    metadata: dict[str, JSONValue] = dict(row)
    return Draft(elements, title, metadata, f"row={number}")


def _first(columns: Sequence[str], names: Sequence[str]) -> int | None:
    """Return the first column that has one of the names."""
    return next((at for at, name in enumerate(columns) if name.casefold() in names), None)


def _pair(
    cells: Sequence[str], columns: Sequence[str], asked: int, answered: int, number: int
) -> Term | None:
    """Return a row with a question and its answer, the other columns behind; None without them."""
    padded = [*cells, *[""] * (len(columns) - len(cells))]
    if not padded[asked].strip() or not padded[answered].strip():
        return None
    place = Place("row", number)
    elements: list[Element] = [
        Paragraph(element.text, place)
        for element in _paragraphs(padded[answered])
        if isinstance(element, Paragraph)
    ]
    rest = {
        name: cell
        for at, (name, cell) in enumerate(zip(columns, padded, strict=True))
        if name and cell.strip() and at not in (asked, answered)
    }
    if rest:
        elements.append(Table([list(rest), list(rest.values())], 1, places=[place, place]))
    return Term(padded[asked], elements, place)


def _line_draft(row: dict[str, JSONValue], key: str, number: int) -> Draft | None:
    """Return the document that an object is, or None when its text is empty.

    Raises:
        DocumentError: The text is missing or no text, or a value cannot be kept.
    """
    if key not in row:
        raise DocumentError(
            f"has no key {key!r}, only {_listed(row)}; "
            "name the key of the text with text_column (--text-column)"
        )
    row = dict(row)
    text, title, nested = row.pop(key), row.pop("title", None), row.pop("metadata", None)
    if not isinstance(text, str | None):
        raise DocumentError(f"has in {key!r} {_kind(text)}; it is text in quotes")
    if not isinstance(title, str | None):
        raise DocumentError(f"has in 'title' {_kind(title)}; it is text in quotes")
    if text is None or not text.strip():
        return None
    if isinstance(nested, dict):
        row = {**nested, **row}
    elif nested is not None:
        row["metadata"] = nested
    if "source" in row:
        row["origin"] = row.pop("source")
    return Draft(_paragraphs(text), title or "", row, f"line={number}")


def _paragraphs(text: str) -> list[Element]:
    return [Paragraph(part) for part in _EMPTY_LINE.split(text) if part.strip()]


def _object_row(row: dict[str, JSONValue], place: Place) -> Table:
    """Return an object as a table of one row; objects in it give "outer inner: value"."""
    names: list[str] = []
    values: list[str] = []
    stack: list[tuple[str, JSONValue]] = list(reversed(row.items()))
    while stack:
        name, value = stack.pop()
        if isinstance(value, dict):
            stack += [(f"{name} {inner}", item) for inner, item in reversed(value.items())]
        elif isinstance(value, list):
            plain = all(not isinstance(item, dict | list) for item in value)
            shown = ", ".join(map(_shown, value)) if plain else json.dumps(value)
            names, values = [*names, name], [*values, shown]
        elif value is not None and value != "":
            names, values = [*names, name], [*values, _shown(value)]
    return Table([names, values], 1, places=[place, place])


def _shown(value: JSONValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _object(line: str) -> dict[str, JSONValue]:
    try:
        row = json.loads(line, parse_constant=_refuse_constant)
        check_value(row, "it")
    except DocumentError:
        raise
    except (ValueError, RecursionError) as e:
        raise DocumentError(f"is not JSON ({e}); each line holds one object") from e
    if not isinstance(row, dict):
        raise DocumentError(f"holds {_kind(row)}; each line holds one object")
    return row


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _column(columns: Sequence[str], name: str) -> int | None:
    if name in columns:
        return columns.index(name)
    folded = [column.casefold() for column in columns]
    return folded.index(name.casefold()) if name.casefold() in folded else None


def _listed(names: object) -> str:
    assert isinstance(names, dict | list)
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

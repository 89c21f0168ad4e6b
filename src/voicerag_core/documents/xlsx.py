"""Workbooks: each table of a sheet as rows of "column: value", by openpyxl."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.parsers import expat

from voicerag_core.blocks import Place
from voicerag_core.documents.cell_values import shown_value
from voicerag_core.documents.elements import Draft, Element, Heading, Notice, Paragraph, Table
from voicerag_core.documents.packages import opened
from voicerag_core.documents.plain import stated_title
from voicerag_core.documents.table_shape import guessed_header
from voicerag_core.errors import DocumentError, MissingExtraError

__all__ = ["read_xlsx"]

_DEFAULT_NAME = re.compile(r"(?i)(?:sheet|tabelle|feuil|hoja|foglio|blad|ark|工作表)\s?\d*")
_RANGE = re.compile(r"([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})")
_MAX_MERGED = 20_000
_MAX_CELLS = 20_000_000
_LONGEST_TITLE = 200


def read_xlsx(data: bytes, source: str, encoding: str | None = None) -> list[Draft]:
    """Read a workbook: the values of cells as they are shown, formulas by their last value.

    Hidden sheets are left out with a notice. Tables on a sheet are parted at empty rows and
    columns; a lone cell above one is its title.

    Args:
        data: The file's bytes.
        source: Names the file in errors.
        encoding: Not used.

    Raises:
        DocumentError: Not a workbook, damaged or encrypted.
        MissingExtraError: openpyxl is not installed.
    """
    try:
        from openpyxl import load_workbook
    except ModuleNotFoundError as e:
        raise MissingExtraError("documents", f"reading {source}") from e

    archive = opened(data, source, "xlsx")
    try:
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
    except Exception as e:  # openpyxl raises errors of any kind on what Excel did not write
        raise DocumentError(
            f"{source} cannot be read as xlsx ({type(e).__name__}: {e}); open it in Excel or "
            "LibreOffice and save it anew as xlsx"
        ) from e
    elements: list[Element] = []
    shown = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    for sheet in book.worksheets:
        if sheet.sheet_state != "visible":
            elements.append(Notice(f"the sheet {sheet.title!r} is hidden and not read"))
            continue
        if len(shown) > 1 or not _DEFAULT_NAME.fullmatch(sheet.title):
            elements.append(Heading(sheet.title, 1, Place("row", 1, sheet.title)))
        elements += _sheet(sheet, _Extras(archive, sheet._worksheet_path))
    title = stated_title(book.properties.title)
    book.close()
    return [Draft(elements, title)]


class _Extras:
    """What openpyxl leaves out when it reads row by row: merged cells, formulas without value."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self.merged: list[tuple[int, int, int, int]] = []
        self.valueless = 0
        self._has_formula = self._has_value = False
        self._parser = parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            with archive.open(name.lstrip("/")) as stream:
                parser.ParseFile(stream)
        except (expat.ExpatError, KeyError, zipfile.BadZipFile, EOFError, OSError):
            return  # openpyxl says what is wrong with it

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        name = name.rpartition(":")[2]
        if name == "c":
            self._has_formula = self._has_value = False
            self._parser.CharacterDataHandler = None
        elif name == "f":
            self._has_formula = True
        elif name in ("v", "is") and self._has_formula:
            self._parser.CharacterDataHandler = self._said
        elif name == "mergeCell" and len(self.merged) < _MAX_MERGED:
            self._merge(attributes.get("ref", ""))

    def _merge(self, area: str) -> None:
        if match := _RANGE.fullmatch(area):
            left, top, right, bottom = match.groups()
            self.merged.append((int(top), _column(left), int(bottom), _column(right)))

    def _said(self, text: str) -> None:
        self._has_value = True

    def _end(self, name: str) -> None:
        if name.rpartition(":")[2] == "c":
            self.valueless += self._has_formula and not self._has_value


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _sheet(sheet: Any, extras: _Extras) -> Iterator[Element]:  # noqa: ANN401
    """Yield the tables of a sheet, each with its title."""
    if extras.valueless:
        yield Notice(
            f"the sheet {sheet.title!r} has {extras.valueless} formulas whose values are not in "
            "the file; open it in Excel or LibreOffice and save it"
        )
    title = ""
    for region in _regions(_rows(sheet, extras)):
        if title and _is_title(region):
            yield Paragraph(title, Place("row", region.rows[0][0], sheet.title))
        if _is_title(region):
            title = next(iter(region.rows[0][1].values()))
            continue
        yield from _table(region, sheet.title, title)
        title = ""
    if title:
        yield Paragraph(title, Place("row", 1, sheet.title))


Row = tuple[int, dict[int, str], bool]
"""Number, texts by column, whether all are bold."""


class _Region:
    """Rows without an empty one between them, in columns without an empty one between them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = [row for row in rows if row[1]]


def _rows(sheet: Any, extras: _Extras) -> Iterator[Row]:  # noqa: ANN401
    """Yield the rows of a sheet, empty ones too, with what merged cells show repeated."""
    sheet.reset_dimensions()  # what the file says of its size may be wrong by millions
    hanging: dict[int, list[tuple[int, int, int, int]]] = {}
    for area in extras.merged:
        if (area[2] - area[0]) * (area[3] - area[1]) < _MAX_MERGED:
            hanging.setdefault(area[0], []).append(area)
    active: list[tuple[tuple[int, int, int, int], str]] = []
    cells = 0
    for number, row in enumerate(sheet.iter_rows(), 1):
        cells += len(row)
        if cells > _MAX_CELLS:
            return
        texts: dict[int, str] = {}
        bold = bool(row)
        for cell in row:
            if cell.value is None:
                continue
            text = shown_value(cell.value, cell.number_format)
            if text.strip():
                texts[cell.column] = text
                bold = bold and bool(cell.font and cell.font.b)
        active = [entry for entry in active if entry[0][2] >= number]
        active += [(area, texts.get(area[1], "")) for area in hanging.get(number, ())]
        for (_, left, _, right), text in active:
            if text:
                texts.update((column, text) for column in range(left, right + 1))
        yield number, dict(sorted(texts.items())) if active else texts, bold


def _regions(rows: Iterator[Row]) -> Iterator[_Region]:
    """Yield the parts of a sheet that empty rows and columns part."""
    together: list[Row] = []
    for row in rows:
        if row[1]:
            together.append(row)
        elif together:
            yield from _side_by_side(together)
            together = []
    if together:
        yield from _side_by_side(together)


def _side_by_side(rows: Sequence[Row]) -> Iterator[_Region]:
    used = sorted({column for _, texts, _ in rows for column in texts})
    first = 0
    for i in range(1, len(used) + 1):
        if i == len(used) or used[i] > used[i - 1] + 1:
            low, high = used[first], used[i - 1]
            yield _Region([
                (number, {c: text for c, text in texts.items() if low <= c <= high}, bold)
                for number, texts, bold in rows
            ])  # fmt: skip
            first = i


def _is_title(region: _Region) -> bool:
    """Whether a region is one cell of words, or several cells that were merged to one."""
    if len(region.rows) != 1:
        return False
    texts = set(region.rows[0][1].values())
    return len(texts) == 1 and len(next(iter(texts))) <= _LONGEST_TITLE


def _table(region: _Region, sheet: str, title: str) -> Iterator[Element]:
    rows = region.rows
    columns = sorted({column for _, texts, _ in rows for column in texts})
    titles = [title] if title else []
    while len(rows) > 2 and len(set(rows[0][1].values())) == 1 and len(columns) > 1:  # noqa: PLR2004
        titles.append(next(iter(rows[0][1].values())))
        rows = rows[1:]
    places: list[Place | None] = [Place("row", number, sheet) for number, _, _ in rows]
    if len(columns) == 1:
        yield from (Paragraph(text, places[0]) for text in titles)
        for (_, texts, _), place in zip(rows, places, strict=True):
            yield Paragraph(texts[columns[0]], place)
        return
    cells = [[texts.get(column, "") for column in columns] for _, texts, _ in rows]
    bold = rows[0][2] and not all(row[2] for row in rows)
    header = 1 if len(rows) > 1 and bold and len(set(cells[0])) > 1 else guessed_header(cells)
    yield Table(cells, header, " ".join(titles), places)

"""The shape of tables: spans filled, and whether the first row names the columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["MAX_SPAN", "NAMES_OF_VALUES", "Grid", "guessed_header"]

MAX_SPAN = 100
"""Most rows or columns that one cell may fill."""

_MAX_COLUMNS = 1000
_LONGEST_NAME = 60
_FIGURES = re.compile(r"\W*\d[\d\W]*[A-Za-z%/\u00b2\u00b3\u20ac]{0,4}\W*")

NAMES_OF_VALUES = frozenset({
    "value", "values", "description", "meaning", "definition", "details", "explanation", "remark",
    "remarks", "comment", "comments", "answer", "notes", "default", "wert", "beschreibung",
    "bedeutung",
})  # fmt: skip
"""Names of a second column that say nothing: the first one names what it gives."""


class Grid:
    """A table that is filled cell by cell; a cell that spans others is repeated in them."""

    def __init__(self) -> None:
        self._rows: list[list[str]] = []
        self._hanging: dict[int, tuple[str, int]] = {}
        self._following: dict[int, tuple[str, int]] = {}

    def start_row(self) -> None:
        """Begin a row."""
        self._finish()
        self._hanging, self._following = self._following, {}
        self._rows.append([])

    def add(self, text: str, columns: int = 1, rows: int = 1) -> None:
        """Add a cell that spans so many columns and rows."""
        row = self._rows[-1]
        self._hang()
        for _ in range(columns):
            if len(row) >= _MAX_COLUMNS:
                return
            if rows > 1:
                self._following[len(row)] = (text, rows - 1)
            row.append(text)

    def rows(self) -> list[list[str]]:
        """Return the rows, all of one length."""
        self._finish()
        width = max(map(len, self._rows), default=0)
        return [row + [""] * (width - len(row)) for row in self._rows]

    def _hang(self) -> None:
        """Put in the cells that hang down from rows above at the next place of this row."""
        row = self._rows[-1]
        while (hanging := self._hanging.pop(len(row), None)) is not None:
            text, left = hanging
            if left > 1:
                self._following[len(row)] = (text, left - 1)
            row.append(text)

    def _finish(self) -> None:
        while self._rows and self._hanging:
            row = self._rows[-1]
            row += [""] * (min(self._hanging) - len(row))
            if min(self._hanging) < len(row):
                del self._hanging[min(self._hanging)]
            self._hang()


def guessed_header(rows: Sequence[Sequence[str]]) -> int:
    """Return 1 when the first row of a table seems to name its columns, else 0.

    Names are short, all there, all different and no figures; a table of two columns needs more
    than that, since its first column may name what the second gives: figures below a name.
    """
    if len(rows) < 2:  # noqa: PLR2004
        return 0
    names = [cell.strip() for cell in rows[0]]
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):  # noqa: PLR2004
        return 0
    if any(_FIGURES.fullmatch(name) or len(name) > _LONGEST_NAME for name in names):
        return 0
    if any(
        name.endswith(("?", "!")) or (name.endswith(".") and " " in name[:-5]) for name in names
    ):
        return 0
    if len(names) > 2 or names[1].lower() in NAMES_OF_VALUES:  # noqa: PLR2004
        return 1
    body = [row for row in rows[1:] if len(row) > 1]
    figures = [bool(_FIGURES.fullmatch(row[1].strip())) for row in body]
    return int(bool(figures) and all(figures))

"""Tables of plain text: lines whose cells stand below each other, with spaces between."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, pairwise

from voicerag_core.documents.elements import Element, Field, Paragraph, Table
from voicerag_core.documents.table_shape import guessed_header

__all__ = ["aligned_table"]

_LEAST_LINES = 3
_GAP = "  "
"""What stands between two columns at least, in every line."""
_LONGEST_CELL = 60
_SAMPLE = re.compile(r"[=;{}<>$\\|]|->|--|\(\)|^[-/~.#*+\u2022\u2013]|^(?:\d{1,3}|[a-z])[.)]$")
"""What a cell of prose does not have: signs of a sample, or the mark of an item alone."""
_NAMED = re.compile(r"\W?[A-Z\u00c0-\u00de\d]")


def aligned_table(lines: Sequence[str]) -> list[Element]:
    """Return the table that lines show, behind the line that leads in to it; none of other lines.

    With names above its columns, or more than two of them, it is a table, else the first column
    names what the second one says. Samples of programs are none, though they have columns too:
    most of the names begin with a capital or a figure.

    Args:
        lines: Of one block, without empty ones.
    """
    lines = [line.expandtabs().rstrip() for line in lines]
    if rows := _rows(lines):
        return _elements(rows)
    if lines and lines[0].endswith(":") and (rows := _rows(lines[1:])):
        return [Paragraph(lines[0].strip()), *_elements(rows)]
    return []


def _elements(rows: list[list[str]]) -> list[Element]:
    header = guessed_header(rows)
    if header or len(rows[0]) > 2:  # noqa: PLR2004
        return [Table(rows, header)]
    return [Field(name, value) for name, value in rows]


def _rows(lines: Sequence[str]) -> list[list[str]]:
    """Return the cells of lines, all of one number; none of lines that show no table."""
    if len(lines) < _LEAST_LINES or any(_GAP not in line.lstrip() for line in lines):
        return []
    width = max(map(len, lines))
    padded = [line.ljust(width) for line in lines]
    blank = [all(line[at] == " " for line in padded) for at in range(width)]
    runs = [(free, len(list(run))) for free, run in groupby(blank)]
    cuts, at = [0], 0
    for number, (free, length) in enumerate(runs):
        if free and length >= len(_GAP) and 0 < number < len(runs) - 1:
            cuts.append(at + length)
        at += length
    cells = [[line[a:b].strip() for a, b in pairwise([*cuts, width])] for line in padded]
    return cells if _is_table(cells) else []


def _is_table(rows: Sequence[Sequence[str]]) -> bool:
    columns = len(rows[0])
    names = [row[0] for row in rows]
    return (
        columns > 1
        and all(names)
        and not any(name.endswith(":") for name in names)
        and all(sum(map(bool, row)) >= max(2, columns // 2) for row in rows)
        and all(len(cell) <= _LONGEST_CELL and not _SAMPLE.search(cell) for r in rows for cell in r)
        and 2 * sum(_NAMED.match(name) is not None for name in names) > len(names)
    )

"""Words of a PDF's page to lines in reading order, and tables out of rules and columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from voicerag_core.documents.pdf_page import Page, Rule, Word
from voicerag_core.documents.unicode import raised

__all__ = ["MARKER", "Line", "TableLines", "lines_of", "text_of"]

_SAME_LINE = 0.3
_SEGMENT_GAP = 1.5
"""A gap of that many sizes parts the segments of a line: cells or columns."""

_MARKER_GAP = 6.0
MARKER = re.compile(
    "[\u2022\u2023\u25aa\u25ab\u25cf\u25e6\u2013\u2043\u25a0\u25a1\u25cb\u2713\u2714\u27a2\u00b7\u2219\ue000-\uf8ff*o-]"
    r"|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)]|\(?[ivx]{1,4}[.)]|\d{1,2}(?:\.\d{1,2}){1,3}\.?"
)
"""A bullet, the number of an item, or that of a section."""

_SMALLER = 0.85
_LEAST_JUMPS = 3
_LEAST_FILLED = 0.4
_COLUMN_CHARACTERS = 25
_CELL_GAP = 0.9
_NEAR = 3.0


@dataclass(slots=True)
class Line:
    """A run of words on one baseline."""

    words: list[Word]
    text: str = ""
    left: float = 0.0
    right: float = 0.0
    baseline: float = 0.0
    size: float = 0.0
    bold: bool = False
    mono: bool = False

    def __post_init__(self) -> None:
        """Take over what its words say."""
        self.text = text_of(self.words)
        self.left = min(word.left for word in self.words)
        self.right = max(word.right for word in self.words)
        largest = max(self.words, key=lambda word: word.size * len(word.text))
        self.baseline, self.size = largest.baseline, largest.size
        shown = [word for word in self.words if any(map(str.isalnum, word.text))]
        self.bold = bool(shown) and all(word.bold for word in shown)
        self.mono = bool(shown) and all(word.mono for word in shown)


@dataclass(slots=True)
class TableLines:
    """A table: its cells row by row, and whether rules part its head from its body."""

    rows: list[list[str]]
    header: int
    top: float
    lines: list[Line] = field(default_factory=list)


def text_of(words: Sequence[Word]) -> str:
    """Join words; raised ones become exponents, powers of units, or marks of notes."""
    text = ""
    base: Word | None = None
    for word in words:
        is_raised = (
            base is not None
            and not word.spaced
            and word.size < _SMALLER * base.size
            and word.baseline > base.baseline + 0.1 * base.size
        )
        if is_raised:
            text += raised(text, word.text)
            continue
        text += (" " if word.spaced and text else "") + word.text
        base = word
    return text


def lines_of(page: Page) -> list[Line | TableLines]:
    """Return the lines and tables of a page in reading order."""
    words = page.words
    if not words:
        return []
    tables, words = _ruled_tables(words, page.rules, page.width)
    lines = _in_order(_lines(words))
    out: list[Line | TableLines] = list(lines)
    for table in tables:
        out.insert(_place(out, table.top), table)
    return out


def _place(lines: Sequence[Line | TableLines], top: float) -> int:
    """Return where a table that begins at this height belongs: behind the line above it."""
    tops = [line.baseline if isinstance(line, Line) else line.top for line in lines]
    above = [i for i, height in enumerate(tops) if height >= top]
    if above:
        return min(above, key=lambda i: tops[i]) + 1
    return max(range(len(tops)), key=lambda i: tops[i]) if tops else 0


def _lines(words: Sequence[Word]) -> list[Line]:
    """Group words in the order of the file to segments of lines."""
    lines: list[Line] = []
    run: list[Word] = []
    for word in words:
        if run and not _follows(run, word):
            lines.append(Line(run))
            run = []
        run.append(word)
    if run:
        lines.append(Line(run))
    return lines


def _follows(run: Sequence[Word], word: Word) -> bool:
    """Whether a word goes on with a segment."""
    before = run[-1]
    size = max(word.size, before.size, run[0].size)
    gap = word.left - before.right
    is_marker = len(run) == 1 and MARKER.fullmatch(before.text) is not None
    if not -0.6 * size <= gap <= (_MARKER_GAP if is_marker else _SEGMENT_GAP) * size:
        return False
    if abs(word.baseline - run[0].baseline) <= _SAME_LINE * size:
        return True
    shifted = abs(word.baseline - before.baseline) <= 0.8 * size
    return (
        shifted
        and gap < 0.5 * size
        and (word.size < _SMALLER * size or before.size < _SMALLER * size)
    )


def _in_order(lines: list[Line]) -> list[Line | TableLines]:
    """Return lines in reading order: that of the file, but for columns drawn row by row."""
    rows = _rows(lines)
    out: list[Line | TableLines] = []
    position = 0
    while position < len(rows):
        end = position
        while (
            end < len(rows)
            and len(rows[end]) > 1
            and (end == position or _aligned(rows[end - 1], rows[end]))
        ):
            end += 1
        run = rows[position:end]
        if len(run) >= _LEAST_JUMPS:
            end, run = _with_single(rows, position, end)
            out += _columns(run) if _is_prose(run) else [_unruled(run)]
        else:
            end = max(end, position + 1)
            for row in rows[position:end]:
                out += (
                    [Line([word for line in row for word in line.words])] if len(row) > 1 else row
                )
        position = end
    return out


def _rows(lines: Sequence[Line]) -> list[list[Line]]:
    """Group segments that follow each other from left to right on one baseline."""
    rows: list[list[Line]] = []
    for line in lines:
        last = rows[-1][-1] if rows else None
        same = (
            last is not None
            and abs(last.baseline - line.baseline) <= _SAME_LINE * max(last.size, line.size)
            and line.left >= last.right
        )
        if same:
            rows[-1].append(line)
        else:
            rows.append([line])
    return rows


def _aligned(above: Sequence[Line], below: Sequence[Line]) -> bool:
    """Whether two rows have a column in common besides the first, and stand close together."""
    gap = above[0].baseline - below[0].baseline
    if not 0 < gap < 4 * max(above[0].size, below[0].size):
        return False
    starts = [line.left for line in above[1:]]
    ends = [line.right for line in above[1:]]
    return any(
        any(abs(line.left - start) < _NEAR for start in starts)
        or any(abs(line.right - end) < _NEAR for end in ends)
        for line in below[1:]
    )


def _with_single(
    rows: Sequence[list[Line]], position: int, end: int
) -> tuple[int, list[list[Line]]]:
    """Add the rows behind that fill one column only, such as the end of the longer one."""
    run = list(rows[position:end])
    starts = {round(line.left) for row in run for line in row}
    while end < len(rows) and len(rows[end]) == 1:
        line = rows[end][0]
        gap = run[-1][0].baseline - line.baseline
        near = any(abs(line.left - start) < _NEAR for start in starts)
        fits = line.right <= max(other.right for row in run for other in row) + _NEAR
        if not (near and fits and 0 < gap < 1.6 * line.size and _is_narrow(line, run)):
            break
        run.append(rows[end])
        end += 1
    return end, run


def _is_narrow(line: Line, run: Sequence[Sequence[Line]]) -> bool:
    """Whether a line stays left of the next column."""
    later = [other.left for row in run for other in row if other.left > line.left + _NEAR]
    return not later or line.right <= min(later)


def _is_prose(run: Sequence[Sequence[Line]]) -> bool:
    """Whether rows of segments are columns of text rather than cells of a table."""
    widths = Counter(len(row) for row in run)
    if widths.most_common(1)[0][0] > 3:  # noqa: PLR2004
        return False
    sizes = [len(line.text) for row in run if len(row) > 1 for line in row]
    return sum(sizes) / len(sizes) >= _COLUMN_CHARACTERS


def _columns(run: Sequence[Sequence[Line]]) -> list[Line | TableLines]:
    """Return the lines of columns, the left column first."""
    starts: list[float] = []
    for line in sorted((line for row in run for line in row), key=lambda line: line.left):
        if not starts or line.left - starts[-1] > 8 * line.size:
            starts.append(line.left)
    columns: list[list[Line | TableLines]] = [[] for _ in starts]
    for row in run:
        for line in row:
            at = max(i for i, start in enumerate(starts) if line.left >= start - _NEAR)
            columns[at].append(line)
    return [line for column in columns for line in column]


def _unruled(run: Sequence[Sequence[Line]]) -> TableLines:
    """Return a table that only its columns show."""
    spans = _column_spans([line for row in run for line in row])
    rows: list[list[str]] = []
    for row in run:
        cells = [""] * len(spans)
        for line in row:
            at = _nearest(spans, line)
            cells[at] = f"{cells[at]} {line.text}".strip()
        if rows and not cells[0] and len(row) == 1:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
        else:
            rows.append(cells)
    bold = all(line.bold for line in run[0]) and not all(line.bold for line in run[-1])
    lines = [line for row in run for line in row]
    return TableLines(rows, -1 if not bold else 1, run[0][0].baseline + run[0][0].size, lines)


def _column_spans(lines: Sequence[Line]) -> list[tuple[float, float]]:
    """Return the extents of columns: overlapping segments belong to one."""
    spans: list[tuple[float, float]] = []
    for line in sorted(lines, key=lambda line: line.left):
        if spans and line.left < spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], line.right)
        else:
            spans.append((line.left, line.right))
    return spans


def _nearest(spans: Sequence[tuple[float, float]], line: Line) -> int:
    middle = (line.left + line.right) / 2
    return min(range(len(spans)), key=lambda i: max(spans[i][0] - middle, middle - spans[i][1]))


# --- tables between rules ----------------------------------------------------------------------


def _ruled_tables(
    words: Sequence[Word], rules: Sequence[Rule], width: float
) -> tuple[list[TableLines], list[Word]]:
    """Return tables and the words outside.

    Tables have crossing rules, or lie between three or more horizontal rules of one extent.
    """
    tables: list[TableLines] = []
    rest = list(words)
    level = [rule for rule in rules if rule.high - rule.low < _NEAR]
    upright = [rule for rule in rules if rule.right - rule.left < _NEAR]
    for group in _crossing(level, upright):
        table = _grid([r for r in group if r.high - r.low < _NEAR],
                      [r for r in group if r.right - r.left < _NEAR], rest)  # fmt: skip
        if table is not None:
            found, rest = table
            tables.append(found)
    taken = [(table.top, min(line.baseline for line in table.lines)) for table in tables]
    free = [
        rule for rule in level
        if not any(low - _NEAR <= rule.low <= top + _NEAR for top, low in taken)
    ]  # fmt: skip
    for group in _alike(free, width):
        table = _between(group, rest)
        if table is not None:
            found, rest = table
            tables.append(found)
    return sorted(tables, key=lambda table: -table.top), rest


def _crossing(level: Sequence[Rule], upright: Sequence[Rule]) -> list[list[Rule]]:
    """Return groups of rules that touch each other, of at least two of each direction."""
    if len(level) < 2 or len(upright) < 2 or len(level) * len(upright) > 400_000:  # noqa: PLR2004
        return []
    owner = list(range(len(level) + len(upright)))

    def root(i: int) -> int:
        while owner[i] != i:
            owner[i] = owner[owner[i]]
            i = owner[i]
        return i

    for i, flat in enumerate(level):
        for j, tall in enumerate(upright, len(level)):
            if (
                flat.left - _NEAR <= tall.left <= flat.right + _NEAR
                and tall.low - _NEAR <= flat.low <= tall.high + _NEAR
            ):
                owner[root(i)] = root(j)
    groups: dict[int, list[Rule]] = {}
    for i, rule in enumerate([*level, *upright]):
        groups.setdefault(root(i), []).append(rule)
    return [group for group in groups.values() if len(group) > 3]  # noqa: PLR2004


def _edges(values: Sequence[float]) -> list[float]:
    """Return values that differ, near ones as one, in rising order."""
    edges: list[float] = []
    for value in sorted(values):
        if not edges or value - edges[-1] > _NEAR:
            edges.append(value)
    return edges


def _grid(
    level: Sequence[Rule], upright: Sequence[Rule], words: Sequence[Word]
) -> tuple[TableLines, list[Word]] | None:
    """Return the table that rules form, and the words outside; None when it is none."""
    xs = _edges([rule.left for rule in upright])
    ys = _edges([rule.low for rule in level])
    if len(xs) < 3 or len(ys) < 3 or len(xs) > 60 or len(ys) > 300:  # noqa: PLR2004
        return None
    inside, rest = _split(words, lambda w: (
        xs[0] - 1 <= (w.left + w.right) / 2 <= xs[-1] + 1
        and ys[0] - 1 <= w.baseline + 0.3 * w.size <= ys[-1] + 1
    ))  # fmt: skip
    cells: list[list[list[Word]]] = [[[] for _ in xs[1:]] for _ in ys[1:]]
    for word in inside:
        column = _between_edges(xs, (word.left + word.right) / 2)
        row = len(ys) - 2 - _between_edges(ys, word.baseline + 0.3 * word.size)
        cells[row][column].append(word)
    _merge(cells, xs, ys, level)
    rows = [[_cell_text(cell) for cell in row] for row in cells]
    rows = [row for row in rows if any(row)]
    columns = [i for i in range(len(xs) - 1) if any(row[i] for row in rows)]
    rows = [[row[i] for i in columns] for row in rows]
    filled = sum(bool(cell) for row in rows for cell in row)
    if len(rows) < 2 or len(columns) < 2 or filled < _LEAST_FILLED * len(rows) * len(columns):  # noqa: PLR2004
        return None
    bold = [all(w.bold for cell in row for w in cell) for row in cells if any(row)]
    header = 1 if bold[0] and not all(bold) else -1
    return TableLines(rows, header, ys[-1], [Line(inside)]), rest


def _merge(
    cells: list[list[list[Word]]], xs: Sequence[float], ys: Sequence[float], level: Sequence[Rule]
) -> None:
    """Give cells of a column that no rule parts the words of all of them."""
    heights = list(reversed(ys))
    for column, (left, right) in enumerate(pairwise(xs)):
        middle = (left + right) / 2
        above = 0
        for row in range(1, len(cells)):
            parted = any(
                abs(rule.low - heights[row]) <= _NEAR and rule.left <= middle <= rule.right
                for rule in level
            )
            if parted:
                above = row
                continue
            cells[above][column] += cells[row][column]
            cells[row][column] = cells[above][column]


def _between_edges(edges: Sequence[float], value: float) -> int:
    for i, (low, high) in enumerate(pairwise(edges)):
        if low <= value <= high:
            return i
    return 0 if value < edges[0] else len(edges) - 2


def _split(
    words: Sequence[Word], is_inside: Callable[[Word], bool]
) -> tuple[list[Word], list[Word]]:
    inside = [word for word in words if is_inside(word)]
    if not inside:
        return [], list(words)
    return inside, [word for word in words if not is_inside(word)]


def _cell_text(words: Sequence[Word]) -> str:
    if not words:
        return ""
    lines = sorted(_lines(words), key=lambda line: (-round(line.baseline), line.left))
    text = ""
    for line in lines:
        text = text[:-1] + line.text if text.endswith("\x02") else f"{text} {line.text}".strip()
    return text.replace("\x02", "-")


def _alike(level: Sequence[Rule], width: float) -> list[list[Rule]]:
    """Return groups of three or more horizontal rules of one extent, from top to bottom."""
    groups: dict[tuple[int, int], list[Rule]] = {}
    for rule in level:
        if rule.right - rule.left > 0.15 * width:
            key = round(rule.left / 4), round(rule.right / 4)
            groups.setdefault(key, []).append(rule)
    found = []
    for group in groups.values():
        heights = _edges([rule.low for rule in group])
        if len(heights) >= 3:  # noqa: PLR2004
            edge = group[0]
            found.append([Rule(edge.left, y, edge.right, y) for y in reversed(heights)])
    return found


def _between(group: Sequence[Rule], words: Sequence[Word]) -> tuple[TableLines, list[Word]] | None:
    """Return the table between horizontal rules, and the words outside; None when it is none."""
    top, bottom = group[0].low, group[-1].low
    left, right = group[0].left - _NEAR, group[0].right + _NEAR
    inside, rest = _split(
        words,
        lambda w: bottom < w.baseline + 0.3 * w.size < top and left <= w.left and w.right <= right,
    )
    if not inside:
        return None
    lines = _cells(inside)
    rows: dict[int, list[Line]] = {}
    for line in sorted(lines, key=lambda line: -line.baseline):
        near = next((y for y in rows if abs(y - line.baseline) < _SAME_LINE * line.size * 2), None)
        rows.setdefault(round(line.baseline) if near is None else near, []).append(line)
    widths = Counter(len(row) for row in rows.values())
    columns = widths.most_common(1)[0][0]
    if columns < 2 or len(rows) < 2 or widths[columns] < 0.6 * len(rows):  # noqa: PLR2004
        return None
    spans = _column_spans([line for row in rows.values() if len(row) == columns for line in row])
    cells: list[list[str]] = []
    for row in rows.values():
        texts = [""] * len(spans)
        for line in sorted(row, key=lambda line: line.left):
            at = _nearest(spans, line)
            texts[at] = f"{texts[at]} {line.text}".strip().replace("\x02", "")
        if cells and sum(map(bool, texts)) == 1 and not texts[0]:
            cells[-1] = [f"{a} {b}".strip() for a, b in zip(cells[-1], texts, strict=True)]
        else:
            cells.append(texts)
    header = sum(y > group[1].low for y in rows) if len(group) > 2 else 0  # noqa: PLR2004
    return TableLines(cells, min(header, 2) or -1, top, lines), rest


def _cells(words: Sequence[Word]) -> list[Line]:
    """Group words to segments that a gap of nearly one size parts."""
    ordered = sorted(words, key=lambda word: (-round(word.baseline), word.left))
    lines: list[Line] = []
    run: list[Word] = []
    for word in ordered:
        if run:
            before = run[-1]
            same = abs(word.baseline - before.baseline) <= _SAME_LINE * before.size
            if not same or not -before.size <= word.left - before.right <= _CELL_GAP * word.size:
                lines.append(Line(run))
                run = []
        run.append(word)
    return [*lines, Line(run)] if run else lines

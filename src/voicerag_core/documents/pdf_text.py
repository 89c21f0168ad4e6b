"""Lines of a PDF's pages to headings, paragraphs, items, tables and notes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from voicerag_core.blocks import Place
from voicerag_core.documents.elements import (
    Aside,
    Code,
    Element,
    Field,
    Heading,
    Item,
    Paragraph,
    Table,
)
from voicerag_core.documents.pdf_lines import MARKER, Line, TableLines
from voicerag_core.documents.table_shape import guessed_header

__all__ = ["PageLines", "elements_of"]

_LARGER = 1.15
_HEADING_GAP = 1.6
_OTHER_SIZE = 0.15
_LEAST_CONTENTS = 5
_SMALL = 0.88
_LONGEST_HEADING = 120
_LONGEST_BOLD = 90
_BULLET = re.compile(
    f"({MARKER.pattern})\\s+(\\S.*)"
    "|([\u2022\u2023\u25aa\u25cf\u25e6\u25a0\u27a2\ue000-\uf8ff])(\\w.*)", re.DOTALL
)  # fmt: skip
_SECTION_NUMBER = re.compile(
    r"(?:\d{1,2}\.){1,4}\d{0,2}\s+\S|(?:chapter|section|appendix|part)\s+\w+", re.I
)
_STEP = re.compile(r"(\d{1,2})\s+([A-Z\u00c0-\u00de].*)", re.DOTALL)
_LEADER = re.compile(r"(?:\.\s?){4,}\s*\S{0,6}$|\u2026{2,}\s*\S{0,6}$")
_ENDS = re.compile(r"[.!?:;\u3002\uff01\uff1f][\"'\u201d\u2019)\]]*$")
_NOTE = re.compile(r"(?:\d{1,3}|[*\u2020\u2021\u00a7]|\(?[a-z]\))[.)]?\s*\S")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LAST_WORD = re.compile(r"([^\W\d_]+)[-\x02\xad]$")
_ALPHABETIC = re.compile(r"[^\W\d_]")
_FIRST_WORD = re.compile(r"[^\W\d_]+")
_HYPHEN = ("-", "\x02", "\xad")
_BREAK = re.compile(r"[\x02\xad](?=.)", re.DOTALL)


@dataclass(slots=True)
class PageLines:
    """Lines and form fields of a page; `floor` is the height of the rule above its footnotes."""

    number: int
    width: float
    lines: list[Line | TableLines]
    fields: list[tuple[str, str, float]] = field(default_factory=list)
    floor: float = 0.0


def elements_of(pages: Sequence[PageLines], outline: Mapping[str, int]) -> list[Element]:
    """Return the elements of pages; what goes on over a page border is joined."""
    style = _Style(pages, outline)
    out: list[Element] = []
    for page in pages:
        body, notes = _page_elements(page, style)
        _join(out, body, style)
        out += body
        if notes:
            at = len(out)
            while at and isinstance(out[at - 1], Heading):
                at -= 1  # what the last heading is of stands on the next page
            out.insert(at, Aside(notes))
    return out


class _Style:
    """What is usual in a file: its size of text, leading, sizes of headings, and its words."""

    def __init__(self, pages: Sequence[PageLines], outline: Mapping[str, int]) -> None:
        self.outline = outline
        lines = [line for page in pages for line in page.lines if isinstance(line, Line)]
        sizes: Counter[float] = Counter()
        bold = mono = total = 0
        self.words = _vocabulary(lines)
        for line in lines:
            sizes[_rounded(line.size)] += len(line.text)
            total += len(line.text)
            bold += len(line.text) * line.bold
            mono += len(line.text) * line.mono
        self.body = sizes.most_common(1)[0][0] if sizes else 10.0
        self.is_bold_usual = bold > total / 2
        self.is_mono_usual = mono > total / 2
        larger = {
            _rounded(line.size) for line in lines if self._is_larger(line) and _may_title(line)
        }
        self.levels = {size: i for i, size in enumerate(sorted(larger, reverse=True), 1)}
        gaps = [
            (above.baseline - below.baseline) / above.size
            for page in pages
            for above, below in pairwise(page.lines)
            if isinstance(above, Line) and isinstance(below, Line)
            and _rounded(above.size) == _rounded(below.size) == self.body
            and 0 < above.baseline - below.baseline < 3 * above.size
        ]  # fmt: skip
        usual = Counter(round(gap, 1) for gap in gaps).most_common(1)
        self.leading = usual[0][0] if usual else 1.2

    def _is_larger(self, line: Line) -> bool:
        return line.size > _LARGER * self.body

    def level(self, line: Line) -> int:
        """Return the level of the heading that a line is, or 0."""
        if not _may_title(line):
            return 0
        key = "".join(filter(str.isalnum, line.text.lower()))
        if level := self.outline.get(key, 0):
            return level
        if self._is_larger(line):
            return min(6, self.levels.get(_rounded(line.size), 6))
        is_marked = line.bold and not self.is_bold_usual and not _ENDS.search(line.text[-1:])
        if is_marked and len(line.text) <= _LONGEST_BOLD and line.size > _SMALL * self.body:
            return 6 if _SECTION_NUMBER.match(line.text) else 7
        return 0

    def is_code(self, line: Line) -> bool:
        return line.mono and not self.is_mono_usual

    def joined(self, before: str, after: str) -> str:
        """Join two lines; a hyphen at the border goes when the word is one without it."""
        if not before.endswith(_HYPHEN):
            return f"{before} {after}"
        last, first = _LAST_WORD.search(before), _FIRST_WORD.match(after)
        if not last or not first:
            return before.rstrip("\x02\xad").rstrip("-") + "-" + after
        a, b = last[1].lower(), first[0].lower()
        if self.words[a + b] or not (
            self.words[f"{a}-{b}"]
            or (self.words[a] and self.words[b] and min(len(a), len(b)) > 2)  # noqa: PLR2004
            or first[0][0].isupper()
        ):
            return before[:-1] + after
        return before[:-1] + "-" + after


def _vocabulary(lines: Sequence[Line]) -> Counter[str]:
    """Return the words of lines, without those that a line's end has cut in two."""
    words: Counter[str] = Counter()
    cut = False
    for line in lines:
        found = [word.lower() for word in _WORD.findall(line.text)]
        found = found[1:] if cut else found
        cut = line.text.endswith(_HYPHEN)
        words.update(found[:-1] if cut else found)
    return words


def _rounded(size: float) -> float:
    return round(size * 2) / 2


def _may_title(line: Line) -> bool:
    text = line.text
    return (
        len(text) <= _LONGEST_HEADING
        and any(map(str.isalpha, text))
        and not text.endswith((".", ",", ";"))
        and not _LEADER.search(text)
    )


@dataclass(slots=True)
class _Run:
    """Lines that form one element so far."""

    kind: str
    text: str
    last: Line
    left: float
    lines: int = 1
    marker: str = ""
    level: int = 0


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a line would begin: kind, number of an item, text without a bullet, heading's level."""

    kind: str
    text: str
    marker: str = ""
    level: int = 0


def _page_elements(page: PageLines, style: _Style) -> tuple[list[Element], list[Element]]:
    """Return the elements of a page's text, and those of its footnotes."""
    place = Place("page", page.number)
    body: list[Element] = []
    notes: list[Element] = []
    indents: list[float] = []
    right = _usual_right(page.lines)
    floor = _notes_begin(page.lines, style, page.floor)
    steps = _steps(page.lines, style)
    run: _Run | None = None

    def end() -> None:
        nonlocal run
        if run is not None:
            element = _element(run, place, indents)
            (notes if run.kind == "note" else body).append(element)
        run = None

    for number, line in enumerate(page.lines):
        if isinstance(line, TableLines):
            end()
            if table := _table(line, place):
                body.append(table)
            continue
        if _LEADER.search(line.text):
            continue  # a table of contents
        begun = _begun(line, style, number >= floor)
        if begun.kind == "text" and id(line) in steps:
            begun = _Begun("item", steps[id(line)][1], steps[id(line)][0])
        if run is not None and _goes_on(run, line, begun, style, right):
            _extend(run, line, begun.text if begun.kind == "item" else line.text, style)
            continue
        end()
        if begun.kind in ("text", "heading") and indents and line.left <= indents[0]:
            indents.clear()
        run = _Run(begun.kind, begun.text, line, line.left, marker=begun.marker, level=begun.level)
    end()
    body += [Field(name, value, place) for name, value, _ in page.fields]
    return body, notes


def _steps(lines: Sequence[Line | TableLines], style: _Style) -> dict[int, tuple[str, str]]:
    """Return number and text of the lines that are numbered without a mark behind the number."""
    steps: dict[int, tuple[str, str]] = {}
    before: tuple[int, Line, str] | None = None
    for line in lines:
        match = _STEP.fullmatch(line.text) if isinstance(line, Line) else None
        if match is None or not isinstance(line, Line) or style.level(line):
            continue
        number = int(match[1])
        goes_on = (
            before is not None
            and number == before[0] + 1
            and (
                abs(line.left - before[1].left) < 2  # noqa: PLR2004
            )
        )
        if goes_on and before is not None:
            steps.setdefault(id(before[1]), (f"{before[0]}.", before[2]))
            steps[id(line)] = f"{number}.", match[2]
        if goes_on or number == 1:
            before = number, line, match[2]
    return steps


def _begun(line: Line, style: _Style, below: bool) -> _Begun:
    """Return what a line begins; `below`: it stands among the notes at the foot of the page."""
    if below:
        return _Begun("note", line.text)
    if level := style.level(line):
        return _Begun("heading", line.text, level=level)
    if style.is_code(line):
        return _Begun("code", line.text)
    if match := _BULLET.fullmatch(line.text):
        marker, text = match[1] or "", match[2] or match[4]
        counts = any(map(str.isalnum, marker)) and marker != "o"
        return _Begun("item", text, marker if counts else "")
    return _Begun("text", line.text)


def _goes_on(run: _Run, line: Line, begun: _Begun, style: _Style, right: float) -> bool:
    """Whether a line belongs to the element before it, rather than to begin one."""
    gap = (run.last.baseline - line.baseline) / max(run.last.size, line.size)
    is_near = 0 < gap <= 1.3 * style.leading + 0.1
    kinds = {run.kind, begun.kind}
    if "heading" in kinds:
        ends = run.kind == "heading" and begun.kind == "text" and not _ALPHABETIC.search(line.text)
        ends = ends and line.bold == run.last.bold
        is_one = (len(kinds) == 1 and begun.level == run.level) or ends
        is_one = is_one and 0 < gap < max(_HEADING_GAP, 1.2 * style.leading)
        same_size = _rounded(line.size) == _rounded(run.last.size)
        return is_one and same_size and not _SECTION_NUMBER.match(line.text)
    if "code" in kinds:
        return len(kinds) == 1 and 0 < gap < 2.5 * style.leading
    if "note" in kinds:
        return len(kinds) == 1 and is_near and not _NOTE.match(line.text)
    return _flows(run, line, begun, right, gap, is_near=is_near)


def _flows(
    run: _Run, line: Line, begun: _Begun, right: float, gap: float, *, is_near: bool
) -> bool:
    """Whether a line of text goes on with the paragraph or the item before it."""
    is_above = gap < 0 and not _ENDS.search(run.text)  # the line is in the next column
    if not is_near and not is_above:
        return False
    if begun.kind == "item":
        wrapped = bool(begun.marker) and not _ENDS.search(run.text) and run.kind == "text"
        return wrapped and abs(line.left - run.left) < 1 and run.last.right > 0.9 * right
    if abs(line.size - run.last.size) > _OTHER_SIZE * run.last.size:
        return False
    if run.kind == "item":
        hangs = line.left > run.left + 0.3 * line.size
        return hangs or is_above or not _ENDS.search(run.text)
    return line.text[:1].islower() if is_above else _wraps(run, line, right)


def _wraps(run: _Run, line: Line, right: float) -> bool:
    """Whether the next line below a paragraph's is part of the paragraph."""
    if run.lines == 1 and line.left < run.left:
        return True
    if line.left > run.left + 0.8 * line.size:
        return False
    is_short = run.last.right < right - 0.2 * (right - run.left)
    return not (is_short and _ENDS.search(run.text))


def _extend(run: _Run, line: Line, text: str, style: _Style) -> None:
    if run.kind == "code":
        indent = max(0, round((line.left - run.left) / (0.6 * line.size)))
        run.text += "\n" + " " * indent + text
    else:
        run.text = style.joined(run.text, text)
    if run.lines == 1 and run.kind == "text":
        run.left = min(run.left, line.left)
    run.last = line
    run.lines += 1


def _element(run: _Run, place: Place, indents: list[float]) -> Element:
    text = _BREAK.sub("-", run.text)
    if run.kind == "heading":
        return Heading(text, run.level, place)
    if run.kind == "code":
        return Code(text, place)
    if run.kind == "item":
        while indents and run.left < indents[-1] - 2:
            indents.pop()
        if not indents or run.left > indents[-1] + 2:
            indents.append(run.left)
        return Item(text, len(indents) - 1, run.marker, place)
    return Paragraph(text, place)


def _table(table: TableLines, place: Place) -> Table | None:
    """Return a table, or None when it is a table of contents."""
    rows = [[_BREAK.sub("-", cell).rstrip("\x02\xad") for cell in row] for row in table.rows]
    last = [row[-1] for row in rows]
    numbers = [int(cell) for cell in last if cell.isdecimal() and len(cell) < 5]  # noqa: PLR2004
    if (
        len(rows) >= _LEAST_CONTENTS
        and len(numbers) >= len(rows) - 1
        and numbers == sorted(numbers)
        and (
            len(rows[0]) <= 3 and len(set(numbers)) > 2  # noqa: PLR2004
        )
    ):
        return None
    header = table.header if table.header >= 0 else guessed_header(rows)
    return Table(rows, min(header, len(rows) - 1), "", [place] * len(rows))


def _usual_right(lines: Sequence[Line | TableLines]) -> float:
    rights = sorted(line.right for line in lines if isinstance(line, Line))
    return rights[int(0.9 * (len(rights) - 1))] if rights else 0.0


def _notes_begin(lines: Sequence[Line | TableLines], style: _Style, floor: float) -> int:
    """Return the index from which on a page has footnotes.

    They are small lines at its end, or lines below a short rule, and numbered.
    """
    begin = len(lines)
    below = [i for i, line in enumerate(lines) if isinstance(line, Line) and line.baseline < floor]
    if below and below[0] > 0 and below == list(range(below[0], begin)):
        first = lines[below[0]]
        if isinstance(first, Line) and _NOTE.match(first.text):
            return below[0]
    for i in range(len(lines) - 1, -1, -1):
        line = lines[i]
        if not isinstance(line, Line) or line.size > _SMALL * style.body:
            break
        if _NOTE.match(line.text):
            begin = i
    return begin if begin > 0 else len(lines)


def _join(out: list[Element], body: list[Element], style: _Style) -> None:
    """Join what the last page broke off with how the next one begins."""
    at = next((i for i in range(len(out) - 1, -1, -1) if not isinstance(out[i], Aside)), None)
    if at is None or not body or not isinstance(body[0], Paragraph):
        return
    before = out[at]
    if not isinstance(before, Paragraph | Item) or _ENDS.search(before.text):
        return
    first = body[0].text
    if first[:1].islower() or len(before.text) > 30 or before.text.endswith(_HYPHEN):  # noqa: PLR2004
        out[at] = replace(before, text=style.joined(before.text, first))
        del body[0]

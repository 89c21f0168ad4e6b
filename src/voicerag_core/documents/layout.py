"""Elements to a text with blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from voicerag_core.blocks import Block, BlockKind, Place
from voicerag_core.documents.elements import (
    Aside,
    Code,
    Element,
    Field,
    Heading,
    Item,
    Notice,
    Paragraph,
    Table,
    Term,
)
from voicerag_core.documents.table_shape import NAMES_OF_VALUES
from voicerag_core.documents.unicode import normalised, tidy, tidy_lines
from voicerag_core.sentences import sentence_spans

__all__ = ["Layout", "laid_out"]

_GAP = "\n\n"
_COLON = (":", "\uff1a")
_QUESTION = re.compile(r"[?\uff1f][\"'\u201d)\]]*$")
_ANNOUNCED = (Item, Table, Code)
_MAX_DEPTH = 50


class Layout:
    """A text that grows by elements, with its blocks and notices."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.blocks: list[Block] = []
        self.notices: list[str] = []
        self._length = 0
        self._open: list[tuple[int, str, bool]] = []
        self._terms: tuple[str, ...] = ()
        self._path: tuple[str, ...] = ()
        self._aside = 0

    @property
    def text(self) -> str:
        """The text so far."""
        return _GAP.join(self.pieces)

    def add(self, elements: Iterable[Element], depth: int = 0) -> None:
        """Append elements."""
        if depth > _MAX_DEPTH:
            return
        for element, following in _with_next(elements):
            if isinstance(element, Heading):
                self._heading(element, following)
            elif isinstance(element, Term):
                self._term(element, depth)
            elif isinstance(element, Aside):
                self._aside += 1
                self.add(element.elements, depth + 1)
                self._aside -= 1
            elif isinstance(element, Table):
                self._table(element)
            elif isinstance(element, Notice):
                self.notices.append(element.text)
            else:
                self._leaf(element, following)

    def _leaf(self, element: Paragraph | Item | Code | Field, following: Element | None) -> None:
        if isinstance(element, Paragraph):
            text = tidy_lines(element.text)
            if text.endswith(_COLON) and isinstance(following, _ANNOUNCED):
                self._lead(text, element.place)
            else:
                self._append(text, "text", element.place)
        elif isinstance(element, Item):
            text = tidy_lines(element.text)
            marked = f"{tidy(element.marker)} {text}" if element.marker and text else text
            self._append(marked, "item", element.place, level=max(0, element.depth))
        elif isinstance(element, Code):
            lines = normalised(element.text.replace("\t", "    ")).split("\n")
            code = "\n".join(line.rstrip() for line in lines).strip("\n")
            self._append(code, "code", element.place)
        else:
            name, value = tidy(element.name).rstrip(" :\uff1a"), tidy(element.value)
            self._append(f"{name}: {value}" if name else value, "field", element.place)

    def _lead(self, text: str, place: Place | None) -> None:
        """Append a paragraph whose last sentence announces what follows."""
        start, _ = sentence_spans(text)[-1]
        self._append(text[:start].rstrip(), "text", place)
        self._append(text[start:], "lead", place)

    def _heading(self, heading: Heading, following: Element | None) -> None:
        text = tidy(heading.text)
        if not text:
            return
        while self._open and self._open[-1][0] >= heading.level:
            self._open.pop()
        self._set_path()
        asks = bool(_QUESTION.search(text)) and not isinstance(following, Heading | None)
        self._append(text, "question" if asks else "heading", heading.place)
        self._open.append((heading.level, text, asks))
        self._set_path()

    def _term(self, term: Term, depth: int) -> None:
        text = tidy(term.text)
        asks = bool(_QUESTION.search(text))
        if asks and self._open and self._open[-1][2] and not self._terms:
            self._open.pop()
            self._set_path()
        if text:
            self._append(text, "question" if asks else "heading", term.place)
        outer = self._terms
        self._terms = (*outer, text) if text else outer
        self._set_path()
        self.add(term.elements, depth + 1)
        self._terms = outer
        self._set_path()

    def _table(self, table: Table) -> None:
        self._append(tidy(table.caption), "lead", table.places[0] if table.places else None)
        names = _columns(table.rows[: table.header])
        group = ""
        wrote = False
        places = table.places or [None] * len(table.rows)
        for row, place in zip(table.rows[table.header :], places[table.header :], strict=True):
            cells = [_cell(cell) for cell in row]
            if len(cells) > 1 and cells[0] and len(set(cells)) == 1:
                group = cells[0] if len(cells[0]) <= _LONGEST_GROUP else ""
                text = cells[0]
            else:
                text = _row(names, cells)
                text = f"{group}; {text}" if group and text else text
            wrote |= bool(text)
            self._append(text, "row", place)
        if not wrote:
            self._append("; ".join(filter(None, names)), "row", places[0] if places else None)

    def _append(self, text: str, kind: BlockKind, place: Place | None, level: int = 0) -> None:
        if not text:
            return
        start = self._length + (len(_GAP) if self.pieces else 0)
        self._length = start + len(text)
        self.pieces.append(text)
        kind = "note" if self._aside else kind
        self.blocks.append(Block(start, self._length, kind, self._path, level, place))

    def _set_path(self) -> None:
        self._path = (*(text for _, text, _ in self._open), *self._terms)


_LONGEST_GROUP = 60


def laid_out(elements: Iterable[Element]) -> Layout:
    """Lay elements out as one text: blocks apart by empty lines, each with its headings."""
    layout = Layout()
    layout.add(elements)
    return layout


def _with_next(elements: Iterable[Element]) -> Iterator[tuple[Element, Element | None]]:
    before: Element | None = None
    for element in elements:
        if isinstance(element, Notice):
            yield element, None
            continue
        if before is not None:
            yield before, element
        before = element
    if before is not None:
        yield before, None


def _cell(cell: str) -> str:
    return ", ".join(line.rstrip(",") for line in tidy_lines(cell).split("\n"))


def _columns(header: Sequence[Sequence[str]]) -> list[str]:
    """Return one name a column from one header row or several."""
    names: list[str] = []
    for cells in zip_longest(*header, fillvalue=""):
        words = dict.fromkeys(filter(None, map(_cell, cells)))
        name = " ".join(words).rstrip(" :\uff1a")
        names.append(name if " " in name else name.replace("_", " "))
    return names


def _row(names: Sequence[str], cells: Sequence[str]) -> str:
    says_nothing = len(names) == 2 and names[1].lower() in NAMES_OF_VALUES  # noqa: PLR2004
    if not names or says_nothing:
        if len(cells) == 2 and all(cells):  # noqa: PLR2004
            return f"{cells[0].rstrip(' :')}: {cells[1]}"
        return "; ".join(filter(None, cells))
    return "; ".join(
        f"{name}: {cell}" if name else cell
        for name, cell in zip_longest(names, cells, fillvalue="")
        if cell
    )

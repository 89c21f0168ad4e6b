"""Word documents: python-docx opens the package; its tree is walked here.

python-docx's own paragraphs leave out tracked insertions, content controls, text boxes, notes and
nested tables.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from voicerag_core.documents.docx_styles import Numbering, Styles, local
from voicerag_core.documents.elements import (
    Aside,
    Code,
    Draft,
    Element,
    Heading,
    Item,
    Notice,
    Paragraph,
    Table,
)
from voicerag_core.documents.faq import paired
from voicerag_core.documents.html_walk import LEVEL_OF_BOLD, plain_words
from voicerag_core.documents.packages import opened
from voicerag_core.documents.plain import stated_title
from voicerag_core.documents.table_shape import MAX_SPAN, Grid, guessed_header
from voicerag_core.documents.unicode import raised, tidy
from voicerag_core.errors import DocumentError, MissingExtraError

if TYPE_CHECKING:
    from docx.document import Document as DocxDocument

__all__ = ["read_docx"]

_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_LEFT_OUT = frozenset({"del", "moveFrom", "Fallback", "sdtPr", "instrText", "delText", "proofErr"})
_MAX_DEPTH = 40
_LONGEST_BOLD = 100
_NOTES = {
    "footnoteReference": "footnotes",
    "endnoteReference": "endnotes",
    "commentReference": "comments",
}


def read_docx(data: bytes, source: str, encoding: str | None = None) -> list[Draft]:
    """Read a Word document: tracked insertions are in it, deletions and hidden text are not.

    Args:
        data: The file's bytes.
        source: Names the file in errors.
        encoding: Not used.

    Raises:
        DocumentError: Not a Word document, damaged or encrypted.
        MissingExtraError: python-docx is not installed.
    """
    try:
        import docx
    except ModuleNotFoundError as e:
        raise MissingExtraError("documents", f"reading {source}") from e

    opened(data, source, "docx").close()
    try:
        document = docx.Document(io.BytesIO(data))
    except (KeyError, ValueError) as e:
        raise DocumentError(
            f"{source} cannot be read as docx ({e}); open it in Word or LibreOffice and save it "
            "anew as docx"
        ) from e
    walk = _Walk(document)
    elements = paired(walk.body())
    title = stated_title(document.core_properties.title) or walk.title
    title = title or next((e.text for e in elements if isinstance(e, Heading)), "")
    return [Draft([*walk.notices, *elements], title)]


class _Walk:
    """Walks the body of a document."""

    def __init__(self, document: DocxDocument) -> None:
        self.root = document.element.body
        self.styles = Styles(_part(document, "styles"))
        self.numbering = Numbering(_part(document, "numbering"))
        self.parts = {name: _notes(_part(document, name)) for name in _NOTES.values()}
        self.notices: list[Notice] = []
        self.title = ""
        self.pending: list[Element] = []

    def body(self) -> Iterator[Element]:
        """Yield the elements of the body."""
        yield from self.blocks(self.root)

    def blocks(self, parent: Any, depth: int = 0) -> Iterator[Element]:  # noqa: ANN401
        """Yield the elements of paragraphs and tables below a node, whatever wraps them."""
        if depth > _MAX_DEPTH:
            return
        for node in parent:
            name = local(node)
            if name == "p":
                yield from self._paragraph(node, depth)
                yield from self._noted()
            elif name == "tbl":
                yield from self._table(node, depth)
                yield from self._noted()
            elif name == "altChunk":
                self.notices.append(Notice("a part that another file was put in as is not read"))
            elif name not in _LEFT_OUT and len(node):
                yield from self.blocks(node, depth + 1)

    def _noted(self) -> Iterator[Element]:
        """Yield the notes that the last paragraph refers to."""
        if self.pending:
            yield Aside(self.pending)
            self.pending = []

    def _paragraph(self, node: Any, depth: int) -> Iterator[Element]:  # noqa: ANN401
        properties = node.find(f"{_WORD}pPr")
        style = self.styles.of(properties)
        words: list[str] = []
        boxes: list[Any] = []
        self._words(node, words, boxes, depth)
        text = "".join(words).strip()
        if text:
            yield self._element(node, properties, style, text)
        for box in boxes:
            yield from self.blocks(box, depth + 1)

    def _element(self, node: Any, properties: Any, style: str, text: str) -> Element:  # noqa: ANN401
        if self.styles.is_title(style):
            self.title = self.title or tidy(text)
            return Heading(text, 0)
        level = self.styles.level(style, properties)
        number, depth, is_item = self.numbering.marker(properties, self.styles, style)
        if level:
            return Heading(f"{number} {text}".strip(), level)
        if is_item:
            return Item(text, depth, number)
        if self.styles.is_code(style):
            return Code(text)
        if self._is_bold_line(node, text):
            return Heading(text, LEVEL_OF_BOLD)
        return Paragraph(text)

    def _is_bold_line(self, node: Any, text: str) -> bool:  # noqa: ANN401
        """Whether a paragraph is short and all in bold, which people use as a heading."""
        if len(text) > _LONGEST_BOLD or text.endswith((".", ",", ";", ":", "!")):
            return False
        runs = [
            run for run in node.iter(f"{_WORD}r")
            if "".join(t.text or "" for t in run.iter(f"{_WORD}t")).strip()
        ]  # fmt: skip
        return bool(runs) and all(_is_on(run.find(f"{_WORD}rPr"), "b") for run in runs)

    def _words(self, parent: Any, words: list[str], boxes: list[Any], depth: int) -> None:  # noqa: ANN401
        """Collect the words of a paragraph, and the text boxes in it."""
        if depth > _MAX_DEPTH:
            return
        for node in parent:
            name = local(node)
            if name == "r":
                self._run(node, words, boxes, depth)
            elif name == "txbxContent":
                boxes.append(node)
            elif name == "sdt" and _is_placeholder(node):
                continue
            elif name == "oMath":
                words.append("".join(t.text or "" for t in node.iter() if local(t) == "t"))
            elif name not in _LEFT_OUT and name not in ("pPr", "rPr"):
                self._words(node, words, boxes, depth + 1)

    def _run(self, run: Any, words: list[str], boxes: list[Any], depth: int) -> None:  # noqa: ANN401
        properties = run.find(f"{_WORD}rPr")
        if _is_on(properties, "vanish") or _is_on(properties, "webHidden"):
            return
        if _is_on(properties, "strike") or _is_on(properties, "dstrike"):
            return
        is_raised = _is_raised(properties)
        for node in run:
            name = local(node)
            if name == "t":
                text = node.text or ""
                words.append(raised("".join(words[-8:]), text) if is_raised else text)
            elif name in ("tab", "ptab"):
                words.append(" ")
            elif name in ("br", "cr"):
                words.append("\n")
            elif name == "noBreakHyphen":
                words.append("-")
            elif name == "sym":
                words.append(_symbol(node))
            elif name in _NOTES:
                self._note(_NOTES[name], node.get(f"{_WORD}id") or "")
            elif name not in _LEFT_OUT and len(node):
                self._words(node, words, boxes, depth + 1)

    def _note(self, kind: str, identifier: str) -> None:
        note = self.parts[kind].pop(identifier, None)
        if note is not None:
            outer, self.pending = self.pending, []
            elements = list(self.blocks(note))
            self.pending = [*outer, *elements]

    def _table(self, node: Any, depth: int) -> Iterator[Element]:  # noqa: ANN401
        grid = Grid()
        header = 0
        nested: list[Element] = []
        content: list[Element] = []
        above: list[str] = []
        for row in _rows(node, depth):
            properties = row.find(f"{_WORD}trPr")
            if _is_on(properties, "del"):
                continue
            grid.start_row()
            header += _is_on(properties, "tblHeader")
            column = 0
            cells: list[str] = []
            skipped = properties.find(f"{_WORD}gridBefore") if properties is not None else None
            if skipped is not None:
                grid.add("", _int(skipped.get(f"{_WORD}val")))
            for cell in _cells(row):
                inner = list(self.blocks(cell, depth + 1))
                content += inner
                nested += [element for element in inner if isinstance(element, Table)]
                text = plain_words([e for e in inner if not isinstance(e, Table)])
                span, merge = _spans(cell)
                if merge == "continue" and column < len(above):
                    text = above[column]
                grid.add(text, span)
                cells += [text] * span
                column += span
            above = cells
        rows = grid.rows()
        if not rows:
            return
        if len(rows) == 1 or len(rows[0]) == 1:
            yield from content  # a frame around text
            return
        header = header if header < len(rows) else 0
        yield Table(rows, header or guessed_header(rows))
        yield from nested


def _part(document: DocxDocument, name: str) -> Any:  # noqa: ANN401
    """Return the root of a part that the main one refers to, or None."""
    from voicerag_core.documents.packages import parsed

    for relation in document.part.rels.values():
        if not relation.is_external and relation.reltype.rpartition("/")[2] == name:
            return parsed(relation.target_part.blob)
    return None


def _notes(root: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the notes of a part by their ids, without those that are drawn as lines."""
    if root is None:
        return {}
    return {
        node.get(f"{_WORD}id") or "": node
        for node in root
        if node.get(f"{_WORD}type") in (None, "normal")
    }


def _rows(table: Any, depth: int) -> Iterator[Any]:  # noqa: ANN401
    for node in table:
        name = local(node)
        if name == "tr":
            yield node
        elif name in ("sdt", "sdtContent", "ins", "customXml") and depth < _MAX_DEPTH:
            yield from _rows(node, depth + 1)


def _cells(row: Any) -> Iterator[Any]:  # noqa: ANN401
    for node in row:
        name = local(node)
        if name == "tc":
            yield node
        elif name in ("sdt", "sdtContent", "customXml"):
            yield from _cells(node)


def _spans(cell: Any) -> tuple[int, str]:  # noqa: ANN401
    """Return how many columns a cell fills, and whether it goes on with the cell above."""
    properties = cell.find(f"{_WORD}tcPr")
    if properties is None:
        return 1, ""
    span = properties.find(f"{_WORD}gridSpan")
    merge = properties.find(f"{_WORD}vMerge")
    columns = _int(span.get(f"{_WORD}val")) if span is not None else 1
    state = "" if merge is None else merge.get(f"{_WORD}val") or "continue"
    return columns, state


def _int(text: str | None) -> int:
    return min(MAX_SPAN, max(1, int(text))) if text and text.isdecimal() else 1


def _is_on(properties: Any, name: str) -> bool:  # noqa: ANN401
    """Whether a property that is on or off is on."""
    node = properties.find(f"{_WORD}{name}") if properties is not None else None
    return node is not None and node.get(f"{_WORD}val") not in ("0", "false", "off", "none")


def _is_raised(properties: Any) -> bool:  # noqa: ANN401
    """Whether a run stands above the line, by its alignment or its position."""
    if properties is None:
        return False
    aligned = properties.find(f"{_WORD}vertAlign")
    if aligned is not None:
        return bool(aligned.get(f"{_WORD}val") == "superscript")
    position = properties.find(f"{_WORD}position")
    shift = position.get(f"{_WORD}val") or "" if position is not None else ""
    return shift.isdecimal() and int(shift) > 0


def _is_placeholder(control: Any) -> bool:  # noqa: ANN401
    """Whether a content control shows only its prompt ("Click to enter text")."""
    properties = control.find(f"{_WORD}sdtPr")
    return _is_on(properties, "showingPlcHdr")


def _symbol(node: Any) -> str:  # noqa: ANN401
    code = node.get(f"{_WORD}char") or ""
    if not re.fullmatch(r"[0-9A-Fa-f]{4}", code):
        return ""
    number = int(code, 16)
    return "" if 0xE000 <= number <= 0xF8FF or 0xD800 <= number < 0xE000 else chr(number)  # noqa: PLR2004

"""OpenDocument texts, from the XML of their package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from voicerag_core.documents.docx_styles import local, written_number
from voicerag_core.documents.elements import (
    Aside,
    Code,
    Draft,
    Element,
    Heading,
    Item,
    Paragraph,
    Table,
)
from voicerag_core.documents.faq import paired
from voicerag_core.documents.html_walk import LEVEL_OF_BOLD, plain_words
from voicerag_core.documents.packages import child, opened, parsed, part
from voicerag_core.documents.plain import stated_title
from voicerag_core.documents.table_shape import MAX_SPAN, Grid, guessed_header
from voicerag_core.documents.unicode import raised, tidy
from voicerag_core.errors import DocumentError, MissingExtraError

__all__ = ["read_odt"]

_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
_FO = "{urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0}"
_LEFT_OUT = frozenset({
    "tracked-changes", "annotation", "annotation-end", "table-of-content", "alphabetical-index",
    "illustration-index", "table-index", "bibliography", "sequence-decls", "forms", "hidden-text",
    "variable-decls", "user-field-decls", "note-citation", "scripts", "bookmark", "ruby-text",
})  # fmt: skip
_MAX_DEPTH = 40
_MAX_SPACES = 100
_LONGEST_BOLD = 100
_FORMS = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}


def read_odt(data: bytes, source: str, encoding: str | None = None) -> list[Draft]:
    """Read an OpenDocument text; deleted text of tracked changes and hidden text are left out.

    Args:
        data: The file's bytes.
        source: Names the file in errors.
        encoding: Not used.

    Raises:
        DocumentError: Not an OpenDocument text, damaged or encrypted.
        MissingExtraError: lxml is not installed.
    """
    try:
        import lxml  # noqa: F401
    except ModuleNotFoundError as e:
        raise MissingExtraError("documents", f"reading {source}") from e

    with opened(data, source, "odt") as archive:
        manifest = part(archive, "META-INF/manifest.xml") or b""
        if b"encryption-data" in manifest:
            raise DocumentError(
                f"{source} is encrypted and needs a password; save a copy without one"
            )
        content = parsed(part(archive, "content.xml"))
        styles = parsed(part(archive, "styles.xml"))
        meta = parsed(part(archive, "meta.xml"))
    body = child(content, "body", "text") if content is not None else None
    if body is None:
        raise DocumentError(
            f"{source} cannot be read as odt (it has no text); open it in LibreOffice and save it "
            "anew as odt"
        )
    walk = _Walk(content, styles)
    elements = paired(walk.blocks(body))
    stated = child(meta, "meta", "title") if meta is not None else None
    title = stated_title(stated.text if stated is not None else "") or walk.title
    title = title or next((e.text for e in elements if isinstance(e, Heading)), "")
    return [Draft(elements, title)]


class _Walk:
    """Walks the body of a text."""

    def __init__(self, *roots: Any) -> None:  # noqa: ANN401
        self.styles: dict[str, Any] = {}
        self.lists: dict[str, Any] = {}
        for root in roots:
            for node in root.iter() if root is not None else ():
                name = local(node)
                if name == "style":
                    self.styles.setdefault(node.get(f"{_STYLE}name") or "", node)
                elif name == "list-style":
                    self.lists.setdefault(node.get(f"{_STYLE}name") or "", node)
        self.title = ""
        self.counters: dict[str, list[int]] = {}
        self.pending: list[Element] = []

    def blocks(self, parent: Any, depth: int = 0) -> Iterator[Element]:  # noqa: ANN401
        """Yield the elements below a node."""
        if depth > _MAX_DEPTH:
            return
        for node in parent:
            name = local(node)
            if name in ("p", "h"):
                yield from self._paragraph(node, depth)
            elif name == "list":
                yield from self._list(node, 0, "", depth)
            elif name == "table":
                yield from self._table(node, depth)
            elif name not in _LEFT_OUT and name and len(node):
                yield from self.blocks(node, depth + 1)
            if self.pending:
                notes, self.pending = self.pending, []
                yield Aside(notes)

    def _paragraph(self, node: Any, depth: int) -> Iterator[Element]:  # noqa: ANN401
        boxes: list[Any] = []
        words: list[str] = []
        self._words(node, words, boxes, depth)
        text = "".join(words).strip()
        names = " ".join(self._chain(node.get(f"{_TEXT}style-name") or ""))
        if text and local(node) == "h":
            level = node.get(f"{_TEXT}outline-level") or "1"
            yield Heading(text, int(level) if level.isdecimal() else 1)
        elif text and "Title" in names.split():
            self.title = self.title or tidy(text)
            yield Heading(text, 0)
        elif text and ("Preformatted" in names or "Source" in names):
            yield Code(text)
        elif text and self._is_bold_line(node, text):
            yield Heading(text, LEVEL_OF_BOLD)
        elif text:
            yield Paragraph(text)
        for box in boxes:
            yield from self.blocks(box, depth + 1)

    def _words(self, parent: Any, words: list[str], boxes: list[Any], depth: int) -> None:  # noqa: ANN401
        words.append(parent.text or "")
        for node in parent:
            name = local(node)
            if name == "s":
                count = node.get(f"{_TEXT}c") or "1"
                words.append(" " * min(_MAX_SPACES, int(count) if count.isdecimal() else 1))
            elif name == "tab":
                words.append(" ")
            elif name == "line-break":
                words.append("\n")
            elif name == "note":
                body = child(node, "note-body")
                if body is not None:
                    outer, self.pending = self.pending, []
                    inner = list(self.blocks(body, depth + 1))
                    self.pending = [*outer, *inner]
            elif name in ("frame", "custom-shape", "text-box", "g"):
                boxes.append(node)
            elif name and name not in _LEFT_OUT and depth < _MAX_DEPTH:
                self._span(node, words, boxes, depth)
            words.append(node.tail or "")

    def _span(self, node: Any, words: list[str], boxes: list[Any], depth: int) -> None:  # noqa: ANN401
        """Collect the words of a span, unless it is hidden or struck; raised ones as they read."""
        inner: list[str] = []
        self._words(node, inner, boxes, depth + 1)
        text = "".join(inner)
        style = self._chain(node.get(f"{_TEXT}style-name") or "")
        if self._text_property(style, f"{_TEXT}display") == "none":
            return
        if self._text_property(style, f"{_STYLE}text-line-through-style") not in ("", "none"):
            return
        position = self._text_property(style, f"{_STYLE}text-position").split(" ")[0]
        is_raised = position == "super" or (position[:1].isdigit() and position != "0%")
        words.append(raised("".join(words[-8:]), text) if is_raised else text)

    def _chain(self, style: str) -> list[str]:
        """Return the names of a style and those that it is made from."""
        chain: list[str] = []
        while style and style not in chain and len(chain) < 20:  # noqa: PLR2004
            chain.append(style)
            node = self.styles.get(style)
            style = (node.get(f"{_STYLE}parent-style-name") or "") if node is not None else ""
        return chain

    def _text_property(self, chain: list[str], name: str) -> str:
        for style in chain:
            node = self.styles.get(style)
            properties = child(node, "text-properties") if node is not None else None
            if properties is not None and properties.get(name):
                return str(properties.get(name))
        return ""

    def _is_bold_line(self, node: Any, text: str) -> bool:  # noqa: ANN401
        if len(text) > _LONGEST_BOLD or text.endswith((".", ",", ";", ":", "!")):
            return False
        if self._is_bold(node):
            return True
        spans = [each for each in node if local(each) == "span"]
        bare = (node.text or "").strip() + "".join((each.tail or "").strip() for each in node)
        return bool(spans) and not bare and all(map(self._is_bold, spans))

    def _is_bold(self, node: Any) -> bool:  # noqa: ANN401
        chain = self._chain(node.get(f"{_TEXT}style-name") or "")
        return self._text_property(chain, f"{_FO}font-weight") in ("bold", "700", "800", "900")

    def _list(self, node: Any, level: int, style: str, depth: int) -> Iterator[Element]:  # noqa: ANN401
        style = node.get(f"{_TEXT}style-name") or style
        goes_on = node.get(f"{_TEXT}continue-numbering") == "true" or (
            node.get(f"{_TEXT}continue-list") is not None
        )
        counters = self.counters.setdefault(style, [0] * 10)
        if not goes_on and level < len(counters):
            counters[level] = 0
        for item in node:
            if local(item) not in ("list-item", "list-header") or level > 9:  # noqa: PLR2004
                continue
            marker = self._marker(style, level, item) if local(item) == "list-item" else ""
            for part_of in item:
                if local(part_of) == "list":
                    yield from self._list(part_of, level + 1, style, depth + 1)
                    continue
                for element in self.blocks([part_of], depth + 1):
                    if isinstance(element, Paragraph | Heading) and local(part_of) == "p":
                        yield Item(element.text, level, marker)
                        marker = ""
                    else:
                        yield element

    def _marker(self, style: str, level: int, item: Any) -> str:  # noqa: ANN401
        """Count up and return the number of an item, or "" for a bullet."""
        counters = self.counters[style]
        definition = None
        for node in self.lists.get(style, ()):
            if node.get(f"{_TEXT}level") == str(level + 1):
                definition = node
        if definition is None or local(definition) != "list-level-style-number":
            return ""
        start = item.get(f"{_TEXT}start-value") or (
            definition.get(f"{_TEXT}start-value") or "1" if not counters[level] else ""
        )
        counters[level] = int(start) if start.isdecimal() else counters[level] + 1
        counters[level + 1 :] = [0] * (len(counters) - level - 1)
        form = definition.get(f"{_STYLE}num-format")
        if not form:
            return ""
        number = written_number(max(1, counters[level]), _FORMS.get(form, "decimal"))
        suffix = definition.get(f"{_STYLE}num-suffix") or ""
        return f"{definition.get(f'{_STYLE}num-prefix') or ''}{number}{suffix}"

    def _table(self, node: Any, depth: int) -> Iterator[Element]:  # noqa: ANN401
        grid = Grid()
        header = 0
        content: list[Element] = []
        nested: list[Element] = []
        for row, is_header in _rows(node, depth):
            header += is_header
            grid.start_row()
            for cell in row:
                if local(cell) != "table-cell":
                    continue  # covered cells are filled by the one that spans them
                inner = list(self.blocks(cell, depth + 1))
                content += inner
                nested += [element for element in inner if isinstance(element, Table)]
                text = plain_words([e for e in inner if not isinstance(e, Table)])
                repeated = _int(cell.get(f"{_TABLE}number-columns-repeated"))
                across = _int(cell.get(f"{_TABLE}number-columns-spanned"))
                down = _int(cell.get(f"{_TABLE}number-rows-spanned"))
                grid.add(text, across if across > 1 else repeated, down)
        rows = grid.rows()
        rows = [row for row in rows if any(row)]
        if len(rows) < 2 or len(rows[0]) < 2:  # noqa: PLR2004
            yield from content
            return
        header = header if header < len(rows) else 0
        yield Table(rows, header or guessed_header(rows))
        yield from nested


def _rows(table: Any, depth: int, is_header: bool = False) -> Iterator[tuple[Any, bool]]:  # noqa: ANN401
    for node in table:
        name = local(node)
        if name == "table-row":
            yield node, is_header
        elif name in ("table-header-rows", "table-rows", "table-row-group") and depth < _MAX_DEPTH:
            yield from _rows(node, depth + 1, name == "table-header-rows")


def _int(text: str | None) -> int:
    return min(MAX_SPAN, max(1, int(text))) if text and text.isdecimal() else 1

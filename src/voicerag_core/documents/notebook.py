"""Jupyter notebooks: text cells, code cells, and what they printed."""

from __future__ import annotations

import json
from dataclasses import replace

from voicerag_core.documents.decoding import decode
from voicerag_core.documents.elements import Code, Draft, Element, Heading, Notice, Table
from voicerag_core.documents.html_tree import tree_of
from voicerag_core.documents.html_walk import HTMLWalk
from voicerag_core.documents.markdown import markdown_elements
from voicerag_core.documents.plain import text_elements
from voicerag_core.errors import DocumentError
from voicerag_core.types import JSONValue

__all__ = ["read_notebook"]

_MOST_PRINTED = 4000
"""Characters of what a cell printed that are kept."""


def read_notebook(data: bytes, source: str, encoding: str | None = None) -> list[Draft]:
    """Read a notebook; pictures are left out.

    Raises:
        DocumentError: Not a notebook.
    """
    text, notices = decode(data, source, encoding=encoding)
    if not text.strip():
        return []
    try:
        book = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise DocumentError(f"{source} cannot be read as a notebook: it is not JSON ({e})") from e
    sheets = book.get("worksheets") if isinstance(book, dict) else None
    first = sheets[0] if isinstance(sheets, list) and sheets else book
    cells = first.get("cells") if isinstance(first, dict) else None
    if not isinstance(cells, list):
        raise DocumentError(f"{source} cannot be read as a notebook: it has no cells")
    elements: list[Element] = []
    for cell in cells:
        if isinstance(cell, dict):
            elements += _cell(cell)
        else:
            elements.append(Notice("a cell that is no object is left out"))
    title = next((e.text for e in elements if isinstance(e, Heading)), "")
    return [Draft([*notices, *elements], title)]


def _cell(cell: dict[str, JSONValue]) -> list[Element]:
    kind = cell.get("cell_type")
    text = _joined(cell.get("source", cell.get("input")))
    if kind in ("markdown", "heading"):
        return markdown_elements(text)
    if kind == "raw":
        return text_elements(text)
    elements: list[Element] = [Code(text)] if text.strip() else []
    outputs = cell.get("outputs")
    for output in outputs if isinstance(outputs, list) else ():
        if isinstance(output, dict):
            elements += _output(output)
    return elements


def _output(output: dict[str, JSONValue]) -> list[Element]:
    """Return what a cell printed: tables and texts as such, the rest as lines."""
    data = output.get("data")
    shown = data if isinstance(data, dict) else output
    page = _joined(shown.get("text/html", shown.get("html")))
    if page:
        return [_without_index(element) for element in HTMLWalk().walk(tree_of(page))]
    text = _joined(shown.get("text/markdown"))
    if text:
        return markdown_elements(text)
    text = _joined(shown.get("text/plain", shown.get("text")))[:_MOST_PRINTED]
    is_picture = any(key.startswith("image/") for key in shown)
    return [Code(text)] if text.strip() and not is_picture else []


def _without_index(element: Element) -> Element:
    """Return a data frame without the column that only counts its rows."""
    if not isinstance(element, Table) or element.header != 1 or element.rows[0][0]:
        return element
    counted = [row[0] for row in element.rows[1:]]
    if counted != [str(number) for number in range(len(counted))]:
        return element
    return replace(element, rows=[row[1:] for row in element.rows])


def _joined(value: JSONValue) -> str:
    if isinstance(value, list):
        return "".join(piece for piece in value if isinstance(piece, str))
    return value if isinstance(value, str) else ""

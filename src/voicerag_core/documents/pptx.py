"""Presentations: each slide's title, text, tables, charts and notes, by python-pptx."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from voicerag_core.blocks import Place
from voicerag_core.documents.docx_styles import local
from voicerag_core.documents.elements import (
    Aside,
    Draft,
    Element,
    Heading,
    Item,
    Notice,
    Paragraph,
    Table,
)
from voicerag_core.documents.faq import paired
from voicerag_core.documents.packages import opened, parsed
from voicerag_core.documents.plain import stated_title
from voicerag_core.documents.table_shape import Grid, guessed_header
from voicerag_core.documents.unicode import raised, tidy
from voicerag_core.errors import DocumentError, MissingExtraError

if TYPE_CHECKING:
    from pptx.slide import Slide

__all__ = ["read_pptx"]

_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_MAX_DEPTH = 20
_MAX_POINTS = 2000
_LONGEST_TITLE = 90
_BULLETS = frozenset({"buChar", "buAutoNum", "buBlip"})


def read_pptx(data: bytes, source: str, encoding: str | None = None) -> list[Draft]:
    """Read a presentation; slides that are hidden are left out with a notice.

    Args:
        data: The file's bytes.
        source: Names the file in errors.
        encoding: Not used.

    Raises:
        DocumentError: Not a presentation, damaged or encrypted.
        MissingExtraError: python-pptx is not installed.
    """
    try:
        from pptx import Presentation
    except ModuleNotFoundError as e:
        raise MissingExtraError("documents", f"reading {source}") from e

    opened(data, source, "pptx").close()
    try:
        presentation = Presentation(io.BytesIO(data))
    except (KeyError, ValueError) as e:
        raise DocumentError(
            f"{source} cannot be read as pptx ({e}); open it in PowerPoint or LibreOffice and "
            "save it anew as pptx"
        ) from e
    elements: list[Element] = []
    for number, slide in enumerate(presentation.slides, 1):
        if slide.element.get("show") == "0":
            elements.append(Notice(f"slide {number} is hidden and not read"))
            continue
        elements += paired(_slide(slide, Place("slide", number)))
    title = stated_title(presentation.core_properties.title)
    title = title or next((e.text for e in elements if isinstance(e, Heading)), "")
    count = len(presentation.slides)
    return [Draft(elements, title, {"slides": count})]


def _slide(slide: Slide, place: Place) -> Iterator[Element]:
    """Yield what a slide shows, its title first, then its notes."""
    shapes = sorted(_shapes(slide.shapes), key=_order)
    title = slide.shapes.title
    if title is None:
        title = _title_of(shapes)
    if title is not None and (words := tidy(title.text_frame.text)):
        yield Heading(words, 1, place)
    for shape in shapes:
        if title is None or shape.shape_id != title.shape_id:
            yield from _shape(shape, place)
    if slide.has_notes_slide:
        frame = slide.notes_slide.notes_text_frame
        notes = [] if frame is None else [
            Paragraph(text, place) for text in map(_words, frame._txBody.iter(f"{_DRAWING}p"))
            if text.strip()
        ]  # fmt: skip
        if notes:
            yield Aside(notes)


def _title_of(shapes: Sequence[Any]) -> Any:  # noqa: ANN401
    """Return the box that a slide without a placeholder for it has its title in, or None.

    It is the topmost box, with one short line that ends no sentence, above something else.
    """
    said = [shape for shape in shapes if not shape.has_text_frame or shape.text_frame.text.strip()]
    said.sort(key=lambda shape: (shape.top or 0, shape.left or 0))
    if len(said) < 2 or not said[0].has_text_frame or said[0].is_placeholder:  # noqa: PLR2004
        return None
    text = said[0].text_frame.text.strip()
    bulleted = any(local(node) in _BULLETS for node in said[0]._element.iter())
    is_line = "\n" not in text and len(text) <= _LONGEST_TITLE and not bulleted
    return said[0] if is_line and not text.endswith((".", ",", ";", ":")) else None


def _shapes(shapes: Iterable[Any], depth: int = 0) -> Iterator[Any]:
    """Yield shapes, those of groups one by one."""
    from pptx.enum.shapes import MSO_SHAPE_TYPE

    for shape in shapes:
        if shape.shape_type == MSO_SHAPE_TYPE.GROUP and depth < _MAX_DEPTH:
            yield from _shapes(sorted(shape.shapes, key=_order), depth + 1)
        else:
            yield shape


def _order(shape: Any) -> tuple[int, int, int]:  # noqa: ANN401
    """Return what sorts shapes: placeholders in their order, then from top to bottom."""
    if shape.is_placeholder:
        return 0, shape.placeholder_format.idx, 0
    return 1, shape.top or 0, shape.left or 0


def _shape(shape: Any, place: Place) -> Iterator[Element]:  # noqa: ANN401
    from pptx.enum.shapes import PP_PLACEHOLDER as KIND

    kind = shape.placeholder_format.type if shape.is_placeholder else None
    if kind in (KIND.DATE, KIND.FOOTER, KIND.SLIDE_NUMBER, KIND.HEADER):
        return
    if getattr(shape, "has_table", False) and shape.has_table:
        yield from _table(shape.table, place)
    elif getattr(shape, "has_chart", False) and shape.has_chart:
        yield from _chart(shape.chart, place)
    elif shape.has_text_frame:
        in_list = kind in (KIND.BODY, KIND.OBJECT, KIND.VERTICAL_BODY, KIND.VERTICAL_OBJECT)
        yield from _text(shape.text_frame._txBody, place, in_list=in_list)
    else:
        yield from _diagram(shape, place)


def _text(body: Any, place: Place, *, in_list: bool) -> Iterator[Element]:  # noqa: ANN401
    """Yield the paragraphs of a shape: items where bullets are shown, or in the list of a slide."""
    paragraphs = [(p, text) for p in body.iter(f"{_DRAWING}p") if (text := _words(p)).strip()]
    counters: dict[int, int] = {}
    for paragraph, text in paragraphs:
        properties = paragraph.find(f"{_DRAWING}pPr")
        level = int(properties.get("lvl") or 0) if properties is not None else 0
        shown = {local(node) for node in properties} if properties is not None else set()
        numbered = "buAutoNum" in shown
        is_item = "buNone" not in shown and (
            numbered or "buChar" in shown or "buBlip" in shown or (in_list and len(paragraphs) > 1)
        )
        if not is_item:
            yield Paragraph(text, place)
            continue
        counters = {at: count for at, count in counters.items() if at <= level}
        counters[level] = counters.get(level, 0) + 1 if numbered else 0
        yield Item(text, level, f"{counters[level]}." if numbered else "", place)


def _words(paragraph: Any) -> str:  # noqa: ANN401
    words: list[str] = []
    for node in paragraph:
        name = local(node)
        if name == "br":
            words.append("\n")
        elif name == "r" or (name == "fld" and node.get("type") != "slidenum"):
            properties = node.find(f"{_DRAWING}rPr")
            text = "".join(t.text or "" for t in node.findall(f"{_DRAWING}t"))
            shift = properties.get("baseline") if properties is not None else None
            struck = properties is not None and (properties.get("strike") or "noStrike")
            if struck and struck != "noStrike":
                continue
            is_raised = shift is not None and shift.lstrip("+").isdecimal() and int(shift) > 0
            words.append(raised("".join(words[-8:]), text) if is_raised else text)
    return "".join(words)


def _table(table: Any, place: Place) -> Iterator[Element]:  # noqa: ANN401
    grid = Grid()
    for row in table.rows:
        grid.start_row()
        for cell in row.cells:
            if cell.is_spanned:
                continue
            lines = map(_words, cell._tc.iter(f"{_DRAWING}p"))
            text = "\n".join(line for line in lines if line.strip())
            grid.add(text, cell.span_width, cell.span_height)
    rows = grid.rows()
    if len(rows) > 1 and len(rows[0]) > 1:
        header = 1 if table.first_row and len(rows[0]) > 2 else guessed_header(rows)  # noqa: PLR2004
        yield Table(rows, header, "", [place] * len(rows))
    else:
        yield from (Paragraph(cell, place) for row in rows for cell in row if cell)


def _chart(chart: Any, place: Place) -> Iterator[Element]:  # noqa: ANN401
    """Yield the figures of a chart as a table."""
    title = chart.chart_title.text_frame.text if chart.has_title and (
        chart.chart_title.has_text_frame) else ""  # fmt: skip
    for plot in chart.plots:
        names = [str(category) for category in plot.categories][:_MAX_POINTS]
        series = list(plot.series)
        if not series:
            continue
        columns: Sequence[Sequence[str]] = [
            [_figure(value) for value in list(one.values)[:_MAX_POINTS]] for one in series
        ]
        count = max(len(names), *(len(column) for column in columns))
        rows = [["", *(one.name or "" for one in series)]]
        rows += [
            [names[i] if i < len(names) else str(i + 1),
             *(column[i] if i < len(column) else "" for column in columns)]
            for i in range(count)
        ]  # fmt: skip
        yield Table(rows, 1, title, [place] * len(rows))


def _figure(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e15 else str(value or "")  # noqa: PLR2004


def _diagram(shape: Any, place: Place) -> Iterator[Element]:  # noqa: ANN401
    """Yield the words of a diagram, which stand in a part of their own."""
    for node in shape._element.iter():
        identifier = node.get(f"{_RELATION}dm") if isinstance(node.tag, str) else None
        if not identifier:
            continue
        root = parsed(shape.part.related_part(identifier).blob)
        for paragraph in root.iter(f"{_DRAWING}p") if root is not None else ():
            if (text := _words(paragraph)).strip():
                yield Item(text, 0, "", place)

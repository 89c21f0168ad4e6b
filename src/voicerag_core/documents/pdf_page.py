"""A page of a PDF: its words with their places, its rules, and the values of its form fields."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

__all__ = ["Page", "Rule", "Word", "read_page"]

_GAP = 0.25
"""A gap of that share of the size parts words."""

_SAME_BASELINE = 0.15
_BOLD = re.compile(r"bold|black|heavy|semib|demib|^CMBX|^CMSSBX|-Bd|\bBd\b|,Bold", re.IGNORECASE)
_MONO = re.compile(r"mono|courier|consol|typewriter|^cmtt|^menlo|code", re.IGNORECASE)
_LOOSE = 1.17
"""Height of a character's box over its size, of most fonts."""

_THIN = 3.0
"""A filled rectangle thinner than that is a rule."""

_SHORTEST_RULE = 8.0
_MAX_CHARACTERS = 200_000
_MAX_RULES = 5_000
_MAX_FIELDS = 5_000
_MAX_DEPTH = 8
_MOST_COMPARED = 5_000_000
_OVERHANG = 3.0


@dataclass(slots=True)
class Word:
    """A word, or a part of one where its size or baseline changes.

    Args:
        text: Its characters; U+0002 at the end is a hyphen of a line's end.
        left: Where it begins, in points.
        right: Where it ends.
        baseline: Height above the lower edge of the page.
        size: Of its characters, in points.
        bold: Whether the font's name says so.
        mono: Whether it is of a font with characters of one width, by its name.
        spaced: Whether there is a gap or a space before it.
    """

    text: str
    left: float
    right: float
    baseline: float
    size: float
    bold: bool
    mono: bool
    spaced: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line; horizontal when `low` equals `high`."""

    left: float
    low: float
    right: float
    high: float


@dataclass(slots=True)
class Page:
    """What a page holds.

    Args:
        number: Counted from 1.
        width: In points.
        height: In points.
        words: In the order of the file.
        rules: Lines that are drawn.
        fields: Name and value of filled form fields with the height where they stand.
        unmapped: Share of characters that the font does not tell the meaning of.
    """

    number: int
    width: float
    height: float
    words: list[Word]
    rules: list[Rule]
    fields: list[tuple[str, str, float]]
    unmapped: float


def read_page(document: PdfDocument, index: int, *, with_rules: bool = True) -> Page:
    """Read one page of an open file."""
    page = document[index]  # a page that nobody holds is closed at once
    try:
        width, height = page.get_size()
        words, unmapped = _words(page)
        rules = list(_rules(page)) if with_rules and words else []
        words = _not_struck(words, rules)
        fields = list(_fields(document, page, words)) if document.formenv else []
        return Page(index + 1, width, height, words, rules, fields, unmapped)
    finally:
        page.close()


def _words(page: PdfPage) -> tuple[list[Word], float]:
    """Return the words of a page and the share of characters without meaning."""
    import pypdfium2.raw as pdfium

    text_page = page.get_textpage()
    raw = text_page.raw
    box = pdfium.FS_RECTF()
    x, y = ctypes.c_double(), ctypes.c_double()
    words: list[Word] = []
    styles: dict[int, tuple[bool, bool]] = {}
    word: Word | None = None
    spaced = True
    last = 0.0
    count = unmapped = 0
    try:
        for i in range(min(pdfium.FPDFText_CountChars(raw), _MAX_CHARACTERS)):
            code = pdfium.FPDFText_GetUnicode(raw, i)
            if code in (13, 10, 32, 9, 0xA0, 0):
                if code == 32:  # noqa: PLR2004
                    spaced = True
                continue
            count += 1
            if pdfium.FPDFText_HasUnicodeMapError(raw, i) == 1:
                unmapped += 1
            pdfium.FPDFText_GetLooseCharBox(raw, i, box)
            pdfium.FPDFText_GetCharOrigin(raw, i, x, y)
            size = max(0.1, (box.top - box.bottom) / _LOOSE)
            baseline = y.value
            near = word is not None and not spaced and box.left >= last - 0.3 * size
            last = box.left
            if (
                word is not None
                and near
                and abs(baseline - word.baseline) < _SAME_BASELINE * word.size
                and abs(size - word.size) < 0.1 * word.size
                and box.left - word.right < _GAP * size
            ):
                word.text += chr(code)
                word.right = max(word.right, box.right)
                continue
            glued = (
                word is not None
                and near
                and abs(baseline - word.baseline) < word.size
                and box.left - word.right < _GAP * min(size, word.size)
            )
            word = Word(
                chr(code), box.left, box.right, baseline, size,
                *_style(raw, i, styles), not glued,
            )  # fmt: skip
            words.append(word)
            spaced = False
    finally:
        text_page.close()
    return words, unmapped / count if count else 0.0


def _not_struck(words: list[Word], rules: Sequence[Rule]) -> list[Word]:
    """Return words without those that a line of their own length runs through."""
    level = sorted((rule for rule in rules if rule.high - rule.low < 1), key=lambda rule: rule.low)
    if not level or len(level) * len(words) > _MOST_COMPARED:
        return words
    struck = set()
    for rule in level:
        through = [
            i for i, word in enumerate(words)
            if word.baseline + 0.2 * word.size < rule.low < word.baseline + 0.7 * word.size
            and word.left < rule.right and word.right > rule.left
        ]  # fmt: skip
        if (
            through
            and all(
                rule.left - 1 <= words[i].left and words[i].right <= rule.right + 1 for i in through
            )
            and rule.left >= min(words[i].left for i in through) - _OVERHANG
            and rule.right <= max(words[i].right for i in through) + _OVERHANG
        ):
            struck.update(through)
    return [word for i, word in enumerate(words) if i not in struck]


def _style(raw: object, index: int, known: dict[int, tuple[bool, bool]]) -> tuple[bool, bool]:
    """Return whether a character's font is bold, and whether all its characters are of a width."""
    import pypdfium2.raw as pdfium

    item = pdfium.FPDFText_GetTextObject(raw, index)
    if not item:
        return False, False
    font = pdfium.FPDFTextObj_GetFont(item)
    if not font:
        return False, False
    address = ctypes.addressof(font.contents)
    if address not in known:
        length = pdfium.FPDFFont_GetBaseFontName(font, None, 0)
        buffer = ctypes.create_string_buffer(max(1, length))
        pdfium.FPDFFont_GetBaseFontName(font, buffer, length)
        name = buffer.value.decode("latin-1").rpartition("+")[2]
        known[address] = _BOLD.search(name) is not None, _MONO.search(name) is not None
    return known[address]


def _rules(page: PdfPage) -> Iterator[Rule]:
    """Yield the straight lines of a page, drawn or as thin rectangles."""
    import pypdfium2.raw as pdfium

    items = page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_PATH], max_depth=_MAX_DEPTH)
    for item in islice(items, _MAX_RULES):
        left, low, right, high = item.get_bounds()
        width, height = right - left, high - low
        if width < _THIN and height >= _SHORTEST_RULE:
            middle = (left + right) / 2
            yield Rule(middle, low, middle, high)
        elif height < _THIN and width >= _SHORTEST_RULE:
            middle = (low + high) / 2
            yield Rule(left, middle, right, middle)
        elif width >= _SHORTEST_RULE and height >= _SHORTEST_RULE:
            yield from _sides(item.raw, left, low, right, high)


def _sides(raw: object, left: float, low: float, right: float, high: float) -> Iterator[Rule]:
    """Yield the sides of a drawn rectangle, or the straight parts of a path of several lines."""
    import pypdfium2.raw as pdfium

    count = pdfium.FPDFPath_CountSegments(raw)
    if count > 40:  # noqa: PLR2004
        return  # a drawing
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDFPath_GetDrawMode(raw, fill, stroke)
    if not stroke.value:
        return
    matrix = pdfium.FS_MATRIX()
    pdfium.FPDFPageObj_GetMatrix(raw, matrix)
    points: list[tuple[float, float, bool]] = []
    x, y = ctypes.c_float(), ctypes.c_float()
    for i in range(count):
        segment = pdfium.FPDFPath_GetPathSegment(raw, i)
        if pdfium.FPDFPathSegment_GetType(segment) == pdfium.FPDF_SEGMENT_BEZIERTO:
            return
        pdfium.FPDFPathSegment_GetPoint(segment, x, y)
        moved = pdfium.FPDFPathSegment_GetType(segment) == pdfium.FPDF_SEGMENT_MOVETO
        points.append((
            matrix.a * x.value + matrix.c * y.value + matrix.e,
            matrix.b * x.value + matrix.d * y.value + matrix.f,
            moved,
        ))  # fmt: skip
        if pdfium.FPDFPathSegment_GetClose(segment) and len(points) > 1:
            starts = [point for point in points if point[2]]
            points.append((starts[-1][0], starts[-1][1], False))
    for (x0, y0, _), (x1, y1, moved) in pairwise(points):
        if not moved and min(abs(x1 - x0), abs(y1 - y0)) < 1:
            yield Rule(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))


def _fields(
    document: PdfDocument, page: PdfPage, words: Sequence[Word]
) -> Iterator[tuple[str, str, float]]:
    """Yield the filled fields of a form: what stands before them or their name, value, height."""
    import pypdfium2.raw as pdfium

    assert document.formenv is not None
    form = document.formenv.raw
    rectangle = pdfium.FS_RECTF()
    for i in range(min(pdfium.FPDFPage_GetAnnotCount(page.raw), _MAX_FIELDS)):
        annotation = pdfium.FPDFPage_GetAnnot(page.raw, i)
        if not annotation:
            continue
        try:
            if pdfium.FPDFAnnot_GetSubtype(annotation) != pdfium.FPDF_ANNOT_WIDGET:
                continue
            value = _field_text(pdfium.FPDFAnnot_GetFormFieldValue, form, annotation)
            if not value.strip() or value == "Off":
                continue
            pdfium.FPDFAnnot_GetRect(annotation, rectangle)
            name = _label(words, rectangle.left, rectangle.bottom, rectangle.top)
            name = name or _field_text(pdfium.FPDFAnnot_GetFormFieldAlternateName, form, annotation)
            name = name or _field_text(pdfium.FPDFAnnot_GetFormFieldName, form, annotation)
            yield name, "yes" if value in ("Yes", "On", "1") else value, rectangle.bottom
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)


def _field_text(call: object, form: object, annotation: object) -> str:
    assert callable(call)
    length = call(form, annotation, None, 0)
    buffer = ctypes.create_string_buffer(max(2, length))
    pointer = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort))
    call(form, annotation, pointer, length)
    return buffer.raw[: max(0, length - 2)].decode("utf-16-le", "replace")


def _label(words: Sequence[Word], left: float, low: float, high: float) -> str:
    """Return the words on the line before a field, up to a wide gap."""
    before = [
        word for word in words
        if low - 2 <= word.baseline <= high and word.right <= left + 2
    ]  # fmt: skip
    label: list[str] = []
    edge = left
    for word in sorted(before, key=lambda word: -word.left):
        if edge - word.right > (4 if label else 12) * word.size:
            break
        label.insert(0, word.text)
        edge = word.left
    return " ".join(label).rstrip(" :.\u2026_")

"""PDF: text, headings, lists and tables of the pages as one text; a hit can name the page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from voicerag_core.documents.elements import Draft, Element, Heading, Notice
from voicerag_core.documents.faq import paired
from voicerag_core.documents.pdf_lines import Line, TableLines, lines_of
from voicerag_core.documents.pdf_page import Page, read_page
from voicerag_core.documents.pdf_text import PageLines, elements_of
from voicerag_core.documents.plain import stated_title
from voicerag_core.documents.unicode import tidy
from voicerag_core.errors import DocumentError, MissingExtraError

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

__all__ = ["read_pdf"]

_MOST_UNMAPPED = 0.5
_MANY_RULES_PAGES = 3000
_EDGE_LINES = 3
_RUNNING = 0.6
_ALTERNATING = 0.35
_LEAST_ALTERNATING = 5
_MAX_OUTLINE = 5000
_NEAR_MARGIN = 6.0
_SHORT_RULE = 0.08, 0.45
"""Least and most length of the rule above footnotes, as a share of the page's width."""

_COUNTS = re.compile(
    r"(?i)(?:page|seite|pagina|p\.|s\.)\s*\d{1,4}(?:\s*(?:of|/|von|sur|de|di)\s*\d{1,4})?"
    r"|[-\u2013]\s*\d{1,4}\s*[-\u2013]|\d{1,4}\s*(?:/|of|von)\s*\d{1,4}"
)
_DIGITS = re.compile(r"\d+|\b[ivxl]+\b")


def read_pdf(data: bytes, source: str, encoding: str | None = None) -> list[Draft]:
    """Read a PDF: what is printed in reading order, and the values of its form fields.

    A PDF that opens without a password is read, even when its owner restricted other uses. Running
    headers and footers are left out, and sentences that go on on the next page are whole. Pages
    without text, and those whose font does not say what its characters are, give notices.

    Args:
        data: The file's bytes.
        source: Names the file in errors.
        encoding: Not used; a PDF says how it is encoded.

    Raises:
        DocumentError: Not a PDF, damaged, locked by a password, or without any text.
        MissingExtraError: pypdfium2 is not installed.
    """
    try:
        from pypdfium2 import PdfDocument, PdfiumError
    except ModuleNotFoundError as e:
        raise MissingExtraError("documents", f"reading {source}") from e

    try:
        document = PdfDocument(data)
    except PdfiumError as e:
        if "password" in str(e).lower():
            raise DocumentError(
                f"{source} is encrypted and needs a password; save a copy without one"
            ) from e
        raise DocumentError(
            f"{source} cannot be read as PDF ({e}); open it in a viewer and save it anew"
        ) from e
    try:
        return _read(document, source)
    finally:
        document.close()


def _read(document: PdfDocument, source: str) -> list[Draft]:
    if document.get_formtype():
        document.init_forms()
    outline = _outline(document)
    pages: list[PageLines] = []
    empty: list[int] = []
    unreadable: list[int] = []
    notices: list[Element] = []
    for index in range(len(document)):
        try:
            page = read_page(document, index, with_rules=index < _MANY_RULES_PAGES)
        except (RuntimeError, ValueError, OSError) as e:
            notices.append(Notice(f"page {index + 1} cannot be read ({e})"))
            continue
        if page.unmapped > _MOST_UNMAPPED:
            unreadable.append(page.number)
            continue
        lines = lines_of(page)
        for line in lines:
            if isinstance(line, Line):
                line.words = []  # what the line says is known now
        if lines or page.fields:
            floor = _floor(page)
            pages.append(PageLines(page.number, page.width, lines, page.fields, floor))
        else:
            empty.append(page.number)
    count = len(document)
    if not pages:
        raise DocumentError(_no_text(source, count, bool(unreadable)))
    if empty:
        notices.append(Notice(
            f"{_listed(empty)} no text; if scanned, run text recognition (OCR) on it first"
        ))  # fmt: skip
    if unreadable:
        notices.append(Notice(f"{_listed(unreadable)} a font that does not say its characters"))
    _drop_running(pages)
    elements = paired(elements_of(pages, outline))
    title = stated_title(document.get_metadata_value("Title")) or _first_heading(elements)
    return [Draft([*notices, *elements], title, {"pages": count})]


def _no_text(source: str, pages: int, unreadable: bool) -> str:
    if unreadable:
        return (
            f"{source} has a font that does not say which characters it shows, so that no text "
            "can be taken from it; make it anew, or run text recognition (OCR) on it"
        )
    return (
        f"{source} holds no text on its {pages} pages; if they are scanned, "
        "run text recognition (OCR) on them first"
    )


def _first_heading(elements: Sequence[Element]) -> str:
    for element in elements[:5]:
        if isinstance(element, Heading) and element.level == 1:
            return element.text
    return ""


def _outline(document: PdfDocument) -> dict[str, int]:
    """Return the level of each title in the outline, by its letters and figures."""
    levels: dict[str, int] = {}
    try:
        for entry in document.get_toc(max_depth=6):
            if len(levels) >= _MAX_OUTLINE:
                break
            key = "".join(filter(str.isalnum, tidy(entry.get_title()).lower()))
            if key:
                levels.setdefault(key, entry.level + 1)
    except (RuntimeError, ValueError):
        return {}
    return levels


def _listed(numbers: Sequence[int]) -> str:
    """Return page numbers with a verb: "page 3 has", "pages 2, 5-9 have"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    shown = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs[:10]]
    more = f" and {len(runs) - 10} more" if len(runs) > 10 else ""  # noqa: PLR2004
    plural = len(numbers) > 1
    return f"page{'s' if plural else ''} {', '.join(shown)}{more} {'have' if plural else 'has'}"


def _floor(page: Page) -> float:
    """Return the height of the short rule that parts footnotes from the text, 0 without one."""
    left = min((word.left for word in page.words), default=0.0)
    short = [
        rule.low for rule in page.rules
        if rule.high - rule.low < 1 and abs(rule.left - left) < _NEAR_MARGIN
        and _SHORT_RULE[0] * page.width < rule.right - rule.left < _SHORT_RULE[1] * page.width
        and rule.low < page.height / 2
    ]  # fmt: skip
    return short[0] if len(short) == 1 else 0.0


def _drop_running(pages: Sequence[PageLines]) -> None:
    """Take running headers and footers off: alike lines at one height on most of the pages.

    A line at an edge that only counts the pages goes from a single page, too.
    """
    for page in pages:
        edges = _edges(page.lines)
        counting = {id(line) for line in (*edges[:1], *edges[-1:]) if _COUNTS.fullmatch(line.text)}
        if len(page.lines) > len(counting):
            page.lines = [line for line in page.lines if id(line) not in counting]
    if len(pages) < 2:  # noqa: PLR2004
        return
    counts = Counter(key for page in pages for key in {_key(line) for line in _edges(page.lines)})
    least = max(2, _RUNNING * len(pages))
    if len(pages) >= _LEAST_ALTERNATING:
        least = max(2, min(least, _ALTERNATING * len(pages)))
    running = {key for key, count in counts.items() if count >= least}
    kept = []
    for page in pages:
        dropped = {id(line) for line in _edges(page.lines) if _key(line) in running}
        kept.append([line for line in page.lines if id(line) not in dropped])
    if any(kept):
        for page, lines in zip(pages, kept, strict=True):
            page.lines = lines


def _edges(lines: Iterable[Line | TableLines]) -> list[Line]:
    """Return the highest and lowest lines of a page."""
    ordered = sorted(
        (line for line in lines if isinstance(line, Line)), key=lambda line: -line.baseline
    )
    return [*ordered[:_EDGE_LINES], *ordered[_EDGE_LINES:][-_EDGE_LINES:]]


def _key(line: Line) -> tuple[str, int]:
    return _DIGITS.sub("#", line.text.lower()), round(line.baseline / 4)

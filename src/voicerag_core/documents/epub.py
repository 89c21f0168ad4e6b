"""Books in EPUB: their chapters are web pages, in the order of the spine."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from urllib.parse import unquote

from voicerag_core.blocks import Place
from voicerag_core.documents.docx_styles import local
from voicerag_core.documents.elements import (
    Aside,
    Draft,
    Element,
    Heading,
    Notice,
    Table,
    Term,
)
from voicerag_core.documents.html import html_elements, page_text
from voicerag_core.documents.packages import child, opened, parsed, part
from voicerag_core.documents.stylesheet import Looks, looks_of
from voicerag_core.documents.unicode import tidy
from voicerag_core.errors import DocumentError, MissingExtraError

__all__ = ["read_epub"]

_CLOSED = re.compile(r"<([a-zA-Z][\w:-]*)((?:\s[^<>]*)?)/>")
_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr",
})  # fmt: skip
_PAGES = ("application/xhtml+xml", "text/html")
_MAX_CHAPTERS = 5000


def read_epub(data: bytes, source: str, encoding: str | None = None) -> list[Draft]:
    """Read a book without its table of contents.

    Raises:
        DocumentError: Not a book, damaged, or locked against copying.
        MissingExtraError: lxml or selectolax is not installed.
    """
    try:
        import lxml  # noqa: F401
    except ModuleNotFoundError as e:
        raise MissingExtraError("documents", f"reading {source}") from e

    with opened(data, source, "epub") as archive:
        if (
            part(archive, "META-INF/encryption.xml") is not None
            and part(archive, "META-INF/rights.xml") is not None
        ):
            raise DocumentError(f"{source} is locked against copying; its text cannot be taken")
        container = parsed(part(archive, "META-INF/container.xml"))
        root_file = child(container, "rootfiles", "rootfile") if container is not None else None
        name = (root_file.get("full-path") or "") if root_file is not None else ""
        package = parsed(part(archive, name))
        if package is None:
            raise DocumentError(f"{source} cannot be read as epub: it names no book")
        manifest, spine = child(package, "manifest"), child(package, "spine")
        items = {item.get("id"): item for item in manifest} if manifest is not None else {}
        looks = looks_of(
            (part(archive, info) or b"").decode("utf-8", "replace")
            for info in archive.namelist()
            if info.lower().endswith(".css")
        )
        elements: list[Element] = []
        for number, reference in enumerate(
            list(spine if spine is not None else ())[:_MAX_CHAPTERS], 1
        ):
            item = items.get(reference.get("idref"))
            if item is None or item.get("media-type") not in _PAGES:
                continue
            if "nav" in (item.get("properties") or "").split():
                continue
            inner = posixpath.normpath(
                posixpath.join(posixpath.dirname(name), unquote(item.get("href") or ""))
            )
            page = part(archive, inner)
            if page is None:
                elements.append(Notice(f"the chapter {inner} is missing or damaged"))
                continue
            place = Place("anchor", f"epubcfi(/6/{2 * number})")
            elements += (
                _placed(element, place) for element in _chapter(page, source, encoding, looks)
            )
    title = next((tidy(n.text or "") for n in package.iter() if local(n) == "title"), "")
    author = next((tidy(n.text or "") for n in package.iter() if local(n) == "creator"), "")
    named = author and not author.lower().startswith("unknown")
    return [Draft(elements, title, {"author": author} if named else {})]


def _chapter(page: bytes, source: str, encoding: str | None, looks: Looks) -> list[Element]:
    text, notices = page_text(page, source, encoding)
    text = _CLOSED.sub(_opened, text)  # XHTML closes what HTML leaves open
    title, elements = html_elements(text, source, looks=looks, is_book=True)
    if title and elements and not isinstance(elements[0], Heading):
        return [*notices, Heading(title, 1), *elements]
    return [*notices, *elements]


def _placed(element: Element, place: Place) -> Element:
    """Return an element that stands at a place: no reader opens a book at an anchor alone."""
    if isinstance(element, Aside):
        return replace(element, elements=[_placed(inner, place) for inner in element.elements])
    if isinstance(element, Term):
        inner = [_placed(each, place) for each in element.elements]
        return replace(element, elements=inner, place=place)
    if isinstance(element, Table):
        return replace(element, places=[place] * len(element.rows))
    return element if isinstance(element, Notice) else replace(element, place=place)


def _opened(tag: re.Match[str]) -> str:
    return tag[0] if tag[1].lower() in _VOID else f"<{tag[1]}{tag[2]}></{tag[1]}>"

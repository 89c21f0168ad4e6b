"""HTML: the words of the page, without menus, banners, scripts and styles."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from voicerag_core.documents.decoding import decode
from voicerag_core.documents.elements import Draft, Element, Notice
from voicerag_core.documents.faq import paired
from voicerag_core.documents.html_walk import HTMLWalk
from voicerag_core.documents.stylesheet import Looks, looks_of
from voicerag_core.documents.titles import plain_title
from voicerag_core.errors import DocumentError, MissingExtraError

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

__all__ = ["html_elements", "page_text", "read_html"]

_LEFT_OUT = ", ".join((
    "[role=navigation]", "[role=banner]", "[role=search]", "[role=dialog]", "[role=alertdialog]",
    "[role=tooltip]", "[role=contentinfo]", "[aria-modal=true]",
    ".navheader", ".navfooter", ".navbar", ".nav", ".navigation", ".menu", ".sidebar",
    ".sphinxsidebar", ".toc", ".table-of-contents", "#toc", ".breadcrumb", ".breadcrumbs",
    "[aria-label=breadcrumb]", "[aria-label=Breadcrumb]", ".pagination", ".pager",
    ".prev-next-area", ".rst-footer-buttons", ".skip-link", ".skip-to-content", ".skipnav",
    ".sidebar-drawer", ".sidebar-container", ".mobile-header", ".back-to-top", ".related-pages",
    ".content-icon-container", ".visually-hidden", ".sr-only", ".screen-reader-text",
    ".custom-block-title", "[class*=admonitionHeading]", ".theme-edit-this-page",
    ".theme-doc-footer", "span.lang", "a.sdfootnotesym", "a.sdfootnoteanc", "a.sdendnotesym",
    "a.sdendnoteanc", ".toctree-wrapper", ".genindex-jumpbox", ".genindextable", ".indextable",
    "[title=header]", "[title=footer]", "[role=doc-backlink]", ".footnote-back",
    ".footnote-backref", ".headerlink", ".anchor-link", ".mw-editsection", ".navbox", ".catlinks",
    ".site-header", ".site-footer", ".page-footer", ".masthead", ".share", ".sharing", ".social",
    ".social-share", ".share-buttons", ".copybtn", ".linenos", ".lineno", ".gutter",
    ".newsletter", ".advertisement", ".related-posts", ".related-articles", ".edit-link",
    ".edit-this-page", ".admonition-title", ".noprint", ".no-print", "[class*=breadcrumb]",
    "a.anchor", "sup.reference", "sup.footnote-ref", "a.footnote-ref", "a.footnote-backref",
))  # fmt: skip
"""Selectors of what is not the page's own text, unless it holds most of the page's words."""

_CONSENT = ", ".join(f"[{name}*={word}]" for name in ("class", "id")
                     for word in ("cookie", "consent", "gdpr"))  # fmt: skip
_BANNER = re.compile(r"(?:bar|banner|notice|popup|overlay|modal|dialog|prompt)s?$")
_HIDDEN = "[hidden], [aria-hidden=true], [style*='display:none'], [style*='display: none']"
_FRAME = "header, footer"
_MAIN = "main, [role=main]"
_MOST_WORDS = 0.5
_LEAST_OF_MAIN = 0.25
_UNFOLDED_BY = ("aria-controls", "data-target", "data-bs-target")

_CHARSET = re.compile(
    rb"""<(?:meta|\?xml)\b[^>]*?\b(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.I
)
_HEAD_BYTES = 1024
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")

_OPENED = re.compile(r"<(/?)([a-zA-Z][\w-]*)[^<>]*?(/?)>")
_NOT_NESTED = frozenset({
    "area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta",
    "option", "p", "param", "source", "td", "th", "tr", "track", "wbr", "html", "body", "head",
    "tbody", "thead", "tfoot",
})  # fmt: skip
_MAX_NESTED = 1500
"""The parser's time grows with the square of the depth."""


def read_html(data: bytes, source: str, encoding: str | None = None) -> list[Draft]:
    """Read the main text of a page; the title is the page's, else its first heading.

    Raises:
        DocumentError: The page holds no text.
        MissingExtraError: selectolax is not installed.
    """
    text, notices = page_text(data, source, encoding)
    if not text.strip():
        return []
    title, elements = html_elements(text, source)
    if not elements:
        raise DocumentError(
            f"{source} holds no text; if its page is made by a script, save it from a browser"
        )
    return [Draft([*notices, *elements], title)]


def page_text(data: bytes, source: str, encoding: str | None = None) -> tuple[str, list[Notice]]:
    """Decode a page by the given encoding, its byte order mark, what it states, or detection."""
    stated = _CHARSET.search(data[:_HEAD_BYTES])
    label = stated[1].decode("ascii", "replace").lower() if stated else None
    return decode(data, source, encoding=encoding, stated=label)


def html_elements(
    text: str, source: str, *, looks: Looks | None = None, is_book: bool = False
) -> tuple[str, list[Element]]:
    """Return the title of a page and its elements; none when it holds no words.

    Args:
        text: The page.
        source: Names the file in errors.
        looks: What style sheets outside the page say of its classes.
        is_book: The page is a chapter of a book, where no script shows what is hidden.

    Raises:
        MissingExtraError: selectolax is not installed.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ModuleNotFoundError as e:
        raise MissingExtraError("documents", f"reading {source}") from e

    if _nested(text) > _MAX_NESTED:
        text = _TAG.sub(" ", text)
    page = LexborHTMLParser(text)
    root = page.body
    if root is None:
        return "", []
    total = _size(root)
    left_out = _left_out(page, total)
    main = page.css(_MAIN)
    if len(main) == 1 and _size(main[0]) >= _LEAST_OF_MAIN * total:
        root = main[0]
    looks = looks or looks_of(node.text() for node in page.css("style"))
    return _title(page), paired(HTMLWalk(left_out, looks=looks, is_book=is_book).walk(root))


def _title(page: LexborHTMLParser) -> str:
    for selector in ("head > title", "h1"):
        node = page.css_first(selector)
        if node is not None and (title := plain_title(node.text())):
            return title
    return ""


def _left_out(page: LexborHTMLParser, total: int) -> frozenset[int]:
    """Return the `mem_id` of nodes that are not the page's own text."""
    unfolded = set()
    for button in page.css("button, [role=button], [role=tab], a[aria-controls]"):
        for name in _UNFOLDED_BY:
            unfolded.add((button.attributes.get(name) or "").removeprefix("#"))
    left = set()
    for node in page.css(_LEFT_OUT):
        if node.tag not in ("html", "body", "main") and _size(node) < _MOST_WORDS * total:
            left.add(node.mem_id)
    for node in page.css(_CONSENT):
        if node.tag not in ("html", "body", "main") and _asks_consent(node):
            left.add(node.mem_id)
    for node in page.css(_HIDDEN):
        identifier = node.attributes.get("id") or ""
        if not (identifier and identifier in unfolded):
            left.add(node.mem_id)
    for node in page.css(_FRAME):
        if not _is_inside(node, ("article", "main", "section")):
            left.add(node.mem_id)
    return frozenset(left)


def _asks_consent(node: LexborNode) -> bool:
    """Whether an element about cookies is a banner; it may be a section of a policy, too."""
    names = f"{node.attributes.get('class') or ''} {node.attributes.get('id') or ''}".split()
    if any(_BANNER.search(name.lower()) for name in names):
        return True
    return node.css_first("button, input, [role=button]") is not None and not node.css_first("h2")


def _is_inside(node: LexborNode, tags: tuple[str, ...]) -> bool:
    parent = node.parent
    while parent is not None:
        if parent.tag in tags:
            return True
        parent = parent.parent
    return False


def _size(node: LexborNode) -> int:
    scripts = sum(
        len("".join(inner.text().split()))
        for inner in node.css("script, style, nav, noscript")
        if not _is_inside(inner, ("nav", "noscript"))
    )
    return len("".join(node.text().split())) - scripts


def _nested(text: str) -> int:
    """Return a bound of how deep the elements of a page are nested."""
    if text.count("<") <= _MAX_NESTED:
        return 0
    depth = deepest = 0
    for closing, name, empty in _OPENED.findall(text):
        if name.lower() in _NOT_NESTED:
            continue
        if closing:
            depth = max(0, depth - 1)
        elif not empty:
            depth += 1
            deepest = max(deepest, depth)
    return deepest

"""HTML: the words of the page, without menus, scripts and styles."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from voicerag_core.documents.plain import decode, file_title, one_line
from voicerag_core.errors import DocumentError, MissingExtraError
from voicerag_core.types import Document

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

__all__ = ["read_html"]

_LEFT_OUT = (
    "script", "style", "noscript", "template", "nav", "footer", "svg", "canvas", "iframe",
    "object", "audio", "video", "button", "select", "textarea", "dialog",
    "[hidden]", "[aria-hidden=true]", "[role=navigation]", "a.headerlink",
)  # fmt: skip
"""Selectors of what is not the page's own text; the last is Sphinx's mark behind headings."""

_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "caption", "center", "dd", "details", "div", "dl",
    "dt", "fieldset", "figcaption", "figure", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header",
    "hgroup", "hr", "legend", "li", "main", "menu", "ol", "p", "pre", "section", "summary",
    "table", "tbody", "tfoot", "thead", "tr", "ul",
})  # fmt: skip
_PARAGRAPH = "\u2029"
_LINE = "\u2028"
_SPACE = re.compile(r"[ \t\n\f\r]+")
_CHARSET = re.compile(
    rb"""<(?:meta|\?xml)\b[^>]*?\b(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.I
)
_HEAD_BYTES = 1024

_WEB_ENCODINGS = {
    "iso-8859-1": "cp1252", "latin1": "cp1252", "ascii": "cp1252", "us-ascii": "cp1252",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc-kr": "cp949",
    "iso-8859-9": "cp1254", "tis-620": "cp874", "utf-16": "utf-8", "utf-16le": "utf-8",
    "utf-16be": "utf-8",
}  # fmt: skip
"""Labels that mean another encoding on the web (WHATWG Encoding Standard, section 4.2)."""


def read_html(source: str, data: bytes) -> list[Document]:
    """Read the main text of a page; the title is the page's, else its first heading.

    Raises:
        DocumentError: The page is not in the encoding it names, or holds no text.
        MissingExtraError: selectolax is not installed.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ModuleNotFoundError as e:
        raise MissingExtraError("documents", "reading HTML files") from e

    text = decode(source, data, encoding=_stated_encoding(source, data))
    if not text.strip():
        return []
    page = LexborHTMLParser(text)
    title = _title(page) or file_title(source)
    words = _words(_main(page), {node.mem_id for node in page.css(", ".join(_LEFT_OUT))})
    if not words:
        raise DocumentError(
            f"{source} holds no text; if its page is made by a script, save it from a browser"
        )
    return [Document(source, words, title)]


def _stated_encoding(source: str, data: bytes) -> str | None:
    match = _CHARSET.search(data[:_HEAD_BYTES])
    if match is None:
        return None
    label = match[1].decode("ascii", "replace").lower()
    try:
        return codecs.lookup(_WEB_ENCODINGS.get(label, label)).name
    except LookupError as e:
        raise DocumentError(
            f"{source} says it is in the unknown encoding {label!r}; save it as UTF-8"
        ) from e


def _title(page: LexborHTMLParser) -> str:
    for selector in ("head > title", "h1"):
        node = page.css_first(selector)
        if node is not None and (title := one_line(node.text())):
            return title.removesuffix("¶").rstrip()
    return ""


def _main(page: LexborHTMLParser) -> LexborNode | None:
    """Return the element that holds the text: the only one marked as main, or article, or all."""
    for selector in ("main", "[role=main]", "article"):
        nodes = page.css(selector)
        if len(nodes) == 1:
            return nodes[0]
    return page.body


def _words(root: LexborNode | None, left_out: set[int]) -> str:
    """Return the text below a node: blocks apart by empty lines, `pre` with its line breaks."""
    pieces: list[str] = []
    stack: list[tuple[LexborNode, bool] | str] = [(root, False)] if root is not None else []
    while stack:
        entry = stack.pop()
        if isinstance(entry, str):
            pieces.append(entry)
            continue
        node, preformatted = entry
        if node.is_text_node:
            text = node.text_content or ""
            pieces.append(text.replace("\n", _LINE) if preformatted else text)
            continue
        if node.mem_id in left_out:
            continue
        tag = node.tag
        if tag == "br":
            pieces.append(_LINE)
            continue
        border = _PARAGRAPH if tag in _BLOCKS else " " if tag in ("td", "th") else ""
        pieces.append(border)
        stack.append(border)
        children = [(child, preformatted or tag == "pre") for child in node.iter(include_text=True)]
        stack.extend(reversed(children))
    return _laid_out("".join(pieces))


def _laid_out(marked: str) -> str:
    paragraphs = []
    for block in marked.split(_PARAGRAPH):
        lines = (_SPACE.sub(" ", line).strip() for line in block.split(_LINE))
        if paragraph := "\n".join(line for line in lines if line):
            paragraphs.append(paragraph)
    return "\n\n".join(paragraphs)

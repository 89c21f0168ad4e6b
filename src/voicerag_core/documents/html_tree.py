"""A small tree of HTML, for pages that were made from a text such as Markdown.

It is built with the standard library, so that such texts need no extra and no parser outside the
process. It closes what authors leave open, but repairs no broken pages as browsers do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Protocol

__all__ = ["Node", "Tree", "tree_of"]

_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
})  # fmt: skip
_CLOSES = {
    "li": ("li",), "dt": ("dt", "dd"), "dd": ("dt", "dd"), "tr": ("tr", "td", "th"),
    "td": ("td", "th"), "th": ("td", "th"), "tbody": ("thead", "tbody", "tr", "td", "th"),
    "option": ("option",),
}  # fmt: skip
"""What a tag that opens ends, when it is still open."""

_BOUNDS = frozenset({"ul", "ol", "menu", "dl", "table", "select", "td", "th"})
"""What such an end does not reach over."""

_ENDS_PARAGRAPH = frozenset({
    "address", "article", "aside", "blockquote", "details", "div", "dl", "fieldset", "figure",
    "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "nav", "ol", "p",
    "pre", "section", "table", "ul",
})  # fmt: skip
_MAX_DEPTH = 400


class Node(Protocol):
    """What the walk needs of a node, be it of this tree or of lexbor's."""

    @property
    def tag(self) -> str | None:
        """Name of the element in lower case; one that begins with ``-`` is none."""
        ...

    @property
    def attributes(self) -> Mapping[str, str | None]:
        """Names and values."""
        ...

    @property
    def parent(self) -> Node | None:
        """The element around it."""
        ...

    @property
    def mem_id(self) -> int:
        """Tells it from all others of the page."""
        ...

    @property
    def is_text_node(self) -> bool:
        """Whether it is text."""
        ...

    @property
    def text_content(self) -> str | None:
        """The text of a text node."""
        ...

    def iter(self, include_text: bool = False) -> Iterator[Node]:
        """Yield the children."""
        ...

    def text(self, deep: bool = True, separator: str = "", strip: bool = False) -> str:
        """Return the text of all that is in it."""
        ...


class Tree:
    """A node of the small tree: an element, or text when `tag` is ``-text``."""

    __slots__ = ("attributes", "children", "parent", "tag", "text_content")

    def __init__(self, tag: str, parent: Tree | None, text: str | None = None) -> None:
        self.tag = tag
        self.parent = parent
        self.text_content = text
        self.attributes: dict[str, str | None] = {}
        self.children: list[Tree] = []

    @property
    def mem_id(self) -> int:
        """Tells it from all others of the page."""
        return id(self)

    @property
    def is_text_node(self) -> bool:
        """Whether it is text."""
        return self.tag == "-text"

    def iter(self, include_text: bool = False) -> Iterator[Tree]:
        """Yield the children, the texts among them only when asked for."""
        for child in self.children:
            if include_text or not child.is_text_node:
                yield child

    def text(self, deep: bool = True, separator: str = "", strip: bool = False) -> str:
        """Return the text of all that is in it."""
        pieces: list[str] = []
        stack = [self]
        while stack:
            node = stack.pop()
            if node.is_text_node:
                text = node.text_content or ""
                pieces.append(text.strip() if strip else text)
            stack += reversed(node.children)
        return separator.join(pieces)


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Tree("body", None)
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _ENDS_PARAGRAPH:
            self._close(("p",), _BOUNDS | {"blockquote", "li", "dd", "div", "details"})
        if ends := _CLOSES.get(tag):
            self._close(ends, _BOUNDS - set(ends))
        node = Tree(tag, self.open[-1])
        node.attributes = dict(attrs)
        self.open[-1].children.append(node)
        if tag not in _VOID and len(self.open) < _MAX_DEPTH:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        for i in range(len(self.open) - 1, 0, -1):
            if self.open[i].tag == tag:
                del self.open[i:]
                return

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(Tree("-text", self.open[-1], data))

    def _close(self, tags: tuple[str, ...], bounds: frozenset[str] | set[str]) -> None:
        """End the innermost open element of these names, unless a bound lies within."""
        for i in range(len(self.open) - 1, 0, -1):
            name = self.open[i].tag
            if name in tags:
                del self.open[i:]
                return
            if name in bounds:
                return


def tree_of(page: str) -> Tree:
    """Return the tree of a page; its root is the body."""
    builder = _Builder()
    builder.feed(page)
    builder.close()
    return builder.root

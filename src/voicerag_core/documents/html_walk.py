"""The tree of an HTML page to elements."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from voicerag_core.blocks import Place
from voicerag_core.documents.elements import (
    Aside,
    Code,
    Element,
    Field,
    Heading,
    Item,
    Paragraph,
    Table,
    Term,
)
from voicerag_core.documents.form_lines import form_fields
from voicerag_core.documents.html_tree import Node
from voicerag_core.documents.stylesheet import Looks
from voicerag_core.documents.table_shape import MAX_SPAN, Grid, guessed_header
from voicerag_core.documents.unicode import raised, tidy

__all__ = ["LEVEL_OF_BOLD", "HTMLWalk", "plain_words"]

LEVEL_OF_BOLD = 7
"""Level of headings that are no h1 to h6: lines in bold, buttons of an accordion."""

_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "center", "dd", "div", "fieldset",
    "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "legend", "li", "main",
    "p", "section", "tbody", "td", "tfoot", "th", "thead", "tr", "summary", "caption", "search",
})  # fmt: skip
_IGNORED = frozenset({
    "script", "style", "noscript", "template", "nav", "svg", "canvas", "iframe", "object", "audio",
    "video", "select", "textarea", "dialog", "del", "s", "strike", "input", "head", "datalist",
    "map", "math-hidden",
})  # fmt: skip
_MAX_DEPTH = 120
_LONGEST_BOLD = 100
_LONGEST_FIELD = 60
_MAX_NUMBER = 10_000_000

_SPACE = re.compile(r"[ \t\n\f\r]+")
_ENDS_OPEN = re.compile(r"[^.,;:!\uff0c\u3002\uff1b\uff1a]$")
_PERMALINK = re.compile(r"[¶#§🔗\s]*")
_BACK = re.compile(r"[\s\u21a9\u21b5\u2191^\ufe0e\ufe0f]+")
_SKIPS = re.compile(r"(?i)(?:skip|jump) to (?:the )?(?:main |page )?\w+(?: area)?")
_SIGNS = frozenset({
    "note", "notes", "important", "warning", "tip", "tips", "caution", "danger", "hint",
    "attention", "info", "see also", "\u6ce8\u610f", "\u6ce8",
})  # fmt: skip
"""Titles of boxes, which are no headings: what the box holds belongs to the section around it."""

_STRAY = re.compile(r"(?<!\w)\*\*(?=\S)|(?<=\S)\*\*(?!\w)|(?<=[^\W\d])\*\*(?=[\u3000-\uffef])")
"""Emphasis that CommonMark does not see, mostly beside Chinese punctuation."""

_STATED_NAME = re.compile(r"\s*\{\s*#([\w.:-]+)[^{}]*\}\s*$")
_NO_NAME = re.compile(r"[^\w\- ]")
_ROMAN = ((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))


class HTMLWalk:
    """Turns nodes into elements.

    Args:
        left_out: `mem_id` of the nodes that are no text of the page.
        written: The page was made from a text such as Markdown: headings open by the names that
            code forges give them, and pictures stand for their words.
        looks: What the page's style sheets say of its classes.
        is_book: No script can show what a style sheet hides.
    """

    def __init__(
        self,
        left_out: frozenset[int] = frozenset(),
        *,
        written: bool = False,
        looks: Looks | None = None,
        is_book: bool = False,
    ) -> None:
        self.left_out = left_out
        self.looks = looks
        self.is_book = is_book
        self._tabs: dict[int, str] = {}
        self._signs: set[int] = set()
        self._sign = ""
        self.written = written
        self.names: dict[str, int] = {}
        self.place: Place | None = None
        self.elements: list[Element] = []
        self._words: list[str] = []
        self._depth = 0

    def walk(self, root: Node) -> list[Element]:
        """Return the elements below a node."""
        self._flow(root)
        self._flush()
        return self.elements

    def _inside(self, nodes: Sequence[Node]) -> list[Element]:
        """Return the elements of some nodes by themselves."""
        outer, self.elements = self.elements, []
        outer_words, self._words = self._words, []
        self._sign = ""
        for node in nodes:
            self._node(node)
        self._flush()
        self._keep_lone_sign()
        self.elements, outer = outer, self.elements
        self._words = outer_words
        return outer

    def _keep_lone_sign(self) -> None:
        """Take "Info" for the title of a box where more follows, and alone for what is said."""
        if self._sign and not self.elements:
            self.elements.append(Paragraph(self._sign, self.place))
        self._sign = ""

    def _flow(self, node: Node) -> None:
        if self._depth > _MAX_DEPTH:
            self._words.append(_SPACE.sub(" ", node.text(separator=" ")))
            return
        self._depth += 1
        for child in node.iter(include_text=True):
            self._node(child)
        self._depth -= 1

    def _node(self, node: Node) -> None:
        if node.is_text_node:
            text = _SPACE.sub(" ", node.text_content or "")
            if self.written and "**" in text and (node.parent is None or node.parent.tag != "code"):
                text = _STRAY.sub("", text)
            self._words.append(text)
            return
        tag = node.tag or ""
        if tag in _IGNORED or tag.startswith("-"):
            return
        if tag in _LABELLED and (labels := _tab_labels(node)):
            self._tabs |= _panels(node, labels)
            return
        if node.mem_id in self._tabs:
            self._panel(node)
            return
        if node.mem_id in self.left_out or node.mem_id in self._signs:
            return
        if self.is_book and self.looks is not None and self._looks(node, self.looks.unseen):
            return
        if _is_note(node):
            self._note(node)
        elif self.looks is not None and tag == "span" and self._looks(node, self.looks.raised):
            self._raised(node)
        elif handler := _HANDLERS.get(tag):
            handler(self, node)
        elif tag in _BLOCKS:
            self._flush()
            self._flow(node)
            self._flush()
        else:
            self._flow(node)

    def _panel(self, node: Node) -> None:
        """Take up what a tab shows, below the tab's label."""
        self._flush()
        label = self._tabs.pop(node.mem_id)
        inner = self._inside(list(node.iter(include_text=True)))
        self.elements.append(Term(label, inner, self.place))

    def _flush(self) -> None:
        """End a paragraph."""
        if self._words:
            text = "".join(self._words).strip()
            self._words = []
            lines = text.split("\n")
            if self.written and len(lines) > 1 and (fields := form_fields(lines, self.place)):
                self.elements += fields
            elif text.lower().rstrip(":") in _SIGNS:
                self._sign = text
            elif text:
                self.elements.append(Paragraph(text, self.place))

    # --- inline ------------------------------------------------------------------------------

    def _break(self, _: Node) -> None:
        self._words.append("\n")

    def _raised(self, node: Node) -> None:
        if not any(inner.tag == "a" and "href" in inner.attributes for inner in _below(node)):
            text = node.text(strip=True)
            self._words.append(raised("".join(self._words[-8:]), text))

    def _image(self, node: Node) -> None:
        parent = node.parent
        if self.written and (parent is None or parent.tag != "a"):
            self._words.append(node.attributes.get("alt") or "")

    def _quoted(self, node: Node) -> None:
        self._words.append("\u201c")
        self._flow(node)
        self._words.append("\u201d")

    def _link(self, node: Node) -> None:
        text = node.text()
        if _PERMALINK.fullmatch(text) and not self.written:
            self._anchored(node)
            return
        target = node.attributes.get("href") or ""
        if target.startswith("#") and (_BACK.fullmatch(text) or _SKIPS.fullmatch(text.strip())):
            return
        self._flow(node)

    def _button(self, node: Node) -> None:
        """Take up a button that unfolds a part of the page or asks a question; others are none."""
        attributes = node.attributes
        text = tidy(node.text())
        unfolds = any(
            name in attributes
            for name in ("aria-controls", "aria-expanded", "data-target", "data-bs-target")
        )
        parent = node.parent.tag if node.parent is not None else ""
        if parent in _HEADINGS or parent in ("dt", "summary"):
            self._flow(node)
        elif text and (unfolds or text.endswith("?")):
            self._flush()
            self.elements.append(Heading(text, LEVEL_OF_BOLD, self.place))

    # --- blocks ------------------------------------------------------------------------------

    def _heading(self, node: Node) -> None:
        self._flush()
        self._anchored(node)
        text = plain_words(self._inside(list(node.iter(include_text=True))))
        text = text.removesuffix("¶").strip()
        if self.written:
            text = self._named(text)
        if text and text.lower() not in _SIGNS:
            level = _HEADINGS[node.tag or "h6"]
            self.elements.append(Heading(text, level, self.place))

    def _anchored(self, node: Node) -> None:
        """Note the anchor of a heading, so that what follows opens there."""
        name = node.attributes.get("id") or node.attributes.get("name")
        if not name and node.tag in _HEADINGS:
            inner = next(
                (each for each in _below(node) if each.attributes.get("id")
                 or (each.tag == "a" and each.attributes.get("name"))), None,
            )  # fmt: skip
            if inner is not None:
                name = inner.attributes.get("id") or inner.attributes.get("name")
            elif (parent := node.parent) is not None and parent.tag in ("section", "div"):
                name = parent.attributes.get("id")
        if name:
            self.place = Place("anchor", name)

    def _named(self, text: str) -> str:
        """Return a heading without the name that it states for itself, and note its anchor."""
        if stated := _STATED_NAME.search(text):
            text, name = text[: stated.start()], stated[1]
        else:
            name = _NO_NAME.sub("", text.strip().lower()).replace(" ", "-")
            count = self.names.get(name, 0)
            self.names[name] = count + 1
            name = f"{name}-{count}" if count else name
        if name:
            self.place = Place("anchor", name)
        return text

    def _paragraph(self, node: Node) -> None:
        self._flush()
        inner = _only_child(node)
        while inner is not None and inner.tag in ("font", "u", "i", "em"):
            inner = _only_child(inner)
        bold = inner is not None and (
            inner.tag in ("strong", "b")
            or (self.looks is not None and self._looks(inner, self.looks.bold))
        )
        level = (
            LEVEL_OF_BOLD
            if not bold or self.looks is None or inner is None
            else next(
                (self.looks.levels[name] for name in _classes(inner) if name in self.looks.levels),
                LEVEL_OF_BOLD,
            )
        )
        first = next(iter(_with_words(node)), None)
        if first is not None and _is_sign(first):
            self._signs.add(first.mem_id)
        self._flow(node)
        text = "".join(self._words).strip()
        if text.lower().rstrip(":") in _SIGNS:
            self._words, self._sign = [], text
        elif bold and text and len(text) <= _LONGEST_BOLD and _ENDS_OPEN.search(text):
            self._words = []
            self.elements.append(Heading(text, level, self.place))
        self._flush()

    def _looks(self, node: Node, names: frozenset[str]) -> bool:
        return any(name in names for name in _classes(node))

    def _list(self, node: Node, depth: int = 0) -> None:
        self._flush()
        items = [child for child in node.iter() if child.mem_id not in self.left_out]
        if depth == 0 and _is_contents(items):
            return
        number = _int(node.attributes.get("start"), 1)
        style = node.attributes.get("type") or "1"
        for item in items:
            if item.tag in ("ul", "ol", "menu"):
                self._list(item, depth + 1)
                continue
            if item.tag != "li":
                self._node(item)
                continue
            number = _int(item.attributes.get("value"), number)
            marker = f"{_numeral(number, style)}." if node.tag == "ol" else ""
            self._item(item, depth, marker)
            number += 1
        self._flush()

    def _item(self, node: Node, depth: int, marker: str) -> None:
        """Take up an item: its words, then what lies in it."""
        outer, self.elements = self.elements, []
        self._sign = ""
        self._depth += 1
        if self._depth <= _MAX_DEPTH:
            for child in node.iter(include_text=True):
                if child.tag in ("ul", "ol", "menu") and child.mem_id not in self.left_out:
                    self._list(child, depth + 1)
                else:
                    self._node(child)
        else:
            self._words.append(_SPACE.sub(" ", node.text(separator=" ")))
        self._depth -= 1
        self._flush()
        self._keep_lone_sign()
        inner, self.elements = self.elements, outer
        texts: list[str] = []
        while inner and isinstance(inner[0], Paragraph | Heading):
            texts.append(inner.pop(0).text)  # type: ignore[union-attr]
        if texts or (marker and inner):
            self.elements.append(Item("\n".join(texts), depth, marker, self.place))
        for element in inner:
            if isinstance(element, Paragraph):
                self.elements.append(Item(element.text, depth + 1, "", element.place))
            else:
                self.elements.append(element)

    def _terms(self, node: Node) -> None:
        self._flush()
        terms: list[str] = []
        explanations: list[Node] = []
        for child in [*_unwrapped(node), None]:
            if child is None or child.tag == "dt":
                if explanations or (child is None and terms):
                    self._term(" / ".join(terms), explanations)
                    terms, explanations = [], []
                if child is not None and child.mem_id not in self.left_out:
                    terms.append(plain_words(self._inside(list(child.iter(include_text=True)))))
            elif child.tag == "dd":
                explanations.append(child)

    def _term(self, term: str, explanations: Sequence[Node]) -> None:
        term = term.removesuffix("¶").strip()
        elements = self._inside(explanations)
        if len(elements) == 1 and isinstance(elements[0], Paragraph) and term:
            text = tidy(elements[0].text)
            if len(text) <= _LONGEST_FIELD and not text.endswith(".") and not term.endswith("?"):
                self.elements.append(Field(term, text, self.place))
                return
        self.elements.append(Term(term, elements, self.place))

    def _details(self, node: Node) -> None:
        self._flush()
        children = list(node.iter(include_text=True))
        summaries = [child for child in children if child.tag == "summary"]
        rest = [child for child in children if child.tag != "summary"]
        term = plain_words(self._inside(summaries))
        self.elements.append(Term(term, self._inside(rest), self.place))

    def _code(self, node: Node) -> None:
        self._flush()
        text = "".join(_raw(node, self.left_out))
        if text.strip():
            self.elements.append(Code(text, self.place))

    def _note(self, node: Node) -> None:
        """Take up footnotes, without the numbers of their list."""
        self._flush()
        inner = self._inside(list(node.iter(include_text=True)))
        notes = [
            Paragraph(element.text, element.place) if isinstance(element, Item) else element
            for element in inner
            if not (isinstance(element, Paragraph) and _NOTE_LABEL.fullmatch(element.text))
        ]
        self.elements.append(Aside(notes))

    def _table(self, node: Node) -> None:
        self._flush()
        rows = [row for row in _rows(node) if row.mem_id not in self.left_out]
        nested = any(inner.tag == "table" for inner in _below(node))
        cells = [[cell for cell in row.iter() if cell.tag in ("td", "th")] for row in rows]
        if nested or len(rows) < 2 or max(map(len, cells), default=0) < 2:  # noqa: PLR2004
            for each in cells:
                for cell in each:
                    self._node(cell)
            return
        grid = Grid()
        header = 0
        for number, (row, found) in enumerate(zip(rows, cells, strict=True)):
            if header == number and _is_header(row, found):
                header += 1
            grid.start_row()
            for cell in found:
                text = plain_words(self._inside(list(cell.iter(include_text=True))))
                spans = (cell.attributes.get("colspan"), cell.attributes.get("rowspan"))
                grid.add(text, *(min(MAX_SPAN, max(1, _int(span, 1))) for span in spans))
        filled = grid.rows()
        captions = [child for child in node.iter() if child.tag == "caption"]
        caption = plain_words(self._inside(captions))
        header = header if header < len(filled) else 0
        self.elements.append(
            Table(filled, header or guessed_header(filled), caption, [self.place] * len(filled))
        )


def _tab_labels(node: Node) -> list[str]:
    """Return the labels of tabs when that is all that a node holds."""
    roles = (node.attributes.get("role") or "").split()
    if "tablist" not in roles and not _TAB_CLASSES.intersection(_classes(node)):
        return []
    labels: list[str] = []
    for child in node.iter():
        if child.tag in ("input", "script", "hr"):
            continue
        if child.tag not in ("label", "li", "a", "button", "div", "span"):
            return []
        labels.append(tidy(child.text()))
    return labels if all(0 < len(label) <= _LONGEST_LABEL for label in labels) else []


def _panels(node: Node, labels: Sequence[str]) -> dict[int, str]:
    """Return the label of each panel that stands behind a row of tabs, by its `mem_id`."""
    parent = node.parent
    siblings = list(parent.iter()) if parent is not None else []
    at = next((i for i, each in enumerate(siblings) if each.mem_id == node.mem_id), len(siblings))
    behind = [each for each in siblings[at + 1 :] if each.tag not in ("input", "script")]
    inner = [each for each in behind[0].iter() if each.tag == "div"] if behind else []
    panels = inner if len(inner) == len(labels) else behind[: len(labels)]
    if panels is behind and len(panels) < len(labels):
        return {}
    is_panels = panels is inner or all(
        "tabpanel" in (each.attributes.get("role") or "") for each in panels
    )
    return (
        {each.mem_id: label for each, label in zip(panels, labels, strict=False)}
        if is_panels else {}
    )  # fmt: skip


def _is_note(node: Node) -> bool:
    """Whether a node holds footnotes, by its role, or by what generators call it."""
    if node.tag not in ("div", "section", "aside", "ol", "dl"):
        return False
    attributes = node.attributes
    stated = f"{attributes.get('role') or ''} {attributes.get('epub:type') or ''}".split()
    return bool(
        _NOTE_ROLES.intersection(stated)
        or _NOTE_CLASSES.intersection(_classes(node))
        or _NOTE_ID.fullmatch(attributes.get("id") or "")
    )


_LABELLED = frozenset({"div", "ul", "nav", "ol"})
_TAB_CLASSES = frozenset({"tabbed-labels", "tabs"})
_LONGEST_LABEL = 40
_NOTE_ROLES = frozenset({
    "doc-endnotes", "doc-footnote", "doc-endnote", "footnote", "footnotes", "endnote", "endnotes",
    "rearnote", "rearnotes",
})  # fmt: skip
_NOTE_CLASSES = frozenset({"footnote", "footnotes", "footnote-list", "endnotes", "footnote-text"})
_NOTE_ID = re.compile(r"(?:sdfootnote|sdendnote|ftn|edn)\d+")
_NOTE_LABEL = re.compile(r"[\[(]?(?:\d{1,3}|[a-z*\u2020])[\])]?[.:]?")

_HANDLERS = {
    "br": HTMLWalk._break, "sup": HTMLWalk._raised, "img": HTMLWalk._image,
    "q": HTMLWalk._quoted, "a": HTMLWalk._link, "button": HTMLWalk._button,
    **dict.fromkeys(_HEADINGS, HTMLWalk._heading),
    "p": HTMLWalk._paragraph, "ul": HTMLWalk._list, "ol": HTMLWalk._list,
    "menu": HTMLWalk._list, "dl": HTMLWalk._terms, "details": HTMLWalk._details,
    "pre": HTMLWalk._code, "table": HTMLWalk._table, "voicerag-note": HTMLWalk._note,
}  # fmt: skip


def plain_words(elements: Sequence[Element]) -> str:
    """Return the words of elements, a line each; breaks within one become spaces."""
    return "\n".join(words.replace("\n", " ") for words in _words_of(elements))


def _words_of(elements: Sequence[Element]) -> Iterator[str]:
    for element in elements:
        if isinstance(element, Item):
            yield f"{element.marker} {element.text}".strip()
        elif isinstance(element, Field):
            yield f"{element.name}: {element.value}"
        elif isinstance(element, Term):
            yield from (element.text, *_words_of(element.elements))
        elif isinstance(element, Aside):
            yield from _words_of(element.elements)
        elif isinstance(element, Table):
            yield from ("; ".join(filter(None, row)) for row in element.rows)
        else:
            yield element.text


def _below(node: Node) -> Iterator[Node]:
    """Yield the elements in a node, from top to bottom."""
    stack = list(node.iter())[::-1]
    while stack:
        inner = stack.pop()
        yield inner
        stack += list(inner.iter())[::-1]


def _is_sign(node: Node) -> bool:
    """Whether a node is the title of a box, such as "Note:"."""
    return node.tag in ("strong", "b") and tidy(node.text()).lower().rstrip(":") in _SIGNS


def _with_words(node: Node) -> Iterator[Node]:
    """Yield the children of a node, without texts of white space."""
    for child in node.iter(include_text=True):
        if not (child.is_text_node and not (child.text_content or "").strip()):
            yield child


def _only_child(node: Node) -> Node | None:
    """Return the one element in which all words of a paragraph lie, or None."""
    children = list(_with_words(node))
    return children[0] if len(children) == 1 and not children[0].is_text_node else None


def _classes(node: Node) -> list[str]:
    return (node.attributes.get("class") or "").split()


def _is_contents(items: Sequence[Node]) -> bool:
    """Whether all items of a list are nothing but a link to a place in the same page."""
    for item in items:
        links = [inner for inner in _below(item) if inner.tag == "a"]
        if not links or not (links[0].attributes.get("href") or "").startswith("#"):
            return False
        if tidy(links[0].text()) != tidy(item.text()) and not any(
            inner.tag == "li" for inner in _below(item)
        ):
            return False
    return len(items) > 1


def _is_header(row: Node, cells: Sequence[Node]) -> bool:
    if row.parent is not None and row.parent.tag == "thead":
        return True
    return bool(cells) and all(cell.tag == "th" for cell in cells)


def _rows(table: Node) -> Iterator[Node]:
    parts = {"thead": 0, "tbody": 1, "tr": 1, "tfoot": 2}
    for part in sorted(table.iter(), key=lambda node: parts.get(node.tag or "", 1)):
        if part.tag == "tr":
            yield part
        elif part.tag in parts:
            yield from (row for row in part.iter() if row.tag == "tr")


def _unwrapped(node: Node) -> Iterator[Node]:
    """Yield the children of a list of terms, also those that are grouped."""
    for child in node.iter():
        if child.tag == "div":
            yield from child.iter()
        else:
            yield child


def _raw(node: Node, left_out: frozenset[int], depth: int = 0) -> Iterator[str]:
    for child in node.iter(include_text=True):
        if child.is_text_node:
            yield child.text_content or ""
        elif child.tag == "br":
            yield "\n"
        elif child.mem_id not in left_out and child.tag not in ("button", "script", "style"):
            if depth > _MAX_DEPTH:
                yield child.text()
            else:
                yield from _raw(child, left_out, depth + 1)


def _int(text: str | None, otherwise: int) -> int:
    """Return a number of an attribute, within bounds."""
    try:
        number = int(text or "")
    except ValueError:
        return otherwise
    return number if abs(number) < _MAX_NUMBER else otherwise


def _numeral(number: int, style: str) -> str:
    if style in ("a", "A") and 1 <= number <= 26:  # noqa: PLR2004
        return chr(ord(style) + number - 1)
    if style in ("i", "I") and 1 <= number < 40:  # noqa: PLR2004
        digits, rest = "", number
        for value, letters in _ROMAN:
            count, rest = divmod(rest, value)
            digits += letters * count
        return digits if style == "i" else digits.upper()
    return str(number)

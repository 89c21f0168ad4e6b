"""reStructuredText by way of docutils; what Sphinx adds gives its words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from voicerag_core.blocks import Place
from voicerag_core.documents.decoding import decode
from voicerag_core.documents.elements import (
    Aside,
    Code,
    Draft,
    Element,
    Field,
    Heading,
    Item,
    Notice,
    Paragraph,
    Table,
    Term,
)
from voicerag_core.documents.faq import paired
from voicerag_core.documents.html_walk import plain_words
from voicerag_core.documents.plain import text_elements
from voicerag_core.documents.table_shape import MAX_SPAN, Grid, guessed_header
from voicerag_core.documents.unicode import raised
from voicerag_core.errors import MissingExtraError

if TYPE_CHECKING:
    from docutils import nodes

__all__ = ["read_rst"]

_ROLE = re.compile(r":([\w:.+-]+):`")
_DIRECTIVE = re.compile(r"(?m)^\s*\.\.\s+(?:\|[^|\n]+\|\s+)?([\w:.+-]+)::")
_DIRECTIVE_LINE = re.compile(r"(?m)^[ \t]*(?:\.\.[ \t].*|:[\w-]+:.*)$")
_TARGET = re.compile(r"(?s)(.*?)\s*<[^<>]*>$")

_WITHOUT_WORDS = frozenset({
    "toctree", "index", "highlight", "module", "py:module", "currentmodule", "py:currentmodule",
    "sectionauthor", "codeauthor", "tabularcolumns", "literalinclude", "testsetup", "testcleanup",
    "autoclass", "automodule", "autofunction", "automethod", "autoexception", "autodata",
    "autoattribute", "autosummary", "bibliography", "graphviz", "mermaid", "plantuml", "plot",
    "ifconfig", "default-domain", "program", "tags",
})  # fmt: skip
_CODE = frozenset({"testcode", "testoutput", "doctest", "ipython", "prompt", "productionlist"})
_TERMS = frozenset({
    "function", "class", "method", "attribute", "data", "exception", "option", "cmdoption",
    "confval", "envvar", "describe", "object", "decorator", "property", "setting", "term",
})  # fmt: skip
_NO_FACTS = frozenset({
    "noindex", "no-index", "nocontentsentry", "no-contents-entry", "no-typesetting", "module",
    "class", "name", "canonical", "annotation", "async", "staticmethod", "classmethod", "abstract",
})  # fmt: skip
"""Options of a term's directive that say nothing of it to a reader."""

_OPTION = re.compile(r":([\w-]+):")
_LITERAL_ROLES = frozenset({"file", "samp", "kbd", "command", "program", "regexp", "guilabel"})
_CONDITIONS = frozenset({"only", "container", "rst-class", "cssclass"})
"""Directives whose arguments are no words."""

_VERSIONS = {
    "versionadded": "New in version", "versionchanged": "Changed in version",
    "versionremoved": "Removed in version", "deprecated": "Deprecated since version",
}  # fmt: skip

_SETTINGS = {
    "report_level": 5, "halt_level": 5, "file_insertion_enabled": False, "raw_enabled": False,
    "_disable_config": True, "input_encoding": "unicode", "warning_stream": None,
    "smart_quotes": False, "doctitle_xform": False, "sectsubtitle_xform": False,
}  # fmt: skip
_SPHINX_CLASS = re.compile(
    r"(?m)^(?P<before>[ \t]*\.\.[ \t]+)(?P<name>class::)(?=[ \t]+[\w.]*(?:[A-Z]|\w\.\w|\w[ \t]*\())"
)
"""Describes a class of a program; docutils has a directive of that name for styles."""

_PARAMETER = re.compile(
    r"(?:param(?:eter)?|arg(?:ument)?|key(?:word)?|[ci]?var)\s+(?:.*\s)?(?P<name>[\w.*]+)"
)
"""Name of a field that describes a parameter, with or without its type."""

_NO_NAME = re.compile(r"[^\w\- ]")


def read_rst(data: bytes, source: str, encoding: str | None = None) -> list[Draft]:
    """Read reStructuredText; the first section title is the title.

    Files that it includes are not read. A text that docutils gives up on is read as plain text.

    Raises:
        MissingExtraError: docutils is not installed.
    """
    text, notices = decode(data, source, encoding=encoding)
    if not text.strip():
        return []
    try:
        from docutils.core import publish_doctree
    except ModuleNotFoundError as e:
        raise MissingExtraError("documents", f"reading {source}") from e

    text = _SPHINX_CLASS.sub(r"\g<before>py:\g<name>", text)
    _accept_unknown(text)
    try:
        tree = publish_doctree(text, settings_overrides=dict(_SETTINGS))
        elements = list(_Walk().children(tree, 0))
        if not elements and tree.findall(lambda n: n.__class__.__name__ == "system_message"):
            elements = text_elements(_DIRECTIVE_LINE.sub("", text))  # it gave up without an error
    except Exception as e:  # noqa: BLE001 - docutils fails in many ways on a damaged text
        notices.append(Notice(f"not read as reStructuredText but as plain text ({e})"))
        elements = text_elements(text)
    title = next((e.text for e in elements if isinstance(e, Heading)), "")
    return [Draft([*notices, *paired(elements)], title)] if elements else []


def _accept_unknown(text: str) -> None:
    """Make docutils know the roles and directives of a text that it does not know."""
    from docutils.parsers.rst import directives, roles
    from docutils.parsers.rst.languages import en

    for name in set(_ROLE.findall(text)):
        key = name.lower()
        if key not in en.roles and key not in roles._roles:
            roles.register_local_role(key, _role)
    for name in set(_DIRECTIVE.findall(text)):
        key = name.lower()
        if key not in en.directives and key not in directives._directives:
            directives.register_directive(key, _directive_class())


def _role(
    name: str, rawtext: str, text: str, *_: object, **__: object
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Return the words of an unknown role: those before its target; of a dotted name the last."""
    from docutils import nodes

    words = text.replace("\0", "")
    if match := _TARGET.fullmatch(words):
        words = match[1] or words
    elif words.startswith(("~", "!")) and name.lower() not in _LITERAL_ROLES:
        words = words[1:].rsplit(".", 1)[-1] if words[0] == "~" else words[1:]
    return [nodes.inline(rawtext, words)], []


def _directive_class() -> Any:  # noqa: ANN401
    """Return the directive that stands for unknown ones: it gives what it contains."""
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class Unknown(Directive):  # type: ignore[misc]
        has_content = True
        optional_arguments = 100
        final_argument_whitespace = True

        def run(self) -> list[nodes.Node]:
            name = self.name.rpartition(":")[2] if ":" in self.name else self.name
            if self.name in _WITHOUT_WORDS or name in _WITHOUT_WORDS:
                return []
            said_first, options = _with_options(self.arguments)
            words = "" if name in _CONDITIONS else said_first
            lines = list(self.content)
            while lines and re.match(r":[\w-]+:(\s|$)", lines[0]):
                lines = lines[1:]
            if name in _CODE:
                return [nodes.literal_block("", "\n".join(lines))]
            body = nodes.container()
            self.state.nested_parse(
                self.content[len(self.content) - len(lines) :], self.content_offset, body
            )
            if name in _TERMS:
                facts = _facts(options)
                item = nodes.definition_list_item(
                    "", nodes.term("", words), nodes.definition("", *facts, *body.children)
                )
                return [nodes.definition_list("", item)]
            if name in _VERSIONS:
                version, _, said_of = words.partition(" ")
                words = f"{_VERSIONS[name]} {version}".strip()
                words += f": {said_of}" if said_of else ":" if body.children else "."
            said = [nodes.paragraph("", words)] if words else []
            return [*said, *body.children]

    return Unknown


def _with_options(arguments: Sequence[str]) -> tuple[str, list[tuple[str, str]]]:
    """Part what stands behind a directive's name from its options, which docutils takes along."""
    words: list[str] = []
    options: list[tuple[str, list[str]]] = []
    for argument in arguments:
        if match := _OPTION.fullmatch(argument):
            options.append((match[1], []))
        else:
            (options[-1][1] if options else words).append(argument)
    return " ".join(words), [(name, " ".join(value)) for name, value in options]


def _facts(options: Sequence[tuple[str, str]]) -> list[nodes.Node]:
    """Return what the options of a term's directive tell of it, such as its default."""
    from docutils import nodes

    fields = [
        nodes.field(
            "", nodes.field_name("", name), nodes.field_body("", nodes.paragraph("", value))
        )
        for name, value in options
        if value and name not in _NO_FACTS
    ]
    return [nodes.field_list("", *fields)] if fields else []


class _Walk:
    """Turns the nodes of docutils into elements."""

    def __init__(self) -> None:
        self.place: Place | None = None
        self.names: dict[str, int] = {}

    def children(self, node: nodes.Node, level: int, depth: int = 0) -> Iterator[Element]:
        """Yield the elements of what a node contains."""
        for child in node.children:
            yield from self.element(child, level, depth)

    def element(self, node: Any, level: int, depth: int) -> Iterator[Element]:  # noqa: ANN401, C901, PLR0912
        """Yield the elements of a node."""
        name = node.__class__.__name__
        if name in _LEFT_OUT:
            return
        if name == "section":
            yield from self.children(node, level + 1)
        elif name in ("title", "subtitle", "rubric"):
            text = _words(node)
            if level or name == "rubric":
                self._mark(text)
                yield Heading(text, level if name == "title" else 7, self.place)
        elif name == "paragraph":
            yield Paragraph(_words(node), self.place)
        elif name in ("bullet_list", "enumerated_list"):
            yield from self._list(node, level, depth)
        elif name == "definition_list":
            yield from self._definitions(node, level)
        elif name in ("field_list", "docinfo"):
            yield from self._fields(node)
        elif name == "option_list":
            for item in node.children:
                option, said = item.children[0], item.children[1]
                yield Term(_words(option), list(self.children(said, level)), self.place)
        elif name == "table":
            yield from self._table(node)
        elif name in ("literal_block", "doctest_block", "math_block"):
            yield Code(node.astext(), self.place)
        elif name == "line_block":
            yield Paragraph("\n".join(_lines(node)), self.place)
        elif name in ("footnote", "citation"):
            rest = [child for child in node.children if child.__class__.__name__ != "label"]
            yield Aside([e for child in rest for e in self.element(child, level, depth)])
        elif name == "topic" and "contents" in node.get("classes", ()):
            return
        elif name == "image":
            if node.get("alt"):
                yield Paragraph(node["alt"], self.place)
        elif hasattr(node, "children") and node.children:
            yield from self.children(node, level, depth)
        elif node.astext().strip():
            yield Paragraph(node.astext(), self.place)

    def _mark(self, text: str) -> None:
        name = _NO_NAME.sub("", text.strip().lower()).replace(" ", "-")
        count = self.names.get(name, 0)
        self.names[name] = count + 1
        if name:
            self.place = Place("anchor", f"{name}-{count}" if count else name)

    def _list(self, node: Any, level: int, depth: int) -> Iterator[Element]:  # noqa: ANN401
        ordered = node.__class__.__name__ == "enumerated_list"
        number = node.get("start", 1)
        for item in node.children:
            marker = _marker(number, node) if ordered else ""
            inner = list(self.children(item, level, depth + 1))
            texts: list[str] = []
            while inner and isinstance(inner[0], Paragraph):
                texts.append(inner.pop(0).text)  # type: ignore[union-attr]
            if texts or (marker and inner):
                yield Item("\n".join(texts), depth, marker, self.place)
            for element in inner:
                if isinstance(element, Paragraph):
                    yield Item(element.text, depth + 1, "", self.place)
                else:
                    yield element
            number += 1

    def _definitions(self, node: Any, level: int) -> Iterator[Element]:  # noqa: ANN401
        for item in node.children:
            terms = [child for child in item.children if child.__class__.__name__ == "term"]
            said = [child for child in item.children if child.__class__.__name__ == "definition"]
            elements = [e for child in said for e in self.children(child, level)]
            yield Term(" / ".join(map(_words, terms)), elements, self.place)

    def _fields(self, node: Any) -> Iterator[Element]:  # noqa: ANN401
        for field in node.children:
            if field.__class__.__name__ == "field":
                name, body = field.children[0], field.children[1]
                said = _words(name)
                parameter = _PARAMETER.fullmatch(said)
                said = parameter["name"] if parameter else said
                yield Field(said, plain_words(list(self.children(body, 0))), self.place)
            else:
                yield Field(field.__class__.__name__, _words(field), self.place)

    def _table(self, node: Any) -> Iterator[Element]:  # noqa: ANN401
        caption = ""
        for child in node.children:
            if child.__class__.__name__ == "title":
                caption = _words(child)
        grid = Grid()
        header = 0
        for row in node.findall(lambda n: n.__class__.__name__ == "row"):
            grid.start_row()
            header += row.parent.__class__.__name__ == "thead"
            for entry in row.children:
                words = plain_words(list(self.children(entry, 0)))
                spans = (entry.get("morecols", 0), entry.get("morerows", 0))
                grid.add(words, *(min(MAX_SPAN, 1 + span) for span in spans))
        rows = grid.rows()
        header = header if header < len(rows) else 0
        yield Table(rows, header or guessed_header(rows), caption, [self.place] * len(rows))


_LEFT_OUT = frozenset({
    "comment", "target", "substitution_definition", "system_message", "problematic", "raw", "meta",
    "pending", "decoration", "header", "footer", "transition", "generated",
})  # fmt: skip


def _words(node: Any) -> str:  # noqa: ANN401
    """Return the words of a node, raised characters as they are to be read."""
    words: list[str] = []
    _collect(node, words)
    return "".join(words)


def _collect(node: Any, words: list[str]) -> None:  # noqa: ANN401
    for child in node.children:
        name = child.__class__.__name__
        if name in ("footnote_reference", "citation_reference"):
            words.append(words.pop().rstrip() if words else "")
        if name in _LEFT_OUT or name in ("footnote_reference", "citation_reference"):
            continue
        if name == "superscript":
            words.append(raised("".join(words[-8:]), child.astext()))
        elif name == "image":
            words.append(child.get("alt", ""))
        elif name == "Text":
            words.append(" ".join(child.astext().split("\n")))
        else:
            _collect(child, words)


def _lines(node: Any) -> Sequence[str]:  # noqa: ANN401
    lines: list[str] = []
    for child in node.children:
        is_block = child.__class__.__name__ == "line_block"
        lines += _lines(child) if is_block else [_words(child)]
    return lines


def _marker(number: int, node: Any) -> str:  # noqa: ANN401
    style = node.get("enumtype", "arabic")
    if style in ("loweralpha", "upperalpha") and number <= 26:  # noqa: PLR2004
        shown = chr((ord("a") if style == "loweralpha" else ord("A")) + number - 1)
    else:
        shown = str(number)
    return f"{node.get('prefix', '')}{shown}{node.get('suffix', '.')}"

"""Styles and numbers of Word documents: which paragraphs are headings, which number they show."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Numbering", "Styles", "local", "written_number"]

_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_VALUE = f"{_WORD}val"
_MAX_BASED = 20
_MOST_LEVELS = 9
_CODE = re.compile(r"(?i)code|preformatted|\bhtml\s?pre|macro|source ?text|quelltext")
_HEADING = re.compile(r"(?i)(?:heading|überschrift|titre|título|titolo|rubrik|kop)\s*([1-9])")
_LISTED = re.compile(r"(?i)list (?:bullet|number|paragraph|continue)(?:\s*([2-9]))?")
_PLACE = re.compile(r"%([1-9])")
_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"),
    (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_MOST_ROMAN = 4000


def local(node: Any) -> str:  # noqa: ANN401
    """Return the name of a node without its namespace; "" for a comment."""
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""


class Styles:
    """The styles of a document by their ids."""

    def __init__(self, root: Any) -> None:  # noqa: ANN401
        self.nodes: dict[str, Any] = {}
        self.names: dict[str, str] = {}
        self.default = ""
        for node in root if root is not None else ():
            if local(node) != "style":
                continue
            identifier = node.get(f"{_WORD}styleId") or ""
            name = node.find(f"{_WORD}name")
            self.nodes[identifier] = node
            self.names[identifier] = (name.get(_VALUE) or "") if name is not None else ""
            if node.get(f"{_WORD}default") == "1" and node.get(f"{_WORD}type") == "paragraph":
                self.default = identifier

    def of(self, properties: Any) -> str:  # noqa: ANN401
        """Return the id of the style of a paragraph with these properties."""
        node = properties.find(f"{_WORD}pStyle") if properties is not None else None
        return (node.get(_VALUE) or "") if node is not None else self.default

    def chain(self, style: str) -> list[str]:
        """Return a style and those that it is based on."""
        chain: list[str] = []
        while style in self.nodes and style not in chain and len(chain) < _MAX_BASED:
            chain.append(style)
            based = self.nodes[style].find(f"{_WORD}basedOn")
            style = (based.get(_VALUE) or "") if based is not None else ""
        return chain

    def property(self, style: str, name: str) -> Any:  # noqa: ANN401
        """Return a property of paragraphs that a style has or inherits, or None."""
        for each in self.chain(style):
            properties = self.nodes[each].find(f"{_WORD}pPr")
            found = properties.find(f"{_WORD}{name}") if properties is not None else None
            if found is not None:
                return found
        return None

    def is_title(self, style: str) -> bool:
        """Whether a style is that of the document's title."""
        return self.names.get(style, "").lower() == "title" or style == "Title"

    def is_code(self, style: str) -> bool:
        """Whether a style is for lines of code."""
        return _CODE.search(self.names.get(style, "")) is not None

    def level(self, style: str, properties: Any) -> int:  # noqa: ANN401
        """Return the level of a heading, from 1, or 0; by the outline, else by the style's name."""
        stated = properties.find(f"{_WORD}outlineLvl") if properties is not None else None
        if stated is None:
            stated = self.property(style, "outlineLvl")
        if stated is not None and (stated.get(_VALUE) or "9").isdecimal():
            level = int(stated.get(_VALUE) or "9")
            return level + 1 if level < _MOST_LEVELS else 0
        for each in self.chain(style):
            if match := _HEADING.match(self.names[each]):
                return int(match[1])
        return 0

    def listed(self, style: str) -> int | None:
        """Return the depth that the name of a style of lists says, or None."""
        match = _LISTED.match(self.names.get(style, ""))
        return None if match is None else int(match[1] or 1) - 1


class Numbering:
    """The numbers that Word shows before paragraphs, counted along the document."""

    def __init__(self, root: Any) -> None:  # noqa: ANN401
        self.abstract: dict[str, Any] = {}
        self.instances: dict[str, Any] = {}
        for node in root if root is not None else ():
            if local(node) == "abstractNum":
                self.abstract[node.get(f"{_WORD}abstractNumId") or ""] = node
            elif local(node) == "num":
                self.instances[node.get(f"{_WORD}numId") or ""] = node
        self.counters: dict[str, list[int]] = {}

    def marker(self, properties: Any, styles: Styles, style: str) -> tuple[str, int, bool]:  # noqa: ANN401
        """Return the number before a paragraph ("" for a bullet), its depth, whether it has one."""
        node = properties.find(f"{_WORD}numPr") if properties is not None else None
        if node is None:
            node = styles.property(style, "numPr")
        depth_of_style = styles.listed(style)
        if node is None:
            return "", depth_of_style or 0, depth_of_style is not None
        number = node.find(f"{_WORD}numId")
        if number is None:
            number_id = ""
            inherited = styles.property(style, "numPr")
            inner = inherited.find(f"{_WORD}numId") if inherited is not None else None
            number_id = (inner.get(_VALUE) or "") if inner is not None else ""
        else:
            number_id = number.get(_VALUE) or ""
        if number_id in ("", "0"):
            return "", 0, False
        level_node = node.find(f"{_WORD}ilvl")
        text = (level_node.get(_VALUE) or "0") if level_node is not None else "0"
        level = min(_MOST_LEVELS - 1, int(text)) if text.isdecimal() else 0
        return self._number(number_id, level), max(level, depth_of_style or 0), True

    def _number(self, number_id: str, level: int) -> str:
        """Count up and return the number of the next paragraph of a level."""
        instance = self.instances.get(number_id)
        if instance is None:
            return ""
        link = instance.find(f"{_WORD}abstractNumId")
        abstract_id = (link.get(_VALUE) or "") if link is not None else ""
        starts_anew = instance.find(f"{_WORD}lvlOverride/{_WORD}startOverride") is not None
        key = f"n{number_id}" if starts_anew else f"a{abstract_id}"
        counters = self.counters.setdefault(key, [0] * _MOST_LEVELS)
        definition = self._level(instance, abstract_id, level)
        start = _value(definition, "start", "1")
        first = int(start) if start.isdecimal() else 1
        counters[level] = counters[level] + 1 if counters[level] else max(1, first)
        counters[level + 1 :] = [0] * (_MOST_LEVELS - level - 1)
        if _value(definition, "numFmt", "bullet") in ("bullet", "none"):
            return ""

        def shown(match: re.Match[str]) -> str:
            at = int(match[1]) - 1
            form = _value(self._level(instance, abstract_id, at), "numFmt", "decimal")
            return written_number(max(1, counters[at]), form)

        return _PLACE.sub(shown, _value(definition, "lvlText", ""))

    def _level(self, instance: Any, abstract_id: str, level: int) -> Any:  # noqa: ANN401
        """Return the definition of a level, or None."""
        for override in instance.findall(f"{_WORD}lvlOverride"):
            if override.get(f"{_WORD}ilvl") == str(level):
                inner = override.find(f"{_WORD}lvl")
                if inner is not None:
                    return inner
        abstract = self.abstract.get(abstract_id)
        for node in abstract if abstract is not None else ():
            if local(node) == "lvl" and node.get(f"{_WORD}ilvl") == str(level):
                return node
        return None


def _value(node: Any, name: str, otherwise: str) -> str:  # noqa: ANN401
    inner = node.find(f"{_WORD}{name}") if node is not None else None
    value = inner.get(_VALUE) if inner is not None else None
    return otherwise if value is None else str(value)


def written_number(number: int, form: str) -> str:
    """Write a number as a format of Word says."""
    if form in ("lowerLetter", "upperLetter"):
        letter = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letter[:4] if form == "lowerLetter" else letter[:4].upper()
    if form in ("lowerRoman", "upperRoman") and number < _MOST_ROMAN:
        digits, rest = "", number
        for value, letters in _ROMAN:
            count, rest = divmod(rest, value)
            digits += letters * count
        return digits if form == "lowerRoman" else digits.upper()
    return f"{number:02}" if form == "decimalZero" else str(number)

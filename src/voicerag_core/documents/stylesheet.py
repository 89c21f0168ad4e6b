"""What classes of a style sheet say of text that has no better marks: bold, raised, large."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Looks", "looks_of"]

_RULE = re.compile(r"([^{}@]+)\{([^{}]*)\}")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_CLASS = re.compile(r"(?:p|span|b|strong|font|div)?\.([\w-]+)")
_SIZE = re.compile(r"font-size\s*:\s*([\d.]+)\s*(pt|px|em|rem|%)")
_BOLD = re.compile(r"font-weight\s*:\s*(?:bold|[6-9]00)")
_RAISED = re.compile(r"vertical-align\s*:\s*super|top\s*:\s*-0?\.\d")
_UNSEEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|:\s*line-through")
_POINTS = {"pt": 1.0, "px": 0.75, "em": 12.0, "rem": 12.0, "%": 0.12}
_USUAL_POINTS = 12.0
_LARGER = 1.15
_MAX_CHARACTERS = 500_000


@dataclass(frozen=True, slots=True)
class Looks:
    """Classes by how their text looks.

    Args:
        bold: Those in bold.
        raised: Those above the line.
        levels: Those that are larger than usual, with their rank among sizes, 1 the largest.
        unseen: Those that are not shown, or struck through. In a book they stay so; on a web page a
            script may show them.
    """

    bold: frozenset[str] = frozenset()
    raised: frozenset[str] = frozenset()
    levels: Mapping[str, int] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()


def looks_of(sheets: Iterable[str]) -> Looks:
    """Read rules for single classes; all else in a style sheet is passed over."""
    bold: set[str] = set()
    raised: set[str] = set()
    unseen: set[str] = set()
    sizes: dict[str, float] = {}
    for sheet in sheets:
        for selectors, rules in _RULE.findall(_COMMENT.sub("", sheet[:_MAX_CHARACTERS])):
            for selector in selectors.split(","):
                match = _CLASS.fullmatch(selector.strip())
                if match is None:
                    continue
                if _BOLD.search(rules):
                    bold.add(match[1])
                if _RAISED.search(rules):
                    raised.add(match[1])
                if _UNSEEN.search(rules):
                    unseen.add(match[1])
                if size := _SIZE.search(rules):
                    sizes[match[1]] = float(size[1]) * _POINTS[size[2]]
    larger = sorted({s for s in sizes.values() if s > _LARGER * _USUAL_POINTS}, reverse=True)
    levels = {name: larger.index(size) + 1 for name, size in sizes.items() if size in larger}
    return Looks(frozenset(bold), frozenset(raised), levels, frozenset(unseen))

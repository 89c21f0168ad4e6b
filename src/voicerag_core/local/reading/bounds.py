"""Bounds of a figure: a sentence on "80 hours or less" does not tell of more than 80 hours.

What somebody may have at most is told by a bound or a permission, not by any figure.
"""

from __future__ import annotations

import re

from voicerag_core.local.hearing.number_words import with_digits

__all__ = ["Bounds", "allows", "asks_for_allowance", "beyond", "bounds"]

Bounds = frozenset[tuple[str, bool]]
"""Figures, and whether something is bounded by them from below."""

_FIGURE = r"(?:[$\u20ac\u00a3\u00a5] ?)?(\d+(?:[.,]\d+)*)"
_MORE = r"(?:more|longer|greater|larger|bigger|higher|heavier|older|later|wider|taller)"
_LESS = r"(?:less|fewer|shorter|smaller|lower|lighter|younger|earlier|narrower)"
_BEYOND = r"(?:over|above|beyond|exceed(?:s|ed|ing)?)"
_OR = r"(?: [a-z]+){0,2} (?:or|and)"
_KNOWN = tuple(
    (re.compile(pattern), below)
    for below, pattern in (
        (True, rf"(?<!no )(?<!not )\b(?:{_MORE} than|{_BEYOND}) (?:the |an? )?{_FIGURE}"),
        (True, rf"{_FIGURE}{_OR} (?:{_MORE}|over|above|up(?:wards)?)\b"),
        (False, rf"\b(?:{_LESS} than|under|below|up to|at most) (?:the |an? )?{_FIGURE}"),
        (False, rf"\b(?:no|not) (?:{_MORE} than|{_BEYOND}) (?:the |an? )?{_FIGURE}"),
        (False, rf"\bmaximum (?:of )?{_FIGURE}"),
        (False, rf"{_FIGURE}{_OR} (?:{_LESS}|under|below)\b"),
    )
)


def bounds(text: str) -> Bounds:
    """Return the figures that bound something: of "over 80 hours" and "80 hours or more" 80."""
    plain = with_digits(text.lower())
    return frozenset(
        (match[1], below) for pattern, below in _KNOWN for match in pattern.finditer(plain)
    )


def beyond(asked: Bounds, text: str) -> bool:
    """Return whether a text tells only of the other side of a figure that is asked about."""
    said = bounds(text) if asked else frozenset()
    return any((figure, not below) in said and (figure, below) not in said
               for figure, below in asked)  # fmt: skip


_ALLOWANCE = re.compile(
    r"\bhow (?:many|much|long|often|far)\b[^?]*? (?:may|can|could)"
    r" (?:i|we|you|one|someone|somebody|an? [a-z-]+|each [a-z-]+|every [a-z-]+) ",
    re.IGNORECASE,
)
_ALLOWS = re.compile(
    r"\b(?:may|can|could|cannot|up to|at most|maxim\w+|no more|not more|no longer|limit\w*|each|per"
    r"|every|only|allow\w*|permit\w*|entitle[sd]?|must|will|get|gets|receive|earn|have|has|free"
    r"|an? (?:day|week|month|year|person|member)|within|for|until|largest|most|least|last|lasts)\b",
    re.IGNORECASE,
)


def asks_for_allowance(question: str) -> bool:
    """Return whether a question asks how much of something somebody may have or do."""
    return _ALLOWANCE.search(question) is not None


def allows(text: str) -> bool:
    """Return whether a sentence may tell how much somebody is allowed: it has a word for it."""
    return _ALLOWS.search(text) is not None

"""Days of the week that a text speaks of, those between two of them and "weekends" included."""

from __future__ import annotations

import re

__all__ = ["weekdays"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = (
    r"(?:mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:r(?:s(?:day)?)?)?|fri(?:day)?"
    r"|sat(?:urday)?|sun(?:day)?)s?"
)
_SPAN = re.compile(
    rf"\b(?P<first>{_DAY})\.?\s?(?:to|till|until|through|-|\u2013|\u2014)\s?(?P<last>{_DAY})\b",
    re.IGNORECASE,
)
_ONE = re.compile(rf"\b(?P<day>{_DAY})\b(?=[^\w])", re.IGNORECASE)
_GROUPS = (
    (re.compile(r"\bweek-?ends?\b", re.IGNORECASE), frozenset({5, 6})),
    (re.compile(r"\b(?:weekdays?|(?:working|business) days?)\b", re.IGNORECASE), frozenset(range(5))),
    (re.compile(r"\b(?:daily|every day|each day|all week)\b", re.IGNORECASE), frozenset(range(7))),
)


def weekdays(text: str) -> frozenset[int]:
    """Return the days of the week that a text names, 0 for Monday; empty where it names none."""
    found: set[int] = set()
    for span in _SPAN.finditer(text):
        day, last = _number(span["first"]), _number(span["last"])
        found.add(last)
        while day != last:
            found.add(day)
            day = (day + 1) % len(_DAYS)
    # "sat" and "sun" alone are words, too: a day by itself has a capital or its full name.
    found.update(
        _number(one["day"])
        for one in _ONE.finditer(f"{text} ")
        if one["day"][0].isupper() or one["day"].lower().rstrip("s").endswith("day")
    )
    for pattern, days in _GROUPS:
        if pattern.search(text):
            found |= days
    return frozenset(found)


def _number(day: str) -> int:
    return _DAYS.index(day[:3].lower())

"""How exactly does a sentence date something: to the year, the month or the day?"""

from __future__ import annotations

import re

__all__ = ["exactness", "says_more_exactly"]

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?\b"
_YEAR = r"(?:1[0-9]|20)\d\d\b"
_FORMS = (
    (
        3,
        re.compile(
            rf"\b{_DAY}(?: of)? {_MONTH},? {_YEAR}|\b{_MONTH} {_DAY},? (?:of )?{_YEAR}", re.I
        ),
    ),
    (
        3,
        re.compile(
            rf"\b{_YEAR[:-2]}-\d\d-\d\d\b|\b\d{{1,2}}[./]\d{{1,2}}[./](?:{_YEAR[:-2]}|\d\d)\b"
        ),
    ),
    (2, re.compile(rf"\b{_MONTH},? {_YEAR}|\b{_DAY}(?: of)? {_MONTH}|\b{_MONTH} {_DAY}", re.I)),
    (1, re.compile(rf"\b{_YEAR}")),
)


def exactness(text: str) -> int:
    """Return 3 for a day of a year, 2 for a month of a year or a day, 1 for a year, 0 for none."""
    return next((value for value, form in _FORMS if form.search(text)), 0)


def says_more_exactly(text: str, other: str) -> bool:
    """Tell whether one sentence dates something more exactly than another, in the same year."""
    said = set(re.findall(rf"\b{_YEAR}", text))
    years = set(re.findall(rf"\b{_YEAR}", other))
    decades = tuple(re.findall(r"\b((?:1[0-9]|20)\d)0s\b", other))
    same = bool(years & said) or any(year.startswith(decades) for year in said if decades)
    same = same or not (years or decades)
    return same and exactness(text) > exactness(other)

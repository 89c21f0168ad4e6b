"""Dates: how exactly a sentence dates something, and whether it is of another day or month."""

from __future__ import annotations

import re
from typing import TypeAlias

from voicerag_core.local.reading.calendar_words import MONTHS
from voicerag_core.local.reading.moments import Date, moments

__all__ = ["Dates", "dates_of", "exactness", "other_date", "says_more_exactly"]

Dates: TypeAlias = tuple[frozenset[Date], ...]
"""Dates with at least a month, each with all its readings."""

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


_LASTS = re.compile(
    r"\b(?:from|since|until|till|by|before|after|between|through|during|as of|up to|within)\b"
    r"|\d ?[-\u2013\u2014] ?\d",
    re.IGNORECASE,
)
"""Where more than the day that is named may be meant."""


_WORD_MONTH = re.compile(
    r"\b(?i:in|of|for|last|early|late|until|by|since|from) (March|May|August)\b(?! \d)"
)
"""Months that are words, too, where they can be nothing else."""


def dates_of(text: str) -> Dates:
    """Return the days and months that a text names."""
    found = [frozenset(d for d in date if d.month is not None) for date in moments(text).dates]
    months = [MONTHS.index(match[1].lower()) + 1 for match in _WORD_MONTH.finditer(text)]
    found += [frozenset((Date(None, month, None),)) for month in months]
    return tuple(date for date in found if date)


def other_date(asked: Dates, text: str) -> bool:
    """Return whether a sentence is dated, and to no day or month that is asked about.

    Args:
        asked: `dates_of` the question.
        text: The sentence; one that tells of a time from or up to a day is of no other.
    """
    if not asked or _LASTS.search(text):
        return False
    said = dates_of(text)
    return bool(said) and not any(
        _agree(one, other) for own in asked for one in own for date in said for other in date
    )


def _agree(one: Date, other: Date) -> bool:
    """Whether two dates may be the same, as far as both are told."""
    parts = ((one.month, other.month), (one.day, other.day), (one.year, other.year))
    return all(a == b or a is None or b is None for a, b in parts)

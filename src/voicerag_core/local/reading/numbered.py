"""Things that are told apart by a number: a season, an edition, a version, a quarter, a part."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from voicerag_core.local.reading.calendar_words import MONTH_WORDS
from voicerag_core.local.reading.features import content_words
from voicerag_core.local.reading.near_misses import MEASURED, ordinal_value

__all__ = ["conflicts", "numbered"]

_ROMAN = {"ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8", "ix": "9"}
_AFTER = re.compile(
    r"\b(?P<thing>[a-z][a-z'-]+),? (?:no\.? |number |#)?"
    r"(?P<number>\d{1,3}(?:\.\d+)*|[ivx]{2,4})(?![\w%:]|[.,/-]\d|(?: |-)?(?:%|percent|am\b|pm\b))"
)
_BEFORE = re.compile(
    r"\b(?P<number>\d{1,3}(?:st|nd|rd|th)|[a-z]+(?:st|nd|rd|th))"
    r"(?: (?:and|or) (?:final|last|most recent|current))?(?: [a-z'-]+)? (?P<thing>[a-z][a-z'-]+)"
)
_ONE = re.compile(
    r"\b(type|class|part|phase|stage|volume|chapter|act|level|grade|war|category|group|book|section)"
    r" I\b",
    re.IGNORECASE,
)
"""Kinds that "I" numbers; elsewhere it is who speaks."""

_QUARTER = re.compile(r"\bq(?P<number>[1-4])\b")
_IN_SERIES = re.compile(
    r"(?:season|series|edition|quarter|half|episode|chapter|part|phase|floor|round|week|month|year"
    r"|semester|term|grade|volume|act|section|step|stage|session|generation|version|class|level)s?"
)
"""Things of which "the first" is one in a row, not the earliest."""

_NO_THING = MONTH_WORDS.union(
    re.split(
        r"\s",
        "in on at of to by for from with and or the a an than over under about around until since "
        "after before between within least most up only is are was were be have has had at per "
        "its all any some no not these those this that his her their our your what which how many "
        "age aged cost costs costing worth "
        "century time times place first last next",
    )
)


def numbered(text: str) -> dict[str, frozenset[str]]:
    """Return the numbers of the things that a text tells apart by number.

    "Season 4", "the fourth season" and "Q3" give {"season": {"4"}} and {"quart": {"3"}}.
    """
    numerals = _ONE.sub(r"\1 1", unicodedata.normalize("NFKC", text))
    plain = " ".join(numerals.lower().split(" "))
    found: dict[str, set[str]] = {}
    for match in _AFTER.finditer(plain):
        if MEASURED.match(plain, match.end()):
            continue
        number = _ROMAN.get(match["number"], match["number"])
        if number[0].isdigit():
            _note(found, match["thing"], number)
    for match in _BEFORE.finditer(plain):
        value = ordinal_value(match["number"])
        # The thing is the next word or the one after: "the 93rd Academy Awards".
        for thing in match[0][len(match["number"]) :].split()[-2:]:
            if value and (value != "1" or _IN_SERIES.fullmatch(thing)):
                _note(found, thing, value)
    for match in _QUARTER.finditer(plain):
        _note(found, "quarter", match["number"])
    return {thing: frozenset(numbers) for thing, numbers in found.items()}


def conflicts(asked: Mapping[str, frozenset[str]], text: str) -> bool:
    """Tell whether a text has another number of a thing that is asked for by its number."""
    if not asked:
        return False
    said = numbered(text)
    return any(
        thing in said and said[thing].isdisjoint(numbers) and not _extends(numbers, said[thing])
        for thing, numbers in asked.items()
    )


def _extends(asked: frozenset[str], said: frozenset[str]) -> bool:
    """Whether a version is said more exactly or less: "2.32" and "2.32.5"."""
    return any(
        one.startswith(other + ".") or other.startswith(one + ".")
        for one in asked
        for other in said
    )


def _note(found: dict[str, set[str]], thing: str, number: str) -> None:
    if thing not in _NO_THING and (words := content_words(thing)):
        found.setdefault(words[-1], set()).add(number)

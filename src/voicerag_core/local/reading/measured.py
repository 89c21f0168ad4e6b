"""What a question wants measured, and which texts say such a measure.

A text seldom repeats the word by which a question asks for a figure: "How long does it take?" is
answered by "20 minutes", "What does it cost?" by "12 euros".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from voicerag_core.local.reading.stems import stem

__all__ = ["MONEY", "REPEATED", "Measured", "measured"]

_FIGURE = (
    r"(?:\d[\d.,]*|\b(?:an?|half an?|half|one|two|three|four|five|six|seven|eight|nine|ten|eleven"
    r"|twelve|fifteen|twenty|thirty|forty|fifty|sixty|ninety|hundred|thousand|million))[ -]?"
)
_COINS = (
    r"(?:euros?|eur|dollars?|usd|pounds?|gbp|pence|cents?|francs?|chf|kron(?:or|er|e)|sek|nok|dkk"
    r"|rupees?|yen|yuan)\b"
)
_SECONDS = r"(?:seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|nights?|weeks?|months?|years?)\b"
_METRES = (
    r"(?:mm|cm|m|km|inch(?:es)?|feet|foot|ft|yards?|miles?"
    r"|(?:milli|centi|kilo)?met(?:er|re)s?)\b"
)
_GRAMS = r"(?:mg|g|kg|kilos?|(?:kilo)?grams?|tons?|tonnes?|lbs?|pounds?|ounces?|stones?)\b"
_DEGREES = r"(?:°|degrees?\b)"


def _said(unit: str) -> re.Pattern[str]:
    """Find a figure with a unit, or the unit in brackets as the name of a column has it."""
    return re.compile(rf"{_FIGURE}{unit}|\((?:in )?{unit}\)", re.IGNORECASE)


MONEY = re.compile(
    rf"[$\u20ac\u00a3\u00a5] ?\d|{_FIGURE}(?:[$\u20ac\u00a3\u00a5]|{_COINS})"
    rf"|\b(?:price|cost|fee)s?\W{{1,3}}(?:in )?(?:[$\u20ac\u00a3\u00a5]|{_COINS})"
    r"|\b(?:free|without charge|no charge|on the house)\b",
    re.IGNORECASE,
)
"""A sum of money, or that nothing is charged."""

_TIME = _said(_SECONDS)
_LENGTH = _said(_METRES)
_MASS = _said(_GRAMS)
_HEAT = _said(_DEGREES)
REPEATED = re.compile(
    r"\b(?:every|each|per|once|twice|times|daily|weekly|fortnightly|monthly|quarterly|yearly"
    r"|annual(?:ly)?|an? (?:day|week|month|year))\b",
    re.IGNORECASE,
)
"""How often something happens."""

_PAID = r"(?:costs?|pay|paid|price|charged?|spend|owe|worth|money|expensive|fees?|fares?)"
_ANY = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a question wants measured.

    Args:
        words: Its words, stemmed, that a text says by giving the measure.
        said: Finds such a measure in a text.
        by: Name of the measure.
    """

    words: frozenset[str]
    said: re.Pattern[str]
    by: str


_ASKED = tuple(
    (by, re.compile(asks, re.IGNORECASE), frozenset(map(stem, words.split())), said)
    for by, asks, words, said in (
        (
            "money",
            rf"\bhow (?:much|expensive)\b.*\b{_PAID}\b|\bwhat\b.*\b{_PAID}\b|\bhow expensive\b",
            "cost pay price charge spend owe worth money expensive fee fare",
            MONEY,
        ),
        ("distance", r"\bhow far\b(?! (?:in advance|ahead|back|before|along))", "far", _LENGTH),
        (
            "time",
            r"\bhow (?:long|soon|quickly|far (?:in advance|ahead|back|before))\b",
            "long soon quickly far take last",
            _TIME,
        ),
        ("age", r"\bhow (?:old|young)\b", "old young", re.compile(r"\d|\byears?\b", re.I)),
        ("mass", r"\bhow heavy\b|\bhow much\b.*\bweighs?\b", "heavy weigh", _MASS),
        ("heat", r"\bhow (?:hot|warm|cold)\b", "hot warm cold", _HEAT),
        ("often", r"\bhow (?:often|frequently)\b", "often frequently", REPEATED),
        ("size", r"\bhow (?:tall|high|wide|deep|thick)\b", "tall high wide deep thick", _LENGTH),
        (
            "figure",
            r"\bhow (?:big|large|fast|loud|full|steep|small)\b",
            "big large fast loud full steep small",
            _ANY,
        ),
    )
)


def measured(question: str) -> Measured | None:
    """Return what a question wants measured, None where it asks for nothing of the kinds known."""
    for by, asks, words, said in _ASKED:
        if asks.search(question):
            return Measured(words, said, by)
    return None

"""Dates and times of day in a text, whatever form they are written in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from voicerag_core.local.hearing.number_words import ONES_SPOKEN
from voicerag_core.local.reading.calendar_words import MONTHS, SHORT_MONTHS

__all__ = ["Date", "Moments", "moments"]

_MONTHS = tuple(
    dict(zip(names.split(), range(1, 13), strict=True))
    for names in (
        " ".join(MONTHS),
        " ".join(SHORT_MONTHS),
        "januar februar märz april mai juni juli august september oktober november dezember",
        "jan feb mär apr mai jun jul aug sep okt nov dez",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    )
)
_MONTH = {name: number for names in _MONTHS for name, number in names.items()} | {
    "sept": 9, "jänner": 1, "setiembre": 9,
}  # fmt: skip
_NAMES = "|".join(sorted(_MONTH, key=len, reverse=True))
_ALONE = "|".join(name.capitalize() for name in MONTHS if name not in ("march", "may", "august"))
_YEAR = r"(?:1\d{3}|2[01]\d\d)"
_ORDINAL = r"(?:st|nd|rd|th|er|\.|º)?"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE | re.ASCII)
    for form in (
        rf"(?<![\w.-])(?P<y>{_YEAR})(?P<s>[-/.])(?P<m>\d\d?)(?P=s)(?P<d>\d\d?)(?![\w-])",
        rf"(?<![\w./-])(?P<d>\d\d?)(?P<s>[./-])\s?(?P<m>\d\d?)(?P=s)\s?(?P<y>{_YEAR}|\d\d)(?![\w/-])",
        (
            rf"(?<![\w])(?P<d>\d\d?){_ORDINAL}(?:\s(?:of|de|day of))?\s(?P<n>{_NAMES})\b\.?"
            rf"(?:,?\s(?:de\s|del\s|of\s)?(?P<y>{_YEAR}))?"
        ),
        (
            rf"(?<![\w])(?P<n>{_NAMES})\.?\s(?:the\s)?(?P<d>\d\d?)(?:st|nd|rd|th)?(?![\d:.])"
            rf"(?:,?\s(?P<y>{_YEAR}))?"
        ),
        rf"(?<![\w])(?P<n>{_NAMES})\.?,?\s(?:of\s|de\s|del\s)?(?P<y>{_YEAR})(?!\d)",
        rf"(?:(?P<y>{_YEAR})\s?年\s?)?(?P<m>\d\d?)\s?月(?:\s?(?P<d>\d\d?)\s?[日号])?",
    )
)
_LATER = re.compile(rf"(?<![\w])(?P<n>{_ALONE})(?![\w])")
_SPAN = re.compile(
    rf"(?<!\w)(\d\d?){_ORDINAL}\s?(?:[-–—]|to|bis|au|al)\s?(?=\d\d?{_ORDINAL}\s(?:of\s)?(?:{_NAMES})\b)",
    re.IGNORECASE,
)
_DAYS = (
    ("monday mon montag lundi lunes 星期一 周一"),
    ("tuesday tue tues dienstag mardi martes 星期二 周二"),
    ("wednesday wed mittwoch mercredi miércoles 星期三 周三"),
    ("thursday thu thur thurs donnerstag jeudi jueves 星期四 周四"),
    ("friday fri freitag vendredi viernes 星期五 周五"),
    ("saturday sat samstag sonnabend samedi sábado 星期六 周六"),
    ("sunday sun sonntag dimanche domingo 星期日 星期天 周日"),
)
_DAY = {name: number for number, names in enumerate(_DAYS) for name in names.split()}
_DAY_NAME = re.compile(
    rf"(?<![^\W\d_])(?P<day>{'|'.join(sorted(_DAY, key=len, reverse=True))})s?\b\.?"
    r"(?P<to>\s?(?:[-–—]|to|through|until|bis|au|a|al|至|到)\s?)?",
    re.IGNORECASE,
)
_WHOLE_WEEK = re.compile(
    r"\b(?:daily|every day|each day|any day|täglich|tous les jours)\b|每天", re.I
)
_WEEKDAYS = re.compile(r"\b(?:weekdays?|working days?|business days?|werktags)\b|工作日", re.I)
_WEEKEND = re.compile(r"\b(?:weekends?|wochenenden?|fin de semana)\b|周末", re.I)
_SHORT_DAYS = frozenset(("sun", "sat", "mon", "wed"))
"""Short names that are words, too."""

_CLOCK = re.compile(
    r"(?<![\w:.,])(?P<h>[01]?\d|2[0-4])(?:(?P<s>[:.h])\s?(?P<m>[0-5]\d))?"
    r"\s?(?P<half>[ap]\.?m\b\.?|uhr\b|o.clock\b|heures\b|h\b|点)?(?![\d:%])",
    re.IGNORECASE | re.ASCII,
)
_HOURS = ONES_SPOKEN[1:13]
_SPOKEN_HOUR = re.compile(
    rf"\b(?:at|by|until|till|from|before|after|to|between)\s(?:half past )?"
    rf"(?P<hour>{'|'.join(_HOURS)})(?=\s*(?:[.,;:!?)]|\Z|\b(?:o.clock|in the|at night|on|and|to"
    r"|until|till|but|every|each|daily|sharp|[ap]\.?m)\b))",
    re.IGNORECASE,
)
"""An hour in words where no thing follows that it would count."""
_NAMED_TIMES = (("noon", 720), ("midday", 720), ("midnight", 0), ("mittags", 720), ("midi", 720))
MONTH_DAYS = 31
HALF_DAY = 12
NOON = 720
DAY = 1440


@dataclass(frozen=True, slots=True)
class Date:
    """A date; None for what is not said of it."""

    year: int | None
    month: int | None
    day: int | None


@dataclass(frozen=True, slots=True)
class Moments:
    """The dates and times of a text.

    Args:
        dates: Each with all the readings of it: "03/05/2024" has two.
        clocks: Times of day in minutes, each with all the readings of it.
        weekdays: 0 Monday to 6 Sunday.
        rest: The text with blanks in the place of dates and times.
    """

    dates: tuple[frozenset[Date], ...]
    clocks: tuple[frozenset[int], ...]
    weekdays: frozenset[int]
    rest: str


def moments(text: str) -> Moments:
    """Find the dates, times and days of the week in a text."""
    dates: list[frozenset[Date]] = []
    firsts = [(match.start(), int(match[1])) for match in _SPAN.finditer(text)]
    for form in _FORMS:
        text = form.sub(lambda found: _noted(found, dates), text)
    # The first day of "3-5 May" has the month of the second.
    for at, day in firsts:
        if dates and text[at : at + 2].strip(".-– ").isdigit():
            months = {(date.year, date.month) for one in dates for date in one if date.day}
            dates.append(frozenset(Date(year, month, day) for year, month in months))
    dates += [frozenset((Date(None, _MONTH[m["n"].lower()], None),)) for m in _LATER.finditer(text)]
    clocks: list[frozenset[int]] = []
    text = _CLOCK.sub(lambda found: _timed(found, clocks), text)
    for match in _SPOKEN_HOUR.finditer(text):
        hour = (_HOURS.index(match["hour"].lower()) + 1) * 60 + 30 * ("half" in match[0].lower())
        clocks.append(frozenset((hour % DAY, (hour + NOON) % DAY)))
    clocks += [
        frozenset((at,)) for name, at in _NAMED_TIMES if re.search(rf"\b{name}\b", text, re.I)
    ]
    return Moments(tuple(dates), tuple(clocks), _weekdays(text), text)


def _noted(found: re.Match[str], dates: list[frozenset[Date]]) -> str:
    parts = found.groupdict()
    year = int(parts["y"]) if parts.get("y") else None
    if year is not None and len(parts["y"]) == 2:  # noqa: PLR2004 - "24" for 2024
        year += 1900 if year >= 70 else 2000  # noqa: PLR2004
    day = int(parts["d"]) if parts.get("d") else None
    if parts.get("n"):
        readings = [Date(year, _MONTH[parts["n"].lower()], day)]
    else:
        month = int(parts["m"])
        readings = [Date(year, month, day)]
        if parts.get("s") == "/" and day is not None:
            readings.append(Date(year, day, month))
    possible = [
        one
        for one in readings
        if 1 <= (one.month or 1) <= len(MONTHS) and 1 <= (one.day or 1) <= MONTH_DAYS
    ]
    if not possible or (parts.get("n") == "may" and found[0].startswith("may")):
        return found[0]
    dates.append(frozenset(possible))
    return " " * len(found[0])


def _timed(found: re.Match[str], clocks: list[frozenset[int]]) -> str:
    hours, minutes, half, mark = int(found["h"]), found["m"], found["half"], found["s"]
    is_clock = half or (minutes and mark in ":h")
    if not is_clock or (half and half.lower() == "h" and not minutes):
        return found[0]
    at = hours * 60 + int(minutes or 0)
    letter = (half or "")[:1].lower()
    if letter in ("a", "p") and hours <= HALF_DAY:
        readings = {at % NOON + (NOON if letter == "p" else 0)}
    else:
        readings = {at % DAY}
        if hours <= HALF_DAY and letter not in ("u", "h"):
            readings.add((at + NOON) % DAY)
    clocks.append(frozenset(readings))
    return " " * len(found[0])


def _weekdays(text: str) -> frozenset[int]:
    found: set[int] = set()
    since: int | None = None
    for match in _DAY_NAME.finditer(text):
        if match["day"].lower() in _SHORT_DAYS and not match["day"][0].isupper():
            continue
        day = _DAY[match["day"].lower()]
        if since is not None:
            found.update((since + step) % 7 for step in range((day - since) % 7 + 1))
        found.add(day)
        since = day if match["to"] else None
    for pattern, days in ((_WHOLE_WEEK, range(7)), (_WEEKDAYS, range(5)), (_WEEKEND, (5, 6))):
        if pattern.search(text):
            found.update(days)
    return frozenset(found)

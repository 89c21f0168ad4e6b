"""Dates, times of day, years and decades as they are said."""

from __future__ import annotations

import re

from voicerag_core.local.speaking.numerals import ordinal

__all__ = ["with_spoken_dates", "with_spoken_years"]

MONTHS, DAYS = 12, 31
NOON = 12
LAST_CENTURY = 70
"""Two figures from here on are a year of the last century."""
_WHOLE_HOUR = ("o'clock", "hundred")
"""Behind a whole hour, up to noon and after it: "9 o'clock", "17 hundred"."""

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_SHORT = {name[:3]: name for name in _MONTHS} | {"Sept": "September"}
_NAMES = "|".join([*_MONTHS, *sorted(_SHORT, key=len, reverse=True)])
_DAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday",
    "Thur": "Thursday", "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
_DAY = "|".join([*sorted(_DAYS, key=len, reverse=True), *sorted(set(_DAYS.values()))])
_DASH = r"\s?[-\u2013\u2014]\s?"

_CLOCK = r"([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d)(?:\.\d+)?)?"
_HALF = r"(?:\s?(a\.m\.|p\.m\.|am|pm|AM|PM|A\.M\.|P\.M\.)(?!\w))?"
_STAMP = re.compile(rf"(?<![\w.-])(\d{{4}}-\d\d-\d\d)T{_CLOCK}(?:Z|[+-]\d\d:?\d\d)?(?!\w)")
_ISO = re.compile(r"(?<![\w.-])(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?![\w-]|[./]\d)")
_FIGURES = re.compile(r"(?<![\w./-])(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?![\w-]|[./]\d)")
_SHORT_FIGURES = re.compile(r"(?<![\w./-])(\d\d)(/)(\d\d)/(\d\d)(?![\w/-]|\.\d)")
_WEEK = re.compile(r"(?<![\w.-])(\d{4})-W(\d\d)(?![\w-])")
_QUARTER = re.compile(r"\b([QH][1-4])/(?=(?:19|20)\d\d\b)")
_DOTTED_TIME = re.compile(rf"(?<![\w.,])([01]?\d)\.([0-5]\d)(?={_HALF[:-1]}(?<=[mM.]))")
_DATES_RANGE = re.compile(
    rf"((?:of (?:{'|'.join(_MONTHS)})|(?:{'|'.join(_MONTHS)}) \d{{1,2}}[a-z]{{2}})(?:,? \d{{4}})?)"
    rf"{_DASH}(?=the \d|(?:{'|'.join(_MONTHS)}) \d)"
)
_YEAR_MONTH = re.compile(r"(?<![\w./-])((?:19|20)\d\d)-(0[1-9]|1[0-2])(?![\w-]|[./]\d)")
_DAY_MONTH = re.compile(
    rf"(?<![\w.,/-])(\d{{1,2}})\.?(?:st|nd|rd|th)?(?: of)? "
    rf"({_NAMES})\b(?:\.(?=,| \d| [a-z]))?(,? \d{{4}}\b)?"
)
_MONTH_DAY = re.compile(
    rf"\b({_NAMES})\.? (\d{{1,2}})(?:st|nd|rd|th)?(?!\w|[-/:.,]?\d|%)(,? \d{{4}}\b)?"
)
_SAME_MONTH = re.compile(rf"(?<![\w.,/-])(\d{{1,2}})\.?{_DASH}(\d{{1,2}})\.? ({_NAMES})\b")
_MONTH_SAME = re.compile(rf"\b({_NAMES})\.? (\d{{1,2}}){_DASH}(\d{{1,2}})(?![\w:/-])")
_SHORT_MONTH = re.compile(rf"\b({'|'.join(_SHORT)})\.?(?= \d{{4}}\b)")
_MONTH_YEAR = re.compile(r"(?<![\w./-])(0?[1-9]|1[0-2])/((?:19|20)\d\d)(?![\w/-])")
_YEARS_SLASH = re.compile(r"(?<![\w./-])((?:19|20)\d\d)/(\d\d)(?![\w/-])")
_MONTHS_RANGE = re.compile(rf"\b({_NAMES})\.?{_DASH}({_NAMES})\b(?:\.(?= [\da-z]))?")
_DAYS_RANGE = re.compile(rf"\b({_DAY})\.?{_DASH}({_DAY})\b(\.(?=\s?\d|:))?")
_DAYS_LIST = re.compile(rf"\b({'|'.join(_DAYS)})\b\.?(?=(?:,? ?(?:and|or|&)|,|/) ?(?:{_DAY})\b)")
_DAYS_LISTED = re.compile(
    rf"(?<=day)(,? ?(?:and|or|&) ?|, ?|/)({'|'.join(_DAYS)})\b(\.(?=\s[a-z\d]))?"
)
_SHORT_DAY = re.compile(
    rf"\b({'|'.join(_DAYS)})(?:\.:?|:)?(?= \d{{1,2}}(?::\d\d|\s?[ap]m\b|{_DASH}\d))"
)
_TIMES = re.compile(rf"(?<![\w:.,]){_CLOCK}{_HALF}(?![\w:]\d|\d)")
_HOURS = re.compile(
    r"(?<![\w:.,])(1[0-2]|0?[1-9])\s?(a\.m\.|p\.m\.|am|pm|AM|PM|A\.M\.|P\.M\.)(?!\w)"
)
_RATIO = re.compile(
    r"(?<![\w:.])(\d{1,3}):"
    r"(\d|\d{1,3}(?:,\d{3})+|\d{3,}|\d\d(?= (?:ratio|odds|scale|mix|split)\b))(?![\w:])"
)
_HOURS_RANGE = re.compile(
    rf"(?<![\w:.,/-])(\d{{1,2}}(?::\d\d)?\s?(?:[ap]m|[ap]\.m\.|[AP]M)?){_DASH}"
    r"(?=\d{1,2}(?::\d\d|\s?(?:[ap]m|[ap]\.m\.|[AP]M)(?!\w)))"
)

_DECADE = re.compile(r"(?:(?<![\w.,-])|(?<=[a-z]-))(\d\d)?([0-9]0)['\u2019]?s\b")
_SHORT_DECADE = re.compile(r"(?<!\w)['\u2019](\d0)s\b")
_TENS = {
    "00": "hundreds", "10": "tens", "20": "twenties", "30": "thirties", "40": "forties",
    "50": "fifties", "60": "sixties", "70": "seventies", "80": "eighties", "90": "nineties",
}  # fmt: skip
_YEAR = re.compile(
    r"(?<!\d )(?<![\w.,:/$\u20ac\u00a3+-])(1[1-9])(\d\d)(?![\w%:/]|[.,]\d| \d{3}\b|-\d)"
)
_NO_NOUN = re.compile(
    r"\s+(?:and|or|to|until|till|was|is|were|had|has|when|where|which|who|the|a|an|as|by|for|from|"
    r"in|on|at|with|but|he|she|it|they|after|before|because|while|that|this|did|would|could)\b"
)


def with_spoken_dates(text: str) -> str:
    """Rewrite dates and times: 2024-05-03 as May 3rd, 2024, and 9:05 as 9 oh 5."""
    text = _STAMP.sub(r"\1, \2:\3", text)
    text = _WEEK.sub(lambda m: f"week {int(m[2])} of {m[1]}", text)
    text = _QUARTER.sub(r"\1 ", text)
    text = _ISO.sub(lambda m: _date(m.group(), m[1], m[3], m[4]), text)
    text = _FIGURES.sub(_figures, text)
    text = _SHORT_FIGURES.sub(_figures, text)
    text = _YEAR_MONTH.sub(lambda m: f"{_MONTHS[int(m[2]) - 1]} {m[1]}", text)
    text = _MONTH_YEAR.sub(lambda m: f"{_MONTHS[int(m[1]) - 1]} {m[2]}", text)
    text = _YEARS_SLASH.sub(r"\1 to \2", text)
    text = _MONTHS_RANGE.sub(lambda m: f"{_month(m[1])} to {_month(m[2])}", text)
    text = _SAME_MONTH.sub(_same_month, text)
    text = _MONTH_SAME.sub(
        lambda m: f"{_month(m[1])} {ordinal(int(m[2]))} to {ordinal(int(m[3]))}", text
    )
    text = _DAY_MONTH.sub(_day_month, text)
    text = _MONTH_DAY.sub(_month_day, text)
    text = _DATES_RANGE.sub(r"\1 to ", text)
    text = _SHORT_MONTH.sub(lambda m: _SHORT[m[1]], text)
    text = _DAYS_LIST.sub(lambda m: _DAYS[m[1]], text)
    while (more := _DAYS_LISTED.sub(lambda m: f"{m[1]}{_DAYS[m[2]]}", text)) != text:
        text = more
    text = _DAYS_RANGE.sub(lambda m: f"{_weekday(m[1])} to {_weekday(m[2])}", text)
    text = _SHORT_DAY.sub(lambda m: _DAYS[m[1]], text)
    text = _DOTTED_TIME.sub(r"\1:\2", text)
    text = _HOURS_RANGE.sub(r"\1 to ", text)
    text = _RATIO.sub(r"\1 to \2", text)
    text = _TIMES.sub(_time, text)
    return _HOURS.sub(lambda m: f"{int(m[1])} {_half(m, 2)}", text)


def with_spoken_years(text: str) -> str:
    """Rewrite years as two halves, and decades as words: 1984, the 1990s, the 80s."""
    text = _SHORT_DECADE.sub(lambda m: _TENS[m[1]], text)
    text = _DECADE.sub(_decade, text)
    return _YEAR.sub(_year, text)


def _month(name: str) -> str:
    return _SHORT.get(name, name)


def _weekday(name: str) -> str:
    return _DAYS.get(name, name)


def _date(given: str, year: str, month: str, day: str) -> str:
    if not (1 <= int(month) <= MONTHS and 1 <= int(day) <= DAYS):
        return given
    return f"{_MONTHS[int(month) - 1]} {ordinal(int(day))}, {year}"


def _figures(found: re.Match[str]) -> str:
    """Read a date of figures alone; where day and month cannot be told apart, figure by figure."""
    first, mark, second, year = found.groups()
    if len(year) == len("24"):
        year = f"{'20' if int(year) < LAST_CENTURY else '19'}{year}"
    if (
        mark == "." or int(first) > MONTHS
    ):  # a dot is the Continent's, with the day before the month
        return _date(found.group(), year, second, first)
    if int(second) > MONTHS or first == second:
        return _date(found.group(), year, first, second)
    return f"{int(first)}, {int(second)}, {year}"


def _day_month(found: re.Match[str]) -> str:
    day, month, year = found.groups()
    if not 1 <= int(day) <= DAYS:
        return found.group()
    return f"{_the(found)}{ordinal(int(day))} of {_month(month)}{year or ''}"


def _same_month(found: re.Match[str]) -> str:
    first, last, month = found.groups()
    if not 1 <= int(first) < int(last) <= DAYS:
        return found.group()
    return f"{_the(found)}{ordinal(int(first))} to {ordinal(int(last))} of {_month(month)}"


def _the(found: re.Match[str]) -> str:
    return "" if found.string[: found.start()].lower().endswith("the ") else "the "


def _month_day(found: re.Match[str]) -> str:
    month, day, year = found.groups()
    after = found.string[found.end() :]
    counts = (
        month in {"May", "March"} and re.match(r"\s+[a-z]", after) and not _NO_NOUN.match(after)
    )
    if not 1 <= int(day) <= DAYS or (counts and not year):
        return found.group()
    return f"{_month(month)} {ordinal(int(day))}{year or ''}"


def _half(found: re.Match[str], group: int) -> str:
    """Return AM or PM, with the dot that also ended the sentence."""
    given = found[group]
    ends = given.endswith(".") and not re.match(r"\s*[a-z,;(\u2013-]", found.string[found.end() :])
    return given.replace(".", "").upper() + ("." if ends else "")


def _time(found: re.Match[str]) -> str:
    hour, minute, second, half = found.groups()
    hours = int(hour)
    if minute == "00":
        whole = f"{hours}" if half else f"{hours} {_WHOLE_HOUR[hours > NOON]}"
        whole = "midnight" if hours in {0, 24} and not half else whole
    else:
        whole = f"{hours} oh {int(minute)}" if minute[0] == "0" else f"{hours} {minute}"
    seconds = f" and {int(second)} seconds" if second and int(second) else ""
    return f"{whole}{seconds}" + (f" {_half(found, 4)}" if half else "")


def _decade(found: re.Match[str]) -> str:
    century, tens = found.groups()
    if century is None:
        return _TENS[tens] if tens != "00" else found.group()
    if tens == "00":
        return f"{century} hundreds" if century[1] != "0" else f"{century[0]} thousands"
    return f"{century} {_TENS[tens]}"


def _year(found: re.Match[str]) -> str:
    """Part a year; a number of things, as in "1250 people", is none."""
    after = found.string[found.end() :]
    if re.match(r"\s+[a-z]", after) and not _NO_NOUN.match(after):
        return found.group()
    century, rest = found.groups()
    if rest == "00":
        return found.group()
    return f"{century} oh {rest[1]}" if rest[0] == "0" else f"{century} {rest}"

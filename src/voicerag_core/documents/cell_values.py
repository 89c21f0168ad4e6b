"""Values of cells as a sheet shows them."""

from __future__ import annotations

import datetime
import re

__all__ = ["shown_value"]

_CONDITION = re.compile(r"\[(?:\$([^\]-]*)(?:-[^\]]*)?|[^\]]*)\]")
_SPACING = re.compile(r"[_*].")
_QUOTED = re.compile(r'"([^"]*)"|\\(.)')
_DIGITS = re.compile(r"[#0?][#0?,]*(?:\.[#0?]+)?|\.[#0?]+")
_MOST_DIGITS = 15
_HELD = {ord(mark): 0xE000 + i for i, mark in enumerate("#0?,.%;@E")}
_RELEASED = {held: mark for mark, held in _HELD.items()}


def shown_value(value: object, number_format: str | None) -> str:
    """Return a value as its number format shows it.

    Dates are written as 2026-03-01 and times as 9:30, whatever the format. Of a number's format are
    kept its decimals, its grouping, percent, and the words and currency around it.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return _when(value)
    if isinstance(value, int | float):
        return _number(value, number_format or "General")
    return str(value)


def _when(value: datetime.date | datetime.time | datetime.timedelta) -> str:
    if isinstance(value, datetime.datetime):
        return _moment(value)
    if isinstance(value, datetime.time):
        return _clock(value.hour, value.minute, value.second + round(value.microsecond / 1e6))
    if isinstance(value, datetime.timedelta):
        seconds = round(value.total_seconds())
        sign = "-" if seconds < 0 else ""
        minutes, rest = divmod(abs(seconds), 60)
        return sign + _clock(*divmod(minutes, 60), rest)
    return value.isoformat()


def _moment(value: datetime.datetime) -> str:
    rounded = value + datetime.timedelta(microseconds=500_000)
    date = rounded.date().isoformat()
    if not (rounded.hour or rounded.minute or rounded.second):
        return date
    return f"{date} {_clock(rounded.hour, rounded.minute, rounded.second)}"


def _clock(hours: int, minutes: int, seconds: int) -> str:
    return f"{hours}:{minutes:02}" + (f":{seconds:02}" if seconds else "")


def _number(value: float, number_format: str) -> str:
    sections = number_format.split(";")
    section = sections[0]
    if value < 0 and len(sections) > 1 and sections[1].strip():
        section = sections[1]
        bare = "-" in section or "(" in section
        value = -value if bare else value
    section = _CONDITION.sub(lambda match: f'"{match[1]}"' if match[1] else "", section)
    section = _QUOTED.sub(lambda match: (match[1] or match[2] or "").translate(_HELD), section)
    section = _SPACING.sub("", section)
    digits = _DIGITS.search(section)
    if digits is None or "E+" in section or "General" in section or "@" in section:
        return _plain(value)
    if "%" in section:
        value *= 100
    whole, _, decimals = digits[0].partition(".")
    least, most = decimals.count("0"), len(decimals)
    text = f"{value:{',' if ',' in whole.rstrip(',') else ''}.{min(most, _MOST_DIGITS)}f}"
    if most > least:
        text = text.rstrip("0") if least == 0 else text
        text = text.rstrip(".")
    before, after = section[: digits.start()], section[digits.end() :]
    return (before + text + after).translate(_RELEASED).strip()


def _plain(value: float) -> str:
    """Return a number without a format, without the noise of binary fractions."""
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and abs(value) < 1e15:  # noqa: PLR2004
        return str(int(value))
    return f"{value:.10g}"

"""The names of months and days in English, which are capitalised and name nobody."""

from __future__ import annotations

import re

__all__ = ["CALENDAR_WORDS", "DAYS", "MONTHS", "MONTH_WORDS", "SHORT_MONTHS"]

MONTHS = tuple(
    re.split(
        " ",
        "january february march april may june july august september october november december",
    )
)
SHORT_MONTHS = tuple(re.split(" ", "jan feb mar apr may jun jul aug sep oct nov dec"))
DAYS = tuple(re.split(" ", "monday tuesday wednesday thursday friday saturday sunday"))

MONTH_WORDS = frozenset((*MONTHS, *SHORT_MONTHS, "sept"))
CALENDAR_WORDS = MONTH_WORDS.union(DAYS)

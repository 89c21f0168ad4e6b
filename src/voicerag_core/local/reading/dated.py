"""Questions about what stands in documents of one date, such as the minutes of a meeting.

"How large is the deficit in June 2025?" is answered by the minutes of 18 June 2025, whose
sentences say no date. Such documents are read for the question without its date.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from voicerag_core.local.reading.features import passage_path
from voicerag_core.local.reading.moments import Date, moments
from voicerag_core.types import Passage

__all__ = ["of_its_date"]

_DANGLING = re.compile(
    r"(?:\b(?:in|on|of|from|for|at|since|by|as of|during) ?(?:the )?)+(?=\s*[?.,;!]|\s*\Z)"
    r"|(?<=\w)\s+(?:on|of)(?=\s{2,})",
    re.IGNORECASE,
)
MOST_READ = 4
LEAST_WORDS = 3
"""Words that a question has without its date."""


def of_its_date(question: str, passages: Sequence[Passage]) -> tuple[str, list[Passage]] | None:
    """Return a question without its date, and the passages that title or headings date so.

    Args:
        question: In words.
        passages: Best first.

    Returns:
        None where the question names no month of a year, or no passage is of that date.
    """
    said = moments(question)
    asked = [one for readings in said.dates for one in readings if one.year and one.month]
    if not asked:
        return None
    short = " ".join(_DANGLING.sub(" ", said.rest).split()).replace(" ?", "?")
    if len(re.findall(r"\w+", short)) < LEAST_WORDS:
        return None
    near = [one for one in passages if _is_of(asked, one)][:MOST_READ]
    return (short, near) if near else None


def _is_of(asked: Sequence[Date], passage: Passage) -> bool:
    above = " \n ".join((passage.title, *passage_path(passage)[:1]))
    return any(
        _within(wanted, one) for said in moments(above).dates for one in said for wanted in asked
    )


def _within(wanted: Date, said: Date) -> bool:
    """Whether a date lies in the day or month that is asked about."""
    same_month = (wanted.year, wanted.month) == (said.year, said.month)
    return same_month and (wanted.day is None or wanted.day == said.day)

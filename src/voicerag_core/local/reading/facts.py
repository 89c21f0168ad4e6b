"""What some texts say in figures, dates, times, codes and names."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from voicerag_core.local.reading.chinese_words import pairs
from voicerag_core.local.reading.denial import Clause, clauses
from voicerag_core.local.reading.features import content_words
from voicerag_core.local.reading.moments import Date, Moments, moments
from voicerag_core.local.reading.proper_names import Names
from voicerag_core.local.reading.quantities import Quantity, codes, quantities, squeezed
from voicerag_core.local.reading.units import COUNT, YEAR, unit_of
from voicerag_core.sentences import split_sentences

__all__ = ["Facts"]

NEAR = 0.05
"""How far "about 50" may be from what is meant, relative to it."""
CLOSE = 1e-6
_ITEM = re.compile(r"(?m)^\s*(?:\(?\d{1,2}[.)]|[-*\u2022])\s+")
_LONG_UNIT = 3
"""Letters from which on a word alone is taken for a unit."""
_BRACKETED = re.compile(
    r"[(\[/]\s?([^()\[\]/]{1,12})\s?[)\]]|\bin ([\w\u20ac$\u00b0%\u00b2]{1,12})"
)
_SHARES = ((50, "half"), (25, "quarter"), (75, "quarter"), (100, "all"), (100, "every"))
_BEGINNING = 4
"""Letters that words of one family share: "visit" and "visitor"."""
_LONG_NUMBER = 5
"""Figures of a number, such as a telephone's, that may be written in groups."""
_DAYS = 31
_HOURS = 24
_CENTURY = re.compile(r"centur|jahrhundert|siecl|sigl")


@dataclass(frozen=True, slots=True)
class _Said:
    """A figure of the texts.

    Args:
        quantity: The figure.
        words: Stems of its sentence.
        dimensions: Of the units in its sentence and in the headings.
    """

    quantity: Quantity
    words: frozenset[str]
    dimensions: frozenset[str]


class Facts:
    """The figures, dates, names and clauses of some texts.

    Args:
        texts: Each with its title and headings in paragraphs of their own before it.
        language: Code of their language.
        beside: What else may be said, such as the question.
    """

    def __init__(self, texts: Sequence[str], language: str, *, beside: str = "") -> None:
        self._texts = tuple(texts)
        self._beside = beside
        self._language = language
        self._said: list[_Said] = []
        self._dates: list[frozenset[Date]] = []
        self._clocks: list[frozenset[int]] = []
        self._weekdays: set[int] = set()
        for text in (*texts, beside):
            self._read(text)
        self._years = {date.year for one in self._dates for date in one if date.year}
        self._days = {date.day for one in self._dates for date in one if date.day}
        for one in self._said:
            if one.quantity.dimension in (YEAR, COUNT):
                self._years |= {int(value) for value in one.quantity.values if value < 10_000}  # noqa: PLR2004
        self._squeezed = squeezed(" ".join((*texts, beside)))
        self._beginnings = {
            word[:_BEGINNING]
            for word in content_words(" ".join((*texts, beside)))
            if len(word) >= _BEGINNING
        }
        self._words = set(content_words(" ".join((*texts, beside))))

    @functools.cached_property
    def names(self) -> Names:
        """The words of the texts, for names."""
        return Names((*self._texts, self._beside))

    @functools.cached_property
    def clauses(self) -> tuple[Clause, ...]:
        """The clauses of the texts."""
        return tuple(clause for text in self._texts for clause in clauses(text))

    @functools.cached_property
    def _pairs(self) -> frozenset[str]:
        return frozenset(pairs(" ".join((*self._texts, self._beside))))

    def has_word(self, word: str) -> bool:
        """Tell whether a stem, or a pair of Chinese characters, is in the texts."""
        return word in self._words or word in self._pairs or word[:_BEGINNING] in self._beginnings

    def lacks(self, sentence: str, language: str) -> bool:
        """Tell whether a sentence has a figure, date, time, day or code that the texts lack.

        Args:
            sentence: Without marks of sources.
            language: Code of its language.
        """
        plain = _ITEM.sub("", sentence)
        when = moments(plain)
        if not when.weekdays <= self._weekdays or not all(map(self._has_date, when.dates)):
            return True
        if not all(map(self._has_clock, when.clocks)):
            return True
        if any(code not in self._squeezed for code in codes(when.rest)):
            return True
        return not all(map(self._has, quantities(when.rest, language)))

    def measures(self, sentence: str, language: str) -> bool:
        """Tell whether a sentence has a date, time, code or figure with a unit to compare by."""
        when = moments(_ITEM.sub("", sentence))
        found = quantities(when.rest, language)
        return bool(when.dates or when.clocks or codes(when.rest)) or any(
            one.dimension != COUNT for one in found
        )

    def _read(self, text: str) -> None:
        heading = frozenset(_dimensions("\n\n".join(text.split("\n\n")[:-1])))
        for sentence in _sentences(text):
            when: Moments = moments(sentence)
            self._dates += when.dates
            self._clocks += when.clocks
            self._weekdays |= when.weekdays
            words = frozenset(content_words(sentence))
            dimensions = heading | frozenset(_dimensions(sentence))
            self._said += [
                _Said(one, words, dimensions) for one in quantities(when.rest, self._language)
            ]

    def _has_date(self, readings: frozenset[Date]) -> bool:
        return any(
            self._fits(asked, said) for asked in readings for one in self._dates for said in one
        ) or any(
            asked.day is None and asked.month is None and asked.year in self._years
            for asked in readings
        )

    def _fits(self, asked: Date, said: Date) -> bool:
        same_year = asked.year in (None, said.year) or (
            said.year is None and asked.year in self._years
        )
        return same_year and asked.month in (None, said.month) and asked.day in (None, said.day)

    def _has_clock(self, readings: frozenset[int]) -> bool:
        if any(readings & one for one in self._clocks):
            return True
        hours = {at // 60 for at in readings if at % 60 == 0}
        hours |= {hour % 12 or 12 for hour in hours}
        return any(
            one.quantity.dimension in (COUNT, "time") and one.quantity.values & hours
            for one in self._said
        ) or any(
            f"{at // 60}.{at % 60:02}" in text or f"{at // 60:02}{at % 60:02}" in text
            for at in readings
            for text in self._texts
        )

    def _has(self, asked: Quantity) -> bool:
        """Whether the texts have a figure, of the same thing as far as that can be told."""
        if asked.weak or (asked.values == {1.0} and asked.dimension == COUNT):
            return not self._counts_otherwise(asked)
        return self._has_as_part(asked) or any(
            _equal(asked, one.quantity) and self._is_same(asked, one) for one in self._said
        )

    def _has_as_part(self, asked: Quantity) -> bool:
        """Whether a figure is a part of what the texts say, or said there in another way."""
        bare = asked.dimension == COUNT
        digits = {f"{value:.0f}" for value in asked.values}
        return (
            (asked.values == {1.0} and any(asked.dimension in one.dimensions for one in self._said))
            or (asked.rank and self._has_rank(asked))
            or (asked.dimension in (COUNT, YEAR) and self._is_part_of_date(asked))
            or (asked.dimension == "%" and self._has_share(asked))
            or (bare and any(len(one) >= _LONG_NUMBER and one in self._squeezed for one in digits))
        )

    def _is_same(self, asked: Quantity, one: _Said) -> bool:
        said = one.quantity
        if asked.rank or said.rank:
            if asked.rank == said.rank:
                return True
            other = said if asked.rank else asked
            return other.dimension == COUNT and not other.counted
        if asked.dimension == said.dimension:
            return asked.dimension != COUNT or not self._counts_otherwise(asked)
        if said.dimension == COUNT:
            return asked.dimension == YEAR or asked.dimension in one.dimensions
        if asked.dimension == COUNT:
            return not asked.counted or asked.nouns[0] in said.nouns
        return False

    def _counts_otherwise(self, asked: Quantity) -> bool:
        """Whether the texts have another number of the very things that are counted."""
        if not asked.counted:
            return False
        noun = asked.nouns[0]
        others = [one.quantity for one in self._said if noun in one.quantity.nouns[:1]]
        same = any(
            _equal(asked, one.quantity)
            and (noun in one.quantity.nouns or noun in one.words or not one.quantity.counted)
            for one in self._said
        )
        return bool(others) and not same

    def _has_rank(self, asked: Quantity) -> bool:
        value = min(asked.values)
        if asked.nouns and _CENTURY.match(asked.nouns[0]):
            return any(year // 100 + 1 == value for year in self._years if year > 100)  # noqa: PLR2004
        return any(value <= year < value + 10 for year in self._years) and value > _DAYS

    def _is_part_of_date(self, asked: Quantity) -> bool:
        value = min(asked.values)
        if value in self._years and asked.dimension == YEAR:
            return True
        if asked.counted:
            return False
        hours = {at // 60 for one in self._clocks for at in one}
        return (
            (value <= _DAYS and value in self._days)
            or (value <= _HOURS and value in hours)
            or (value in {date.year for one in self._dates for date in one})
        )

    def _has_share(self, asked: Quantity) -> bool:
        return any(value in asked.values and word in self._words for value, word in _SHARES)


def _equal(asked: Quantity, said: Quantity) -> bool:
    measured = asked.dimension == said.dimension and asked.dimension not in (COUNT, YEAR)
    ours, theirs = (asked.factor, said.factor) if measured else (1.0, 1.0)
    least = NEAR if asked.near else CLOSE
    return any(
        abs(one * ours - other * theirs) <= least * max(abs(other * theirs), CLOSE)
        for one in asked.values
        for other in said.values
    )


def _sentences(text: str) -> Iterator[str]:
    for block in re.split(r"\n+", text):
        yield from split_sentences(block) if block.strip() else ()


def _dimensions(text: str) -> Iterable[str]:
    """Yield the dimensions of the units in a text, with or without a figure before them."""
    for match in re.finditer(r"[^\W\d_]+|[%\u20ac$\u00a3\u00a5\u00b0]", text):
        if len(match[0]) >= _LONG_UNIT or not match[0].isalnum():
            unit = unit_of(match[0])
            if unit is not None:
                yield unit[0]
    for match in _BRACKETED.finditer(text):
        unit = unit_of((match[1] or match[2]).strip())
        if unit is not None:
            yield unit[0]

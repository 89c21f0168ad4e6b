"""Does a sentence speak of the very thing that is asked about, or of one like it?

A near miss shares most words with the question: the same prize in another year, another season of
the series, the women's final instead of the men's, the former holder of an office. The measures
here compare what names the thing in the question with what the sentence and the headings above it
say; `voicerag_core.local.reading.choosing` weights them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicerag_core.local.reading.bounds import Bounds, allows, asks_for_allowance, beyond, bounds
from voicerag_core.local.reading.dates import dates_of, other_date
from voicerag_core.local.reading.events import asks_for_event, superseded, unsaid_event
from voicerag_core.local.reading.features import DATE, Candidate, content_words
from voicerag_core.local.reading.forms import defines
from voicerag_core.local.reading.kinds import Kind, words_of
from voicerag_core.local.reading.measured import measured
from voicerag_core.local.reading.modified import Named, other_noun, qualified
from voicerag_core.local.reading.moments import moments
from voicerag_core.local.reading.namesakes import Namesakes
from voicerag_core.local.reading.near_misses import (
    figures,
    has_other_last_name,
    misses_figure,
    missing_names,
    said_around,
    said_in,
    said_of_place,
)
from voicerag_core.local.reading.numbered import conflicts, numbered
from voicerag_core.local.reading.questions import asked_for
from voicerag_core.local.reading.recipes import shows_failure
from voicerag_core.local.reading.relations import other_act, unsaid_relation
from voicerag_core.local.reading.rows import only_sums
from voicerag_core.local.reading.scope import Scope
from voicerag_core.local.reading.siblings import Sections, Siblings, other_domain, other_group
from voicerag_core.local.reading.songs import untold_song
from voicerag_core.types import Passage

__all__ = ["AGREEMENT", "agreement"]

AGREEMENT = (
    "around",  # share of the question's names that the passage and its headings do not know
    "unnamed",  # share of them missing in the sentence, the one before, the title and headings
    "undated",  # 1 a figure of the question is said there by none of these, or another day is
    "contradicts",  # 1 another year, number, side, office holder or unit stands in its place
    "unrelated",  # share of the question's verbs and nouns of relation that these do not say
    "unkind",  # 1 nothing in the sentence can be the kind of thing that is asked for
    "unsaid",  # 1 the event that is asked about is not told, or only planned or hoped for
    "strange",  # 1 the passage and its headings know none of the question's names
    "unmodified",  # 1 a noun is said without the word that tells it from others of its kind
)
"""Columns of `agreement`, in order; 0 of all of them: nothing speaks against the sentence."""


def agreement(
    question: str,
    passages: Sequence[Passage],
    sentences: Sequence[Candidate],
    kept: Sequence[int],
) -> NDArray[np.float64]:
    """Measure how far sentences speak of something else than the question.

    Args:
        question: In words.
        passages: Of the sentences.
        sentences: All of them, in order.
        kept: Indices of those that are measured.

    Returns:
        Shape [K, 9], columns as in `AGREEMENT`.
    """
    wanted = figures(question)
    open_ended = _YES_NO.match(question) is None
    keys = _Keys.of(question, open_ended=open_ended)
    dates = dates_of(question) if open_ended else ()
    siblings = Siblings.of(question, sentences, open_ended=open_ended)
    asked = asked_for(question)
    allowance = asks_for_allowance(question)
    by_doing = asked.how_to and not _OF_ERRORS.search(question)
    scope = Scope(question, open_ended=open_ended)
    named = Named.of(question, sentences)
    sections = Sections.of(question, passages, sentences)
    around: dict[int, float] = {}
    place: dict[int, frozenset[str]] = {}
    place_words: dict[int, tuple[str, ...]] = {}
    others: dict[int, bool] = {}
    table = np.zeros((len(kept), len(AGREEMENT)))
    for row, index in enumerate(kept):
        sentence = sentences[index]
        passage = passages[sentence.passage]
        if sentence.passage not in around:
            known = said_around(passage)
            around[sentence.passage] = missing_names(question, known)
            others[sentence.passage] = has_other_last_name(question, known)
            place[sentence.passage] = said_of_place(passage)
            place_words[sentence.passage] = tuple(content_words(" ".join(place[sentence.passage])))
        above, before = _context(passage, sentences, index)
        context = f"{above} {before}"
        said = said_in(f"{context} {sentence.text}")
        other_day = sentence.kind in _TOLD and other_date(dates, sentence.text)
        table[row] = (
            around[sentence.passage],
            missing_names(question, said),
            misses_figure(wanted, said | place[sentence.passage]) or other_day,
            other_day
            or keys.contradicted(sentence, above, before)
            or keys.namesakes.other_named(sentence.text, context)
            or keys.namesakes.parted(sentence.text)
            or keys.namesakes.other_part(sentence.text, f"{context} \n {passage.text}")
            or siblings.other_kind(sentence, above)
            or siblings.negated(sentence.text, context)
            or sections.other(sentence, before)
            or other_act(question, sentence.text, context)
            or scope.other(sentence.text)
            or other_group(question, sentence.text, sentence.path, before)
            or other_domain(question, sentence, f"{context} {passage.text}")
            or untold_song(question, f"{context} \n {passage.text}"),
            unsaid_relation(question, f"{context} {sentence.text}"),
            (
                sentence.kind not in _LEADS_ON
                and keys.kind.lacks(_with_date_above(sentence))
                and not (asked.term and defines(asked.term, sentence))
            )
            or (by_doing and shows_failure(sentences, index))
            or (allowance and sentence.kind in _TOLD and not allows(sentence.text)),
            sentence.kind in _TOLD
            and (
                unsaid_event(question, f"{context} {sentence.text}")
                or superseded(question, sentence.text)
            ),
            around[sentence.passage] == 1,
            others[sentence.passage]
            or (sentence.kind in _TOLD and scope.left_out(f"{above} {sentence.text}"))
            or (
                bool(named)
                and named.unsaid(
                    frozenset(
                        (*sentence.words, *content_words(context), *place_words[sentence.passage])
                    )
                )
            ),
        )
    return table


def _context(passage: Passage, sentences: Sequence[Candidate], index: int) -> tuple[str, str]:
    """Return the title and headings of a sentence, and the sentence before it."""
    own = sentences[index]
    before = sentences[index - 1] if index and not own.first else None
    near = before.text if before is not None and before.passage == own.passage else ""
    lead = str(passage.metadata.get("lead") or "")
    return " ".join((passage.title, *own.path, lead)), near


def _with_date_above(sentence: Candidate) -> str:
    """Return a sentence behind the dated heading with which it is quoted when a date is asked."""
    dated = next((title for title in reversed(sentence.path) if DATE.search(title)), "")
    return f"{dated} {sentence.text}" if dated else sentence.text


_LEADS_ON = ("heading", "question", "lead", "code")
"""Kinds of blocks that are not quoted alone."""

_TOLD = ("text", "note", "item")
"""Kinds of blocks that say what they tell of in words; rows and headings need no verb."""

_YEAR = re.compile(r"(?<![\w.,-])(?:1[0-9]|20)\d\d(?![\w%]|[.,]\d)")
_FROM_THEN = re.compile(r"\b(?:since|after|from)\W+(?:\w+\W+){0,2}\Z", re.IGNORECASE)
_SUPERLATIVE = re.compile(
    r"\b(?:first|only|last|most|[a-z]{3,}est|best|worst|record|any\w*|never)\b", re.IGNORECASE
)
"""In front of "since 2018" it says nothing of how long a state lasts: "the youngest since 2018"."""

_UP_TO_THEN = re.compile(r"\b(?:until|till|before|by|as of|prior to)\W+(?:\w+\W+){0,2}\Z", re.I)
_SPAN = re.compile(
    r"\b((?:1[0-9]|20)\d\d)\s?(?:-|\u2013|\u2014|to|until|and|through)\s?((?:1[0-9]|20)?\d\d)\b"
)

_SIDES: tuple[tuple[frozenset[str], ...], ...] = tuple(
    tuple(frozenset(side.split()) for side in line.split("|"))
    for line in """\
|
men male boys gentlemen|women female girls ladies
actor actors|actress actresses
husband|wife
father|mother
brother|sister
son|daughter
king|queen
singles|doubles
minimum min|maximum max
highest|lowest
largest biggest|smallest
oldest|youngest
spring|summer|autumn fall|winter
full-time|part-time
domestic|international
internal|external
paid|unpaid
import imports|export exports
arrival|departure
junior|senior
upper|lower
winner winners champion champions|runner-up runners-up
buyer|seller
landlord|tenant
monthly|yearly annual annually|weekly|daily|quarterly|hourly
supporting|lead leading""".splitlines()
)
"""Words of which one excludes the others."""

_ONE = re.compile(
    r"^how (?:do|can|could|should|to) .*\b(?:one|a single)"
    r" (?!of\b|can\b|must\b|may\b|should\b|has\b)"
    r"[a-z]",
    re.IGNORECASE,
)
"""Asks how to do something with one of several things."""

_ONE_OR_ALL = (frozenset(["one", "single", "a", "an"]), frozenset(["all", "every", "everything"]))

_OFFICE = re.compile(
    r"^who(?: is|'s|\u2019s| are) (?:the |our |your |its |their )?(?:new |current )?"
    r"(?P<office>[\w -]+?)(?= (?:of|at|for|in|on|here|now|to)\b|\W*\Z)",
    re.IGNORECASE,
)
_LEFT = (
    r"\b(?:former(?:ly)?|ex-|outgoing|stepp(?:ed|ing) down as|resign(?:ed|ing) as|the late|retired"
    r"|then-|past|previous)(?:[ -]*[\w'\u2019-]+){0,3}?[ -]*"
)
_YES_NO = re.compile(
    r"^(?:is|are|was|were|do|does|did|can|could|may|must|shall|should|will|would|has|have|had)\b",
    re.IGNORECASE,
)
_RATE = re.compile(
    r"\b(?:per|each|every|an?)[ -](second|minute|hour|night|day|week|month|quarter|year|person"
    r"|user|room|item|piece|page|kilogram|kg|litre|liter|mile|kilomet(?:er|re)|km)\b|"
    r"\b(hour|dai|week|month|quarter|year)ly\b|\b(?:(a|an)nual)(?:ly)?\b",
    re.IGNORECASE,
)
_MEASURE = re.compile(
    r"(?:\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|hundred|thousand"
    r"|million|billion|half(?: an?)?))[\s-]*(?!an? [a-z])"
    r"(?P<unit>%|percent|[A-Za-z\u20ac\u00a3$\u00b0]+\d?)"
)
_UNITS = tuple(
    frozenset(line.split())
    for line in re.sub(
        r"\n +",
        " ",
        """\
second seconds sec minute minutes min mins hour hours hrs day days week weeks month months year
  years
mm cm m km metre metres meter meters kilometre kilometres kilometer kilometers mile miles foot
  feet ft inch inches yard yards
g kg gram grams kilogram kilograms kilo kilos ton tons tonne tonnes pound pounds lb lbs
l ml litre litres liter liters gallon gallons
byte bytes kb mb gb tb pb kilobyte megabyte gigabyte gigabytes megabytes terabytes
euro euros eur dollar dollars usd cents pence kroner nok sek pounds
degree degrees celsius fahrenheit
watt watts kw w volt volts v amp amps a
% percent""",
    ).splitlines()
)
_MONEY_UNITS = frozenset(("euro", "dollar"))
_MEASURED_IN = {
    "distance": ("km",),
    "size": ("km",),
    "mass": ("kg",),
    "heat": ("degrees",),
    "time": ("days", "km"),
}
"""By the name of a measure, units of the kinds in which it is said; "how long" may be a length."""

_OF_ERRORS = re.compile(r"\b(?:errors?|exceptions?|tracebacks?|fail\w*)\b", re.IGNORECASE)

_ASKED_UNIT = re.compile(r"\bhow many (?P<many>[a-z]+)|\bin (?P<in>[a-z]+)\W*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Keys:
    """What names the thing that a question is about, ready to compare.

    Args:
        years: Years that it names.
        lasts: Whether it names them as a begin ("since 2010").
        numbers: Its numbered things, see `voicerag_core.local.reading.numbered`.
        sides: Of `_SIDES`, what it names and what would contradict that.
        left: What a sentence says of one who no longer holds the office that is asked for.
        rates: What it counts by, such as "month".
        units: The units that an answer may have, or empty.
        kind: The kind of thing that it asks for.
        event: Whether it asks about something that happened at one time.
        namesakes: What others of its kind may be mistaken for.
        weekdays: Days of the week that it names, 0 for Monday; none of a yes-or-no question.
        bounds: Figures that it bounds, see `voicerag_core.local.reading.bounds`; likewise.
        qualified: See `voicerag_core.local.reading.modified`.
    """

    years: frozenset[str]
    lasts: bool
    numbers: dict[str, frozenset[str]]
    sides: tuple[tuple[frozenset[str], frozenset[str]], ...]
    left: re.Pattern[str] | None
    rates: frozenset[str]
    units: frozenset[str]
    kind: Kind
    event: bool
    namesakes: Namesakes
    weekdays: frozenset[int]
    bounds: Bounds
    qualified: tuple[str, frozenset[str]] | None

    @classmethod
    def of(cls, question: str, *, open_ended: bool) -> _Keys:
        words = frozenset(words_of(question))
        sides = []
        for line in _SIDES if open_ended else ():
            named = [side for side in line if side & words]
            if len(named) == 1:
                sides.append((named[0], frozenset().union(*(s for s in line if s != named[0]))))
        if _ONE.search(question):
            sides.append(_ONE_OR_ALL)
        event = asks_for_event(question)
        asked = _ASKED_UNIT.search(question)
        unit = (asked["many"] or asked["in"] or "").lower() if asked else ""
        return cls(
            years=frozenset(_YEAR.findall(question)) & frozenset(figures(question)),
            lasts=any(
                _FROM_THEN.search(question, 0, match.start()) for match in _YEAR.finditer(question)
            ),
            numbers=numbered(question),
            sides=tuple(sides),
            left=_left(question),
            rates=_rates(question) if open_ended else frozenset(),
            units=next((units for units in _UNITS if unit in units), _units_of(question)),
            kind=Kind.of(question, event=event),
            event=event,
            namesakes=Namesakes.of(question),
            weekdays=moments(question).weekdays if open_ended else frozenset(),
            bounds=bounds(question) if open_ended else frozenset(),
            qualified=qualified(question),
        )

    def contradicted(self, sentence: Candidate, above: str, before: str) -> bool:
        """Whether a sentence speaks of another one than the question does.

        Args:
            sentence: It.
            above: The title and the headings.
            before: The sentence before it; "" for none.
        """
        text = sentence.text
        numbered_otherwise = conflicts(self.numbers, f"{above} {before} \n {text}")
        return (
            self._other_year(text, above, before)
            or (numbered_otherwise and not self._in_row(text, sentence.kind))
            or self._other_side(text)
            or (self.left is not None and self.left.search(text) is not None)
            or self._other_unit(text, sentence.kind)
            or self._other_weekday(text)
            or beyond(self.bounds, text)
            or other_noun(self.qualified, text)
        )

    def _other_weekday(self, text: str) -> bool:
        """Whether days of the week are said, and none of those that are asked about."""
        said = moments(text).weekdays if self.weekdays else frozenset()
        return bool(said) and said.isdisjoint(self.weekdays)

    def _in_row(self, text: str, kind: str) -> bool:
        """Whether a row, which tells several things apart, has all numbers that are asked for."""
        said = set(re.findall(r"\d+", text))
        return kind in ("row", "field") and all(said & own for own in self.numbers.values())

    def _other_year(self, text: str, above: str, before: str) -> bool:
        """Whether years are said, and none of them is a year that is asked about."""
        if not self.years:
            return False
        asked = [int(year) for year in self.years]
        # The year of an event is its own sentence's, whatever the one before it tells of.
        own = self.event and _YEAR.search(text) is not None
        context = above if own else f"{above} {before}"
        if set(map(int, _YEAR.findall(context))).intersection(asked):
            return False
        said = text if _YEAR.search(text) else context
        found = list(_YEAR.finditer(said))
        spans = [_span(match) for match in _SPAN.finditer(said)]
        if any(first <= a <= last for first, last in spans for a in asked):
            return False
        return bool(found) and not any(self._covers(said, match, asked) for match in found)

    def _covers(self, said: str, match: re.Match[str], asked: Sequence[int]) -> bool:
        """Whether a year is one that is asked about, or a state lasts from or up to it."""
        year = int(match[0])
        if from_then := _FROM_THEN.search(said, 0, match.start()):
            if self.event and _SUPERLATIVE.search(said, 0, from_then.start()):
                return False
            return any(year < a or (year == a and self.lasts) for a in asked)
        if _UP_TO_THEN.search(said, 0, match.start()):
            return not self.event and any(year >= a for a in asked)
        return year in asked

    def _other_side(self, text: str) -> bool:
        said = frozenset(words_of(text))
        return any(said & others and not said & own for own, others in self.sides)

    def _other_unit(self, text: str, kind: str) -> bool:
        if self.rates and (said := _rates(text)) and said.isdisjoint(self.rates):
            return True
        if not self.units:
            return False
        if kind == "row":  # its other cells are of other things
            return only_sums(text) and self.units.isdisjoint(_MONEY_UNITS)
        measured = [match["unit"].lower() for match in _MEASURE.finditer(text)]
        known = [unit for unit in measured if any(unit in units for units in _UNITS)]
        return bool(known) and not any(unit in self.units for unit in known)


def _units_of(question: str) -> frozenset[str]:
    """Return the units in which a measure that is asked for may be said: "how heavy" in kg."""
    wants = measured(question)
    known = _MEASURED_IN.get(wants.by, ()) if wants is not None else ()
    return frozenset().union(*(units for units in _UNITS if units.intersection(known)))


def _left(question: str) -> re.Pattern[str] | None:
    """Return what says that someone no longer holds the office that is asked for."""
    office = _OFFICE.search(question)
    if office is None or re.search(_LEFT, question, re.IGNORECASE):
        return None
    return re.compile(_LEFT + re.escape(office["office"].split()[-1]), re.IGNORECASE)


def _span(match: re.Match[str]) -> tuple[int, int]:
    """Return the first and last year of "1988-1996" or "1988-96"."""
    first, last = int(match[1]), int(match[2])
    return first, last if last > 99 else first // 100 * 100 + last  # noqa: PLR2004


def _rates(text: str) -> frozenset[str]:
    found = [next(filter(None, m.groups()), "").lower() for m in _RATE.finditer(text)]
    return frozenset({"dai": "day", "a": "year", "an": "year"}.get(one, one) for one in found)

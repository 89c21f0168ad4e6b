"""Does a sentence tell of the event that a question asks about, as a fact?

"Who won the race in 2019?" is not answered by who started in it, by who hoped to win it, or by who
had won most races as of 2019; "What was the revenue?" is not answered by how many cars were sold.
"""

from __future__ import annotations

import re

__all__ = ["asks_for_event", "superseded", "unsaid_event"]


def _words(said: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{said})\b", re.IGNORECASE)


def _alternatives(words: str) -> re.Pattern[str]:
    return _words("|".join(words.split()).replace("_", " "))


_EVENTS = tuple(
    tuple(map(_alternatives, re.sub(r"\n +", " ", line).split("=>")))
    for line in re.split(
        r"\n(?! )",
        r"""
won(?!['\u2019]t) winners? champions? =>
  w[io]n\w* victor\w* champion\w* beat\w* defeat\w* triumph\w* claim\w* clinch\w* crown\w*
  titles?
  prevail\w* took takes? lift\w* golds? medal\w* troph\w+ prizes? award\w* recipients?
  laureates? first secur\w+ seal\w* succe\w+ overc\w+ rout\w* edged conquer\w* celebrat\w*
  elected goes_to
  went_to given_to
acquired bought purchased took_over =>
  acqui\w+ buy\w* bought purchas\w+ take-?over\w* took_over own(?:s|ed|er\w*) deal\w* paid pays?
  sold sells? sale merge\w* absorbed
founded founders? established =>
  (?:co-?)?found\w* establish\w* start\w* creat\w+ set_up began begun launch\w* formed formation
  origin\w* since built opened incorporat\w+ inaugurat\w+ organi[sz]ed charter\w* introduc\w+
  based_on first brain\w* father mother granted
directed directs =>
  direct\w* helm\w* film-?mak\w* auteur head\w* led leads? run runs manag\w+
(?:is|was|are)_the_director_of =>
  direct\w* helm\w* film-?mak\w* head\w* led leads? manag\w+ runs? in_charge
runners?-up =>
  runners?-up second los\w+ final\w* defeat\w* beat\w* silver fell_short
(?:is|was|are)_the_(?:new_|current_|former_)?(?:ceo|chief_executive) =>
  ceo chief_exec\w* president head\w* leads? led leader\w* runs? boss director chair\w*
  founder\w*
  officers? in_charge
starring starred stars_as lead_(?:actor|actress|role) role_of =>
  star\w* play\w* portray\w* roles? cast\w* actor actress as voice[sd]? lead\w*
married =>
  marri\w+ marry\w* wed wedding wife husband spouse bride groom partner
released (?:release|premiere|launch)_date premiered? launched =>
  releas\w* launch\w* debut\w* premi[e\u00e8]r\w* publi\w+ out arriv\w+ available hits?
  date[ds]?
  issu\w+ versions? ship\w* dropp\w+ airs aired opens opened introduc\w+ appear\w* since came
  comes? sale followed stream\w* screen\w* unveil\w* present\w*
revenues? turnover =>
  revenues? turnover sales sold earn\w* income profit\w* made makes? generat\w+ worth gross\w*
  takings""".strip(),
    )
)
"""What asks for an event, and what may tell of it."""

_OPEN = re.compile(
    r"\b(?:who|whom|whose|what|which|when|where|how (?:many|much))\b|^(?:[^ ?]+ ){1,4}[^ ?]+\Z",
    re.I,
)
_EVENT = _words(
    r"won|winners?|awarded|acquired|bought|purchased|founded|established|released|premiered?|hosted"
    r"|married|born|died|elected|appointed|opened|launched|happened|occurred|took place|take place"
    r"|signed|published|held|revenue|runners?-up"
)
_HOPES = _words(
    r"contenders?|candidates?|nominees?|nominated|favou?rites?|favou?red|hop(?:es?|ed|ing) to"
    r"|tipped|(?:a )?shot at|bid(?:ding)? (?:for|to)|could (?:win|become|take)|may (?:win|become)"
    r"|might (?:win|become)|vote|predict\w*|aims? to|aiming to|looking to|qualif\w+|runners?-up"
    r"|eliminated|knocked out|lost to"
    # Of the whole only a part, or a count over the years.
    r"|(?:stage|leg|heat|lap) (?:\d+|victory|win)"
    r"|(?:final|last|first|opening) (?:stage|leg|heat|lap)"
    r"|most (?:wins|titles|victories|medals)"
)
_SUPERSEDED = _words(
    r"originally|original (?:[a-z]+ )?(?:dates?|plans?|schedules?|deadlines?|targets?)"
    r"|initially|was (?:due|supposed|meant|scheduled|planned) to|used to be"
    r"|previously|until recently|(?:was|been|were) (?:delayed|postponed|pushed back)|no longer"
)
_OF_OLD = _words(
    r"original\w*|initial\w*|previous\w*|former\w*|delay\w*|postpon\w+|used to|scheduled|planned"
    r"|first|earlier|old|before|change[ds]?|still"
)


def asks_for_event(question: str) -> bool:
    """Tell whether a question asks about something that happened at one time."""
    return _EVENT.search(question) is not None and _OPEN.search(question) is not None


def unsaid_event(question: str, said: str) -> bool:
    """Tell whether a text does not tell of the event that is asked about, in any way known here.

    Args:
        question: In words.
        said: The sentence with what stands around it.

    Returns:
        False when the question asks about no event of the kinds that are known.
    """
    if _OPEN.search(question) is None:
        return False
    asked = [told for event, told in _EVENTS if event.search(question)]
    return bool(asked) and not any(told.search(said) for told in asked)


def superseded(question: str, text: str) -> bool:
    """Tell whether a sentence tells what was once planned, or who only hopes to win."""
    if _EVENTS[0][0].search(question) and _HOPES.search(text) and not _HOPES.search(question):
        return True
    return (
        asks_for_event(question)
        and _SUPERSEDED.search(text) is not None
        and _OF_OLD.search(question) is None
    )

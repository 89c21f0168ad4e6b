"""Does a sentence tell of the event that a question asks about, as a fact?

"Who won the race in 2019?" is not answered by who started in it, by who hoped to win it, or by who
had won most races as of 2019; "What was the revenue?" is not answered by how many cars were sold.
"""

from __future__ import annotations

import re

__all__ = ["asks_for_event", "superseded", "unsaid_event"]


def _words(said: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{said})\b", re.IGNORECASE)


_EVENTS = tuple(
    (_words(asked), _words(said))
    for asked, said in (
        (
            r"won(?!['\u2019]t)|winners?|champions?",
            r"w[io]n\w*|victor\w*|champion\w*|beat\w*|defeat\w*|triumph\w*|claim\w*|clinch\w*"
            r"|crown\w*|titles?|prevail\w*|took|takes?|lift\w*|golds?|medal\w*|troph\w+|prizes?"
            r"|award\w*|recipients?|laureates?|first(?: place)?|secur\w+|seal\w*|succe\w+|overc\w+"
            r"|rout\w*|edged|conquer\w*|celebrat\w*|elected|goes to|went to|given to",
        ),
        (
            r"acquired|bought|purchased|took over",
            r"acqui\w+|buy\w*|bought|purchas\w+|take-?over\w*|took over|own(?:s|ed|er\w*)|deal\w*"
            r"|paid|pays?|sold|sells?|sale|merge\w*|absorbed",
        ),
        (
            r"founded|founders?|established",
            r"(?:co-?)?found\w*|establish\w*|start\w*|creat\w+|set up|began|begun|launch\w*"
            r"|form(?:ed|ation)|origin\w*|since|built|opened|incorporat\w+|inaugurat\w+|organi[sz]ed"
            r"|charter\w*|introduc\w+|based on|first|brain\w*|father|mother|granted",
        ),
        (
            r"directed|directs",
            r"direct\w*|helm\w*|film-?mak\w*|auteur|head\w*|led|leads?|run|runs|manag\w+",
        ),
        (
            r"runners?-up",
            r"runners?-up|second|los\w+|final\w*|defeat\w*|beat\w*|silver|fell short",
        ),
        (
            r"(?:is|was|are) the (?:new |current |former )?(?:ceo|chief executive)",
            r"ceo|chief exec\w*|president|head\w*|leads?|led|leader\w*|runs?|boss|director|chair\w*"
            r"|founder\w*|officers?|in charge",
        ),
        (
            r"(?:is|was|are) the director of",
            r"direct\w*|helm\w*|film-?mak\w*|head\w*|led|leads?|manag\w+|runs?|in charge",
        ),
        (
            r"starring|starred|stars as|lead (?:actor|actress|role)|role of",
            r"star\w*|play\w*|portray\w*|roles?|cast\w*|actor|actress|as|voice[sd]?|lead\w*",
        ),
        (
            r"married",
            r"marri\w+|marry\w*|wed|wedding|wife|husband|spouse|bride|groom|partner",
        ),
        (
            r"released|(?:release|premiere|launch) date|premiered?|launched",
            r"releas\w*|launch\w*|debut\w*|premi[eè]r\w*|publi\w+|out|arriv\w+|available|hits?"
            r"|date[ds]?|issu\w+|versions?|ship\w*|dropp\w+|air(?:s|ed)|open(?:s|ed)|introduc\w+"
            r"|appear\w*|since|came|comes?|sale|followed|stream\w*|screen\w*|unveil\w*|present\w*",
        ),
        (
            r"revenues?|turnover",
            r"revenues?|turnover|sales|sold|earn\w*|income|profit\w*|made|makes?|generat\w+|worth"
            r"|gross\w*|takings",
        ),
    )
)
"""What asks for an event, and what may tell of it."""

_OPEN = re.compile(r"\b(?:who|whom|whose|what|which|when|where|how (?:many|much))\b|^(?:[^ ?]+ ){1,4}[^ ?]+\Z", re.I)
_EVENT = _words(
    r"won|winners?|awarded|acquired|bought|purchased|founded|established|released|premiered?|hosted"
    r"|married|born|died|elected|appointed|opened|launched|happened|occurred|took place|take place"
    r"|signed|published|held|revenue|runners?-up"
)
_HOPES = _words(
    r"contenders?|candidates?|nominees?|nominated|favou?rites?|favou?red|hop(?:es?|ed|ing) to|tipped"
    r"|(?:a )?shot at|bid(?:ding)? (?:for|to)|could (?:win|become|take)|may (?:win|become)"
    r"|might (?:win|become)|vote|predict\w*|aims? to|aiming to|looking to|qualif\w+|runners?-up"
    r"|eliminated|knocked out|lost to"
)
_SUPERSEDED = _words(
    r"original(?:ly)?|initially|was (?:due|supposed|meant|scheduled|planned) to|used to be"
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

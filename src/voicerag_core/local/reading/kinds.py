"""Can a sentence be the kind of thing that is asked for: a person, a date, a figure, an address?"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from voicerag_core.local.reading.calendar_words import CALENDAR_WORDS, MONTHS
from voicerag_core.local.reading.questions import asked_for

__all__ = ["Kind", "words_of"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What kind of thing a question asks for.

    Args:
        name: "person", "date", "number" or "place", or "".
        sought: The noun of what is looked for with "where is", in lower case, or "".
        shape: What an address or number that it asks for looks like, or None.
        words: The question's words in lower case.
        event: Whether it asks about something that happened at one time.
    """

    name: str
    sought: str
    shape: re.Pattern[str] | None
    words: frozenset[str]
    event: bool

    @classmethod
    def of(cls, question: str, *, event: bool) -> Kind:
        """Return the kind that a question asks for."""
        sought = _SOUGHT.search(question)
        return cls(
            name=_kind_of(question),
            sought=sought["noun"].lower() if sought else "",
            shape=_DAY if _WHICH_DAY.search(question.strip()) else _shape(question),
            words=frozenset(words_of(question)),
            event=event,
        )

    def lacks(self, text: str) -> bool:
        """Whether nothing in a sentence can be the kind of thing that is asked for."""
        if self.shape is not None and not self.shape.search(text):
            return True
        if self.name == "person":
            return not any(
                set(words_of(match[0])).isdisjoint(self.words | _NO_PERSON)
                for match in _CAPITALISED.finditer(text)
            ) and (self.event or not _ROLE.search(text))
        if self.name == "date":
            told = _RELATIVE.sub(" ", text)
            words = self.words - {"when"}
            return not any(match[0].lower() not in words for match in _WHEN.finditer(told))
        if self.name == "number":
            return not any(match[0].lower() not in self.words for match in _QUANTITY.finditer(text))
        return self.name == "place" and self._lacks_place(text)

    def _lacks_place(self, text: str) -> bool:
        if self.sought and _is_only_where(self.sought, text):
            return True
        return not _PLACED.search(text) and not any(
            set(words_of(match[0])).isdisjoint(self.words | _NO_PERSON)
            for match in _CAPITALISED.finditer(text)
        )


_SHAPES = tuple(
    (re.compile(rf"\b(?:{asked})\b", re.IGNORECASE), re.compile(shape, re.IGNORECASE))
    for asked, shape in (
        (r"e-?mail(?: address(?:es)?)?", r"@|\bat [\w-]+ dot\b"),
        (r"(?:phone|telephone|mobile|fax)(?: number)?|hotline", r"\d[\d ()/.-]+\d"),
        (r"url|web ?site|web address|home ?page", r"https?:|www\.|\w\.[a-z]{2,}"),
    )
)
"""What asks for an address or a number, and what one looks like."""

_WHICH_DAY = re.compile(
    r"^(?:on |by |until )?(?:what|which) (?:week)?days?\b(?! (?:off|ticket|pass|rate)\b)", re.I
)
_MONTH = "|".join(MONTHS)
_DAY = re.compile(
    r"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|mon|tue|wed|thu|fri|sat|sun|weekdays?"
    r"|weekends?|daily|every day|\d{1,2}(?:st|nd|rd|th)|\d{1,2}[./-]\d{1,2}"
    rf"|(?:\d{{1,2}}\.? (?:{_MONTH}))|(?:{_MONTH}) \d{{1,2}}"
    r"|(?:first|last|second|third|same|next) (?:working )?day"
    r"|\d{4}-\d\d-\d\d|holidays?|easter|christmas)\b",
    re.IGNORECASE,
)
"""A day is asked for, and one is said; a month is none."""

_ASKS_WHAT = re.compile(
    r"^(?:what|which)(?:'s| is| are| was)? (?:the |my |our |your |its )?(?:[\w'\u2019.-]+ ){0,3}\Z",
    re.I,
)
"""In front of the name of an address that is asked for: "what is the private e-mail"."""

_OF_WHOM = re.compile(r"\W*\Z| (?:of|for|at|in|to|from|on)\b")
"""Behind it."""

_PERSON = re.compile(
    r"^who(?: (?:is|are) the\b|'s the\b| (?:was|were|became|won|wrote|made|built|led|sang|found"
    r"|\w+ed)\b)|^by whom\b"
)
"""Of one who is known by name; "Who pays?" may be answered by any noun."""

_NO_PERSON = CALENDAR_WORDS.union(
    re.split(
        r"\s",
        "the this that it he she they in on at as a an after before when "
        "while since but and for from there these those his her its their our your who what how "
        "why all any some no not if you we i update first",
    )
)
_CAPITALISED = re.compile(r"[A-Z\u00c0-\u00de][\w'\u2019-]*[^\W\d]")
_ROLE = re.compile(
    r"\b(?:you|we|your|our|manager|supervisor|team|staff|employees?|members?|department|office"
    r"|officer|director|board|committee|owner|lead|administrators?|users?|person|people|partner"
    r"|company|customer|colleagues?|lawyers?|council|clerk|everyone|anyone|host|buyer|seller)\b",
    re.IGNORECASE,
)
_WHEN = re.compile(
    r"\b(?:[12]\d{3}s?|\d+(?:st|nd|rd|th)|\d{1,2}[./:-]\d[\d./:-]*|\d{1,2} ?(?:am|pm|bc|ad)|january"
    r"|february|march|april|may|june|july|august|september|october|november|december|jan|feb|mar"
    r"|apr|jun|jul|aug|sept?|oct|nov|dec|(?:mon|tues|wednes|thurs|fri|satur|sun)days?"
    r"|mon|tue|wed|thu|fri|sat|sun"
    r"|\w+ centur(?:y|ies)|spring|summer|autumn|winter|morning|noon|afternoon|evening|night"
    r"|midnight|daily|weekly|monthly|quarterly|yearly|annually|before|after|during|until|within"
    r"|once|every|each|as soon as|if|while|end of|beginning of|early|late|immediately|always|never"
    r"|by the|antiquity|war|easter|christmas|holidays?|when(?:ever)?|(?:second|minute|hour|day|week"
    r"|month|year|decade)s?"
    r"|\d[\d,]* ?(?:bp|bce|ce))\b",
    re.IGNORECASE,
)
_RELATIVE = re.compile(
    r"\b(?:last|this|next) (?:year|month|week|summer|winter|spring|autumn|fall)\b", re.IGNORECASE
)
"""Names a time only to those who know when it was written."""

_QUANTITY = re.compile(
    r"(?<!\d)(?![12]\d{3}\b(?!,\d))\d[\w.,]*|\b(?:zero|no|none|one|two|three|four|five|six|seven|eight|nine"
    r"|ten|eleven|twelve|dozens?|hundreds?|thousands?|millions?|billions?|half|third|quarter|once|twice|single|both"
    r"|unlimited|several|few|many|entire|whole|until|till|forever|permanent(?:ly)?|indefinite(?:ly)?"
    r"|as long as|dail?y|weekly|monthly|years?|hours?|days?|weeks?|months?|free|percent|full|zero"
    r"|same|double|\w+fold)\b|\b\d{4} times\b",
    re.IGNORECASE,
)
_OF_QUANTITY = re.compile(
    r"^(?:what|how much)(?:'s| is| was| were| are)? (?:the |my |our |your |its |a |an )?"
    r"(?!(?:type|kind|sort|form|comparison|difference|effect|cause|reason|name)s? )"
    r"(?:[\w'\u2019.&-]+ ){0,4}?(?:revenue|turnover|population|price|cost|fee|salary|wage|height"
    r"|weight|length|width|distance|temperature|capacity|budget|profit|percentage|speed|voltage|diameter)"
    r"s?\b(?! (?:list|policy|range|class|group|code|band|scale|sensor|unit|limit|tag|plan|type))"
)
_LOCATED = re.compile(
    r"^where (?:is|are|was|were|did|does|do|can)\b|\blocation\W*\Z|^what (?:is|was) the location\b"
)
_PLACED = re.compile(
    r"\b(?:in|at|on|near|to|from|behind|under|above|below|beside|by|into|through|outside|inside|next"
    r"|between|along|via|across|opposite|where|here|there|room|floor|door|desk|box|shelf|online)\b"
    r"|[/@]|\w\.\w",
    re.IGNORECASE,
)


_SOUGHT = re.compile(
    r"^where(?: is|'s| are| was| were) (?:[\w'\u2019&-]+ ){0,5}?(?P<noun>[a-z]{3,})\W*\Z",
    re.IGNORECASE,
)
_IN_IT = re.compile(
    r"\b(?:in|at|to|from|of|into|inside|for) (?:(?:the|our|your|its|this|that|an?) )?"
    r"(?:[\w'\u2019&-]+ ){0,3}\Z",
    re.IGNORECASE,
)
_BEHIND_IT = re.compile(
    r",? (?:\(|(?:which |that )?(?:is |lies |stands )?(?:in|on|at|near|behind|opposite|under|above"
    r"|below|beside|next to|by|between)\b)",
    re.IGNORECASE,
)

_DATED = re.compile(
    r"^(?:when(?= (?:is|are|was|were|did|do|does|will|can|must|should|has|have|may)\b)"
    r"|(?:in|on|by|until|since) (?:what|which) (?:year|date|day|month|century|decade)"
    r"|(?:what|which) (?:year|date|day|month|century|decade)|what (?:is|was) the (?:\w+ )?date)\b"
)


def _is_only_where(noun: str, text: str) -> bool:
    """Whether a thing is named as the place of something else ("it takes place in the office").

    False where another place stands behind it ("in the office on the quay").
    """
    named = list(re.finditer(rf"\b{re.escape(noun)}\b", text, re.IGNORECASE))
    return bool(named) and all(
        _IN_IT.search(text, 0, one.start()) and not _BEHIND_IT.match(text, one.end())
        for one in named
    )


def _kind_of(question: str) -> str:
    plain = " ".join(question.lower().split())
    if _PERSON.search(plain):
        return "person"
    if _DATED.search(plain):
        return "date"
    if re.search(
        r"^(?:(?:about|for|in|within) )?how (?:many|much|long|far|tall|high|old)\b", plain
    ) or _OF_QUANTITY.search(plain):
        return "number"
    return "place" if _LOCATED.search(plain) else ""


def _shape(question: str) -> re.Pattern[str] | None:
    """Return what an address or number that a question asks for looks like."""
    plain = question.strip().rstrip(" ?.!")
    topic = asked_for(question).topic
    for asks, shape in _SHAPES:
        for match in asks.finditer(plain):
            named_last = topic and match.end() == len(plain)
            ends = _OF_WHOM.match(plain, match.end()) is not None
            if named_last or (ends and _ASKS_WHAT.match(plain, 0, match.start())):
                return shape
    return None


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without the endings of possession."""
    flat = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    return [word.removesuffix("'s").removesuffix("'") for word in re.findall(r"[\w'-]+", flat)]

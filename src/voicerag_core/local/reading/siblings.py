"""What a rule holds for: another group of people, another kind of ticket, the opposite of a word.

Handbooks tell the same of one group after another: "Associates may work from home three days a
week. Trainees may do so one day." The measures here say where a sentence names another group, or
another kind of the same thing, than the question does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from voicerag_core.local.reading.features import Candidate, alike, content_words
from voicerag_core.passages import split_source
from voicerag_core.types import Passage

__all__ = ["Sections", "Siblings", "other_domain", "other_group"]

_GROUPS = tuple(
    frozenset(line.split())
    for line in """\
intern interns
trainee trainees
apprentice apprentices
volunteer volunteers
contractor contractors freelancer freelancers
temp temps
secretary secretaries
assistant assistants
associate associates
partner partners
manager managers supervisor supervisors
director directors
executive executives
nurse nurses
doctor doctors physician physicians
midwife midwives
porter porters
consultant consultants
resident residents
patient patients
student students
pupil pupils
teacher teachers
professor professors
parent parents
governor governors
driver drivers
conductor conductors
pilot pilots
cleaner cleaners
engineer engineers
technician technicians
visitor visitors guest guests
tenant tenants
landlord landlords
customer customers client clients
supplier suppliers vendor vendors
member members
non-member non-members
adult adults grown-up grown-ups
child children kid kids
infant infants baby babies toddler toddlers
junior juniors
pensioner pensioners
dog dogs
cat cats
horse horses
bird birds
hen hens chicken chickens
duck ducks
goose geese
rabbit rabbits
goat goats
pig pigs
sheep
bee bees
fish
car cars automobile automobiles
motorbike motorbikes motorcycle motorcycles moped mopeds
bicycle bicycles bike bikes
van vans
lorry lorries truck trucks
bus buses coach coaches""".splitlines()
)
"""Those of whom one rule may hold and another not; words of one line mean the same."""

_GROUP_OF = {word: number for number, words in enumerate(_GROUPS) for word in words}
MOST_IN_FRONT = 4
"""Words in front of the group of which a sentence tells something."""

_ASKED_OF = re.compile(
    r"\b(?:do|does|did|can|could|may|must|should|are|is|will|for|of|of a|how many)\b "
    r"(?:(?:the|a|an|our|my|all|new|healthcare|student|external|full-time|part-time) )*"
    r"(?P<group>[a-z][a-z-]+)\b(?! (?:of|for|in) )"
)
_WORD = re.compile(r"[a-z][a-z'\u2019-]*")


def other_group(question: str, text: str, path: Sequence[str], before: str) -> bool:
    """Tell whether a sentence holds for another group of people or animals than is asked about.

    Args:
        question: In words.
        text: The sentence.
        path: The headings above it.
        before: The sentence before it.
    """
    asked = {
        _GROUP_OF[match["group"]]
        for match in _ASKED_OF.finditer(question.lower())
        if match["group"] in _GROUP_OF
    }
    if not asked:
        return False
    anywhere = _groups(_WORD.findall(f"{text} {' '.join(path)} {before}".lower()))
    if asked & anywhere:
        return False
    opening = _WORD.findall(text.lower())[:MOST_IN_FRONT]
    return bool(_groups(opening) or (path and _groups(_WORD.findall(path[-1].lower()))))


def _groups(words: Iterable[str]) -> set[int]:
    plain = (word.replace("\u2019", "'").removesuffix("'s").removesuffix("'") for word in words)
    return {_GROUP_OF[word] for word in plain if word in _GROUP_OF}


_OFFICE = re.compile(
    r"^who(?: is|'s|\u2019s| are) (?:the |our )?(?P<office>[a-z][a-z -]*?)"
    r" (?:in|of|for|at) (?:the |our )?(?P<domain>[a-z][a-z -]*?)(?: here| now)?\W*\Z",
    re.IGNORECASE,
)


def other_domain(question: str, sentence: Candidate, around: str) -> bool:
    """Tell whether a sentence names an office of another domain, and its passage not this one.

    "Who is the consultant in cardiology?" is not answered by the consultant of another ward.

    Args:
        question: In words.
        sentence: It; a row tells the domain in another cell.
        around: Its passage with title and headings.
    """
    asked = _OFFICE.match(question.strip())
    if asked is None:
        return False
    domain, known = content_words(asked["domain"]), set(content_words(f"{sentence.text} {around}"))
    office = set(content_words(asked["office"]))
    named = bool(office) and office <= set(sentence.words)
    if named and sentence.kind != "row":
        last = re.escape(asked["office"].split()[-1])
        of_other = re.search(rf"\b{last} (?:in|of|for|at) ", sentence.text, re.IGNORECASE)
        named = of_other is not None
    return named and bool(domain) and all(alike(one, known).isdisjoint(known) for one in domain)


_NEGATED = ("un", "non", "non-", "in", "im", "dis")
LEAST_NEGATED = 5
"""Letters of a word of which the negated form is looked for."""

_RAW = re.compile(r"[^\W\d_][\w'-]*|\d\w*")
_NO_MODIFIER = frozenset(
    re.split(
        r"\s",
        "a an the of in on at to for from by with and or is are was were be do does did has have "
        "had what which who when where why how many much that this these those my our your his "
        "her its their can could may must should will would shall i we you they he she it one "
        "get gets got take takes bring use need needs cost costs buy sell give any some all no "
        "not if last first next other more most own same new old long big late early open",
    )
)


@dataclass(frozen=True, slots=True)
class Siblings:
    """What tells the thing that is asked about from others of its kind by a word in front.

    Args:
        pairs: Neighbouring words that carry meaning, stemmed: ("flex", "ticket").
        words: Of the question, in lower case.
        open: Whether it asks for more than yes or no.
    """

    pairs: tuple[tuple[str, str], ...]
    words: frozenset[str]
    open: bool

    @classmethod
    def of(cls, question: str, sentences: Sequence[Candidate], *, open_ended: bool) -> Siblings:
        """Return those pairs of a question's words that stand together in a text at hand, too."""
        asked = list(dict.fromkeys(_pairs(question)))
        said = {pair for one in sentences for pair in _pairs(one.text)} if asked else set()
        near = [pair for pair in asked if pair in said]
        words = frozenset(word.lower() for word in _RAW.findall(question))
        return cls(tuple(near), words, open_ended)

    def other_kind(self, sentence: Candidate, above: str) -> bool:
        """Whether a sentence or its heading begins with another kind: "Saver tickets" for "flex".

        Args:
            sentence: It.
            above: The title and the headings.
        """
        if sentence.kind not in ("text", "item", "note"):
            return False
        openings = (sentence.text, *sentence.path[-1:])
        for first, head in self.pairs:
            if first in sentence.words or first in content_words(above):
                continue
            others = (pair for text in openings for pair in _pairs(text, openings=True))
            if any(pair[1] == head and pair[0] != first for pair in others):
                return True
        return False

    def negated(self, text: str, context: str) -> bool:
        """Whether a text only has the opposite of a word of the question: "uncontested"."""
        if not self.open:
            return False
        said = frozenset(_RAW.findall(text.lower()))
        around = said.union(_RAW.findall(context.lower()))
        for word in self.words:
            if len(word) < LEAST_NEGATED or word in around:
                continue
            if any(prefix + word in said for prefix in _NEGATED):
                return True
            plain = next((word[len(p) :] for p in ("un", "non-") if word.startswith(p)), "")
            if len(plain) >= LEAST_NEGATED and plain in said:
                return True
        return False


def _pairs(text: str, *, openings: bool = False) -> list[tuple[str, str]]:
    """Return neighbouring words that carry meaning; with `openings`, of the first two words."""
    words = _RAW.findall(text)
    if openings:
        words = words[:2]
    found = []
    for one, other in pairwise(words):
        if _NO_MODIFIER.isdisjoint((one.lower(), other.lower())):
            stems = content_words(one), content_words(other)
            if len(stems[0]) == len(stems[1]) == 1:
                found.append((stems[0][0], stems[1][0]))
    return found


_OF_THING = re.compile(
    r"\b(?:of|for|on|in|at|to|from|with|by) (?:the|an?|my|our|your) (?P<thing>[a-z][a-z-]{2,})"
    r"(?=\W*\Z|,| (?:and|or|if|when|in|on|at|for|to|by)\b)",
    re.IGNORECASE,
)
"""Names what something belongs to: "the fare for the ferry"."""


@dataclass(frozen=True, slots=True)
class Sections:
    """Sections of the documents at hand that are named after what a question asks about.

    Args:
        things: Stems of what the question asks about.
        named: By document and thing, the innermost headings that name it.
        sources: Of the passages, without their places.
    """

    things: tuple[str, ...]
    named: dict[tuple[str, str], frozenset[str]]
    sources: tuple[str, ...]

    @classmethod
    def of(
        cls, question: str, passages: Sequence[Passage], sentences: Sequence[Candidate]
    ) -> Sections:
        """Return the sections of all documents that the question names one of."""
        stems = (content_words(match["thing"]) for match in _OF_THING.finditer(question))
        things = tuple(dict.fromkeys(one[0] for one in stems if len(one) == 1))
        sources = tuple(split_source(passage.source)[0] for passage in passages)
        named: dict[tuple[str, str], set[str]] = {}
        headings = {(sources[one.passage], one.path[-1]) for one in sentences if one.path}
        for source, heading in headings if things else ():
            words = content_words(heading)
            for thing in things:
                if thing in words:
                    named.setdefault((source, thing), set()).add(heading)
        known = {key: frozenset(headings) for key, headings in named.items()}
        return cls(things, known, sources)

    def other(self, sentence: Candidate, before: str) -> bool:
        """Whether a sentence stands under another heading than the thing's, and does not name it.

        Args:
            sentence: It.
            before: The sentence before it.
        """
        if not self.named or not sentence.path:
            return False
        source = self.sources[sentence.passage]
        said = {*sentence.words, *content_words(before)}
        said.update(word for heading in sentence.path for word in content_words(heading))
        return any(
            (source, thing) in self.named and alike(thing, said).isdisjoint(said)
            for thing in self.things
        )

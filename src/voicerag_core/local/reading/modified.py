"""Nouns with a word in front that names one of several: the default host, the group card.

A sentence on the default host does not answer for the default port, and one on cards hardly for
the group card.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile, pairwise, takewhile

from voicerag_core.local.reading.features import Candidate, alike, content_words
from voicerag_core.local.reading.stems import stem

__all__ = ["Named", "other_noun", "phrases", "qualified"]

_ADJECTIVES = (
    "default|minimum|maximum|minimal|maximal|average|annual|yearly|monthly|weekly|daily|hourly"
    "|initial|standard|regular|official|recommended|estimated|total"
)
_PHRASE = rf"\b({_ADJECTIVES})((?: [a-z][a-z-]+){{1,2}})"
_SAID = re.compile(_PHRASE, re.IGNORECASE)
_ASKED = re.compile(
    rf"\b(?:what|which|how (?:much|long|high|big|large))\b[^?]*?{_PHRASE}", re.IGNORECASE
)
_NO_NOUNS = frozenset(
    "a an and are as at be by can do does does for from has have i if in is it my of on one or our "
    "should that the their they this to under was we when which who will with you your".split()
)
_ANY_THING = frozenset(
    map(
        stem,
        "amount case figure level limit number option parameter rate setting size sum "
        "value".split(),
    )
)
"""What may stand for the noun: "The default value is 5432"."""


def qualified(question: str) -> tuple[str, frozenset[str]] | None:
    """Return the adjective of what is asked for and the stems of its nouns, if it has one."""
    match = _ASKED.search(question)
    nouns = _nouns(match[2]) if match else frozenset()
    return (match[1].lower(), nouns) if match and nouns else None


def other_noun(asked: tuple[str, frozenset[str]] | None, text: str) -> bool:
    """Return whether a sentence says the adjective of other nouns, and none that is asked for.

    Args:
        asked: See `qualified`.
        text: The sentence.
    """
    if asked is None:
        return False
    adjective, nouns = asked
    said = [_nouns(match[2]) for match in _SAID.finditer(text) if match[1].lower() == adjective]
    if not any(said) or any(own & (nouns | _ANY_THING) for own in said):
        return False
    known = {stem(word) for word in re.findall(r"[a-z]+", text.lower())}
    return nouns.isdisjoint(known)


def _nouns(words: str) -> frozenset[str]:
    """Return the stems of the words up to the first that is no noun."""
    found = []
    for word in words.lower().split():
        if word in _NO_NOUNS:
            break
        found.append(stem(word))
    return frozenset(found)


_IN_FRONT = (
    r"the|an?|my|our|your|their|its|his|her|this|that|of|for|per|in|on|with|as|many|much|any|no"
)
_RUN = re.compile(
    rf"(?<![\w'\u2019-])(?:{_IN_FRONT})(?=((?: [^\W\d_][\w-]*){{2,5}}))", re.IGNORECASE
)
"""Words behind one that opens the name of a thing."""

_NAMES_NOTHING = _NO_NOUNS | frozenset(
    "about above after again all already am any around away back because before below between both "
    "but could did down during each either else enough ever every few first get gets getting give "
    "given go goes going got had having he her here him his how into its itself just kind last "
    "less let like long make makes many me more most much must need needs new next no not now off "
    "old only onto other out over own per please same shall she since so some sort still such take "
    "takes than them then there these those through together too toward towards two type until "
    "until up us used very want wants were what where while whole whom whose why within without "
    "would yet big small large little short narrow wide thin thick tall high low deep heavy light "
    "fast slow quick cheap good bad better best worst main common usual normal special "
    "entire actual different certain possible begin belong close come contain cost costs end "
    "happen hold include last live look mean open pay receive run start weigh work "
    "major word name event subject aspect built made held found won lost sold given taken known "
    "written led dealt drawn seen left "
    "one three four five six seven eight nine ten".split()
)
_SUPERLATIVE = re.compile(r"[a-z]{3,}est")


def phrases(question: str) -> tuple[tuple[str, str], ...]:
    """Return the stems of neighbouring words in the names of things: ("group", "card").

    Left out are superlatives and words that name no kind of a thing ("narrow", "special").
    """
    found = [
        pair
        for match in _RUN.finditer(question)
        for pair in pairwise(_name(match[1].split()))
        if _SUPERLATIVE.fullmatch(pair[0].lower()) is None
    ]
    return tuple(dict.fromkeys(_stemmed(found)))


LEAST_BEGINNING = 4
"""Letters of a word that a longer one may begin with."""

_NO_NOUN = re.compile(r"[a-z]{2,}(?:[^e]ed|ly)\Z")
"""Ending of a word that says what was done with the thing in front, or how."""


def _name(words: Sequence[str]) -> list[str]:
    """Return the first of some words that stand together and may name a thing."""
    behind = dropwhile(lambda word: word.lower() in _NAMES_NOTHING, words)
    first, *rest = list(takewhile(lambda word: word.lower() not in _NAMES_NOTHING, behind)) or [""]
    nouns = list(takewhile(lambda word: _NO_NOUN.search(word.lower()) is None, rest))
    return [first, *nouns] if first else []


def _stemmed(pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for first, second in pairs:
        one, other = content_words(first), content_words(second)
        if len(one) == len(other) == 1:
            yield one[0], other[0]


_OF_THING = re.compile(
    r"\b(?!out\b)[a-z-]+ (?:of|for|on) (?:the|an?)(?=((?: [^\W\d_][\w-]*){1,4}))", re.IGNORECASE
)
"""What something is an attribute of: "the warranty on the power supply"."""


_ANY_OF_THEM = frozenset(
    map(
        stem,
        "model version type kind product device machine appliance one item thing place day week "
        "month year time person".split(),
    )
)
"""What stands for a thing that is named by another word."""


@dataclass(frozen=True, slots=True)
class Named:
    """The names by which a question tells things from others of their kind.

    Args:
        phrases: See `phrases`.
        things: Stems of what something is an attribute of, of those that are said at hand.
    """

    phrases: tuple[tuple[str, str], ...]
    things: tuple[str, ...]

    @classmethod
    def of(cls, question: str, sentences: Sequence[Candidate]) -> Named:
        """Return what a question names, given the sentences at hand."""
        last = (_name(match[1].split())[-1:] for match in _OF_THING.finditer(question))
        stems = {stem for words in last for stem in content_words(" ".join(words))}
        known = {word for one in sentences for word in one.words} if stems else set()
        return cls(phrases(question), tuple(sorted((stems & known) - _ANY_OF_THEM)))

    def __bool__(self) -> bool:
        """Whether it names anything."""
        return bool(self.phrases or self.things)

    def unsaid(self, said: frozenset[str]) -> bool:
        """Return whether a thing is not said, or a noun without the word that tells its kind.

        Args:
            said: Stems of the sentence and what stands around it.
        """
        return any(
            not _is_said(modifier, said) and not alike(head, said).isdisjoint(said)
            for modifier, head in self.phrases
        ) or any(alike(thing, said).isdisjoint(said) for thing in self.things)


def _is_said(modifier: str, said: frozenset[str]) -> bool:
    """Whether a word is said, alone or at the beginning of a longer one ("railways" for "rail")."""
    if modifier in said or not alike(modifier, said).isdisjoint(said):
        return True
    return len(modifier) >= LEAST_BEGINNING and any(word.startswith(modifier) for word in said)

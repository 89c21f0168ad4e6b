"""Things of one kind that are told apart by a name or a number in it: another prize, another part.

"Who won the Walter Camp Award?" is not answered by the winner of the Golden Arm Award, and "When
was Chronicles 2 released?" not by a sentence about the Chronicles that names no number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from voicerag_core.local.reading.calendar_words import CALENDAR_WORDS, MONTHS
from voicerag_core.local.reading.features import content_words
from voicerag_core.local.reading.near_misses import QUESTION_WORDS
from voicerag_core.local.reading.numbered import numbered

__all__ = ["Namesakes"]

_CAP = r"[A-Z\u00c0-\u00de][\w\u2019'&-]*"
_PHRASE = re.compile(rf"{_CAP}(?: {_CAP})*")
_KINDS = frozenset(
    re.split(
        r"\s",
        "award awards prize medal cup trophy plan office branch campus edition series festival "
        "college school university hospital station street road bridge museum department team "
        "division "
        "model act treaty league championship",
    )
)
"""Nouns that a name may stand in front of, in small letters, too."""

_NUMBERED = re.compile(
    r"\b(?P<thing>[^\W\d_][\w\u2019'-]+)(?:,? (?:[Pp]art|[Vv]olume|[Ee]pisode))? "
    r"(?P<number>\d{1,2}|[IVX]{2,4})"
    rf"(?![\w:%]|[.,]\d| (?:{'|'.join(map(str.title, MONTHS))})\b)"
)
_RANKED = re.compile(
    r"best|worst|most|least|first|second|third|fourth|fifth|top|outstanding|national|international"
    r"|world|[a-z]{3,}est"
)
"""Word of a title in front of what is ranked, which one word more makes another title."""

LEAST_BEGINNING = 5
"""Letters that two words of a name begin with to be taken for one, written in two ways."""
LEAST_HEAD = 3
"""Letters of a noun that a name may stand in front of."""


@dataclass(frozen=True, slots=True)
class Namesakes:
    """The names in a question that others of their kind may be mistaken for.

    Args:
        heads: The noun of each name ("award"), and the words that tell it from others.
        pairs: Neighbouring words of its names, in small letters ("best actor").
        parts: Things that are named with a number, as `numbered` has them.
    """

    heads: tuple[tuple[str, frozenset[str]], ...]
    parts: tuple[tuple[str, frozenset[str]], ...]
    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, question: str) -> Namesakes:
        """Return the names of a question."""
        heads = [(head, own) for head, own in _named(question) if own]
        by_number = numbered(question)
        parts: list[tuple[str, frozenset[str]]] = []
        for match in _NUMBERED.finditer(question):
            things = [one for one in content_words(match["thing"]) if one in by_number]
            parts += [(one, by_number[one]) for one in things if one not in CALENDAR_WORDS]
        pairs = [
            pair
            for match in _PHRASE.finditer(question)
            for pair in pairwise(match[0].lower().split())
            if not QUESTION_WORDS.intersection(pair)
        ]
        return cls(tuple(heads), tuple(parts), tuple(pairs))

    def parted(self, text: str) -> bool:
        """Whether a sentence has a word between two of a name: "best supporting actor".

        Between the names of a person, or a country's and a noun, a word tells nothing apart:
        "James Clerk Maxwell", "European Union law".
        """
        said = text.lower()
        return any(
            _RANKED.fullmatch(a)
            and re.search(rf"\b{re.escape(a)} [a-z]{{4,}} {re.escape(b)}\b", said) is not None
            and f"{a} {b}" not in said
            for a, b in self.pairs
        )

    def other_named(self, text: str, context: str) -> bool:
        """Whether a sentence names another thing of a kind, and not the one that is asked about."""
        if not self.heads:
            return False
        said = list(_named(text))
        around = said + list(_named(context))
        for head, own in self.heads:
            if any(h == head and _same(own, words) for h, words in around):
                continue
            if any(h == head and words for h, words in said):
                return True
        return False

    def other_part(self, text: str, around: str) -> bool:
        """Whether a sentence names a thing of which its surroundings never say the number."""
        if not self.parts:
            return False
        words = set(content_words(text))
        known = numbered(around)
        return any(
            thing in words and numbers.isdisjoint(known.get(thing, frozenset()))
            for thing, numbers in self.parts
        )


def _named(text: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the nouns that a name stands in front of, in the singular, with the words of it."""
    for match in _PHRASE.finditer(text):
        words = [word for word in match[0].split() if word.lower() not in QUESTION_WORDS]
        after = re.match(r" ([a-z]+)\b", text[match.end() :])
        if after and after[1] in _KINDS and words:
            yield _singular(after[1]), _told(words)
        if len(words) > 1 and len(words[-1]) >= LEAST_HEAD:
            yield _singular(words[-1].lower()), _told(words[:-1])


def _same(own: frozenset[str], words: frozenset[str]) -> bool:
    """Whether a word of one name is one of another, or begins it: "Definite", "Definitive"."""
    return any(
        a == b or (min(len(a), len(b)) >= LEAST_BEGINNING and (a.startswith(b) or b.startswith(a)))
        for a in own
        for b in words
    )


def _told(words: list[str]) -> frozenset[str]:
    return frozenset(w for word in words for w in content_words(word)) - CALENDAR_WORDS


def _singular(word: str) -> str:
    return word.removesuffix("'s").removesuffix("\u2019s").removesuffix("s")

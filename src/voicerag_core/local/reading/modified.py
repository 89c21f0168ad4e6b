"""Nouns with an adjective that names one of several: the default host is not the default port."""

from __future__ import annotations

import re

from voicerag_core.local.reading.stems import stem

__all__ = ["other_noun", "qualified"]

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

"""Stems of English words: "cancelled" and "cancel", "companies" and "company" have the same.

Stems are only compared with each other, so they need not be words.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["LEAST_STEM", "stem"]

LEAST_STEM = 3
"""Minimum letters of a stem."""

LEAST_WITH_OUR = 5
"""Letters of a stem whose "our" may be spelt "or": "colour", but "hour"."""

MOST_KEPT = 32_768
"""Words whose stems are kept."""

_ENDINGS = ("ing", "edly", "ed", "es", "s", "ly")

_FORMS = """\
beat beaten
become became
begin began begun
bend bent
bleed bled
blow blew blown
break broke broken
bring brought
build built
buy bought
catch caught
choose chose chosen
come came
deal dealt
die died dies dying
dig dug
draw drew drawn
drink drank drunk
drive drove driven
eat ate eaten
fall fell fallen
feed fed
fight fought
fly flew flown flies
forbid forbade forbidden
forget forgot forgotten
freeze froze frozen
get got gotten
give gave given
go went gone goes
grow grew grown
hang hung
hear heard
hide hid hidden
hold held
keep kept
know knew known
lend lent
lose lost
make made
mean meant
meet met
pay paid
ride rode ridden
ring rang rung
run ran
say said
seek sought
sell sold
send sent
shake shook shaken
shine shone
show shown
sing sang sung
sink sank sunk
sit sat
sleep slept
speak spoke spoken
spend spent
stand stood
steal stole stolen
stick stuck
strike struck
swear swore sworn
swim swam swum
take took taken
teach taught
tear tore torn
tell told
think thought
throw threw thrown
tie tied ties tying
understand understood
use used uses using
wake woke woken
wear wore worn
win won
write wrote written
man men
woman women
child children
see seen
rise risen
foot feet
tooth teeth
mouse mice
person people
knife knives
half halves
shelf shelves
tyre tire
cheque check
programme program"""
"""Forms of verbs and nouns that no rule gives, and spellings; each line behind its base form."""

_BASE = {form: base for base, *forms in map(str.split, _FORMS.splitlines()) for form in forms}

_DOUBLED = re.compile(r"([b-df-hj-np-tv-xz])\1\Z")
_LAST_ED = re.compile(r"(?<=\w{2}e)ed\Z")
_LAST_E = re.compile(r"(?<=\w{3})e+\Z")
_LAST_I = re.compile(r"(?<=[^aeiou])i\Z")


@lru_cache(maxsize=MOST_KEPT)
def stem(word: str) -> str:
    """Return the stem of a word in lower case.

    Removed are one ending, the second of two equal consonants and a last "e"; irregular forms are
    those of their base form, British spellings the American ones.
    """
    word = _BASE.get(word) or _BASE.get(word.removesuffix("s"), word)
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= LEAST_STEM:
            word = word.removesuffix(ending)
            word = _LAST_I.sub("y", word) if ending in ("es", "ed") else word
            break
    if len(word) <= LEAST_STEM:
        return word
    word = _LAST_E.sub("", _LAST_ED.sub("", word))
    word = _DOUBLED.sub(r"\1", word)
    if word.endswith("our") and len(word) > LEAST_WITH_OUR:
        return word.removesuffix("our") + "or"
    if word.endswith("tr"):
        return word.removesuffix("tr") + "ter"
    return re.sub(r"is(?=\Z|ation\Z)", "iz", word) if len(word) > LEAST_WITH_OUR else word

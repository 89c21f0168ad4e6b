"""Where an answer is cut into pieces to speak one after another, the first one short.

The first sound of an answer comes when its first piece is spoken, so a long first sentence is
cut where a speaker would breathe. Later pieces may be longer: each has to be ready before the one
before it has been heard, and Piper speaks several times faster than sound plays.
"""

from __future__ import annotations

import re
import unicodedata

from voicerag_core.languages import ENGLISH
from voicerag_core.local.speaking.marks import without_marks
from voicerag_core.local.speaking.spoken_form import spoken_form

__all__ = [
    "FIRST_WORDS",
    "GROWTH",
    "MAX_CHARACTERS",
    "bounded",
    "clause_length",
    "read_line",
    "speakable",
    "spoken_line",
]

FIRST_WORDS = 10
"""Most words of the first piece, where a border allows: 3 to 4 seconds of speech."""

LEAST_WORDS = 3
"""Fewest words on either side of a cut; less sounds chopped."""

GROWTH = 3
"""How many times longer than the piece before it a piece may be, in words."""

MAX_CHARACTERS = 130
"""Longest piece in characters, about 8 s of speech: bounds what still runs when a listener leaves,
and Piper's memory, which grows with the longest piece. After the 36 answers of the main job its PSS
was 370 MB, with 160 characters 468 MB; it levels off near 540 MB after some hundred pieces."""

_CLAUSE_END = re.compile(r"[,;:)\]\u2014\u2013\uff0c\uff1b\uff1a\u3001][\"'\u201d\u2019]*$")
_CLAUSE_WORDS = (
    "because|although|though|while|whereas|when|where|which|who|whose|that|if|unless|until|since|"
    "after|before|but|nor"
)
_PREPOSITIONS = (
    "in|on|at|by|for|from|with|without|within|into|through|during|between|among|against|over|under|"
    "above|below|across|along|behind|beside|near|toward|towards|to"
)
_LINKS = "and|or|of|than|as|about|so|yet"
_OPENERS = tuple(
    re.compile(words, re.IGNORECASE) for words in (_CLAUSE_WORDS, _PREPOSITIONS, _LINKS)
)
"""Words to cut before, the better the earlier; a piece does not end with any of them."""
_UNSPOKEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_RAW_PHONEMES = re.compile(r"\[{2,}|\]{2,}")


def speakable(text: str) -> str:
    """Return the text on one line without control characters; "" when nothing in it can be said.

    Piper would take a second line for a second sentence and double square brackets for phonemes,
    and ends when a line holds neither letter nor digit.
    """
    text = _RAW_PHONEMES.sub(" ", unicodedata.normalize("NFC", text))
    kept = (" " if unicodedata.category(letter) in _UNSPOKEN else letter for letter in text)
    line = " ".join("".join(kept).split())
    return line if any(letter.isalnum() for letter in line) else ""


def spoken_line(text: str, language: str = ENGLISH) -> str:
    """Return the line that Piper is given for a text; "" when nothing in it is said."""
    return speakable(spoken_form(text, language))


def read_line(text: str) -> str:
    """Return a text on one line as it is read, figures as they are written; "" if nothing is said.

    It is for a voice that puts figures, dates and signs into words itself.
    """
    return speakable(without_marks(text))


def bounded(line: str) -> list[str]:
    """Cut a line into pieces of at most `MAX_CHARACTERS`, at a clause border or blank that fits."""
    parts = []
    while len(line) > MAX_CHARACTERS:
        head = line[:MAX_CHARACTERS]
        borders = [
            match.end() for match in re.finditer(r"[,;:](?= )|[\uff0c\uff1b\uff1a\u3001]", head)
        ]
        cut = max([end for end in borders if end > MAX_CHARACTERS // 2], default=0)
        cut = cut or max(head.rfind(" "), 0) or MAX_CHARACTERS
        parts.append(line[:cut].strip())
        line = line[cut:].strip()
    return [part for part in [*parts, line] if speakable(part)]


def clause_length(words: list[str], limit: int) -> int:
    """Return how many words the next piece takes, of at most `limit` where a border allows."""
    if len(words) <= limit:
        return len(words)
    last = min(limit, len(words) - LEAST_WORDS)
    lengths = range(last, LEAST_WORDS - 1, -1)
    for length in lengths:
        if _CLAUSE_END.search(words[length - 1]) and not _lists(words[length:]):
            return length
    for opener in _OPENERS:
        for length in lengths:
            if opener.fullmatch(words[length]) and not _hangs(words[length - 1]):
                return length
    return len(words)


def _lists(words: list[str]) -> bool:
    """Say whether a comma before these words parts a list, as in "old, cold and dark"."""
    return any(word.casefold() in ("and", "or") for word in words[1:4])


def _hangs(word: str) -> bool:
    """Say whether a piece must not end with this word."""
    return any(opener.fullmatch(word) for opener in _OPENERS)

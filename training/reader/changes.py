"""Near misses: a question changed so that its passage is still about it and no longer answers."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

__all__ = ["changed", "names_in"]

_YEAR = re.compile(r"\b(1[0-9]|20)\d{2}\b")
_CODE = re.compile(r"\b(?=[A-Za-z-]{1,6}\d|\d+[A-Za-z])[A-Za-z\d-]{2,14}\b")
_NUMBER = re.compile(r"(?<![\w.,])\d{1,6}(?:\.\d+)?(?![\w,]|\.\d)")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}(?: [A-Z][a-z]+)*(?:'s)?")
_ORDINALS = re.split(
    " ",
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth",
)
_OPPOSITES = (
    ("minimum", "maximum"), ("highest", "lowest"), ("largest", "smallest"), ("oldest", "youngest"),
    ("before", "after"), ("arrive", "leave"), ("open", "close"), ("north", "south"),
    ("east", "west"), ("mother", "father"), ("brother", "sister"), ("husband", "wife"),
    ("son", "daughter"), ("born", "buried"), ("winter", "summer"), ("morning", "evening"),
    ("monday", "thursday"), ("tuesday", "friday"), ("wednesday", "sunday"), ("january", "august"),
    ("february", "september"), ("march", "october"), ("april", "november"), ("june", "december"),
    ("won", "lost"), ("win", "lose"), ("enable", "disable"), ("add", "remove"), ("lend", "borrow"),
)  # fmt: skip
_SWAPS = {a: b for pair in _OPPOSITES for a, b in (pair, pair[::-1])}
_SWAPPED = re.compile(rf"\b({'|'.join(_SWAPS)})\b", re.IGNORECASE)
_ORDINAL = re.compile(rf"\b({'|'.join(_ORDINALS)})\b", re.IGNORECASE)


def names_in(question: str) -> list[str]:
    """Return the names that stand inside a question, not at its start."""
    return [match[0].removesuffix("'s") for match in _NAME.finditer(question)]


def changed(
    question: str, around: str, names: Sequence[str], chance: random.Random, most: int = 2
) -> list[str]:
    """Return changed forms of a question that its passage does not answer; [] when there are none.

    A year, number, code, rank or name that the passage holds becomes one that it does not hold,
    and a word becomes its opposite when only the word itself is in the passage.

    Args:
        question: As written.
        around: The passage with its title and headings.
        names: To take others from.
        chance: Draws.
        most: Forms to return.
    """
    low = around.lower()
    found = []
    for pattern, other in (
        (_YEAR, _other_year), (_CODE, _other_code), (_NUMBER, _other_number),
        (_ORDINAL, _other_rank), (_SWAPPED, _opposite),
    ):  # fmt: skip
        for match in pattern.finditer(question):
            new = other(match[0], chance)
            if match[0].lower() in low and new.lower() not in low:
                found.append(question[: match.start()] + new + question[match.end() :])
    for match in _NAME.finditer(question):
        name = match[0].removesuffix("'s")
        likely = [one for one in chance.choices(names, k=12) if one.count(" ") == name.count(" ")]
        if name.lower() in low:
            others = [one for one in likely if one.lower() not in low]
            found += [question.replace(name, other) for other in others[:1]]
    chance.shuffle(found)
    return list(dict.fromkeys(found))[:most]


def _other_year(year: str, chance: random.Random) -> str:
    return str(int(year) + chance.choice((-40, -20, -7, -3, -2, -1, 1, 2, 3, 5, 10)))


def _other_number(number: str, chance: random.Random) -> str:
    if "." in number:
        return f"{float(number) + chance.choice((-1, 1, 2)):.{len(number.partition('.')[2])}f}"
    return str(max(0, int(number) + chance.choice((-10, -3, -2, -1, 1, 2, 4, 10, 50))))


def _other_code(code: str, chance: random.Random) -> str:
    digits = [i for i, letter in enumerate(code) if letter.isdigit()]
    if not digits:
        return code
    at = chance.choice(digits)
    new = chance.choice([d for d in "0123456789" if d != code[at]])
    return code[:at] + new + code[at + 1 :]


def _other_rank(rank: str, chance: random.Random) -> str:
    return chance.choice([one for one in _ORDINALS if one != rank.lower()])


def _opposite(word: str, chance: random.Random) -> str:
    del chance
    other = _SWAPS[word.lower()]
    return other.title() if word[0].isupper() else other

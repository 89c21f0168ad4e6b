"""Names in an answer, and whether some texts have them."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable

from voicerag_core.errors import VoiceRAGError
from voicerag_core.languages import ENGLISH
from voicerag_core.local.reading.calendar_words import CALENDAR_WORDS
from voicerag_core.local.reading.units import unit_of
from voicerag_core.local.weights.files import weight_path

__all__ = ["Names", "names"]

_LETTER = r"A-Za-z\u00c0-\u024f\u0370-\u04ff"
_WORD = re.compile(rf"[{_LETTER}\d][{_LETTER}\d\u0300-\u036f'\u2019-]*")
_CAPITAL = re.compile(rf"(?<![{_LETTER}\d'\u2019-])[{_LETTER}][{_LETTER}\d'\u2019-]*")
_TITLES = frozenset(
    re.split(
        r"\s",
        "mr mrs ms mx dr prof professor sir madam lord lady king queen saint st president i i'm "
        "i'll i'd herr frau monsieur madame se\u00f1or se\u00f1ora ok tv uk us eu un usa",
    )
)
"""Ways to address a person, which say nothing of who it is, and what is written out elsewhere."""
_TIME_WORDS = CALENDAR_WORDS.union(re.split(" ", "mon tue wed thu fri sat sun ad bc ce bce am pm"))
_LINKS = frozenset(
    re.split(" ", "of the and de la le du von van der den di da del al bin y et und & in")
)
_DEMONYM = re.compile(r"(?:s|es|n|an|ian|ean|ish|ese|i|ic|e|er|en|man|men|'s)?")
LEAST_STEM = 5
"""Letters that a name and its adjective share: "German" and "Germany"."""
MOST_BETWEEN = 2
"""Words between two parts of a name in a text, such as a second first name."""


class Names:
    """The words of some texts, to look names up in.

    Args:
        texts: What is known.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._runs = [[_folded(word) for word in _WORD.findall(text)] for text in texts]
        self._words = {word for run in self._runs for word in run}
        self._words |= {part for word in self._words for part in word.split("-")}
        self._starts = {word[:LEAST_STEM] for word in self._words if len(word) >= LEAST_STEM}

    def lacks(self, name: tuple[str, ...]) -> bool:
        """Tell whether a name, word by word, is not in the texts, or only in parts of others."""
        words = [word for word in map(_folded, name) if word not in _LINKS]
        if any(not self._has(word) for word in words):
            return True
        return any(not self._has_pair(one, other) for one, other in itertools.pairwise(words))

    def has_word(self, word: str) -> bool:
        """Tell whether a word, or one that begins like it, is in the texts."""
        return self._has(_folded(word))

    def _has(self, word: str) -> bool:
        if word in self._words or word in _TITLES or word.removesuffix("s") in _TIME_WORDS:
            return True
        parts = word.split("-")
        if len(parts) > 1:
            return all(self._has(part) for part in parts)
        if word.endswith("s") and word[:-1] in self._words:
            many = len(word) > LEAST_STEM and word.endswith(("ans", "ers"))
            return many or _is_common(word)
        if word[:LEAST_STEM] in self._starts and not word.endswith("s"):
            return any(_is_form(word, other) for other in self._words)
        return self._abbreviates(word)

    def _abbreviates(self, word: str) -> bool:
        """Whether an acronym stands for words in a row."""
        if not 2 <= len(word) <= 6:  # noqa: PLR2004 - letters of an acronym
            return False
        return any(
            word in "".join(one[0] for one in run if one not in _LINKS)
            or word in "".join(one[0] for one in run)
            for run in self._runs
        )

    def _has_pair(self, one: str, other: str) -> bool:
        """Whether two parts of a name stand together, or not both in names of their own."""
        known = _TITLES | _TIME_WORDS
        if one in known or other in known or one not in self._words or other not in self._words:
            return True
        for run in self._runs:
            places = [at for at, word in enumerate(run) if word == one]
            for at in places:
                around = run[max(0, at - MOST_BETWEEN - 1) : at + MOST_BETWEEN + 2]
                if other in around:
                    return True
        return False


def names(sentence: str, known: Names, language: str = ENGLISH) -> list[tuple[str, ...]]:
    """Return the names in a sentence, each word by word.

    The first word of an English sentence counts where it is no common word.

    Args:
        sentence: Of an answer.
        known: The texts, whose words need no look at their case.
        language: Code of the sentence's language; what is a common word is known of English alone.
    """
    runs: list[list[tuple[str, int, int]]] = []
    for match in _CAPITAL.finditer(sentence):
        word = match[0].rstrip("-'\u2019")
        if not word[:1].isupper():
            continue
        between = sentence[runs[-1][-1][2] : match.start()] if runs else "."
        if runs and re.fullmatch(r"(?: (?:of|the|and|de|la|von|van|der|&)){0,2} |-", between):
            linked = len(between.split()) > 0
            if not linked:
                runs[-1].append((word, match.start(), match.end()))
                continue
        runs.append([(word, match.start(), match.end())])
    found = []
    for run in runs:
        words = [word for word, *_ in run]
        first = sentence[: run[0][1]].strip("\"'(\u201c\u2018 \n*-\u2022")
        if not first or first.endswith((":", ".", "!", "?", "\u201c")):
            lone = len(words) == 1
            if (
                language != ENGLISH
                or _is_common(words[0])
                or (lone and (known.has_word(words[0]) or _is_lower(words[0])))
            ):
                words = words[1:]
        words = [
            word
            for word in words
            if _folded(word) not in _TITLES
            and not any(map(str.isdigit, word))
            and unit_of(word) is None
        ]
        if words:
            found.append(tuple(words))
    return found


def _is_form(word: str, other: str) -> bool:
    """Whether two words are a name and its adjective."""
    short, long = sorted((word, other), key=len)
    for cut in (0, 1, 2):
        stem = short[: len(short) - cut]
        if len(stem) < LEAST_STEM or not long.startswith(stem):
            continue
        rest, end = long[len(stem) :], short[len(stem) :]
        if rest and _DEMONYM.fullmatch(rest) and rest not in ("s", "e") and not end.strip("aeiouy"):
            return True
    return False


def _folded(word: str) -> str:
    plain = unicodedata.normalize("NFKD", word.replace("\u2019", "'")).lower()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return plain.removesuffix("'s").removesuffix("'").rstrip("-")


def _is_lower(word: str) -> bool:
    """Whether nothing tells that a word is a name: the list of cased words is not there."""
    return not _cased()


def _is_common(word: str) -> bool:
    """Whether a word is written with a small letter elsewhere than at the start of a sentence."""
    return word.lower() in _cased()


@functools.cache
def _cased() -> frozenset[str]:
    """Return the words that the recogniser writes with small letters, empty if it is not there."""
    try:
        import tokenizers

        path = weight_path("whisper-tiny.en/tokenizer.json")
    except (ImportError, VoiceRAGError):
        return frozenset()
    vocabulary = tokenizers.Tokenizer.from_file(str(path)).get_vocab()
    return frozenset(word[1:] for word in vocabulary if word[:1] == "\u0120" and word[1:].islower())

"""Finds the words of a collection in the frames of a CTC network.

A word is found as its subwords, with blanks between them: a Viterbi search over every word at once,
free to begin and to end at any frame. A word's score is what its best path loses against the most
likely symbol of each frame, so 0 is a word that was plainly said.

Source: Andrusenko et al., "Fast Context-Biasing for CTC and Transducer ASR models with CTC-based
Word Spotter" (2024), section 2, for the search; here all words advance together as one array, and
the best words are handed to other decoders.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, product

import numpy as np
from numpy.typing import NDArray

from voicerag_core.types import Vocabulary

__all__ = ["Spotted", "WordSpotter", "lost_in", "said_as", "text_score"]

MOST_WORDS = 8000
"""Of a vocabulary that are looked for: less familiar ones first."""
PLAIN_WORDS = 2000
"""The commonest English words are heard without help, and left out."""
LEAST_LETTERS, MOST_SUBWORDS = 3, 12
"""Of a word without a capital or digit; of any."""

LEAST_SCORE = -22.0
"""Natural-log probability against the best path below which a word is not found."""
TOKEN_WORTH, COMMON_WORTH, UNFAMILIAR_WORTH = 2.0, 2.0, 8.0
"""Added to the score of a word for each subword, for the logarithm of one more than its number of
passages, and where English speech has it seldom: of two words that sound alike, the longer, the
commoner in the collection and the one that nobody would guess comes first."""
PRIOR_WEIGHT = 2.0
"""Of the logarithm of one more than its number of passages, in the prior of a word."""
SPOKEN_LEAST = 0.02
"""A frame is looked at if something besides a blank has this probability."""

_NEVER = np.float32(-1e4)
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d")
_NUMBERED = re.compile(r"[A-Za-z]{3,}\d+")
"""Not a code but a word and a number, which a question holds apart: "Python3"."""
_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_SPELLED_LETTERS = 5
"""Longest run of capitals that may be spelled."""
_MOST_FORMS = 4
_MOST_TEXTS = 16
"""Ways to say a word, and a whole text, that are compared."""
_WORD = re.compile(r"(?!\d+\b)[\w'-]+")


@dataclass(frozen=True, slots=True)
class Spotted:
    """A word that may have been said.

    Args:
        word: As it is written.
        tokens: Its subwords, as they were found.
        worth: Score with what the vocabulary adds to it; only compares words.
        prior: For an unfamiliar word, by how much a transcript that has it is likelier, as a
            natural logarithm: recognisers hold it for unlikely, whatever the collection is about.
    """

    word: str
    tokens: tuple[int, ...]
    worth: float
    prior: float


class WordSpotter:
    """Looks for the words of a vocabulary. Immutable and thread-safe.

    Args:
        vocabulary: The words.
        tokens: The V tokens of the network.
        ranks: English words in lower case, each with its place by frequency.
    """

    def __init__(
        self, vocabulary: Vocabulary, tokens: Sequence[str], ranks: Mapping[str, int]
    ) -> None:
        ids = {token: number for number, token in enumerate(tokens)}
        self._words: list[str] = []
        self._tokens: list[tuple[int, ...]] = []
        self._priors: list[float] = []
        extra: list[float] = []
        for word, passages, unfamiliar in _chosen(vocabulary, ranks):
            worth = COMMON_WORTH * math.log1p(passages) + UNFAMILIAR_WORTH * unfamiliar
            prior = PRIOR_WEIGHT * math.log1p(passages) * unfamiliar
            for form in _spoken_forms(word):
                found = _segmented(form, ids)
                if 0 < len(found) <= MOST_SUBWORDS:
                    self._words.append(word)
                    self._tokens.append(found)
                    self._priors.append(prior)
                    extra.append(worth + TOKEN_WORTH * len(found))
        lengths = np.array([len(one) for one in self._tokens], np.int64)
        self._extra = np.array(extra, np.float32)
        self._flat = np.array([token for one in self._tokens for token in one], np.int64)
        self._last = np.cumsum(lengths) - 1
        self._first = self._last - lengths + 1
        self._doubled = np.zeros(len(self._flat), np.bool_)
        self._doubled[1:] = self._flat[1:] == self._flat[:-1]

    def spot(
        self, log_probs: NDArray[np.float32], most: int, *, least_score: float = LEAST_SCORE
    ) -> list[Spotted]:
        """Return the words that were most likely said, likeliest first, each once.

        Args:
            log_probs: [S, V + 1], natural logarithm, the last column is the blank.
            most: Maximum number of words.
            least_score: Natural-log probability against the best path below which a word is not
                found.
        """
        if not self._words or not len(log_probs):
            return []
        scores = self._scores(log_probs)
        heard = np.flatnonzero(scores > least_score)
        worth = scores[heard] + self._extra[heard]
        found: dict[str, Spotted] = {}
        for place in np.argsort(-worth, kind="stable").tolist():
            number = int(heard[place])
            word = self._words[number]
            if word not in found:
                found[word] = Spotted(
                    word, self._tokens[number], float(worth[place]), self._priors[number]
                )
            if len(found) == most:
                break
        return list(found.values())

    def _scores(self, log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the best score of each form, [W]."""
        lost = lost_in(log_probs)
        in_token = np.full(len(self._flat), _NEVER)
        in_blank = in_token.copy()
        best = np.full(len(self._words), _NEVER)
        before, silent = np.empty_like(in_token), np.empty_like(in_token)
        for frame in lost:
            before[1:], silent[1:] = in_token[:-1], in_blank[:-1]
            before[self._doubled] = _NEVER  # a token twice in a row needs a blank between
            before[self._first], silent[self._first] = 0.0, _NEVER
            np.maximum(in_token, in_blank, out=in_blank)
            in_blank += frame[-1]
            np.maximum(before, silent, out=before)
            np.maximum(in_token, before, out=in_token)
            in_token += frame[self._flat]
            np.maximum(best, in_token[self._last], out=best)
        return best


def lost_in(log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what each symbol loses against the likeliest, in the frames that matter.

    Of a row of silent frames the first stays: it parts a token from the same one after it.
    """
    spoken = log_probs[:, -1] < math.log1p(-SPOKEN_LEAST)
    kept = log_probs[spoken | np.concatenate(([False], spoken[:-1]))]
    lost: NDArray[np.float32] = kept - kept.max(axis=1, keepdims=True, initial=-np.inf)
    return lost


def text_score(text: str, log_probs: NDArray[np.float32], tokens: Sequence[str]) -> float:
    """Return what the best path of a whole text loses against the most likely symbols, at most 0.

    Args:
        text: As it is written; of the ways to say it the best counts. Numbers are left out: there
            are too many ways to say them.
        log_probs: [S, V + 1], natural logarithm, the last column is the blank.
        tokens: The V tokens of the network.
    """
    ids = {token: number for number, token in enumerate(tokens)}
    ways = [_spoken_forms(word.replace("'", ""))[:2] for word in _WORD.findall(text)]
    said = product(*(forms for forms in ways if forms))
    lost = lost_in(log_probs)
    paths = [_segmented(" ".join(way), ids) for way in islice(said, _MOST_TEXTS)]
    return max((_path_score(path, lost) for path in paths if path), default=float(_NEVER))


def said_as(word: str, tokens: Sequence[str]) -> tuple[int, ...]:
    """Return the tokens of a word in the likeliest way to say it; empty if it cannot be said so.

    Args:
        word: As it is written.
        tokens: The V tokens of the network.
    """
    forms = _spoken_forms(word)
    ids = {token: number for number, token in enumerate(tokens)}
    return _segmented(forms[0], ids) if forms else ()


def _path_score(path: tuple[int, ...], lost: NDArray[np.float32]) -> float:
    """Return the score of the best alignment of tokens to all frames."""
    flat = np.array(path, np.int64)
    doubled = np.zeros(len(flat), np.bool_)
    doubled[1:] = flat[1:] == flat[:-1]
    in_token = np.full(len(flat), _NEVER)
    in_blank = np.full(len(flat) + 1, _NEVER)  # the first before any token
    in_blank[0] = 0.0
    before = np.empty_like(in_token)
    for frame in lost:
        before[0], before[1:] = _NEVER, in_token[:-1]
        before[doubled] = _NEVER
        np.maximum(before, in_blank[:-1], out=before)
        np.maximum(in_blank[1:], in_token, out=in_blank[1:])
        in_blank += frame[-1]
        np.maximum(in_token, before, out=in_token)
        in_token += frame[flat]
    return float(max(in_token[-1], in_blank[-1]))


def _chosen(vocabulary: Vocabulary, ranks: Mapping[str, int]) -> Iterable[tuple[str, int, bool]]:
    """Return words with their passages and whether they are unfamiliar; one spelling of each."""
    spellings: dict[str, list[tuple[int, str]]] = {}
    for word, passages in vocabulary.words:
        spellings.setdefault(word.lower(), []).append((passages, word))
    rows = []
    for lower, written in spellings.items():
        passages, word = sum(count for count, _ in written), max(written)[1]
        if ranks.get(lower, PLAIN_WORDS) < PLAIN_WORDS and word[1:].islower():
            continue
        if _NUMBERED.fullmatch(word):
            continue
        if len(word) >= LEAST_LETTERS or not word.islower():
            rows.append((word, passages, lower not in ranks))
    rows.sort(key=lambda row: (not row[2], -row[1], row[0]))
    return rows[:MOST_WORDS]


def _spoken_forms(word: str) -> list[str]:
    """Return ways to say a written word, in lower-case words of letters only.

    Capitals and letters without a vowel may be spelled, digits are said one by one, and a word
    written as several ("MilkClean") is said as several or as one.
    """
    ways: list[list[str]] = []
    for part in _PARTS.findall(word):
        lower = part.lower()
        if part.isdigit():
            ways.append([_DIGITS[int(part)]])
            continue
        sounds = re.search("[aeiouy]", lower) is not None
        spelled = " ".join(lower)
        if part.isupper() and len(part) <= _SPELLED_LETTERS:
            ways.append([spelled, lower] if sounds and len(part) >= LEAST_LETTERS else [spelled])
        else:
            ways.append([lower] if sounds else [spelled])
    forms = [" ".join(way) for way in product(*ways)][:_MOST_FORMS]
    letters = word.replace("-", "").lower()
    if len(ways) > 1 and letters.isascii() and letters.isalpha():
        forms.append(letters)
    return list(dict.fromkeys(form for form in forms if form))


def _segmented(form: str, ids: Mapping[str, int]) -> tuple[int, ...]:
    """Split words into the tokens that byte-pair merges give; empty if there are unknown letters.

    Tokens are numbered in the order in which they were merged, so the lowest number goes first.
    """
    tokens: list[int] = []
    for word in form.split():
        parts = ["▁", *word]
        if any(part not in ids for part in parts):
            return ()
        while len(parts) > 1:
            pairs = [ids.get(a + b, len(ids)) for a, b in pairwise(parts)]
            at = min(range(len(pairs)), key=pairs.__getitem__)
            if pairs[at] == len(ids):
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        tokens += [ids[part] for part in parts]
    return tuple(tokens)

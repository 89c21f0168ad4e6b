"""A small word bigram model, which tells a likely word order from an unlikely one.

Source: absolute discounting, Ney, Essen and Kneser, "On structuring probabilistic dependences in
stochastic language modelling" (Computer Speech and Language 8, 1994), section 3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import CheckpointError

__all__ = ["WordBigrams"]

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
DISCOUNT = 0.75
"""Taken from every count of a pair and given to the words not seen after its first one."""
_ARRAYS = {"words", "unigram", "backoff", "keys", "bigram"}


class WordBigrams:
    """How likely a word is after another. Immutable, so safe to share between threads.

    Args:
        words: Known words; the first three are the begin, the end and every unknown word.
        unigram: [W], natural-log probability of each word.
        backoff: [W], natural-log weight of `unigram` for words not seen after this one.
        keys: [N] ascending, first number times W plus second number.
        bigram: [N], natural-log probability of the second word after the first.
    """

    begin, end = 0, 1

    def __init__(
        self,
        words: list[str],
        unigram: NDArray[np.floating],
        backoff: NDArray[np.floating],
        keys: NDArray[np.integer],
        bigram: NDArray[np.floating],
    ) -> None:
        self.words = words
        self._numbers = {word: number for number, word in enumerate(words)}
        self._unigram = unigram.astype(np.float32)
        self._backoff = backoff.astype(np.float32)
        self._keys = keys.astype(np.int64)
        self._bigram = bigram.astype(np.float32)

    def number(self, word: str) -> int:
        """Give the number of a word; all unknown words share one."""
        return self._numbers.get(word, 2)

    def log_prob(self, first: int, second: int) -> float:
        """Give the natural-log probability of the second word after the first."""
        key = first * len(self.words) + second
        place = int(self._keys.searchsorted(key))
        if place < len(self._keys) and self._keys[place] == key:
            return float(self._bigram[place])
        return float(self._backoff[first] + self._unigram[second])

    @classmethod
    def from_sentences(
        cls, sentences: Iterable[str], *, least_word: int = 2, least_pair: int = 2
    ) -> WordBigrams:
        """Count the words of sentences.

        Args:
            sentences: Lower-case words with blanks between.
            least_word: Words met less often are unknown.
            least_pair: Pairs met less often are left to the single words.
        """
        lines = [sentence.split() for sentence in sentences]
        counts = Counter(word for line in lines for word in line)
        known = sorted(word for word, count in counts.items() if count >= least_word)
        words = [BEGIN, END, UNKNOWN, *known]
        numbers = {word: number for number, word in enumerate(words)}
        rare = len(counts) - len(known)
        single = np.ones(len(words))
        pairs: Counter[int] = Counter()
        for line in lines:
            path = [0, *(numbers.get(word, 2) for word in line), 1]
            np.add.at(single, path[1:], 1)
            pairs.update(a * len(words) + b for a, b in pairwise(path))
        chance = single / single.sum()
        chance[2] /= max(rare, 1)  # the rare words share what they were met together
        keys = np.array(sorted(pairs), np.int64)
        met = np.array([pairs[int(key)] for key in keys], np.float64)
        return cls(words, *_discounted(keys, met, chance, least_pair))

    @classmethod
    def load(cls, path: Path) -> WordBigrams:
        """Read a file that `save` wrote.

        Raises:
            CheckpointError: It is another kind of file.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                words = bytes(arrays["words"]).decode("utf-8").split("\n")
                unigram, backoff = arrays["unigram"], arrays["backoff"]
                keys, bigram = arrays["keys"], arrays["bigram"]
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{path} is not a word model: {error}; expected is a file of numpy arrays named "
                f"{', '.join(sorted(_ARRAYS))}"
            ) from error
        sizes = {len(words), len(unigram), len(backoff)}
        if len(sizes) != 1 or len(keys) != len(bigram) or words[:3] != [BEGIN, END, UNKNOWN]:
            raise CheckpointError(f"the arrays of the word model {path} do not fit each other")
        return cls(words, unigram, backoff, keys, bigram)

    def save(self, path: Path) -> None:
        """Write the model, probabilities rounded to half precision."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                words=np.frombuffer("\n".join(self.words).encode("utf-8"), np.uint8),
                unigram=self._unigram.astype(np.float16),
                backoff=self._backoff.astype(np.float16),
                keys=self._keys.astype(np.uint64),
                bigram=self._bigram.astype(np.float16),
            )


def _discounted(
    keys: NDArray[np.int64], met: NDArray[np.float64], chance: NDArray[np.float64], least: int
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.integer], NDArray[np.floating]]:
    """Give ln p of the words, ln of their back-off weights, and keys and ln p of the pairs.

    p(b | a) = max(c(a, b) - D, 0) / c(a) + weight(a) p(b); pairs met less than `least` times count
    as not met, and what they had goes to the weight.
    """
    size = len(chance)
    first = keys // size
    total = np.bincount(first, weights=met, minlength=size)
    kept = met >= least
    keys, met, first = keys[kept], met[kept] - DISCOUNT, first[kept]
    left = 1.0 - np.bincount(first, weights=met, minlength=size) / np.maximum(total, 1)
    pair = met / total[first] + left[first] * chance[keys % size]
    return np.log(chance), np.log(left), keys, np.log(pair)

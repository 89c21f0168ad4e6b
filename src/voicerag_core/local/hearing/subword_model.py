"""A back-off n-gram model over subwords, without unknown tokens.

Source: Katz, "Estimation of probabilities from sparse data for the language model component of a
speech recognizer" (IEEE TASSP 1987), for backing off; `training/speech_encoder/subword_counts.py`
for the probabilities.
"""

from __future__ import annotations

import zipfile
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import CheckpointError
from voicerag_core.files import regular_file

__all__ = ["STEPS_PER_NAT", "SubwordModel"]

STEPS_PER_NAT = 16.0
"""Log-probabilities are kept in sixteenths of a nat, 0 to -15.9."""
_DAMAGED = (zipfile.BadZipFile, zlib.error)
_ARRAYS = ("pieces", "word", "children", "prob", "backoff")


class SubwordModel:
    """Back-off n-gram model over tokens, as a tree of contexts. Immutable and thread-safe.

    A node stands for an n-gram; its children, in ascending order of token and next to each other,
    are the n-grams with one more token. A state is the node of the longest context that matters.

    Args:
        tokens: V; token V ends a text and V + 1 begins it.
        word: [N] last token of each node, parents before children; node 0 is the empty context,
            whose children are all V + 2 tokens.
        children: [N], how many each node has.
        prob: [N] uint8, negative natural-log probability of the last token, in sixteenths.
        backoff: [N] uint8, negative natural-log weight of the shorter context, in sixteenths.

    Raises:
        ValueError: The arrays do not make a tree.
    """

    def __init__(
        self,
        tokens: int,
        word: NDArray[np.integer],
        children: NDArray[np.integer],
        prob: NDArray[np.uint8],
        backoff: NDArray[np.uint8],
    ) -> None:
        size = len(word)
        if {len(children), len(prob), len(backoff)} != {size}:
            raise ValueError("the arrays have several lengths")
        start = np.concatenate(([1], 1 + np.cumsum(children, dtype=np.int64)))
        if start[-1] != size or start[1] != tokens + 3 or (start[:-1] <= np.arange(size)).any():
            raise ValueError("the numbers of children make no tree")
        if not np.array_equal(word[1 : tokens + 3], np.arange(tokens + 2)):
            raise ValueError("the empty context does not know every token")
        self.end = tokens
        """Token that ends a text."""
        back = _suffixes(word.astype(np.int64), start, tokens + 2)
        self._word = array("H", word.astype(np.uint16).tobytes())
        self._start = array("I", start.astype(np.uint32).tobytes())
        self._back = array("I", back.astype(np.uint32).tobytes())
        self._prob = prob.tobytes()
        self._backoff = backoff.tobytes()
        self.begin = self._after(1 + tokens + 1)
        """State before the first token."""
        self.unigrams: Sequence[float] = [
            -code / STEPS_PER_NAT for code in self._prob[1 : tokens + 2]
        ]
        """Natural-log unigram probability of each token and of the end."""

    def __len__(self) -> int:
        """Return the number of n-grams."""
        return len(self._word)

    def log_prob(self, state: int, token: int) -> tuple[float, int]:
        """Return the natural-log probability of a token after a state, and the state after it."""
        cost = 0
        word, start = self._word, self._start
        while state:
            least, above = start[state], start[state + 1]
            node = bisect_left(word, token, least, above)
            if node < above and word[node] == token:
                break
            cost += self._backoff[state]
            state = self._back[state]
        else:
            node = 1 + token  # the empty context knows every token, in order
        return -(cost + self._prob[node]) / STEPS_PER_NAT, self._after(node)

    def _after(self, node: int) -> int:
        return node if self._start[node] < self._start[node + 1] else self._back[node]

    @classmethod
    def load(cls, path: Path) -> SubwordModel:
        """Read a file that `subword_counts.py` wrote: arrays of numpy, `word` as differences.

        Raises:
            CheckpointError: It is a different kind of file.
        """
        try:
            with regular_file(path) as file, np.load(file, allow_pickle=False) as arrays:
                tokens, word, children, prob, backoff = (arrays[name] for name in _ARRAYS)
            return cls(int(tokens), np.cumsum(word, dtype=np.uint16), children, prob, backoff)
        except (OSError, EOFError, ValueError, KeyError, TypeError, *_DAMAGED) as error:
            raise CheckpointError(
                f"{path} is not a subword model: {error}; expected is a file of numpy arrays named "
                f"{', '.join(_ARRAYS)}"
            ) from error


def _suffixes(word: NDArray[np.int64], start: NDArray[np.int64], base: int) -> NDArray[np.int64]:
    """Return for each node that of its longest proper suffix with children; the root has itself."""
    size = len(word)
    parent = np.repeat(np.arange(size), np.diff(start))
    keys = parent * base + word[1:]  # ascending: nodes are in order of parent, then of token
    if (np.diff(keys) <= 0).any():
        raise ValueError("the children of a node are not in ascending order")
    back = np.zeros(size, np.int64)
    has = np.diff(start) > 0
    low = int(start[1])
    while low < size:  # one level at a time: a node needs its parent's suffix
        level = np.arange(low, int(start[low]))
        wanted = back[parent[level - 1]] * base + word[level]
        suffix = 1 + np.minimum(np.searchsorted(keys, wanted), size - 2)
        if (keys[suffix - 1] != wanted).any():
            raise ValueError("an n-gram is known, but not its end")
        back[level] = np.where(has[suffix], suffix, back[suffix])
        low = int(level[-1]) + 1
    return back

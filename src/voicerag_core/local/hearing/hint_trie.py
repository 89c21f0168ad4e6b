"""Words that a beam search is told to expect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["NO_HINT", "HintState", "HintTrie"]

HINT_BONUS = 1.5
"""Natural-log score of each token of an expected word, taken back where the word is not finished.
More helps names and puts them where they were not said."""
WORD_START = "\u2581"


class HintState(NamedTuple):
    """How far into an expected word a text ends.

    Args:
        node: Of the trie; 0 is its root.
        lent: Score given for the unfinished word so far.
    """

    node: int
    lent: float


NO_HINT = HintState(0, 0.0)


class HintTrie:
    """Expected words as sequences of tokens. Immutable.

    Args:
        words: The tokens of each; a word may be said in several, and be several spoken words.
        tokens: Names of all tokens.
        bonus: Score of each token of an expected word.
    """

    def __init__(
        self,
        words: Iterable[Sequence[int]],
        tokens: Sequence[str],
        *,
        bonus: float = HINT_BONUS,
    ) -> None:
        self._bonus = bonus
        self._starts = frozenset(
            number for number, token in enumerate(tokens) if token.startswith(WORD_START)
        )
        self._children: list[dict[int, int]] = [{}]
        self._ends: set[int] = set()
        for word in words:
            node = 0
            for token in word:
                if token not in self._children[node]:
                    self._children[node][token] = len(self._children)
                    self._children.append({})
                node = self._children[node][token]
            self._ends.add(node)

    def after(self, state: HintState, token: int) -> tuple[float, HintState]:
        """Score one more token, and return the state after it."""
        onward = self._children[state.node].get(token) if state.node else None
        back = 0.0
        if onward is None:
            back = state.lent
            onward = self._children[0].get(token) if token in self._starts else None
            if onward is None:
                return -back, NO_HINT
            state = NO_HINT
        finished = onward in self._ends
        lent = 0.0 if finished else state.lent + self._bonus
        return self._bonus - back, HintState(onward, lent)

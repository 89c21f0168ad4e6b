"""Reading words out of the frames of a CTC network: the best path, and a prefix beam search.

Source: Graves et al., "Connectionist Temporal Classification" (ICML 2006), section 3, for the
collapse of a path; Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition
using Bi-Directional Recurrent DNNs" (2014), algorithm 1, for the prefix search with a word model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Hypothesis", "WordModel", "beam_search", "greedy", "spelled"]

WORD_START = "▁"
"""Leads a piece that begins a word."""

BEAMS = 8
LEAST_PROBABILITY = 1e-3
"""A piece less likely than this in a frame begins or goes on nowhere in that frame."""
MOST_PIECES = 8
"""Pieces tried in a frame, the likeliest first."""

WORD_MODEL_WEIGHT = 0.4
WORD_BONUS = 1.0
"""Natural-log score of each word, against the word model's preference for few words."""


class WordModel(Protocol):
    """Says how likely a word is after another; words are known by number."""

    begin: int
    end: int

    def number(self, word: str) -> int:
        """Give the number of a word; all unknown words share one."""
        ...

    def log_prob(self, first: int, second: int) -> float:
        """Give the natural-log probability of the second word after the first."""
        ...


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What may have been said.

    Args:
        text: The words; "" when there are none.
        log_prob: Natural-log probability of the text, given the sound, over the paths that were
            followed; with a word model its weighted part is included, so it only compares.
        piece_log_prob: Mean over the pieces of their natural-log probability in the frame where
            each is likeliest, at most 0; minus infinity without a piece. Only of the best path.
    """

    text: str
    log_prob: float
    piece_log_prob: float = -math.inf


def spelled(pieces: Iterable[str]) -> str:
    """Join pieces into text."""
    return " ".join("".join(pieces).replace(WORD_START, " ").split())


def greedy(log_probs: NDArray[np.float32], pieces: Sequence[str]) -> Hypothesis:
    """Read the best path: the likeliest symbol of each frame, repeats and blanks taken out.

    Args:
        log_probs: [S, V + 1], natural logarithm, the last column is the blank.
        pieces: The V pieces.
    """
    if not len(log_probs):
        return Hypothesis("", 0.0)
    best = log_probs.argmax(axis=1)
    likely = log_probs[np.arange(len(best)), best]
    starts = np.flatnonzero(np.concatenate(([True], best[1:] != best[:-1])))
    peaks = np.maximum.reduceat(likely, starts)
    spoken = best[starts] != len(pieces)
    return Hypothesis(
        spelled(pieces[i] for i in best[starts][spoken]),
        float(likely.sum(dtype=np.float64)),
        float(peaks[spoken].mean()) if spoken.any() else -math.inf,
    )


def beam_search(
    log_probs: NDArray[np.float32],
    pieces: Sequence[str],
    *,
    beams: int = BEAMS,
    most: int = 1,
    words: WordModel | None = None,
    weight: float = WORD_MODEL_WEIGHT,
    bonus: float = WORD_BONUS,
) -> list[Hypothesis]:
    """Give the likeliest texts, best first, each once; at least one, perhaps "".

    Args:
        log_probs: [S, V + 1], natural logarithm, the last column is the blank.
        pieces: The V pieces.
        beams: Prefixes followed at a time.
        most: Most texts to give.
        words: Word model; None goes by the sound alone.
        weight: What a natural-log probability of the word model counts.
        bonus: What each word counts.
    """
    prefixes = _Prefixes(pieces, words, weight, bonus if words is not None else 0.0)
    blank = len(pieces)
    # Of every prefix that is followed, the probability of the paths that end in a blank and of
    # those that end in its last piece, both divided by a common scale.
    alive: dict[int, tuple[float, float]] = {0: (1.0, 0.0)}
    scale = 0.0
    silences = np.exp(log_probs[:, blank]).tolist()
    tried = _likely_pieces(log_probs, blank)
    for frame, silence, likely in zip(log_probs, silences, tried, strict=True):
        ahead = _advance(alive, prefixes, frame, silence, likely)
        if not ahead:
            continue  # neither silence nor any piece is likely enough to follow
        if len(ahead) > beams:
            best = sorted(ahead, key=lambda node: _score(ahead[node], prefixes.bias[node]))
            ahead = {node: ahead[node] for node in best[-beams:]}
        top = max(one + other for one, other in ahead.values())
        scale += math.log(top)
        alive = {node: (one / top, other / top) for node, (one, other) in ahead.items()}
    return _texts(alive, prefixes, scale)[:most]


def _advance(
    alive: dict[int, tuple[float, float]],
    prefixes: _Prefixes,
    frame: NDArray[np.float32],
    silence: float,
    tried: Sequence[tuple[int, float]],
) -> dict[int, tuple[float, float]]:
    """Follow every prefix through one frame."""
    ahead: dict[int, list[float]] = {}
    for node, (in_blank, in_piece) in alive.items():
        total = in_blank + in_piece
        stay = ahead.setdefault(node, [0.0, 0.0])
        stay[0] += total * silence
        last = prefixes.last[node]
        if in_piece > 0:
            stay[1] += in_piece * math.exp(frame[last])
        for piece, likely in tried:
            reach = in_blank if piece == last else total
            if reach > 0:
                grown = ahead.setdefault(prefixes.grown(node, piece), [0.0, 0.0])
                grown[1] += reach * likely
    return {node: (both[0], both[1]) for node, both in ahead.items() if both[0] + both[1] > 0}


def _likely_pieces(log_probs: NDArray[np.float32], blank: int) -> list[list[tuple[int, float]]]:
    """Give for each frame the pieces worth trying, with their probabilities."""
    tried: list[list[tuple[int, float]]] = [[] for _ in range(len(log_probs))]
    spoken = np.flatnonzero(log_probs[:, blank] < math.log1p(-LEAST_PROBABILITY))
    rows, columns = np.nonzero(log_probs[spoken, :blank] > math.log(LEAST_PROBABILITY))
    frames = spoken[rows]
    likely = np.exp(log_probs[frames, columns])
    for frame, piece, value in zip(frames.tolist(), columns.tolist(), likely.tolist(), strict=True):
        tried[frame].append((piece, value))
    return [
        sorted(one, key=lambda pair: -pair[1])[:MOST_PIECES] if len(one) > MOST_PIECES else one
        for one in tried
    ]


@dataclass(slots=True)
class _Prefixes:
    """The prefixes met so far, as a tree; 0 is the empty one.

    Args:
        pieces: The V pieces.
        words: Word model or None.
        weight: What its natural-log probability counts.
        bonus: What each word counts.
    """

    pieces: Sequence[str]
    words: WordModel | None
    weight: float
    bonus: float
    last: list[int] = field(default_factory=lambda: [-1])
    bias: list[float] = field(default_factory=lambda: [0.0])
    """What the word model adds for the words that are whole."""
    _parent: list[int] = field(default_factory=lambda: [-1])
    _before: list[int] = field(default_factory=list)
    _partial: list[str] = field(default_factory=lambda: [""])
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._before.append(self.words.begin if self.words is not None else 0)

    def grown(self, node: int, piece: int) -> int:
        """Give the prefix with one piece more."""
        known = self._children.get((node, piece))
        if known is not None:
            return known
        new = self._children[node, piece] = len(self.last)
        self.last.append(piece)
        self._parent.append(node)
        text = self.pieces[piece]
        before, bias, partial = self._before[node], self.bias[node], self._partial[node]
        if text.startswith(WORD_START):
            before, bias = self._with_word(before, bias, partial)
            partial, text = "", text[1:]
        self._before.append(before)
        self.bias.append(bias)
        self._partial.append(partial + text)
        return new

    def final_bias(self, node: int) -> float:
        """Give what the word model adds when the prefix is all that was said."""
        before, bias = self._with_word(self._before[node], self.bias[node], self._partial[node])
        if self.words is None:
            return bias
        return bias + self.weight * self.words.log_prob(before, self.words.end)

    def text(self, node: int) -> str:
        """Spell a prefix out."""
        path = []
        while node:
            path.append(self.pieces[self.last[node]])
            node = self._parent[node]
        return spelled(reversed(path))

    def _with_word(self, before: int, bias: float, word: str) -> tuple[int, float]:
        if self.words is None or not word:
            return before, bias
        number = self.words.number(word)
        return number, bias + self.bonus + self.weight * self.words.log_prob(before, number)


def _score(both: tuple[float, float], bias: float) -> float:
    return math.log(both[0] + both[1]) + bias


def _texts(
    alive: dict[int, tuple[float, float]], prefixes: _Prefixes, scale: float
) -> list[Hypothesis]:
    """Give the texts of the prefixes; one that was found in several spellings adds up."""
    found: dict[str, float] = {}
    for node, both in alive.items():
        text = prefixes.text(node)
        score = scale + _score(both, prefixes.final_bias(node))
        found[text] = float(np.logaddexp(found[text], score)) if text in found else score
    return [Hypothesis(text, found[text]) for text in sorted(found, key=lambda one: -found[one])]

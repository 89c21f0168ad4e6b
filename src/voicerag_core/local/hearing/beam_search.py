"""Decoding of CTC networks: the best path, and a prefix beam search.

Source: Graves et al., "Connectionist Temporal Classification" (ICML 2006), section 3, for the
collapse of a path; Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition using
Bi-Directional Recurrent DNNs" (2014), algorithm 1, for the prefix search with a language model;
McDermott et al., "A Density Ratio Approach to Language Model Fusion in End-To-End Automatic Speech
Recognition" (2019), for subtracting the network's internal language model, here only the unigrams.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from voicerag_core.local.hearing.hint_trie import NO_HINT, HintState, HintTrie
from voicerag_core.local.hearing.subword_model import SubwordModel

__all__ = ["Hypothesis", "beam_search", "greedy", "spelled"]

WORD_START = "▁"
"""Prefix of a token that begins a word."""

BEAMS = 16
LEAST_PROBABILITY = 1e-3
"""A token less likely than this is not tried in a frame."""
MOST_TOKENS = 8
"""Maximum tokens tried per frame, most likely first."""

MODEL_WEIGHT = 0.6
PRIOR_SHARE = 0.5
"""How much of a token's unigram score is subtracted from that of the subword model: the network has
already learnt it."""
TOKEN_BONUS = 0.9
"""Natural-log score of each token, against the subword model's preference for few tokens."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A possible transcript.

    Args:
        text: The text; "" if there is none.
        log_prob: Natural-log probability of the text, given the sound, over the explored paths;
            with a subword model it includes the weighted score, so it only serves to compare.
        token_log_prob: Mean over the tokens of their natural-log probability in the frame where
            each is most likely, at most 0; minus infinity without a token. Only for the best path.
    """

    text: str
    log_prob: float
    token_log_prob: float = -math.inf


def spelled(tokens: Iterable[str]) -> str:
    """Join tokens into text."""
    return " ".join("".join(tokens).replace(WORD_START, " ").split())


def greedy(log_probs: NDArray[np.float32], tokens: Sequence[str]) -> Hypothesis:
    """Decode the best path: the most likely symbol of each frame, without repeats and blanks.

    Args:
        log_probs: [S, V + 1], natural logarithm, the last column is the blank.
        tokens: The V tokens.
    """
    if not len(log_probs):
        return Hypothesis("", 0.0)
    best = log_probs.argmax(axis=1)
    likely = log_probs[np.arange(len(best)), best]
    starts = np.flatnonzero(np.concatenate(([True], best[1:] != best[:-1])))
    peaks = np.maximum.reduceat(likely, starts)
    spoken = best[starts] != len(tokens)
    return Hypothesis(
        spelled(tokens[i] for i in best[starts][spoken]),
        float(likely.sum(dtype=np.float64)),
        float(peaks[spoken].mean()) if spoken.any() else -math.inf,
    )


def beam_search(
    log_probs: NDArray[np.float32],
    tokens: Sequence[str],
    *,
    beams: int = BEAMS,
    most: int = 1,
    model: SubwordModel | None = None,
    weight: float = MODEL_WEIGHT,
    prior: float = PRIOR_SHARE,
    bonus: float = TOKEN_BONUS,
    hints: HintTrie | None = None,
) -> list[Hypothesis]:
    """Return the most likely distinct texts, best first; at least one, possibly "".

    Args:
        log_probs: [S, V + 1], natural logarithm, the last column is the blank.
        tokens: The V tokens.
        beams: Beam width, in prefixes.
        most: Maximum number of texts.
        model: Subword model; None uses the sound only.
        weight: Weight of the subword model's natural-log probability.
        prior: Share of a token's unigram log probability that is subtracted, 0 to 1.
        bonus: Score added per token if there is a subword model.
        hints: Words that are likely to be said.
    """
    prefixes = _Prefixes(
        tokens, _Fusion(model, weight, prior, bonus) if model is not None else None, hints
    )
    blank = len(tokens)
    # For every prefix in the beam, the probability of the paths that end in a blank and of
    # those that end in its last token, both divided by a common scale.
    alive: dict[int, tuple[float, float]] = {0: (1.0, 0.0)}
    scale = 0.0
    silences = np.exp(log_probs[:, blank]).tolist()
    tried = _likely_tokens(log_probs, blank)
    for frame, silence, likely in zip(log_probs, silences, tried, strict=True):
        ahead = _advance(alive, prefixes, frame, silence, likely)
        if not ahead:
            continue  # neither silence nor any token is likely enough to extend
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
    """Extend every prefix by one frame."""
    ahead: dict[int, list[float]] = {}
    for node, (in_blank, in_token) in alive.items():
        total = in_blank + in_token
        stay = ahead.setdefault(node, [0.0, 0.0])
        stay[0] += total * silence
        last = prefixes.last[node]
        if in_token > 0:
            stay[1] += in_token * math.exp(frame[last])
        for token, likely in tried:
            reach = in_blank if token == last else total
            if reach > 0:
                grown = ahead.setdefault(prefixes.grown(node, token), [0.0, 0.0])
                grown[1] += reach * likely
    return {node: (both[0], both[1]) for node, both in ahead.items() if both[0] + both[1] > 0}


def _likely_tokens(log_probs: NDArray[np.float32], blank: int) -> list[list[tuple[int, float]]]:
    """Return for each frame the tokens worth trying, with their probabilities."""
    tried: list[list[tuple[int, float]]] = [[] for _ in range(len(log_probs))]
    spoken = np.flatnonzero(log_probs[:, blank] < math.log1p(-LEAST_PROBABILITY))
    rows, columns = np.nonzero(log_probs[spoken, :blank] > math.log(LEAST_PROBABILITY))
    frames = spoken[rows]
    likely = np.exp(log_probs[frames, columns])
    for frame, token, value in zip(frames.tolist(), columns.tolist(), likely.tolist(), strict=True):
        tried[frame].append((token, value))
    return [
        sorted(one, key=lambda pair: -pair[1])[:MOST_TOKENS] if len(one) > MOST_TOKENS else one
        for one in tried
    ]


@dataclass(frozen=True, slots=True)
class _Fusion:
    """The score that the subword model adds to a prefix.

    Args:
        model: Subword model.
        weight: Weight of its natural-log probability.
        prior: Share of a token's unigram log probability that is subtracted.
        bonus: Score added per token.
    """

    model: SubwordModel
    weight: float
    prior: float
    bonus: float

    def token(self, state: int, token: int) -> tuple[float, int]:
        """Score one more token; also return the state after it."""
        likely, after = self.model.log_prob(state, token)
        return self.weight * (likely - self.prior * self.model.unigrams[token]) + self.bonus, after

    def end(self, state: int) -> float:
        """Score the end of the text."""
        return self.weight * self.model.log_prob(state, self.model.end)[0]


@dataclass(slots=True)
class _Prefixes:
    """The prefixes seen so far, as a tree; 0 is the empty one.

    Args:
        tokens: The V tokens.
        fusion: Score of a subword model; None uses the sound only.
        hints: Words that score more; None if none do.
    """

    tokens: Sequence[str]
    fusion: _Fusion | None
    hints: HintTrie | None = None
    last: list[int] = field(default_factory=lambda: [-1])
    bias: list[float] = field(default_factory=lambda: [0.0])
    """The score added by the subword model and the hints."""
    _parent: list[int] = field(default_factory=lambda: [-1])
    _state: list[int] = field(default_factory=list)
    _hinted: list[HintState] = field(default_factory=lambda: [NO_HINT])
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.fusion is not None:
            self._state.append(self.fusion.model.begin)

    def grown(self, node: int, token: int) -> int:
        """Return the prefix extended by one token."""
        known = self._children.get((node, token))
        if known is not None:
            return known
        new = self._children[node, token] = len(self.last)
        self.last.append(token)
        self._parent.append(node)
        if self.fusion is None:
            self.bias.append(0.0)
        else:
            added, state = self.fusion.token(self._state[node], token)
            self._state.append(state)
            self.bias.append(self.bias[node] + added)
        if self.hints is not None:
            added, hinted = self.hints.after(self._hinted[node], token)
            self._hinted.append(hinted)
            self.bias[new] += added
        return new

    def final_bias(self, node: int) -> float:
        """Return the score that model and hints add if the text ends here."""
        bias = self.bias[node]
        if self.hints is not None:
            bias -= self._hinted[node].lent
        return bias if self.fusion is None else bias + self.fusion.end(self._state[node])

    def text(self, node: int) -> str:
        """Return the text of a prefix."""
        path = []
        while node:
            path.append(self.tokens[self.last[node]])
            node = self._parent[node]
        return spelled(reversed(path))


def _score(both: tuple[float, float], bias: float) -> float:
    return math.log(both[0] + both[1]) + bias


def _texts(
    alive: dict[int, tuple[float, float]], prefixes: _Prefixes, scale: float
) -> list[Hypothesis]:
    """Return the texts of the prefixes, with summed scores over token sequences of one text."""
    found: dict[str, float] = {}
    for node, both in alive.items():
        text = prefixes.text(node)
        score = scale + _score(both, prefixes.final_bias(node))
        found[text] = float(np.logaddexp(found[text], score)) if text in found else score
    return [Hypothesis(text, found[text]) for text in sorted(found, key=lambda one: -found[one])]

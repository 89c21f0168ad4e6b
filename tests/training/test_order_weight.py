"""How much better a passage has to answer to go before one that was found earlier."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from training.thresholds.order_weight import WEIGHTS, Sorted, first_is_right, shares, table
from voicerag_core.local.reading.reranker import ORDER_WEIGHT


def asked(answers: Sequence[float], right: int, *, development: bool = True) -> Sorted:
    places = np.arange(len(answers)) == right
    return Sorted(("news", "own", "typed"), development, np.array(answers, float), places)


def test_a_later_passage_has_to_be_better_by_the_weight() -> None:
    second = asked([0.0, 4 * math.log(2) + 0.01, -9.0], right=1)
    assert first_is_right(second, 0.0)
    assert first_is_right(second, 4.0)
    assert not first_is_right(second, 6.0)
    assert not first_is_right(second, math.inf)
    assert first_is_right(asked([0.0, 9.0], right=0), math.inf)


def test_development_questions_are_counted_apart() -> None:
    every = [asked([0, 5], 1), asked([0, 5], 0), asked([0, 5], 1, development=False)]
    chosen, others = shares(every, development=True), shares(every, development=False)
    group = ("news", "own", "typed")
    assert chosen[0.0] == {group: 0.5}
    assert others[0.0] == {group: 1.0}
    assert others[math.inf] == {group: 0.0}
    assert ORDER_WEIGHT in WEIGHTS
    lines = table(chosen)
    assert lines[0] == "| weight | mean | news own typed |"
    assert lines[2] == "| order of the search | 0.500 | 0.500 |"
    assert len(lines) == 2 + len(WEIGHTS)

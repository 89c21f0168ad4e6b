"""The counts of the piece model against the definition of modified Kneser-Ney smoothing."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from training.speech_encoder.subword_counts import counted, save
from voicerag_core.local.hearing.subword_model import SubwordModel

PIECES, ORDER = 5, 4
Gram = tuple[int, ...]


def texts(count: int) -> list[list[int]]:
    draw = random.Random(count)
    return [
        [draw.choice([0, 1, 1, 2, 3, (2 * place) % PIECES]) for place in range(draw.randint(1, 9))]
        for _ in range(count)
    ]


def by_definition(sequences: Sequence[Sequence[int]]) -> Callable[[Gram, int], float]:
    """Return p(piece | context) without any leaving out, straight from the formulas."""
    end, begin = PIECES, PIECES + 1
    counts: list[Counter[Gram]] = [Counter() for _ in range(ORDER + 1)]
    for sequence in sequences:
        path = (begin, *sequence, end)
        for order in range(1, ORDER + 1):
            counts[order].update(path[at : at + order] for at in range(len(path) - order + 1))
    adjusted: list[dict[Gram, int]] = [{} for _ in range(ORDER + 1)]
    adjusted[ORDER] = dict(counts[ORDER])
    for order in range(1, ORDER):
        before = Counter(gram[1:] for gram in counts[order + 1])
        adjusted[order] = {
            gram: count if gram[0] == begin else before[gram]
            for gram, count in counts[order].items()
        }
    discounts = [[0.0] * 4] + [discount(list(adjusted[order].values())) for order in range(1, 5)]
    adjusted[1].pop((begin,), None)

    def chance(context: Gram, piece: int) -> float:
        order = len(context) + 1
        row = {gram: count for gram, count in adjusted[order].items() if gram[:-1] == context}
        lower = 1 / (PIECES + 1) if order == 1 else chance(context[1:], piece)
        if not row:
            return lower
        total = sum(row.values())
        taken = {gram: discounts[order][min(count, 3)] for gram, count in row.items()}
        own = (*context, piece)
        kept = row[own] - taken[own] if own in row else 0.0
        return kept / total + sum(taken.values()) / total * lower

    return chance


def discount(counts: list[int]) -> list[float]:
    met = [counts.count(times) for times in (1, 2, 3, 4)]
    if not all(met):
        return [0.0, 0.5, 0.75, 0.9]
    share = met[0] / (met[0] + 2 * met[1])
    made = [times - (times + 1) * share * met[times] / met[times - 1] for times in (1, 2, 3)]
    fallback = (0.5, 0.75, 0.9)
    return [0.0] + [
        one if 0 < one < times else other
        for one, times, other in zip(made, (1, 2, 3), fallback, strict=True)
    ]


def loaded(tmp_path: Path, sequences: Sequence[Sequence[int]], least: Gram) -> SubwordModel:
    path = tmp_path / "model.npz"
    save(counted(sequences, PIECES, order=ORDER, least=least), path)
    return SubwordModel.load(path)


@pytest.mark.parametrize("count", [60, 180])
def test_probabilities_are_those_of_the_definition(tmp_path: Path, count: int) -> None:
    sequences = texts(count)
    model, chance = loaded(tmp_path, sequences, (1, 1, 1, 1)), by_definition(sequences)
    for length in range(ORDER):
        for context in itertools.product(range(PIECES), repeat=length):
            state = model.begin
            for piece in context:
                state = model.log_prob(state, piece)[1]
            full = (PIECES + 1, *context)[-(ORDER - 1) :]
            for piece in range(PIECES + 1):
                # Four roundings to sixteenths of a nat at most.
                assert model.log_prob(state, piece)[0] == pytest.approx(
                    math.log(chance(full, piece)), abs=4 / 32
                )


@pytest.mark.parametrize("least", [(1, 1, 2, 2), (1, 2, 3, 4)])
def test_rows_add_up_without_the_rare(tmp_path: Path, least: Gram) -> None:
    sequences = texts(120)
    model = loaded(tmp_path, sequences, least)
    assert len(model) < len(loaded(tmp_path, sequences, (1, 1, 1, 1)))
    for context in itertools.product(range(PIECES), repeat=3):
        state = model.begin
        for piece in context:
            state = model.log_prob(state, piece)[1]
        row = [math.exp(model.log_prob(state, piece)[0]) for piece in range(PIECES + 1)]
        assert sum(row) == pytest.approx(1, abs=0.08)

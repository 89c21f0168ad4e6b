"""Ways to make one ranking of what sound, transcript and words say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from training.thresholds.spoken_fusion import (
    USED,
    WAYS,
    ahead,
    by_lead,
    by_sound,
    keeping,
    known_by_legs,
    left_out,
    means_by_set,
    of_a_leg,
    places,
    rare,
    standardised,
    told_apart,
    used,
    without_common,
)
from training.thresholds.spoken_legs import Clip, Heard, Legs, legs
from voicerag_core.evaluation.speech.degrading import CLEAN

FIRST, SECOND = np.eye(2, dtype=np.float32)
MIDDLE = np.full(2, 2**-0.5, np.float32)


def asked(
    sound: Sequence[float] | None,
    transcript: Sequence[float],
    right: Sequence[bool],
    *,
    question: str = "q",
    name: str = "news",
    filled: Sequence[Sequence[float]] | None = None,
    rarity: Sequence[float] = (1.0,),
    spread: Sequence[float] = (1.0,),
) -> Legs:
    """Return what the legs say of a few passages; without `filled` no word is in any of them."""
    table = np.zeros((1, len(right))) if filled is None else np.array(filled, float)
    words = np.array(transcript, float)
    heard = None if sound is None else np.array(sound, float)
    return Legs(
        name, "own", Clip(question, CLEAN, frozenset(), None, None, None, ()), np.array(right),
        heard, words, words if heard is None else (heard + words) / 2, np.array(rarity, float),
        table, np.array(spread, float),
    )  # fmt: skip


def base(clips: list[Clip]) -> Heard:
    """Return three passages, the first with two vectors."""
    vectors = np.stack([FIRST, SECOND, FIRST, MIDDLE])
    words = [{"rhine": 1, "flow": 2}, {"flow": 1}, {"moon": 1, "flow": 1}]
    return Heard("news", "shared", ["a", "b", "c"], vectors, np.array([0, 0, 1, 2]), words, clips)


def test_the_legs_are_those_of_the_store() -> None:
    clip = Clip("q", CLEAN, frozenset("c"), None, SECOND, FIRST, ("rhine", "flow"))
    (got,) = legs([base([clip])])
    assert got.sound is not None
    np.testing.assert_allclose(got.sound, [1, 0, 2**-0.5], atol=1e-6, err_msg="nearest vector")
    np.testing.assert_allclose(got.transcript, [1, 1, 2**-0.5], atol=1e-6)
    mean = np.array([0.25, 0.75]) / np.hypot(0.25, 0.75)
    np.testing.assert_allclose(got.both, [mean[1], mean[0], mean.sum() * 2**-0.5], atol=1e-6)
    assert got.right.tolist() == [False, False, True]
    rarity = np.log([1 + 3 / 1, 1 + 3 / 3])
    longer, shorter = 0.6 * (0.4 + 0.6 * 2 / (5 / 3)), 0.6 * (0.4 + 0.6 * 1 / (5 / 3))
    held = np.array([
        rarity[0] / (1 + longer) + rarity[1] * 2 / (2 + longer),
        rarity[1] / (1 + shorter),
        rarity[1] / (1 + longer),
    ])  # fmt: skip
    np.testing.assert_allclose(got.share, held / rarity.sum())


def test_a_question_sees_its_own_store_alone() -> None:
    own = Clip("q", CLEAN, frozenset("c"), ("c", "b"), None, FIRST, ("moon",))
    silent = Clip("r", CLEAN, frozenset("c"), None, SECOND, None, ())
    (got,) = legs([base([own, silent])])
    assert got.right.tolist() == [True, False]
    assert got.sound is None
    np.testing.assert_allclose(got.both, got.transcript, err_msg="no speech vector: the words'")
    np.testing.assert_allclose(got.rarity, np.log(1 + 2))
    assert got.share[0] > got.share[1] == 0


def test_a_leg_keeps_its_first_place_from_a_lead_on() -> None:
    one = asked([0.1, 0.4, 0.5], [0.7, 0.6, 0.0], [False, False, True])
    assert places([one], used)[0] > 0
    assert places([one], keeping(by_sound, 0.09))[0] == 0
    assert places([one], keeping(by_sound, 0.11))[0] > 0


def test_only_a_passage_that_a_leg_has_first_can_stay_first() -> None:
    one = asked([0.9, 0.8, 0.0], [0.2, 0.8, 0.9], [True, False, False])
    assert places([one], used)[0] == 1, "the mean of the legs puts the second passage first"
    assert places([one], of_a_leg)[0] == 0


def test_parts_are_measured_by_their_spread() -> None:
    one = asked(None, [0.50, 0.51, 0.49], [True, False, False], filled=[[0.2, 0.2, 0.5]])
    np.testing.assert_allclose(standardised(0)(one), [0, 1.5**0.5, -(1.5**0.5)], atol=1e-9)
    spread = np.array([0.2, 0.2, 0.5]) - 0.3
    spread /= np.sqrt((spread**2).mean())
    np.testing.assert_allclose(standardised(2)(one) - standardised(0)(one), 2 * spread)


def test_words_of_every_passage_can_weigh_nothing() -> None:
    one = asked(None, [0.5, 0.5], [True, False], filled=[[0.2, 0.9], [0.6, 0.0]],
                rarity=np.log([2, 3]).tolist(), spread=[1.0, 0.5])  # fmt: skip
    np.testing.assert_allclose(without_common(one), [0.5 + 0.6, 0.5])
    most = 2 * np.log(3)
    np.testing.assert_allclose(
        rare(one), [0.5 + (0.2 * np.log(2) + 0.6 * np.log(3)) / most, 0.5 + 0.9 * np.log(2) / most]
    )


def test_right_passages_are_told_from_wrong_ones() -> None:
    one = asked(None, [0.9, 0.2, 0.5, 0.5], [True, False, True, False])
    assert told_apart([one], used) == (1 + 1 + 1 + 0.5) / 4
    every = asked(None, [0.9, 0.2], [True, True])
    assert told_apart([one, every], used) == 3.5 / 4, "without a wrong one there is nothing to tell"


def test_a_question_in_several_voices_is_one_sample() -> None:
    voices = [asked(None, [1.0, 0.0], [True, False], question=name) for name in "aab"]
    means = means_by_set(voices, np.array([1.0, 0.0, 1.0]))
    assert sorted(means["news"].tolist()) == [0.5, 1.0]
    assert ahead(voices, np.zeros(3)) == "+0.0 [+0.0, +0.0]"
    assert ahead(voices, np.array([1.0, 1.0, 1.0])) == "+100.0 [+100.0, +100.0]"


def test_a_set_does_not_choose_for_itself() -> None:
    one, other = (asked(None, [1.0, 0.0], [True, False], name=name) for name in ("news", "wiki"))
    found = {USED: np.array([0, 1]), "better on news": np.array([0, 1]),
             "better on wiki": np.array([1, 0])}  # fmt: skip
    rows = {row[0]: row[1:] for row in left_out([one, other], found)}
    assert rows["news"] == ["better on wiki", "-100.0"]
    assert rows["wiki"] == [USED, "+0.0"]


@pytest.mark.parametrize(("score", "cells"), [(0.99, ["1.00 (1)", "-"]), (0.7, ["-", "1.00 (1)"])])
def test_first_places_are_counted_by_their_lead(score: float, cells: list[str]) -> None:
    one = asked(None, [1.0, score], [True, False])
    row = by_lead({"news": [one]})[2].split(" | ")
    assert [row[1], row[-1].removesuffix(" |")] == cells


def test_every_way_ranks_every_passage() -> None:
    one = asked([0.5, 0.4, 0.1], [0.0, 0.6, 0.7], [True, False, False],
                filled=[[0.1, 0.0, 0.5]], spread=[2 / 3])  # fmt: skip
    deaf = asked(None, [0.5], [True])
    for name, way in WAYS.items():
        for asked_of in (one, deaf):
            scores = way(asked_of)
            assert scores.shape == asked_of.right.shape, name
            assert np.isfinite(scores).all(), name


def test_the_legs_stand_beside_chance() -> None:
    one = asked([0.9, 0.1], [0.1, 0.9], [True, False])
    lines = known_by_legs({("news", "own", CLEAN): [one]})
    assert "| chance | 0.500 / 0.500 |" in lines
    assert "| sound | 1.000 / 1.000 |" in lines
    assert "| transcript's vector | 0.000 / 0.000 |" in lines

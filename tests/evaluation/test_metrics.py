"""Scores against cases worked out by hand, and against the official rules of HotpotQA."""

from __future__ import annotations

import math

import pytest

from voicerag_core.evaluation.metrics.answers import (
    best,
    contained,
    exact_match,
    f1,
    normalized,
    refusals,
    rouge_l,
    tokens,
)
from voicerag_core.evaluation.metrics.intervals import compared, difference, estimate, quantiles
from voicerag_core.evaluation.metrics.ranking import found_all, ranking_scores
from voicerag_core.evaluation.metrics.recognition import Errors, error_rate, heard_errors


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The  Beatles!", "beatles"),
        ("an apple a day", "apple day"),
        ("A.B.C. (the) U.S.", "abc us"),
        ("theatre", "theatre"),
        ("well-known", "wellknown"),
        ("The, a. AN!", ""),
        ("  ", ""),
        ("2,500 men", "2500 men"),
        ("«été»", "«été»"),
    ],
)
def test_english_is_normalised_as_officially(text: str, plain: str) -> None:
    assert normalized(text) == plain


@pytest.mark.parametrize(
    ("said", "gold", "exact", "value"),
    [
        ("the cat sat", "cat sat", 1.0, 1.0),
        ("cat", "the cat sat on it", 0.0, 2 * 1 * 0.25 / 1.25),
        ("sat cat cat", "cat cat cat", 0.0, 2 / 3),
        ("yes", "Yes.", 1.0, 1.0),
        ("yes it is", "yes", 0.0, 0.0),
        ("no", "yes", 0.0, 0.0),
        ("noanswer", "cat", 0.0, 0.0),
        ("", "cat", 0.0, 0.0),
        ("", "", 1.0, 0.0),
        ("dog", "cat", 0.0, 0.0),
    ],
)
def test_exact_match_and_f1_are_those_of_hotpotqa(
    said: str, gold: str, exact: float, value: float
) -> None:
    assert exact_match(said, gold) == exact
    assert f1(said, gold).f1 == pytest.approx(value)


def test_precision_and_recall_are_told_apart() -> None:
    found = f1("one two three four", "two")
    assert (found.precision, found.recall) == (0.25, 1.0)


@pytest.mark.parametrize(
    ("said", "gold", "exact", "value"),
    [
        ("70个。", "70个", 1.0, 1.0),
        ("共有70个席位", "70个席位", 0.0, 2 * (4 / 6) * 1 / (4 / 6 + 1)),
        ("北京", "京北", 0.0, 1.0),
        ("ＩＢＭ公司", "IBM公司", 1.0, 1.0),
        ("上海", "北京", 0.0, 0.0),
    ],
)
def test_chinese_is_compared_by_characters(
    said: str, gold: str, exact: float, value: float
) -> None:
    assert exact_match(said, gold) == exact
    assert f1(said, gold).f1 == pytest.approx(value)


def test_numbers_in_chinese_are_one_token() -> None:
    assert tokens("2016年有70个") == ["2016", "年", "有", "70", "个"]


@pytest.mark.parametrize(
    ("said", "gold", "value"),
    [
        ("It was the Seine, they say.", "The Seine", 1.0),
        ("It was insane", "sane", 0.0),
        ("席位为70个", "70个", 1.0),
        ("anything", "", 0.0),
        ("", "x", 0.0),
    ],
)
def test_a_gold_answer_is_contained_word_for_word(said: str, gold: str, value: float) -> None:
    assert contained(said, gold) == value


def test_the_best_of_several_gold_answers_counts() -> None:
    assert best(exact_match, "rome", ["paris", "Rome"]) == 1.0
    assert best(exact_match, "rome", []) == 0.0


def test_rouge_l_is_the_longest_common_subsequence() -> None:
    found = rouge_l("police killed the gunman", "police kill the gunman")
    assert found.recall == pytest.approx(2 / 3)  # without the article: police gunman of 3
    assert found.f1 == pytest.approx(2 / 3)
    assert rouge_l("gunman police", "police gunman").recall == 0.5, "order counts"
    assert rouge_l("甲乙丙丁", "甲丙").recall == 1.0
    assert rouge_l("", "x").f1 == 0.0


def test_refusals_have_precision_and_recall() -> None:
    told = refusals([(True, True), (False, True), (False, True), (False, False), (True, False)])
    assert told.precision == pytest.approx(2 / 3)
    assert told.recall == pytest.approx(2 / 3)
    nothing = refusals([(True, False)])
    assert (nothing.precision, nothing.recall) == (None, None)


def test_rankings_are_scored_as_worked_out_by_hand() -> None:
    rankings = {"q1": ["a", "b", "c"], "q2": ["x", "y", "right"], "q3": [], "q4": ["z"]}
    scores = ranking_scores(rankings, {"q1": ["b"], "q2": ["right", "y"], "q3": ["r"], "q4": []})
    assert set(scores) == {"q1", "q2", "q3"}
    assert scores["q1"]["R@1"] == 0.0
    assert scores["q1"]["MRR"] == 0.5
    assert scores["q1"]["nDCG@10"] == pytest.approx(1 / math.log2(3))
    ideal = 1 + 1 / math.log2(3)
    assert scores["q2"]["nDCG@10"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(4)) / ideal)
    assert scores["q2"]["R@4"] == 1.0
    assert set(scores["q3"].values()) == {0.0}, "nothing found is no missing question"


def test_a_long_ranking_keeps_its_order() -> None:
    names = [f"p{n}" for n in range(30)]
    scores = ranking_scores({"q": names}, {"q": ["p9"]})["q"]
    assert (scores["R@10"], scores["R@8"]) == (1.0, 0.0)
    assert scores["MRR"] == pytest.approx(0.1)
    assert ranking_scores({"q": names}, {"q": ["p10"]})["q"]["R@10"] == 0.0


def test_two_hops_need_both_passages() -> None:
    assert found_all(["a", "x", "b"], ["a", "b"], 3) == 1.0
    assert found_all(["a", "x", "b"], ["a", "b"], 2) == 0.0
    assert found_all(["a"], [], 1) == 0.0


@pytest.mark.parametrize(
    ("spoken", "heard", "wrong", "units"),
    [
        ("Who is Ada?", "who is ada", 0, 3),
        ("who saw the cat", "who saw a cat now", 2, 4),
        ("He has twenty two cats", "he has 22 cats", 0, 4),
        ("今天天气", "今天天七", 1, 4),
        ("who", "", 1, 1),
    ],
)
def test_word_errors(spoken: str, heard: str, wrong: int, units: int) -> None:
    assert heard_errors(spoken, heard) == Errors(wrong, units)


def test_rates_are_of_all_words_not_of_clips() -> None:
    assert error_rate([Errors(1, 1), Errors(0, 9)]) == pytest.approx(0.1)
    assert error_rate([]) is None


def test_intervals_and_differences() -> None:
    found = estimate([1.0] * 80 + [0.0] * 20)
    width = 1.96 * math.sqrt(0.8 * 0.2 / 100)
    assert found.mean == pytest.approx(0.8)
    assert found.low == pytest.approx(0.8 - width, abs=0.015)
    hard = {str(n): float(n % 2) for n in range(40)}
    same = difference((1.0, hard), (-1.0, hard))
    assert (same.low, same.high) == (0.0, 0.0)
    better = compared(dict.fromkeys(hard, 1.0), hard)
    assert better is not None
    assert better.estimate.mean == pytest.approx(0.5)
    assert better.chance < 0.01
    level = compared(hard, hard)
    assert level is not None
    assert level.chance == 1.0
    assert compared(hard, {}) is None
    assert quantiles([1.0, 2.0, 3.0])[0] == 2.0

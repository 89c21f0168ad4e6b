"""What counts as an answer, as a near miss, and how sure a share is."""

from __future__ import annotations

import pytest

from benchmarks.answers.lookups import Lookup
from benchmarks.answers.realdocs import tables
from benchmarks.answers.shared_store import Outcome, holds, near_misses
from benchmarks.answers.shares import Share
from benchmarks.speech.typed_sets import Asked
from voicerag_core import Answer, Passage


def asked(gold: str, *right: str) -> Asked:
    return Asked("RGB", "Who won?", right, False, (gold,))


def test_an_interval_does_not_leave_what_is_possible() -> None:
    assert str(Share(10, 10)) == "10 of 10, 1.00 [0.72, 1.00]"
    assert str(Share(0, 10)) == "0 of 10, 0.00 [0.00, 0.28]"
    bounds = Share(50, 100).interval
    assert bounds == pytest.approx((0.404, 0.596), abs=0.001)


@pytest.mark.parametrize(
    ("text", "gold", "there"),
    [
        ("It was won by Tadej Poga\u010dar.", "Tadej Pogacar", True),
        ("Sales were 3677 seats.", "3,677", True),
        ("The Frenchman won.", "French", False),
        ("the Shape of Water", "The Shape of Water", True),
    ],
)
def test_an_answer_is_held_as_whole_words(text: str, gold: str, there: bool) -> None:
    assert holds(text, [gold]) is there


def test_near_misses_leave_out_what_holds_the_answer() -> None:
    texts = {"a": "Norway won.", "b": "In 2014 Russia won.", "c": "The norway rat.", "d": "Again."}
    passages = {name: Passage(name, text) for name, text in texts.items()}
    left = near_misses(passages, asked("Norway", "d"), Lookup((), ("a", "b", "c", "d")))
    assert [passage.id for passage in left] == ["b"]


@pytest.mark.parametrize(
    ("text", "answered", "cited", "verdict"),
    [
        ("Ann is a painter. Bob is a painter.", True, "ab", "both"),
        ("Ann is a painter.", True, "a", "wrong"),
        ("Yes, both are.", True, "a", "gold"),
        ("", False, "", "declined"),
    ],
)
def test_yes_or_no_is_settled_by_both_sides(
    text: str, answered: bool, cited: str, verdict: str
) -> None:
    answer = Answer(text, answered=answered)
    assert Outcome(asked("yes", "a", "b"), answer, frozenset(cited)).verdict == verdict


def test_even_and_odd_questions_stand_apart() -> None:
    def row(name: str, verdict: str, rank: int | None, kind: str = "who") -> dict[str, object]:
        return {"id": name, "kind": kind, "lang": "en", "verdict": verdict, "rank": rank}

    rows = [row("q02", "right", 1), row("q03", "wrong", 3), row("q04", "right", 0, "followup")]
    text = "\n".join(tables([*rows, row("q05", "declined_rightly", None, "absent")]))
    assert "| all | 2 of 3" in text
    assert "| English, no follow-ups | 1 of 2" in text
    assert "| of these even | 1 of 1" in text
    assert "| of these odd | 0 of 1" in text
    assert "| absent | 1 of 1" in text

"""Bounds of figures, and sentences that tell of the other side."""

from __future__ import annotations

import pytest

from voicerag_core.local.reading.bounds import beyond, bounds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Who approves more than 80 hours?", {("80", True)}),
        ("leave of 80 hours or more", {("80", True)}),
        ("To request 80 hours or less of leave", {("80", False)}),
        ("parcels of no more than 5 kg", {("5", False)}),
        ("not over $200", {("200", False)}),
        ("orders over $1,500", {("1,500", True)}),
        ("longer than twenty five days", {("25", True)}),
        ("a maximum of 12 m", {("12", False)}),
        ("at 80 hours", set()),
        ("more than most of the 12 members", set()),
    ],
)
def test_bounds(text: str, expected: set[tuple[str, bool]]) -> None:
    assert bounds(text) == expected


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("For 80 hours or less ask your supervisor.", True),
        ("Up to 80 hours are approved by the supervisor.", True),
        ("For over 80 hours ask the director.", False),
        ("80 hours or less: the supervisor; more than 80: the director.", False),
        ("For 40 hours or less ask nobody.", False),
        ("After 80 hours ask the director.", False),
    ],
)
def test_the_other_side_is_another_thing(text: str, other: bool) -> None:
    asked = bounds("Who has to approve more than 80 hours of unpaid leave?")
    assert beyond(asked, text) is other


def test_what_bounds_nothing_is_contradicted_by_nothing() -> None:
    assert not beyond(bounds("Who approves 80 hours?"), "80 hours or less")

"""Numbers written out, put back into digits."""

from __future__ import annotations

import pytest

from voicerag_core.local.hearing.number_words import with_digits


@pytest.mark.parametrize(
    ("spoken", "printed"),
    [
        ("two thousand nineteen", "2019"),
        ("twenty nineteen", "2019"),
        ("nineteen twenty eight", "1928"),
        ("one thousand nine hundred and forty five", "1945"),
        ("nineteen oh five", "1905"),
        ("in nineteen forty five and nineteen forty six", "in 1945 and 1946"),
        ("eighteen hundred", "1800"),
        ("the nineteen eighties", "the 1980s"),
        ("the twenty first century", "the 21st century"),
        ("the eleventh and the twelfth", "the 11th and the 12th"),
        ("the one hundredth", "the 100th"),
        ("the twentieth", "the 20th"),
        ("super bowl fifty", "super bowl 50"),
        ("one hundred and twenty three days", "123 days"),
        ("one hundred and more", "100 and more"),
        ("fifteen thousand", "15,000"),
        ("three hundred thousand", "300,000"),
        ("two million people", "2 million people"),
        ("two point five million", "2.5 million"),
        ("three point one four", "3.14"),
        ("call nine one one", "call 911"),
        ("twenty and thirty", "20 and 30"),
    ],
)
def test_numbers_become_digits(spoken: str, printed: str) -> None:
    assert with_digits(spoken) == printed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "which one was the first",
        "two or three of the seven",
        "ten seconds",
        "for one second",
        "point to the hundred acre wood",
        "no oh and o",
        "who discovered penicillin",
        "first second third",
    ],
)
def test_what_print_leaves_in_words_stays(text: str) -> None:
    assert with_digits(text) == text


def test_digits_stay() -> None:
    assert with_digits("in 1928 and 3.5") == "in 1928 and 3.5"

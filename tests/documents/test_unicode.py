"""One form of characters, and raised figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicerag_core.documents.unicode import normalised, raised, tidy


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("o\ufb03ce \ufb01eld \ufb02at", "office field flat"),
        ("main\xadten\xadance", "maintenance"),
        ("zero\u200bwidth\ufeff \u2060mark", "zerowidth mark"),
        ("\uff11\uff12 \uff4b\uff47, \u2167, \u339e", "12 kg, VIII, km"),
        ("\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\u4f60\u597d\uff0c\u4e16\u754c\uff01"),
        ("e\u0301", "\xe9"),
        ("10\u2076 m\xb2 \xbd \u2122", "10\u2076 m\xb2 \xbd \u2122"),
        ("a\xa0b\u202fc\u3000d", "a b c d"),
        ("one\u2028two\x0cthree\r\nfour", "one\ntwo\nthree\nfour"),
        ("non\u2011breaking", "non-breaking"),
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("right\u200fto\u202aleft", "righttoleft"),
        ("bell\x07 and \x00zero", "bell and zero"),
    ],
)  # fmt: skip
def test_characters_come_in_one_form(text: str, wanted: str) -> None:
    assert normalised(text) == wanted


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    once.encode()
    assert "\0" not in once
    assert tidy(once) == tidy(text)


@pytest.mark.parametrize(
    ("before", "text", "wanted"),
    [
        ("holds 10", "6", "^6"),
        ("2", "10", "^10"),
        ("times 10", "\u22126", "^-6"),
        ("built in 1990", "3", ""),
        ("costs 1,200", "2", ""),
        ("The 10", "th", "th"),
        ("25 m", "2", "\xb2"),
        ("9 km", "2", "\xb2"),
        ("x", "n", "n"),
        ("as was shown", "4", ""),
        ("at the end.", "12", ""),
        ("word", "[3]", ""),
        ("word", "*", ""),
    ],
)
def test_raised_figures_are_exponents_powers_or_marks_of_notes(
    before: str, text: str, wanted: str
) -> None:
    assert raised(before, text) == wanted

"""How an answer is cut into pieces to speak."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicerag_core.local.speaking.segments import (
    FIRST_WORDS,
    MAX_CHARACTERS,
    speakable,
    speech_segments,
)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Paris.", ["Paris."]),
        (
            "The Normans were in the region. They came from the north.",
            ["The Normans were in the region.", "They came from the north."],
        ),
        (
            "After the war had ended, the city was rebuilt by its people in less than ten years.",
            [
                "After the war had ended,",
                "the city was rebuilt by its people in less than ten years.",
            ],
        ),
        (
            "The council met in the old hall because the new one had burnt down.",
            ["The council met in the old hall", "because the new one had burnt down."],
        ),
        (
            "It was an old, cold and dark house beside the river in the north.",
            ["It was an old, cold and dark house", "beside the river in the north."],
        ),
        ("It cost 1,500,000 dollars.", ["It cost 1,500,000 dollars."]),
        ("Dr. Smith lived there.", ["Dr. Smith lived there."]),
        ("One line\nand another.", ["One line and another."]),
        ("", []),
        ("... \n — !", []),
    ],
)
def test_pieces(text: str, pieces: list[str]) -> None:
    assert speech_segments(text) == pieces


def test_sound_never_has_to_wait_for_a_much_longer_piece() -> None:
    text = (
        "When the king returned, he found that the gates, which had been open for a hundred years, "
        "were shut, that the bridges over the river had been taken down, and that nobody in the "
        "city would say who had given the order to do so. He left the next day."
    )
    lengths = [len(piece.split()) for piece in speech_segments(text)]
    assert lengths[0] <= FIRST_WORDS
    assert all(
        later <= 3 * max(earlier, FIRST_WORDS) for earlier, later in itertools.pairwise(lengths)
    )


@given(st.text(max_size=600))
def test_nothing_that_can_be_spoken_is_lost_or_spoken_twice(text: str) -> None:
    pieces = speech_segments(text)
    for piece in pieces:
        assert 0 < len(piece) <= MAX_CHARACTERS
        assert piece == speakable(piece)
    said = [letter for letter in "".join(pieces) if letter.isalnum()]
    assert said == [letter for letter in speakable(text) if letter.isalnum()]


@given(st.text())
def test_a_line_for_piper_is_one_line(text: str) -> None:
    line = speakable(text)
    assert len(line.splitlines()) <= 1
    assert line == line.strip()
    assert "[[" not in line
    assert line == "" or any(letter.isalnum() for letter in line)
    assert speakable(line) == line
    line.encode()

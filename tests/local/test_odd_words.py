"""Names of questions that are typed or heard without capitals."""

from __future__ import annotations

import pytest

from voicerag_core.local.reading.near_misses import missing_names, said_in


@pytest.mark.parametrize(
    ("question", "text", "missing"),
    [
        ("who plays timon on stage?", "Jim Cummings plays on the stage.", 1.0),
        ("who plays timon on stage?", "Max Casella plays Timon on stage.", 0.0),
        ("who plays timon and pumbaa?", "Max Casella plays Timon.", 0.5),
        ("who sings let me love you?", "A song by an English singer.", 0.0),
        ("Who plays timon on Broadway?", "It is on Broadway.", 0.0),
        ("who decided on the opening hours?", "Nobody knows.", 0.0),
    ],
)
def test_what_english_has_seldom_is_a_name_where_there_are_no_capitals(
    question: str, text: str, missing: float
) -> None:
    assert missing_names(question, said_in(text)) == missing

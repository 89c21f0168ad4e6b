from __future__ import annotations

import pytest

from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.reader import Reader
from voicerag_core.local.reading.songs import untold_song
from voicerag_core.types import Passage


@pytest.mark.parametrize(
    ("question", "text", "untold"),
    [
        ("who sings the song let me love you?", "Love Me like You Do is by Ellie Goulding.", True),
        ("who sings the song let me love you?", "Let Me Love You is by DJ Snake.", False),
        ("Who sang She's like the wind?", "\u201cShe\u2019s Like the Wind\u201d, 1987", False),
        ("who sings she's like the wind lyrics?", "Against the Wind is by Bob Seger.", True),
        ("Who sings in the choir?", "The choir has forty members who sing.", False),
        ("Who sang it?", "Nobody knows.", False),
        ("Who wrote the rules of conduct?", "The board did.", False),
    ],
)
def test_a_song_is_told_by_all_words_of_its_title(question: str, text: str, untold: bool) -> None:
    assert untold_song(question, text) is untold


def test_another_song_is_declined() -> None:
    reader = Reader(AnswerScorer(threads=2))
    question = "who sings the song let me love you?"
    song = '"{}" is a song recorded by English singer Ellie Goulding for a film of 2015.'
    assert not reader.read(question, [Passage("a", song.format("Love Me like You Do"))]).answered
    assert reader.read(question, [Passage("a", song.format("Let Me Love You"))]).answered

"""The laws of the values."""

from __future__ import annotations

import pickle
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicerag_core import Answer, Audio, AudioError, Citation, Hit, Passage

audios = st.lists(st.floats(-1, 1, width=32), max_size=5).map(
    lambda values: Audio(np.array(values, np.float32), 22_050)
)
hits = st.sampled_from([Hit(Passage(str(i), f"text {i}"), i / 10) for i in range(4)])
answers = st.builds(
    Answer,
    text=st.text(max_size=5),
    audio=st.none() | audios,
    hits=st.lists(hits, max_size=3, unique_by=lambda hit: hit.passage.id).map(tuple),
    citations=st.lists(
        st.builds(Citation, st.sampled_from("ab"), st.integers(0, 2), st.integers(3, 4)),
        max_size=2,
        unique=True,
    ).map(tuple),
    answered=st.booleans(),
    transcript=st.none() | st.text(max_size=3),
    timings=st.dictionaries(st.sampled_from(["embed", "search"]), st.floats(0, 9)),
)


@given(answers, answers, answers)
def test_adding_pieces_is_associative(a: Answer, b: Answer, c: Answer) -> None:
    assert (a + b) + c == a + (b + c)


@given(answers)
def test_the_empty_answer_is_neutral(answer: Answer) -> None:
    assert answer + Answer() == answer == Answer() + answer


@given(st.lists(answers, max_size=5))
def test_pieces_lose_nothing(pieces: list[Answer]) -> None:
    whole = reduce(Answer.__add__, pieces, Answer())
    assert whole.text == "".join(piece.text for piece in pieces)
    spoken = [piece.audio.samples for piece in pieces if piece.audio is not None]
    if spoken:
        assert whole.audio is not None
        np.testing.assert_array_equal(whole.audio.samples, np.concatenate(spoken))
    else:
        assert whole.audio is None
    assert whole.answered == all(piece.answered for piece in pieces)
    assert {hit for piece in pieces for hit in piece.hits} == set(whole.hits)
    heard = [piece.transcript for piece in pieces if piece.transcript is not None]
    assert whole.transcript == (heard[0] if heard else None)


def test_audio_of_two_rates_is_not_joined() -> None:
    silence = np.zeros(4, np.float32)
    with pytest.raises(AudioError, match="16000 Hz with audio at 22050 Hz"):
        Audio(silence, 16_000) + Audio(silence, 22_050)


@pytest.mark.parametrize(
    "samples", [np.zeros(4, np.float64), np.zeros((4, 2), np.float32), np.zeros(4, np.int16)]
)
def test_audio_refuses_other_arrays(samples: np.ndarray) -> None:
    with pytest.raises(AudioError, match="mono float32"):
        Audio(samples, 16_000)


def test_audio_refuses_a_rate_of_zero() -> None:
    with pytest.raises(AudioError, match="above 0 Hz"):
        Audio(np.zeros(4, np.float32), 0)


def test_audio_knows_its_length_and_hides_its_sound() -> None:
    audio = Audio(np.zeros(24_000, np.float32), 16_000)
    assert audio.seconds == 1.5
    assert repr(audio) == "Audio(1.50 s at 16000 Hz)"


def test_values_pickle() -> None:
    audio = Audio(np.arange(3, dtype=np.float32), 16_000)
    answer = Answer("text", audio, (Hit(Passage("a", "b", {"c": [1]}), 0.5),))
    assert pickle.loads(pickle.dumps(answer)) == answer


def test_a_passage_shows_title_or_source() -> None:
    assert Passage("1", "t", {"source": "a.txt", "title": "A"}).title == "A"
    assert Passage("1", "t", {"source": "a.txt"}).title == "a.txt"
    assert Passage("1", "t").title == ""

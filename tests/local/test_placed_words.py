"""Words of a collection in the places of a transcript, over frames that are made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from voicerag_core.local.hearing.placed_words import placed_words
from voicerag_core.local.hearing.word_spotter import Spotted, WordSpotter, text_score
from voicerag_core.types import Vocabulary

TOKENS = ("\u2581", *"abcdefghijklmnopqrstuvwxyz")
BLANK = len(TOKENS)
HEARD = "How long does day schooling take?"
SAID = "how long does descaling take"


def frames(said: str) -> NDArray[np.float32]:
    """Frames in which the letters of a text are nearly certain, each with a blank behind it."""
    rows = []
    for letter in " " + said:
        row = np.full(BLANK + 1, 1e-4)
        row[0 if letter == " " else TOKENS.index(letter)] = 1.0
        rows += [row, np.eye(BLANK + 1)[BLANK] + 1e-4]
    table = np.array(rows)
    return np.asarray(np.log(table / table.sum(axis=1, keepdims=True)), np.float32)


def word(text: str) -> Spotted:
    return Spotted(text, tuple(TOKENS.index(one) for one in "\u2581" + text.lower()), 0.0, 1.0)


def test_a_word_stands_where_it_fits_the_sound_and_marks_stay() -> None:
    (found,) = placed_words(HEARD, [word("descaling")], frames(SAID), TOKENS)
    assert found.text == "How long does descaling take?"
    assert found.score > found.plain + 10
    (last,) = placed_words("How long does descaling rake?", [word("take")], frames(SAID), TOKENS)
    assert last.text == "How long does descaling take?"


def test_the_score_is_that_of_the_whole_text() -> None:
    found = placed_words(HEARD, [word("descaling"), word("lone")], frames(SAID), TOKENS)
    for one in found:
        assert one.score == pytest.approx(text_score(one.text, frames(SAID), TOKENS), abs=0.01)
        assert one.plain == pytest.approx(text_score(HEARD, frames(SAID), TOKENS), abs=0.01)


def test_a_word_that_the_transcript_has_is_left_out() -> None:
    assert placed_words(HEARD, [word("long"), word("TAKE")], frames(SAID), TOKENS) == []
    assert placed_words("", [word("take")], frames(SAID), TOKENS) == []
    assert placed_words(HEARD, [], frames(SAID), TOKENS) == []


def test_a_number_is_not_compared_with_the_sound() -> None:
    said = frames("it costs thirty two euro")
    (found,) = placed_words("It costs 32 hero.", [word("euro")], said, TOKENS)
    assert found.text == "It costs 32 euro."
    assert found.plain > -80, "each letter of the number would cost nine"


def test_words_that_hardly_fit_by_themselves_are_found_if_asked_for() -> None:
    spotter = WordSpotter(Vocabulary((("vesuvian", 1),)), TOKENS, {})
    sound = frames("the resuviam one")
    assert not spotter.spot(sound, 5, least_score=-15)
    (found,) = spotter.spot(sound, 5, least_score=-45)
    assert found.word == "vesuvian"

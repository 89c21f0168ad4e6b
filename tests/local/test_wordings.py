"""Other wordings of a clip: which are proposed, and in which order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from voicerag_core import Audio, Transcription
from voicerag_core.local.asking import asks
from voicerag_core.local.hearing.beam_search import Hypothesis
from voicerag_core.local.hearing.ctc_recognizer import Heard
from voicerag_core.local.hearing.placed_words import Placed
from voicerag_core.local.hearing.whisper import Recognition, WhisperTranscriber
from voicerag_core.local.hearing.word_spotter import Spotted
from voicerag_core.local.hearing.wordings import mingled, plain_words, wordings_of
from voicerag_core.types import Vocabulary

CLIP = Audio(np.full(16_000, 0.1, np.float32), 16_000)


class Listener:
    """Hears some texts, and finds some words placed; a text fits as badly as is listed."""

    def __init__(
        self,
        texts: Sequence[str] = (),
        placed: Sequence[Placed] = (),
        costs: dict[str, float] | None = None,
    ) -> None:
        self.texts, self.found, self.costs = texts, placed, costs or {}

    def hear(self, clips: Sequence[Audio], *, most: int, vocabulary: object = None) -> list[Heard]:
        texts = [Hypothesis(text, -1.0) for text in self.texts or ("",)]
        return [Heard(tuple(texts[:most]), -0.1) for _ in clips]

    def likely_words(self, *_: object, **__: object) -> list[Spotted]:
        return []

    def placed(self, clip: Audio, text: str, vocabulary: object) -> list[Placed]:
        return list(self.found)

    def text_score(self, clip: Audio, text: str) -> float:
        return -self.costs.get(plain_words(text), 20.0)


def placed(text: str, word: str, score: float, prior: float = 1.0, tokens: int = 3) -> Placed:
    return Placed(text, Spotted(word, (0,) * tokens, 0.0, prior), score, -20.0)


def found(
    heard: Transcription, listener: Listener, fits: dict[str, float] | None = None
) -> list[tuple[str, float]]:
    def score(texts: Sequence[str]) -> list[float]:
        return [(fits or {}).get(text, -10.0) for text in texts]

    words = Vocabulary((("Nordlicht", 3),))
    listed = wordings_of(CLIP, heard, words, listener, score)  # type: ignore[arg-type]
    return [(one.text, one.lead) for one in listed]


@pytest.mark.parametrize(
    ("text", "does"),
    [
        ("Who founded it?", True),
        ("on which day is it", True),
        ("Until when is it open?", True),
        ("You found it.", False),
        ("opening hours", False),
        ("whoever founded it", False),
    ],
)
def test_a_question_is_known_by_how_it_begins(text: str, does: bool) -> None:
    assert asks(text) is does


def test_words_are_taken_from_the_listener_where_it_differs() -> None:
    texts = list(mingled("You found Nordlicht.", ["who founded nor link"]))
    assert "who founded Nordlicht." in texts
    assert "who founded nor" not in texts, "the listener's last word is not left out"
    assert "who founded nor link" in texts
    assert list(mingled("Where is it?", ["where is it"])) == []
    assert not list(mingled("a b c d e f g h i", ["q b r d s f t h u"])), "nothing in common"


def test_those_heard_and_those_with_words_of_the_collection_come_in_turn() -> None:
    heard = Transcription("Who founded north light?", 0.9, "en", ("Who found a north light?",))
    listener = Listener(
        ["who founded nord light"],
        [
            placed("Who founded Nordlicht?", "Nordlicht", -5.0),
            placed("Nord founded north light?", "Nord", -40.0),
        ],
        {"who founded nord light": 6.0, "who found a north light": 0.0},
    )
    texts = [text for text, _ in found(heard, listener)]
    assert texts[:3] == [
        "Who found a north light?", "Who founded Nordlicht?", "Who founded nord light?",
    ]  # fmt: skip
    assert "Who founded north light?" not in texts
    assert len({plain_words(text) for text in texts}) == len(texts)


def test_a_word_that_only_the_collection_has_is_not_given_up_lightly() -> None:
    heard = Transcription("You found Nordlicht.", 0.8, "en")
    listener = Listener(
        ["who founded nor link"], costs={"who founded nor link": 2.0, "who founded nordlicht": 2.0}
    )
    fits = {"who founded nor link": -3.0, "who founded Nordlicht.": -6.0}
    listed = found(heard, listener, fits)
    assert listed[0][0] == "who founded Nordlicht."
    assert dict(listed)["who founded nor link"] == -math.inf, "however well it fits"


def test_of_what_is_no_question_those_that_are_come_first() -> None:
    listener = Listener(["are lunches paid"], costs={"oar lunches paid": 2.0})
    statement = Transcription("Our lunches paid.", 0.9, "en", ("Oar lunches paid.",))
    assert found(statement, listener)[0][0] == "are lunches paid."
    question = Transcription("Is our lunches paid?", 0.9, "en", ("Is oar lunches paid?",))
    listener = Listener(["are our lunches paid"], costs={"is oar lunches paid": 2.0})
    assert found(question, listener)[0][0] == "Is oar lunches paid?"


def test_the_lead_says_how_much_better_a_wording_fits_than_the_transcript() -> None:
    heard = Transcription("Our lunch is paid.", 0.9, "en", ("Are lunches paid?",))
    listener = Listener(costs={"our lunch is paid": 12.0, "are lunches paid": 4.0})
    fits = {"Our lunch is paid.": -2.0, "Are lunches paid?": -6.0}
    ((text, lead),) = found(heard, listener, fits)
    assert text == "Are lunches paid?"
    assert lead == pytest.approx(-2.0)


def test_a_long_word_goes_before_a_short_one_and_a_heading_is_read_as_a_sentence() -> None:
    heard = Transcription("How long does day school take?", 0.6, "en")
    listener = Listener(
        placed=[
            placed("How long does SLA school take?", "SLA", -12.0, tokens=1),
            placed("How long does Descaling take?", "Descaling", -12.0, tokens=4),
        ]
    )
    fits = {"How long does descaling take?": -8.0}
    assert [text for text, _ in found(heard, listener, fits)] == [
        "How long does descaling take?", "How long does SLA school take?",
    ]  # fmt: skip


class Model:
    """A recogniser whose text is known, and how well texts fit."""

    def __init__(self, text: str, fits: dict[str, float]) -> None:
        self.text, self.fits = text, fits

    def recognise(self, *_: object) -> Recognition:
        return Recognition(self.text, 0.0, -0.1, 1.0, 5)

    def text_scores(self, samples: object, texts: Sequence[str]) -> list[float]:
        return [self.fits.get(text, -30.0) for text in texts]


@pytest.mark.parametrize(
    ("fit", "text"), [(-7.0, "are lunches paid."), (-12.0, "Our lunches paid.")]
)
def test_what_begins_as_a_question_is_heard_if_it_fits_nearly_as_well(
    fit: float, text: str
) -> None:
    listener = Listener(["are lunches paid"], costs={"our lunches paid": 4, "are lunches paid": 4})
    whisper = WhisperTranscriber(listener=listener)  # type: ignore[arg-type]
    fits = {"Our lunches paid.": -2.0, "are lunches paid.": fit, "are lunches paid": -30.0}
    whisper._model = Model("Our lunches paid.", fits)  # type: ignore[assignment]
    heard = whisper.transcribe_with(CLIP, Vocabulary())
    assert heard.text == text
    assert (heard.text == "Our lunches paid.") is ("Our lunches paid." not in heard.others)


def test_what_is_a_question_already_stays() -> None:
    listener = Listener(["are lunches paid"], costs={"are lunches paid": 0.0})
    whisper = WhisperTranscriber(listener=listener)  # type: ignore[arg-type]
    whisper._model = Model("Is lunch paid?", {"are lunches paid": 0.0})  # type: ignore[assignment]
    assert whisper.transcribe_with(CLIP, Vocabulary()).text == "Is lunch paid?"

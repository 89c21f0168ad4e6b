"""A model that declines as was chosen for the collection."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest

from voicerag_core import Answer, Passage, Sampling
from voicerag_core.local.model import LocalVoiceModel
from voicerag_core.local.reading.by_language import ReaderByLanguage
from voicerag_core.ports import SelfAssessingModel

PASSAGES = [Passage("a", "The bakery is in Torvik.")]


class SureReader:
    """Is as sure as it is told to be."""

    def __init__(self, sure: float, least: float = 0.5) -> None:
        self.sure, self.least = sure, least

    def answer(
        self,
        question: str,
        passages: Sequence[Passage],
        *,
        history: Sequence[object] = (),
        instructions: str = "",
    ) -> Generator[Answer, None, None]:
        yield Answer("In Torvik.") if self.sure >= self.least else Answer("No.", answered=False)

    def answer_probability(self, question: str, passages: Sequence[Passage]) -> float:
        return self.sure

    def declining_below(self, probability: float) -> SureReader:
        return SureReader(self.sure, probability)


class Plain:
    """A writer that knows no probabilities."""

    answer = SureReader.answer
    sure, least = 1.0, 0.0


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_threshold_reaches_the_reader(wrapped: bool) -> None:
    reader: object = SureReader(0.6)
    if wrapped:
        reader = ReaderByLanguage({"en": reader}, language="en")  # type: ignore[dict-item]
    model = LocalVoiceModel(reader)  # type: ignore[arg-type]
    assert isinstance(model, SelfAssessingModel)
    assert model.answer_probability("where is it", PASSAGES) == 0.6

    def answered(model: LocalVoiceModel) -> bool:
        pieces = model.respond("where is it", PASSAGES, sampling=Sampling())
        return sum(pieces, Answer()).answered

    assert answered(model)
    assert not answered(model.declining_below(0.7))
    assert answered(model), "the model itself stays as it is"


def test_a_writer_without_probabilities_is_left_alone() -> None:
    model = LocalVoiceModel(Plain())
    assert model.answer_probability("where is it", PASSAGES) is None
    assert model.declining_below(0.99) is model

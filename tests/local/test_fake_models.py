from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from voicerag_core.testing import (
    EmbedderContract,
    FakeEmbedder,
    FakeSpeaker,
    FakeVoiceModel,
    SpeakerContract,
    VoiceModelContract,
)
from voicerag_core.types import Answer, Audio, Passage, Sampling

QUESTION = "Where does the river reach the sea?"
PASSAGES = [Passage("a", "The river ends in the sea. It is long."), Passage("b", "Bread.")]


@pytest.fixture
def clip() -> Audio:
    return Audio(FakeSpeaker(sample_rate=16_000).speak(QUESTION).samples, 16_000)


class TestFakeEmbedder(EmbedderContract):
    """The port's rules."""

    @pytest.fixture
    def embedder(self) -> FakeEmbedder:
        return FakeEmbedder()


class TestFakeVoiceModel(VoiceModelContract):
    """The port's rules."""

    @pytest.fixture
    def model(self) -> FakeVoiceModel:
        return FakeVoiceModel()

    @pytest.fixture
    def question(self) -> str:
        return QUESTION

    @pytest.fixture
    def passages(self) -> list[Passage]:
        return PASSAGES


class TestFakeSpeaker(SpeakerContract):
    """The port's rules."""

    @pytest.fixture
    def speaker(self) -> FakeSpeaker:
        return FakeSpeaker()

    @pytest.fixture
    def open_speaker(self) -> Callable[[], FakeSpeaker]:
        return FakeSpeaker


def test_a_known_clip_is_embedded_by_its_words(clip: Audio) -> None:
    embedder = FakeEmbedder(transcripts={clip: QUESTION})
    other = Audio(clip.samples * 0.5, 16_000)
    known, unknown = embedder.embed_speech([clip, other])
    assert np.array_equal(known, embedder.embed_passages([QUESTION])[0])
    assert abs(float(unknown @ known)) < 0.3


def test_attributes_are_what_was_asked_for() -> None:
    embedder = FakeEmbedder(8, needs_transcriber=True, model_id="other")
    assert (embedder.dim, embedder.needs_transcriber, embedder.model_id) == (8, True, "other")


def test_the_first_sentence_is_given_and_spoken() -> None:
    answer = sum(FakeVoiceModel().respond(QUESTION, PASSAGES, sampling=Sampling()), Answer())
    assert answer.text == "The river ends in the sea."
    assert answer.audio is not None
    assert answer.audio.seconds == pytest.approx(0.05 * 6, abs=1e-3)
    silent = FakeVoiceModel(speaks=False).respond(QUESTION, PASSAGES, sampling=Sampling())
    assert sum(silent, Answer()).audio is None

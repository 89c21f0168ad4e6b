"""The local stack's embedder: MiniLM's space for text and, by tones that spell it, for speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.local import tones
from voicerag_core.errors import AudioError, CheckpointError
from voicerag_core.local.embedder import HearingEmbedder
from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.local.weights import files as weights
from voicerag_core.ports import SelfAssessingEmbedder
from voicerag_core.testing import EmbedderContract
from voicerag_core.types import Audio

TEXTS = ["who discovered penicillin", "when does the bakery open"]


@pytest.fixture(scope="module")
def texts() -> MiniLMEmbedder:
    return MiniLMEmbedder(threads=2)


@pytest.fixture
def embedder(
    texts: MiniLMEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> HearingEmbedder:
    return HearingEmbedder(texts, tones.user_of(tmp_path, monkeypatch)())


@pytest.fixture
def clip() -> Audio:
    return tones.spell(TEXTS[0])


class TestHearingEmbedder(EmbedderContract):
    """The port's rules, on the real text model and the network that hears tones."""


def test_existing_indexes_stay_valid(embedder: HearingEmbedder, texts: MiniLMEmbedder) -> None:
    assert (embedder.model_id, embedder.dim) == (texts.model_id, texts.dim)
    assert np.array_equal(embedder.embed_passages(TEXTS), texts.embed_passages(TEXTS))
    assert not embedder.needs_transcriber
    assert isinstance(embedder, SelfAssessingEmbedder)


def test_speech_lies_where_its_words_lie(embedder: HearingEmbedder) -> None:
    spoken = embedder.embed_speech([tones.spell(text) for text in TEXTS])
    typed = embedder.embed_passages(TEXTS)
    similarity = spoken @ typed.T
    assert similarity.diagonal().min() > 0.9
    assert similarity[0, 1] < 0.5 > similarity[1, 0]


def test_one_hypothesis_is_its_text_and_digits_are_put_back(
    texts: MiniLMEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = HearingEmbedder(texts, tones.user_of(tmp_path, monkeypatch)(), hypotheses=1)
    spoken = plain.embed_speech([tones.spell("the year nineteen twenty eight")])
    assert np.allclose(spoken, texts.embed_passages(["the year 1928"]), atol=1e-4)


def test_several_hypotheses_are_averaged_by_their_shares(
    texts: MiniLMEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tones.user_of(tmp_path, monkeypatch)()
    embedder = HearingEmbedder(texts, encoder, hypotheses=3)
    mixed = Audio(
        tones.spell("the rhine").samples + tones.spell("the shine", level=0.33).samples, 16_000
    )
    (heard,) = encoder.hear([mixed], most=3)
    scores = np.array([one.log_prob for one in heard.hypotheses])
    shares = np.exp(scores - np.logaddexp.reduce(scores))
    assert shares.min() > 0.05, "each counts"
    mean = shares @ texts.embed_passages([one.text for one in heard.hypotheses])
    rows, confidences = embedder.embed_speech_scored([mixed])
    assert np.allclose(rows[0], mean / np.linalg.norm(mean), atol=1e-4)
    assert confidences[0] == pytest.approx(
        np.exp(heard.token_log_prob) * np.linalg.norm(mean), abs=1e-4
    )


def test_confidence_falls_with_the_quality_of_the_sound(embedder: HearingEmbedder) -> None:
    clean = tones.spell(TEXTS[1])
    draw = np.random.default_rng(0)
    hiss = draw.standard_normal(len(clean.samples)).astype(np.float32)
    two = tones.spell("oxygen is a colourless gas")
    length = min(len(two.samples), len(clean.samples))
    clips = [
        clean,
        Audio(clean.samples + 0.1 * hiss, 16_000),
        Audio(two.samples[:length] + clean.samples[:length], 16_000),
        Audio(0.2 * hiss, 16_000),
    ]
    rows, confidences = embedder.embed_speech_scored(clips)
    assert rows.shape == (4, 384)
    assert (confidences[0] > confidences[1:]).all()
    assert confidences[0] > 0.8
    assert confidences[3] < 0.5
    assert confidences.min() >= 0


def test_where_nothing_is_heard_it_says_so(embedder: HearingEmbedder) -> None:
    # A single click: loud against the rest, so all else is silence to the network.
    click = np.zeros(8_000, np.float32)
    click[::800] = 0.9
    with pytest.raises(AudioError, match=r"no speech was heard in the clip of 0\.5 s"):
        embedder.embed_speech([tones.spell("open"), Audio(quiet(click), 16_000)])


def quiet(samples: np.ndarray) -> np.ndarray:
    """Take everything out that the network has a letter for."""
    spectrum = np.fft.rfft(samples)
    top = round(tones.hertz(tones.BANDS[-1]) * 1.3 * len(samples) / 16_000)
    spectrum[:top] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def test_without_speech_the_encoder_is_not_needed(
    texts: MiniLMEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none_listed = tuple(one for one in weights.manifest() if one.name != "speech-encoder")
    monkeypatch.setattr(weights, "manifest", lambda: none_listed)
    embedder = HearingEmbedder(texts, CTCRecognizer(data_dir=tmp_path))
    embedder.warm()
    assert embedder.embed_passages(["a"]).shape == (1, 384)
    assert embedder.embed_speech([]).shape == (0, 384)
    with pytest.raises(CheckpointError, match="speech-encoder"):
        embedder.warm_speech()

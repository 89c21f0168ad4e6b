"""The shipped speech encoder: what it hears, and how sure it is."""

from __future__ import annotations

import csv
import difflib
import json
from pathlib import Path

import numpy as np
import pytest

from voicerag_core import AudioError, read_audio
from voicerag_core.audio import resample
from voicerag_core.local.embedder import HearingEmbedder
from voicerag_core.local.hearing import ctc_recognizer
from voicerag_core.local.hearing.ctc_recognizer import WEIGHTS, CTCRecognizer
from voicerag_core.local.hearing.whisper import WhisperTranscriber
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.local.speaking.speaker import PiperSpeaker
from voicerag_core.local.weights.files import manifest
from voicerag_core.retrieval.strategies import SURE_CONFIDENCE
from voicerag_core.types import Audio

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
MOST_BYTES = 25_000_000


@pytest.fixture(scope="module")
def embedder() -> HearingEmbedder:
    return HearingEmbedder(MiniLMEmbedder(threads=2), CTCRecognizer(threads=2))


@pytest.fixture(scope="module")
def asked() -> list[tuple[str, Audio]]:
    """Return recorded questions with their words."""
    lines = (SAMPLE / "questions.jsonl").read_text(encoding="utf-8").splitlines()[:24]
    rows = [json.loads(line) for line in lines]
    return [(row["question"], read_audio(SAMPLE / row["audio"])) for row in rows]


def tone(seconds: float, hertz: float = 440.0) -> np.ndarray:
    time_axis = np.arange(round(16_000 * seconds)) / 16_000
    return (0.2 * np.sin(2 * np.pi * hertz * time_axis)).astype(np.float32)


def music() -> Audio:
    """Play three chords with a beat."""
    chords = [(262, 330, 392), (294, 370, 440), (196, 247, 294)]
    bars = [sum((tone(1, note) for note in chord), np.zeros(16_000)) for chord in chords]
    beat = np.tile(np.concatenate((np.linspace(1, 0.2, 4000), np.zeros(4000))), 6)
    return Audio((0.5 * np.concatenate(bars) * beat).astype(np.float32), 16_000)


def noise() -> Audio:
    draw = np.random.default_rng(1)
    return Audio((0.1 * draw.standard_normal(48_000)).astype(np.float32), 16_000)


def foreign() -> Audio:
    """Let the English voice read German."""
    with PiperSpeaker() as speaker:
        spoken = speaker.speak("Wann wurde das Schloss am Fluss erbaut und wer hat es bezahlt?")
    return resample(spoken, 16_000)


def test_the_files_are_small_enough() -> None:
    (weights,) = (one for one in manifest() if one.name == WEIGHTS)
    assert sum(file.size for file in weights.files) <= MOST_BYTES
    assert weights.licence


def test_spoken_questions_are_nearest_their_own_words(
    embedder: HearingEmbedder, asked: list[tuple[str, Audio]]
) -> None:
    spoken = embedder.embed_speech([clip for _, clip in asked])
    typed = embedder.embed_passages([text for text, _ in asked])
    nearest = (spoken @ typed.T).argmax(axis=1)
    assert (nearest == np.arange(len(asked))).mean() >= 0.8


def test_confidence_parts_questions_from_what_is_none(
    embedder: HearingEmbedder, asked: list[tuple[str, Audio]]
) -> None:
    _, sure = embedder.embed_speech_scored([clip for _, clip in asked])
    assert np.median(sure) >= SURE_CONFIDENCE
    for other in (music, noise, foreign):
        confidence = confidence_of(embedder, other())
        assert confidence < SURE_CONFIDENCE, other.__name__
        assert confidence < np.quantile(sure, 0.25), other.__name__


def test_two_voices_at_once_are_less_sure(
    embedder: HearingEmbedder, asked: list[tuple[str, Audio]]
) -> None:
    mixed = []
    for (_, one), (_, other) in zip(asked[:8], asked[8:16], strict=True):
        length = min(len(one.samples), len(other.samples))
        mixed.append(Audio(one.samples[:length] + other.samples[:length], 16_000))
    _, alone = embedder.embed_speech_scored([clip for _, clip in asked[:16]])
    together = [confidence_of(embedder, clip) for clip in mixed]
    assert np.median(together) < np.median(alone) - 0.1


def confidence_of(embedder: HearingEmbedder, clip: Audio) -> float:
    """Return the confidence in a clip; 0 where nothing is heard."""
    try:
        return float(embedder.embed_speech_scored([clip])[1][0])
    except AudioError:
        return 0.0


@pytest.mark.parametrize("seconds", [0.1, 30.0, 31.0])
def test_any_length_is_taken(asked: list[tuple[str, Audio]], seconds: float) -> None:
    encoder = CTCRecognizer(threads=2)
    clip = Audio(np.resize(asked[0][1].samples, round(16_000 * seconds)), 16_000)
    frames = encoder.log_probs([clip])[0]
    assert np.isfinite(frames).all()
    assert np.allclose(np.exp(frames.astype(np.float64)).sum(axis=1), 1, atol=1e-3)
    assert encoder.hear([clip])[0].hypotheses


def test_a_row_does_not_depend_on_the_batch(
    embedder: HearingEmbedder, asked: list[tuple[str, Audio]]
) -> None:
    clips = [clip for _, clip in asked[:6]]
    together = embedder.embed_speech(clips)
    alone = np.concatenate([embedder.embed_speech([clip]) for clip in clips])
    assert (together * alone).sum(axis=1).min() > 0.999


def test_a_clip_takes_one_pass_of_the_network_and_no_transcript(
    embedder: HearingEmbedder, asked: list[tuple[str, Audio]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why it is several times faster than the transcript; benchmarks/retrieval.py measures it."""
    passes: list[int] = []
    run = ctc_recognizer._Network.run

    def noted(network: ctc_recognizer._Network, window: np.ndarray) -> np.ndarray:
        passes.append(window.shape[1])
        return run(network, window)

    def refuse(*_: object) -> None:
        pytest.fail("a transcript is made")

    monkeypatch.setattr(ctc_recognizer._Network, "run", noted)
    monkeypatch.setattr(WhisperTranscriber, "warm", refuse)
    monkeypatch.setattr(WhisperTranscriber, "transcribe", refuse)
    embedder.embed_speech([clip for _, clip in asked[:3]])
    assert len(passes) == 3


def test_golden_texts_are_what_the_trained_network_heard() -> None:
    golden = Path(__file__).with_name("golden_speech.tsv")
    encoder = CTCRecognizer(threads=2, beams=1)
    with golden.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert rows
    for row in rows:
        (heard,) = encoder.hear([read_audio(SAMPLE / row["audio"])])
        same = difflib.SequenceMatcher(None, heard.hypotheses[0].text, row["text"]).ratio()
        assert same >= 0.9, "8-bit weights may change a letter here and there"
        assert heard.token_log_prob == pytest.approx(float(row["piece_log_prob"]), abs=0.1)

"""Thresholds chosen on one's own questions, and kept with the collection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.conftest import tone, write_lines
from tests.unit.test_calibrated import SureReader
from voicerag_core import Audio, ConfigError, Passage, VoiceRAG, read_audio, write_wav
from voicerag_core.evaluation.calibration import calibrated
from voicerag_core.local.model import LocalVoiceModel
from voicerag_core.ports import DocumentStore
from voicerag_core.testing import FakeEmbedder, FakeTranscriber, InMemoryStore

COUNT = 12
WORDS = [f"zebra{n} quagga{n} okapi{n}" for n in range(COUNT)]


class JudgingEmbedder(FakeEmbedder):
    """Hears half of the clips wrongly, and is less sure of these."""

    def embed_speech_scored(self, clips: Sequence[Audio]) -> tuple[np.ndarray, np.ndarray]:
        rows = self.embed_speech(clips)
        return rows, np.array([self.sure[clip] for clip in clips], np.float32)

    sure: dict[Audio, float]


class Reader(SureReader):
    """Is sure of questions about zebras alone."""

    def answer_probability(self, question: str, passages: Sequence[Passage]) -> float:
        return 0.8 if "zebra" in question else 0.3


@pytest.fixture
def rag(tmp_path: Path) -> VoiceRAG:
    heard, said, sure = {}, {}, {}
    for number, words in enumerate(WORDS):
        write_wav(tmp_path / f"{number}.wav", tone(number))
        clip = read_audio(tmp_path / f"{number}.wav")
        heard[clip] = words
        said[clip] = words if number % 2 else "rain in the night"
        sure[clip] = 0.9 if number % 2 else 0.4
    embedder = JudgingEmbedder(transcripts=said)
    embedder.sure = sure
    model = LocalVoiceModel(Reader(0.5), english_only=False)
    rag = VoiceRAG(
        embedder, InMemoryStore(embedder.dim), model, FakeTranscriber(heard), strategy="adaptive"
    )
    rag.index([Passage(f"p{n}", words) for n, words in enumerate(WORDS)])
    rag.index([Passage(f"other{n}", f"rain falls in night {n}") for n in range(12)])
    return rag


def questions(tmp_path: Path, *, unanswerable: int = COUNT) -> Path:
    rows: list[dict[str, object]] = [
        {"id": f"q{n}", "question": words, "audio": f"{n}.wav", "sources": [f"p{n}"],
         "answers": ["In Torvik"]}
        for n, words in enumerate(WORDS)
    ]  # fmt: skip
    rows += [
        {"id": f"n{n}", "question": f"who is {n}", "answerable": False} for n in range(unanswerable)
    ]
    write_lines(tmp_path / "questions.jsonl", rows)
    return tmp_path / "questions.jsonl"


def test_both_thresholds_are_chosen(rag: VoiceRAG, tmp_path: Path) -> None:
    found = calibrated(rag, questions(tmp_path))
    chosen = found.thresholds
    assert chosen.confidence is not None
    assert chosen.answered is not None
    assert (found.spoken, found.answerable, found.unanswerable) == (COUNT, COUNT, COUNT)
    sure = chosen.confidence > 0.4 or (chosen.gap or 0) > 0
    assert sure, "the misheard half is transcribed"
    assert chosen.confidence <= 0.9, "and the other half is not"
    assert found.figures["adaptive R@10"] >= found.figures["hybrid R@10"] - 0.01
    assert 0.3 < chosen.answered <= 0.8
    assert found.figures["answerable answered right"] == 1.0
    assert found.figures["unanswerable refused"] == 1.0


def test_what_cannot_be_chosen_is_said_and_left_alone(rag: VoiceRAG, tmp_path: Path) -> None:
    found = calibrated(rag, questions(tmp_path, unanswerable=2))
    assert found.thresholds.answered is None
    assert any("2 unanswerable" in note for note in found.notes)
    assert found.thresholds.confidence is not None


def test_too_few_questions_are_refused(rag: VoiceRAG, tmp_path: Path) -> None:
    write_lines(tmp_path / "few.jsonl", [{"question": "who", "sources": ["p1"]}])
    with pytest.raises(ConfigError, match="10 are needed"):
        calibrated(rag, tmp_path / "few.jsonl")
    lost = {"question": "who", "audio": "0.wav", "sources": ["nowhere"]}
    write_lines(tmp_path / "few.jsonl", [lost])
    with pytest.raises(ConfigError, match="it holds no 'nowhere'"):
        calibrated(rag, tmp_path / "few.jsonl")


@pytest.mark.parametrize(
    "name", ["faq.jsonl", "/d#/faq.jsonl", "Row {}", "row-{}", "https://faq.example/{}"]
)
def test_a_source_is_named_as_its_owner_names_it(rag: VoiceRAG, tmp_path: Path, name: str) -> None:
    rag.store.delete([f"p{n}" for n in range(COUNT)])
    passages = [
        Passage(
            f"digest{n}",
            words,
            {"source": f"/d#/faq.jsonl#line={n}", "id": f"row-{n}", "title": f"Row {n}",
             "origin": f"https://faq.example/{n}"},
        )
        for n, words in enumerate(WORDS)
    ]  # fmt: skip
    store = rag.store
    assert isinstance(store, DocumentStore)
    store.replace_document("/d#/faq.jsonl", "digest", passages, rag.embedder.embed_passages(WORDS))
    rows = [
        {"question": words, "audio": f"{n}.wav", "sources": [name.format(n)]}
        for n, words in enumerate(WORDS)
    ]
    write_lines(tmp_path / "named.jsonl", rows)
    found = calibrated(rag, tmp_path / "named.jsonl")
    assert found.spoken == COUNT
    assert found.figures["hybrid R@10"] == 1.0


def test_a_document_that_is_not_there_chooses_nothing(rag: VoiceRAG, tmp_path: Path) -> None:
    rows = [
        {"question": words, "audio": f"{n}.wav", "sources": ["gone.pdf"]}
        for n, words in enumerate(WORDS)
    ]
    write_lines(tmp_path / "gone.jsonl", rows)
    with pytest.raises(ConfigError, match=r"it holds no 'gone[.]pdf'"):
        calibrated(rag, tmp_path / "gone.jsonl")

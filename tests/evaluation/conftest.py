"""Small questions with sound, and parts that know them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voicerag_core import Audio, read_audio, write_wav
from voicerag_core.evaluation.runs import RunConfig
from voicerag_core.settings import Settings, load_settings
from voicerag_core.stack import GivenParts
from voicerag_core.testing import FakeEmbedder, FakeTranscriber, FakeVoiceModel

PASSAGES = {
    "fleming": "Alexander Fleming discovered penicillin in 1928.",
    "rhine": "The Rhine rises in the Alps and ends in the North Sea.",
    "oxygen": "Oxygen is a gas which Priestley discovered.",
    "bakery": "The bakery in Torvik opens at six.",
}
QUESTIONS = {
    "q1": ("who discovered penicillin in 1928", "Alexander Fleming", "fleming"),
    "q2": ("where does the Rhine rise", "the Alps", "rhine"),
    "q3": ("who discovered the gas oxygen", "Priestley", "oxygen"),
    "q4": ("when does the bakery in Torvik open", "six", "bakery"),
}


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def tone(number: int) -> Audio:
    times = np.arange(16_000) / 16_000
    return Audio((0.2 * np.sin(2 * np.pi * (200 + 50 * number) * times)).astype(np.float32), 16_000)


def write_own(folder: Path, *, sound: bool = True) -> Path:
    """Write a folder of one's own questions, spoken and typed."""
    write_lines(folder / "passages.jsonl", [{"id": k, "text": t} for k, t in PASSAGES.items()])
    rows = []
    for number, (name, (text, answer, source)) in enumerate(QUESTIONS.items()):
        row: dict[str, Any] = {
            "id": name,
            "question": text,
            "answers": [answer],
            "sources": [source],
        }
        if sound:
            write_wav(folder / f"{name}.wav", tone(number))
            row["audio"] = f"{name}.wav"
        rows.append(row)
    write_lines(folder / "questions.jsonl", rows)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write_own(tmp_path / "own")


@pytest.fixture
def config(own: Path) -> RunConfig:
    return RunConfig(sets=(f"simple={own}",), hard=1, conditions=("telephone",))


def given_for(folder: Path) -> GivenParts:
    """Return parts that hear the clips of a folder; the last one badly."""
    said = {read_audio(folder / f"{name}.wav"): text for name, (text, *_) in QUESTIONS.items()}
    heard = dict(said)
    heard[read_audio(folder / "q4.wav")] = "when does the factory open"
    return GivenParts(
        FakeEmbedder(transcripts=said), FakeTranscriber(heard), FakeVoiceModel(speaks=False), None
    )


@pytest.fixture
def given(own: Path) -> GivenParts:
    return given_for(own)


@pytest.fixture
def settings(dsn: str, tmp_path: Path) -> Settings:
    return load_settings(database_url=dsn, data_dir=tmp_path / "data", speak=False)

"""Against SONAR's own package, number by number; `golden/README.md` tells how it was run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.sonar import recipe
from tests.sonar.conftest import GOLDEN
from voicerag_core import Audio
from voicerag_core.sonar.encoding import SpeechVectors, TextVectors
from voicerag_core.sonar.fbank import fbank
from voicerag_core.sonar.tokenizer import NllbTokenizer

TEXT_TOLERANCE = 1e-5
SPEECH_TOLERANCE = 1e-5
FEATURE_TOLERANCE = 1e-3
SECONDS = (0.4, 2.0, 3.43, 10.0)

VECTORS = np.load(GOLDEN / "vectors.npz")
TEXTS: dict[str, list[str]] = json.loads((GOLDEN / "texts.json").read_text())
CPU = torch.device("cpu")


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())


def unit(rows: np.ndarray) -> np.ndarray:
    """Scale to length 1, as embedders give their vectors; raw ones of these models are 11 long."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.mark.parametrize("language", TEXTS)
def test_text_vectors_are_those_of_sonar(models: Path, language: str) -> None:
    encoder = TextVectors(models / "sonar_text_encoder.pt", None, CPU, torch.float32, recipe.HEADS)
    texts = [text for text in TEXTS[language] if len(text) < 1000]
    found = encoder.vectors(texts, language)
    expected = VECTORS[f"text_{language}"]
    if len(texts) < len(TEXTS[language]):
        with pytest.warns(UserWarning, match="was cut at character"):
            last = encoder.vectors(TEXTS[language][-1:], language)
        found = np.concatenate((found, last))
    assert difference(unit(found), unit(expected)) <= TEXT_TOLERANCE


@pytest.mark.parametrize(
    ("file", "golden"),
    [("spenc.eng.pt", "speech_english"), ("spenc.v3ap.deu.pt", "speech_other")],
)
def test_speech_vectors_are_those_of_sonar(models: Path, file: str, golden: str) -> None:
    clips = [Audio(recipe.sound(i, seconds), 16_000) for i, seconds in enumerate(SECONDS)]
    encoder = SpeechVectors(models / file, CPU, torch.float32)
    expected = VECTORS[golden][: len(clips)]
    assert difference(unit(encoder.vectors(clips)), unit(expected)) <= SPEECH_TOLERANCE


def test_features_are_those_of_kaldi() -> None:
    found = fbank(recipe.sound(0, 0.4)).numpy()
    assert difference(found, VECTORS["fbank"]) <= FEATURE_TOLERANCE


def test_token_ids_are_those_of_fairseq2(models: Path) -> None:
    tokenizer = NllbTokenizer(models / "sentencepiece.source.256000.model")
    strings = recipe.strings(450, 7)
    expected = json.loads((GOLDEN / "token_ids.json").read_text())
    found = [tokenizer.encode(text, "deu_Latn") for text in strings]
    assert len(expected) == len(strings) >= 400
    assert found == expected

"""Numbers that others published of the real checkpoints, for whoever has these.

    VOICERAG_SONAR_WEIGHTS=FOLDER pytest -m real_weights

The folder holds `sonar_text_encoder.pt` and `sentencepiece.source.256000.model`; for speech also
`spenc.eng.pt` and, from facebookresearch/SONAR v0.5.0 (tests/integration_tests/data/audio_files),
`audio_1.wav` and `audio_2.wav`. Sources: facebookresearch/SONAR v0.5.0, tests/integration_tests/
test_text_sonar.py and test_sonar_speech_pipeline_models.py; huggingface/transformers PR 29646.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from voicerag_core import read_audio
from voicerag_core.sonar.encoding import SpeechVectors, TextVectors

FOLDER = Path(os.environ.get("VOICERAG_SONAR_WEIGHTS", "/nonexistent"))
CPU = torch.device("cpu")

pytestmark = [pytest.mark.real_weights, pytest.mark.timeout(900)]


def needs(*names: str) -> pytest.MarkDecorator:
    missing = [name for name in names if not (FOLDER / name).is_file()]
    return pytest.mark.skipif(bool(missing), reason=f"VOICERAG_SONAR_WEIGHTS is without: {missing}")


@needs("sonar_text_encoder.pt", "sentencepiece.source.256000.model")
def test_text() -> None:
    encoder = TextVectors(FOLDER / "sonar_text_encoder.pt", None, CPU, torch.float32)
    english = encoder.vectors(
        ["Hello, my name is Paul", "I'm working as a teacher"], language="eng_Latn"
    )
    french = encoder.vectors(
        ["Bonjour, mon nom est Paul", "Je travaille comme professeur."], language="fra_Latn"
    )
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (english, french)]
    expected = [[0.9367, 0.3658], [0.3787, 0.8596]]
    assert np.allclose(unit[0] @ unit[1].T, expected, atol=1e-4)
    first = encoder.vectors(["My name is SONAR."], language="eng_Latn")[0, :5]
    assert np.allclose(first, [-0.005286, 0.002008, -0.000562, 0.006344, 0.006329], atol=1e-5)


@needs("spenc.eng.pt", "audio_1.wav", "audio_2.wav")
def test_speech() -> None:
    encoder = SpeechVectors(FOLDER / "spenc.eng.pt", CPU, torch.float32)
    one, other = encoder.vectors([read_audio(FOLDER / f"audio_{n}.wav") for n in (1, 2)])
    assert np.isclose(one @ one, 0.0429819, atol=1e-4)
    assert np.isclose(one @ other, 0.00286825, atol=1e-4)

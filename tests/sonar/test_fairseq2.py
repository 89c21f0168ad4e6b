"""The backend over SONAR's own package; most of it runs in ``make test-fairseq2`` alone."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.sonar import recipe
from tests.sonar.conftest import GOLDEN
from voicerag_core import Audio, AudioError, ConfigError, MissingExtraError
from voicerag_core.sonar import Fairseq2SonarEmbedder, SonarEmbedder
from voicerag_core.testing import EmbedderContract

VECTORS = np.load(GOLDEN / "vectors.npz")
CLIPS = [Audio(recipe.sound(i, s), 16_000) for i, s in enumerate((0.4, 2.0, 3.43, 10.0))]

installed = pytest.mark.skipif(find_spec("fairseq2") is None, reason="runs in make test-fairseq2")


@pytest.fixture(scope="module")
def backend(models: Path) -> Fairseq2SonarEmbedder:
    return Fairseq2SonarEmbedder(
        models / "sonar_text_encoder.pt", models / "spenc.eng.pt", device="cpu", heads=recipe.HEADS
    )


@installed
@pytest.mark.filterwarnings("ignore")
class TestContract(EmbedderContract):
    @pytest.fixture
    def embedder(self, backend: Fairseq2SonarEmbedder) -> Fairseq2SonarEmbedder:
        return backend

    @pytest.fixture
    def clip(self) -> Audio:
        return CLIPS[1]


@installed
@pytest.mark.filterwarnings("ignore")
def test_both_backends_give_the_golden_vectors(
    backend: Fairseq2SonarEmbedder, embedder: SonarEmbedder
) -> None:
    texts = json.loads((GOLDEN / "texts.json").read_text())["eng_Latn"]
    golden = VECTORS["text_eng_Latn"], VECTORS["speech_english"][: len(CLIPS)]
    expected = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in golden]
    for part in (backend, embedder):
        assert np.abs(part.embed_passages(texts) - expected[0]).max() < 1e-5
        assert np.abs(part.embed_speech(CLIPS) - expected[1]).max() < 1e-5
    assert backend.model_id == embedder.model_id


@installed
@pytest.mark.filterwarnings("ignore")
def test_our_guards_stand_before_it(backend: Fairseq2SonarEmbedder, tmp_path: Path) -> None:
    for samples, told in (
        (np.zeros(16_000, np.float32), "silent"),
        (np.full(16_000, np.nan, np.float32), "not finite"),
        (recipe.sound(1, 0.03), "35 ms"),
        (recipe.sound(1, 83.0), "81.92 s"),
    ):
        with pytest.raises(AudioError, match=told):
            backend.embed_speech([Audio(samples, 16_000)])
    with pytest.raises(AudioError, match="44100 Hz"):
        backend.embed_speech([Audio(recipe.sound(1, 1.0), 44_100)])
    file = tmp_path / "question.txt"
    file.write_text("one\ntwo\n")
    assert backend.embed_passages([str(file)]).shape == (1, recipe.WIDTH)
    with pytest.raises(ConfigError, match="list of texts"):
        backend.embed_passages(str(file))


def test_a_wrong_pair_of_languages_is_refused(models: Path) -> None:
    with pytest.raises(ConfigError, match="speech encoder of 'eng'"):
        Fairseq2SonarEmbedder(
            models / "sonar_text_encoder.pt",
            models / "spenc.eng.pt",
            language="deu",
            device="cpu",
            heads=recipe.HEADS,
        )


@pytest.mark.skipif(find_spec("fairseq2") is not None, reason="SONAR's package is here")
def test_without_the_package_the_extra_is_named(backend: Fairseq2SonarEmbedder) -> None:
    with pytest.raises(MissingExtraError, match=r"voicerag-core\[fairseq2\]"):
        backend.embed_passages(["a"])


def test_making_one_imports_no_fairseq2(models: Path) -> None:
    program = (
        "import sys; from voicerag_core.sonar import Fairseq2SonarEmbedder as E\n"
        "assert E(sys.argv[1], device='cpu', heads=2).dim == 128\n"
        "assert not {'fairseq2', 'sonar'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(models / "sonar_text_encoder.pt")], check=True
    )

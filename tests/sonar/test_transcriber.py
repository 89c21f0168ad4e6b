"""The text decoder against SONAR's own, and the transcriber over it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.sonar import recipe
from tests.sonar.conftest import GOLDEN, state
from voicerag_core import Audio, AudioError, CheckpointError, ConfigError
from voicerag_core.sonar import SonarTranscriber
from voicerag_core.sonar.checkpoint import load_text_decoder
from voicerag_core.sonar.text_decoder import beam_search
from voicerag_core.sonar.tokenizer import NllbTokenizer
from voicerag_core.testing import TranscriberContract

VECTORS = np.load(GOLDEN / "vectors.npz")
SOURCES = np.concatenate([VECTORS[f"text_{code}"] for code in ("eng_Latn", "fra_Latn", "zho_Hans")])
DECODED = json.loads((GOLDEN / "decoded.json").read_text())
CLIP = Audio(recipe.sound(5, 1.5), 16_000)


@pytest.fixture(scope="module")
def transcriber(models: Path) -> SonarTranscriber:
    return SonarTranscriber(
        models / "spenc.eng.pt",
        models / "sonar_text_decoder.pt",
        device="cpu",
        heads=recipe.HEADS,
        max_tokens=48,
    )


class TestContract(TranscriberContract):
    @pytest.fixture
    def transcriber(self, transcriber: SonarTranscriber) -> SonarTranscriber:
        return transcriber

    @pytest.fixture
    def clip(self) -> Audio:
        return CLIP

    @pytest.fixture
    def words(self, transcriber: SonarTranscriber) -> str:
        return transcriber.transcribe(CLIP).text.lower()[:3]  # random weights: any words will do


def test_tokens_and_scores_are_those_of_sonar(models: Path) -> None:
    decoder = load_text_decoder(models / "sonar_text_decoder.pt", heads=recipe.HEADS)
    tokenizer = NllbTokenizer(models / "sentencepiece.source.256000.model")
    language = tokenizer.language_token("eng_Latn")
    with torch.inference_mode():
        for row, ids, score in zip(SOURCES, DECODED["ids"], DECODED["scores"], strict=True):
            found = beam_search(decoder, torch.from_numpy(row)[None], language, limit=48)
            assert found.tokens == ids
            assert abs(found.score - score) < 1e-5


@pytest.mark.parametrize("language", ["eng_Latn", "deu_Latn"])
def test_texts_are_those_of_sonar(models: Path, language: str) -> None:
    decoding = SonarTranscriber(
        models / "spenc.eng.pt", models / "sonar_text_decoder.pt", language=language,
        device="cpu", heads=recipe.HEADS, max_tokens=48,
    )  # fmt: skip
    expected = [text.strip() for text in DECODED["texts"][language]]
    assert [decoding.decode(row) for row in SOURCES] == expected
    assert len(set(expected)) > 2


def test_names_of_fairseq_are_read(models: Path, tmp_path: Path) -> None:
    weights = state("decoder")
    table = weights.pop("final_proj.weight").clone()
    table[[1, 3, 0, 2]] = table[:4].clone()
    fairseq = {"output_projection.weight": table, "embed_tokens.weight": table}
    for name, tensor in weights.items():
        if name.startswith("decoder."):
            short = name.removeprefix("decoder.").replace("output_proj", "out_proj")
            short = short.replace("ffn.inner_proj", "fc1").replace("ffn.out_proj", "fc2")
            short = short.replace("ffn_layer_norm", "final_layer_norm")
            fairseq[short.replace("encoder_decoder_attn", "encoder_attn")] = tensor
    torch.save({"state_dict": fairseq}, tmp_path / "decoder.pt")
    found = load_text_decoder(tmp_path / "decoder.pt", heads=recipe.HEADS).state_dict()
    expected = load_text_decoder(models / "sonar_text_decoder.pt", heads=recipe.HEADS).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_projection_of_its_own_is_refused(tmp_path: Path) -> None:
    torch.save(state("decoder"), tmp_path / "decoder.pt")  # the two are drawn apart
    with pytest.raises(CheckpointError, match="is the token table"):
        load_text_decoder(tmp_path / "decoder.pt", heads=recipe.HEADS)


def test_a_text_encoder_is_no_decoder(models: Path) -> None:
    with pytest.raises(CheckpointError, match="not a SONAR text decoder"):
        load_text_decoder(models / "sonar_text_encoder.pt")


def test_silence_is_not_put_into_words(transcriber: SonarTranscriber) -> None:
    with pytest.raises(AudioError, match="no speech was heard"):
        transcriber.transcribe(Audio(np.zeros(16_000, np.float32), 16_000))


@pytest.mark.parametrize("options", [{"beams": 0}, {"max_tokens": 2}, {"max_tokens": 513}])
def test_numbers_out_of_range_are_refused(models: Path, options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="3 to 512 tokens"):
        SonarTranscriber(
            models / "spenc.eng.pt",
            models / "sonar_text_decoder.pt",
            device="cpu",
            heads=recipe.HEADS,
            beams=options.get("beams", 5),
            max_tokens=options.get("max_tokens", 128),
        )

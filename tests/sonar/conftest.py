"""Small SONAR models in the true file formats, made from seeds."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.sonar import recipe
from voicerag_core.sonar import SonarEmbedder

GOLDEN = Path(__file__).parent / "golden"
SEEDS = {"text": 1, "speech_english": 2, "speech_other": 3, "decoder": 4}


def state(kind: str) -> dict[str, torch.Tensor]:
    """Make the state dictionary of a small model, with fairseq2's names."""
    shapes = json.loads((GOLDEN / "shapes.json").read_text())[kind]
    drawn = recipe.weights(shapes, SEEDS[kind])
    return {name: torch.from_numpy(np.asarray(tensor)) for name, tensor in drawn.items()}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small models are no faster on two, and much slower where others use the second core."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the published files' names, but small."""
    folder = tmp_path_factory.mktemp("sonar")
    packed = (GOLDEN / "tokenizer.model.xz").read_bytes()
    (folder / "sentencepiece.source.256000.model").write_bytes(lzma.decompress(packed))
    torch.save({"model": state("text")}, folder / "sonar_text_encoder.pt")
    torch.save({"model": state("speech_english")}, folder / "spenc.eng.pt")
    torch.save({"model": state("speech_other")}, folder / "spenc.v3ap.deu.pt")
    decoder = state("decoder")
    decoder["decoder_frontend.embed.weight"] = decoder[
        "final_proj.weight"
    ]  # one table, saved twice
    torch.save({"model": decoder}, folder / "sonar_text_decoder.pt")
    return folder


@pytest.fixture(scope="session")
def embedder(models: Path) -> SonarEmbedder:
    return SonarEmbedder(
        models / "sonar_text_encoder.pt",
        models / "spenc.eng.pt",
        device="cpu",
        heads=recipe.HEADS,
    )

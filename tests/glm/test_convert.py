"""Converted weights say the same as released ones, in bounded memory, and are whole or absent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from tests.glm import tiny
from voicerag_core import CheckpointError
from voicerag_core.cli.app import app
from voicerag_core.glm import (
    convert_checkpoint,
    load_decoder,
    load_lm,
    load_speech_tokenizer,
    open_checkpoint,
)
from voicerag_core.glm.text_tokenizer import TextTokenizer
from voicerag_core.glm.weights.tensor_shapes import lm_original

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trees(tmp_path: Path) -> tiny.Trees:
    return tiny.write_trees(tmp_path / "released")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_the_converted_trees_hold_the_same(trees: tiny.Trees, tmp_path: Path) -> None:
    (trees.lm / "LICENSE").write_text("the licence")
    seen: list[tuple[str, int, int]] = []
    target = tmp_path / "converted"
    made = convert_checkpoint(
        trees.root, target, shard_bytes=300_000, progress=lambda *step: seen.append(step)
    )
    assert {part.form for part in made.parts.values()} == {"converted"}
    config, state = load_speech_tokenizer(target / "glm-4-voice-tokenizer")
    expected, expected_state = load_speech_tokenizer(trees.speech_tokenizer)
    assert config == expected
    assert same(state, expected_state)
    lm, weights = load_lm(target / "glm-4-voice-9b")
    assert lm == tiny.LM
    assert same(weights, load_lm(trees.lm)[1])
    assert len(made.part("lm").files) > 2
    assert (target / "glm-4-voice-9b" / "LICENSE").read_text() == "the licence"
    decoder, original = load_decoder(target / "glm-4-voice-decoder"), load_decoder(trees.decoder)
    assert decoder.config == original.config
    assert same(decoder.flow, original.flow)
    assert same(decoder.hift, original.hift)
    assert {kind for kind, _, _ in seen} == {"speech_tokenizer", "lm", "decoder"}
    assert all(0 < done <= total for _, done, total in seen)


def test_transformers_reads_the_language_model(trees: tiny.Trees, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    convert_checkpoint(trees.lm, tmp_path / "converted")
    folder = tmp_path / "converted" / "glm-4-voice-9b"
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    model, told = loaded
    assert type(model).__name__ == "GlmForCausalLM"
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert same(dict(model.state_dict()), load_lm(trees.lm)[1])
    assert model.config.rope_parameters["rope_theta"] == tiny.LM.rope_theta
    assert model.config.rope_parameters["partial_rotary_factor"] == 0.5
    assert model.config.rms_norm_eps == tiny.LM.norm_eps
    assert model.generation_config.eos_token_id == list(tiny.LM.eos_token_ids)
    text = "the oldest hotel on the hill, naïve 漢字"
    ids = TextTokenizer.load(trees.lm).encode(text)
    assert TextTokenizer.load(folder).encode(text) == ids
    assert AutoTokenizer.from_pretrained(folder)(text)["input_ids"] == ids


def test_old_and_new_transformers_find_the_same_rotation(trees: tiny.Trees, tmp_path: Path) -> None:
    """Version 4 reads the top-level names and falls back silently on 10000 without them."""
    file = trees.lm / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rope_ratio": 50}))
    convert_checkpoint(trees.lm, tmp_path / "converted")
    values = json.loads((tmp_path / "converted" / "glm-4-voice-9b" / "config.json").read_text())
    assert values["rope_theta"] == values["rope_parameters"]["rope_theta"] == 500_000.0
    assert values["partial_rotary_factor"] == 0.5
    assert values["torch_dtype"] == values["dtype"] == "float32"
    assert load_lm(tmp_path / "converted" / "glm-4-voice-9b")[0].rope_theta == 500_000.0


def test_what_transformers_saves_again_is_read(trees: tiny.Trees, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    convert_checkpoint(trees.lm, tmp_path / "converted")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "converted" / "glm-4-voice-9b")
    model.save_pretrained(tmp_path / "again")
    config, state = load_lm(tmp_path / "again")
    assert config == tiny.LM
    assert same(state, load_lm(trees.lm)[1])


def test_weights_that_are_not_finite_are_refused(trees: tiny.Trees, tmp_path: Path) -> None:
    file = trees.decoder / "flow.pt"
    tensors = torch.load(file, weights_only=True)
    tensors["encoder_proj.bias"][0] = torch.inf
    torch.save(tensors, file)
    with pytest.raises(CheckpointError, match=r"flow\.pt: encoder_proj\.bias has 1 of 80"):
        convert_checkpoint(trees.decoder, tmp_path / "converted")
    assert list((tmp_path / "converted").iterdir()) == []
    convert_checkpoint(trees.decoder, tmp_path / "converted", check_finite=False)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    tiny.write_lm(tmp_path / "lm", replace(tiny.LM, vocab_size=1100))
    with pytest.raises(CheckpointError, match="ids up to 1535, and the model 1100 rows"):
        convert_checkpoint(tmp_path / "lm", tmp_path / "converted")


def test_an_interrupted_conversion_leaves_nothing(trees: tiny.Trees, tmp_path: Path) -> None:
    target = tmp_path / "converted"

    def interrupt(kind: str, done: int, total: int) -> None:
        if kind == "lm" and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_checkpoint(trees.root, target, shard_bytes=200_000, progress=interrupt)
    assert not (target / "glm-4-voice-9b").exists()
    assert [one for one in target.iterdir() if one.name.startswith(".")] == []
    shutil.rmtree(target)
    convert_checkpoint(trees.root, target)


KILLED = """
import os, signal, sys
from pathlib import Path
from voicerag_core.glm import convert_checkpoint

def kill(kind, done, total):
    if done > total // 2:
        os.kill(os.getpid(), signal.SIGKILL)

convert_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), shard_bytes=200_000, progress=kill)
"""


def test_a_killed_conversion_leaves_no_checkpoint(trees: tiny.Trees, tmp_path: Path) -> None:
    target = tmp_path / "converted"
    done = subprocess.run([sys.executable, "-c", KILLED, trees.lm, target], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(target.iterdir())
    with pytest.raises(CheckpointError, match="no weights"):
        open_checkpoint(target)
    convert_checkpoint(trees.lm, target)
    assert open_checkpoint(target).part("lm").form == "converted"


def test_what_is_there_is_not_overwritten(trees: tiny.Trees, tmp_path: Path) -> None:
    target = tmp_path / "converted"
    convert_checkpoint(trees.decoder, target)
    before = os.stat(target / "glm-4-voice-decoder" / "flow.safetensors")
    with pytest.raises(CheckpointError, match="exists already"):
        convert_checkpoint(trees.root, target)
    with pytest.raises(CheckpointError, match="converted already"):
        convert_checkpoint(target, tmp_path / "elsewhere")
    assert os.stat(target / "glm-4-voice-decoder" / "flow.safetensors") == before
    assert [one.name for one in target.iterdir()] == ["glm-4-voice-decoder"]


def test_no_room_is_said_at_once(
    trees: tiny.Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000_000))
    with pytest.raises(CheckpointError, match="make room"):
        convert_checkpoint(trees.root, tmp_path / "converted")
    assert list((tmp_path / "converted").iterdir()) == []


def test_another_version_of_the_format_is_refused(trees: tiny.Trees, tmp_path: Path) -> None:
    convert_checkpoint(trees.decoder, tmp_path)
    file = tmp_path / "glm-4-voice-decoder" / "decoder.json"
    text = file.read_text()
    for old, new, said in (
        ('"version": 1', '"version": 2', "version 2; expected"),
        ('"mels"', '"bands"', "expected the fields"),
        ('"limit": 0.99', '"limit": "loud"', "limit: expected a float"),
    ):
        assert old in text
        file.write_text(text.replace(old, new))
        with pytest.raises(CheckpointError, match=said):
            load_decoder(file.parent)


PEAK = """
import sys
from pathlib import Path
from voicerag_core.glm import convert_checkpoint

def peak():  # of this program alone: ru_maxrss would count its parent's
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024

small, large, target = map(Path, sys.argv[1:])
convert_checkpoint(small, target / "1")  # libraries and their pools are loaded now
before = peak()
convert_checkpoint(large, target / "2", shard_bytes=60_000_000)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_the_peak_of_memory_is_below_two_shards(tmp_path: Path) -> None:
    config = replace(tiny.LM, hidden_size=1024, ffn_size=4096, layers=5, head_dim=128)
    small = tiny.write_lm(tmp_path / "small")
    large = shutil.copytree(small, tmp_path / "large", ignore=shutil.ignore_patterns("model*"))
    (large / "config.json").write_text(json.dumps(tiny.chatglm_values(config)))
    zeros = {name: torch.zeros(shape) for name, shape in lm_original(config).items()}
    tiny.write_shards(large, zeros, 5)
    shards = [file.stat().st_size for file in large.glob("*.safetensors")]
    assert sum(shards) > 4 * max(shards)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, small, large, tmp_path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 0.5 * max(shards) < int(done.stdout) < 2 * max(shards)


def test_the_command_converts_and_names_the_licence(trees: tiny.Trees, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["convert", str(trees.root), str(tmp_path / "converted")])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["lm", "decoder", "speech_tokenizer", "licence"]
    assert "0.3 M parameters" in lines[0]

"""Weights on disk: found, described, verified, and refused when anything is wrong."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.glm import tiny
from voicerag_core import CheckpointError
from voicerag_core.glm.weights.checkpoints import (
    load_decoder,
    load_lm,
    load_speech_tokenizer,
    load_state,
    open_checkpoint,
)
from voicerag_core.glm.weights.config_yaml import read_config_yaml
from voicerag_core.glm.weights.configs import DecoderConfig, LMConfig, SpeechTokenizerConfig
from voicerag_core.glm.weights.conversion import convert_checkpoint
from voicerag_core.glm.weights.tensor_shapes import (
    flow_shapes,
    hift_original,
    lm_original,
    lm_shapes,
    speech_tokenizer_original,
    speech_tokenizer_shapes,
)


@pytest.fixture
def trees(tmp_path: Path) -> tiny.Trees:
    return tiny.write_trees(tmp_path / "released")


def parameters(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(map(math.prod, shapes.values()))


def test_the_default_sizes_are_those_of_the_released_weights() -> None:
    """The counts are public: model cards, and the reference's modules built at their size."""
    decoder = DecoderConfig()
    flow, hift = flow_shapes(decoder.flow), hift_original(decoder.hift)
    assert (len(flow), parameters(flow)) == (1185, 111_166_208)
    assert (len(hift), parameters(hift)) == (227, 20_460_591)
    assert decoder.hop_samples == 256
    lm = lm_shapes(LMConfig())
    assert parameters(lm) == parameters(lm_original(LMConfig())) - 32 == 9_542_557_696
    tokenizer = speech_tokenizer_original(SpeechTokenizerConfig())
    buffers = 16384 + 16384 * 1280
    assert parameters(tokenizer) - buffers == 343_599_360


def test_a_folder_of_trees_is_described(trees: tiny.Trees) -> None:
    checkpoint = open_checkpoint(trees.root)
    tokenizer = checkpoint.part("speech_tokenizer")
    assert tokenizer.config == tiny.SPEECH_TOKENIZER
    assert tokenizer.folder == trees.speech_tokenizer
    assert tokenizer.dtypes == ("float32",)
    assert tokenizer.bytes == 4 * tokenizer.parameters
    lm = checkpoint.part("lm")
    assert lm.config == tiny.LM
    assert lm.form == "original"
    assert [file.name for file in lm.files] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    assert "LICENSE" in lm.licence
    assert checkpoint.part("decoder").config == tiny.DECODER


def test_a_single_tree_is_found_too(trees: tiny.Trees) -> None:
    checkpoint = open_checkpoint(trees.decoder)
    assert list(checkpoint.parts) == ["decoder"]
    with pytest.raises(CheckpointError, match=r"no speech tokenizer, only decoder.*download glm"):
        checkpoint.part("speech_tokenizer")


def test_half_precision_is_seen(tmp_path: Path) -> None:
    tiny.write_lm(tmp_path, tiny.bfloat16())
    part = open_checkpoint(tmp_path).part("lm")
    assert part.dtypes == ("bfloat16",)
    assert load_lm(tmp_path, dtype=torch.float32)[1]["lm_head.weight"].dtype == torch.float32
    assert load_lm(tmp_path)[1]["lm_head.weight"].dtype == torch.bfloat16


def test_the_language_model_is_renamed(trees: tiny.Trees) -> None:
    config, state = load_lm(trees.lm)
    assert config == tiny.LM
    assert {name: tuple(one.shape) for name, one in state.items()} == lm_shapes(config)
    name = "transformer.encoder.layers.1.self_attention.query_key_value.bias"
    original = torch.from_numpy(tiny.tensor_of(name, (128,)))
    attention = "model.layers.1.self_attn"
    assert torch.equal(state[f"{attention}.q_proj.bias"], original[:64])
    assert torch.equal(state[f"{attention}.k_proj.bias"], original[64:96])
    assert torch.equal(state[f"{attention}.v_proj.bias"], original[96:])


def test_the_vocoder_loses_its_weight_norm(trees: tiny.Trees) -> None:
    weights = load_decoder(trees.decoder)
    assert weights.config == tiny.DECODER
    original = torch.load(trees.decoder / "hift.pt", weights_only=True)
    for name in ("ups.0.weight", "conv_pre.weight", "resblocks.2.convs1.1.weight"):
        length, direction = original[f"{name}_g"], original[f"{name}_v"]
        expected = torch._weight_norm(direction, length, 0)
        torch.testing.assert_close(weights.hift[name], expected, rtol=1e-6, atol=1e-7)
    assert not any(name.endswith(("_g", "_v")) for name in weights.hift)
    flow = torch.load(trees.decoder / "flow.pt", weights_only=True)
    assert all(torch.equal(weights.flow[name], one) for name, one in flow.items())


def test_the_older_layout_of_the_speech_tokenizer_is_read(tmp_path: Path) -> None:
    new = tiny.write_speech_tokenizer(tmp_path / "new")
    old = tiny.write_speech_tokenizer(tmp_path / "old")
    tensors = load_file(old / "model.safetensors")
    prefixed = {f"model.encoder.{name}": one for name, one in tensors.items()}
    whole = "model.encoder.layers.2.fc1.weight", "model.encoder.layer_norm.weight"
    for name in (*whole, "model.decoder.embed_tokens.weight", "proj_out.weight"):
        prefixed[name] = torch.zeros(3)
    save_file(prefixed, old / "model.safetensors")
    _, state = load_speech_tokenizer(old)
    _, expected = load_speech_tokenizer(new)
    assert set(state) == set(speech_tokenizer_shapes(tiny.SPEECH_TOKENIZER))
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_what_served_training_alone_may_be_absent(trees: tiny.Trees) -> None:
    file = trees.speech_tokenizer / "model.safetensors"
    tensors = load_file(file)
    for name in ("embed_positions2.weight", "ema_count", "ema_weight"):
        del tensors[name]
    save_file(tensors, file)
    load_speech_tokenizer(trees.speech_tokenizer)


def edit(file: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    pickled = file.suffix == ".pt"
    tensors = torch.load(file, weights_only=True) if pickled else load_file(file)
    change(tensors)
    if pickled:
        torch.save(tensors, file)
    else:
        save_file(tensors, file)


def spoil(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[3] = math.nan


def opened(folder: Path, **options: Any) -> None:
    """Load whatever a folder holds."""
    (kind,) = open_checkpoint(folder).parts
    {"lm": load_lm, "decoder": load_decoder, "speech_tokenizer": load_speech_tokenizer}[kind](
        folder, **options
    )


FILES = {"speech_tokenizer": "model.safetensors", "decoder": "hift.pt"}
TENSORS = {"speech_tokenizer": "layers.1.fc1.bias", "decoder": "f0_predictor.classifier.bias"}


@pytest.mark.parametrize("kind", FILES)
def test_a_missing_tensor_is_named(trees: tiny.Trees, kind: str) -> None:
    folder: Path = getattr(trees, kind)
    edit(folder / FILES[kind], lambda tensors: tensors.pop(TENSORS[kind]))
    with pytest.raises(CheckpointError, match=rf"{folder}.* 1 missing: {TENSORS[kind]}"):
        opened(folder)


@pytest.mark.parametrize("kind", FILES)
def test_a_tensor_too_much_is_named(trees: tiny.Trees, kind: str) -> None:
    folder: Path = getattr(trees, kind)
    edit(folder / FILES[kind], lambda tensors: tensors.update(stray=torch.zeros(2)))
    with pytest.raises(CheckpointError, match="1 that do not belong there: stray"):
        opened(folder)


@pytest.mark.parametrize("kind", FILES)
def test_another_shape_is_named(trees: tiny.Trees, kind: str) -> None:
    folder: Path = getattr(trees, kind)
    edit(folder / FILES[kind], lambda tensors: tensors.update({TENSORS[kind]: torch.zeros(7)}))
    with pytest.raises(CheckpointError, match=rf"{TENSORS[kind]} \[7\] instead of \[\d+\]"):
        opened(folder)


@pytest.mark.parametrize("kind", FILES)
def test_nan_is_refused_on_request(trees: tiny.Trees, kind: str) -> None:
    folder: Path = getattr(trees, kind)
    weight = {"speech_tokenizer": "conv2.weight", "decoder": "conv_post.weight_v"}[kind]
    edit(folder / FILES[kind], lambda tensors: spoil(tensors, weight))
    opened(folder)
    named = weight.removesuffix("_v")
    with pytest.raises(CheckpointError, match=rf"{FILES[kind]}: {named} has \d+ of \d+ values"):
        opened(folder, check_finite=True)


def test_a_truncated_shard_is_named(trees: tiny.Trees) -> None:
    shard = trees.lm / "model-00002-of-00002.safetensors"
    content = shard.read_bytes()
    for kept in (len(content) - 1, 2000, 100, 7, 0):
        shard.write_bytes(content[:kept])
        with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors"):
            load_lm(trees.lm)
    shard.write_bytes(content + b"more")
    with pytest.raises(CheckpointError, match="cut short or altered"):
        load_lm(trees.lm)


def test_a_missing_shard_is_named(trees: tiny.Trees) -> None:
    (trees.lm / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002\.safetensors is missing"):
        open_checkpoint(trees.lm)


def test_an_index_cannot_lead_elsewhere(trees: tiny.Trees) -> None:
    index = trees.lm / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    with pytest.raises(CheckpointError, match="outside its folder"):
        load_lm(trees.lm)
    index.write_text("[]")
    with pytest.raises(CheckpointError, match="no index of shards"):
        load_lm(trees.lm)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("speech_tokenizer", {"pooling_type": "max"}, "pooling_type is 'max'"),
        ("speech_tokenizer", {"encoder_causal_convolution": False}, "another network"),
        ("speech_tokenizer", {"d_model": "64"}, "hidden_size: expected a int"),
        ("speech_tokenizer", {"quantize_causal_block_size": None}, "block_size is missing"),
        ("speech_tokenizer", {"model_type": "wav2vec2"}, "model_type 'wav2vec2'"),
        ("lm", {"rmsnorm": False}, "rmsnorm is False"),
        ("lm", {"model_type": "llama"}, "model_type 'llama'"),
        ("lm", {"num_layers": 3}, "missing: transformer.encoder.layers.2"),
        ("lm", {"layernorm_epsilon": float("nan")}, "norm_eps"),
        ("lm", {"eos_token_id": None}, "eos_token_id"),
        ("lm", {"kv_channels": 8}, "of another shape"),
    ],
)
def test_another_network_is_refused(
    trees: tiny.Trees, kind: str, change: dict[str, object], said: str
) -> None:
    file = getattr(trees, kind) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=said):
        opened(file.parent)


def test_other_features_are_refused(trees: tiny.Trees) -> None:
    file = trees.speech_tokenizer / "preprocessor_config.json"
    file.write_text(file.read_text().replace("16000", "8000"))
    with pytest.raises(CheckpointError, match="sampling_rate is 8000"):
        load_speech_tokenizer(trees.speech_tokenizer)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json"):
        load_speech_tokenizer(trees.speech_tokenizer)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("use_cnn_module: False\n        macaron", "use_cnn_module: True\n        macaron", "cnn"),
        ("solver: 'euler'", "solver: 'midpoint'", "solver is 'midpoint'"),
        ("sampling_rate: !ref <sample_rate>", "sampling_rate: 24000", "24000 Hz of 22050 Hz"),
        ("estimator: !new", "other: !new", "estimator"),
        ("base_channels: 32", "base_channels: 64", "of another shape"),
        ("flow.MaskedDiffWithXvec", "flow.Other", "not one of the released"),
    ],
)
def test_another_decoder_is_refused(trees: tiny.Trees, old: str, new: str, said: str) -> None:
    file = trees.decoder / "config.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(CheckpointError, match=said):
        load_decoder(trees.decoder)


@pytest.mark.parametrize(
    "line",
    [
        "x: !apply:os.mkdir [{}]",
        "x: !new:subprocess.Popen {{args: [mkdir, {}]}}",
        "x: !name:os.mkdir",
        "x: !!python/object/apply:os.mkdir [{}]",
        "x: !ref <nothing>",
        "x: !ref <flow>",
        "x: !include:other.yaml",
        "x: [",
        "- a list",
        "\x00",
    ],
)
def test_a_config_file_runs_nothing(tmp_path: Path, line: str) -> None:
    made = tmp_path / "made"
    file = tmp_path / "config.yaml"
    file.write_text("flow: {a: 1}\n" + line.format(made) + "\n")
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        read_config_yaml(file)
    assert not made.exists()


class Mischief:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


def test_a_pickle_runs_nothing(trees: tiny.Trees, tmp_path: Path) -> None:
    made = tmp_path / "made"
    torch.save({"weight": Mischief(str(made))}, trees.decoder / "flow.pt")
    with pytest.raises(CheckpointError, match=r"flow\.pt is no file of tensors"):
        load_decoder(trees.decoder)
    assert not made.exists()
    torch.save([torch.zeros(1)], trees.decoder / "flow.pt")
    with pytest.raises(CheckpointError, match=r"flow\.pt holds a list"):
        load_decoder(trees.decoder)
    (trees.decoder / "flow.pt").write_bytes(b"PK\x03\x04 not quite")
    with pytest.raises(CheckpointError, match=r"flow\.pt"):
        load_decoder(trees.decoder)
    (trees.decoder / "flow.pt").unlink()
    with pytest.raises(CheckpointError, match=r"flow\.pt is missing"):
        open_checkpoint(trees.decoder)


def test_a_truncated_pickle_is_refused(trees: tiny.Trees) -> None:
    file = trees.decoder / "hift.pt"
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(CheckpointError, match=r"hift\.pt"):
        load_decoder(trees.decoder)


def test_nothing_and_too_much_are_refused(trees: tiny.Trees, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no weights of GLM-4-Voice"):
        open_checkpoint(tmp_path / "empty")
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_checkpoint(tmp_path / "absent")
    tiny.write_decoder(trees.root / "decoder-2")
    with pytest.raises(CheckpointError, match=r"two trees of the decoder: .*decoder-2"):
        open_checkpoint(trees.root)
    with pytest.raises(CheckpointError, match="holds the decoder; expected the lm"):
        load_lm(trees.decoder)


def test_what_an_interruption_left_is_no_tree(trees: tiny.Trees) -> None:
    tiny.write_decoder(trees.root / ".glm-4-voice-decoder-abc")
    assert open_checkpoint(trees.root).part("decoder").folder == trees.decoder


def test_load_state_takes_any_file(tmp_path: Path) -> None:
    state = {"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.int64)}
    shapes = {"b": (4,), "a": (2, 3)}
    save_file(state, tmp_path / "x.safetensors")
    torch.save(state, tmp_path / "x.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("x.safetensors", "x.pt", "old.pt"):
        found = load_state(tmp_path / name, shapes, dtype=torch.float16, check_finite=True)
        assert found["a"].dtype == torch.float16
        assert found["b"].dtype == torch.int64
        assert torch.equal(found["a"], state["a"].half())


@pytest.mark.parametrize("kind", ["pipe", "nested", "noise", "folder", "empty"])
def test_no_file_of_a_tree_breaks_the_reader(tmp_path: Path, kind: str) -> None:
    trees = tiny.write_trees(tmp_path / "released")
    convert_checkpoint(trees.root, tmp_path / "converted")
    told = 0
    for file in sorted(tmp_path.rglob("*")):
        if not file.is_file() or file.name.startswith("tokenizer") or "LICENSE" in file.name:
            continue
        whole = file.read_bytes()
        file.unlink()
        nested = b"[" * 100_000
        if kind == "pipe":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
        elif kind == "nested":
            head = len(nested).to_bytes(8, "little") if file.suffix == ".safetensors" else b""
            file.write_bytes(head + nested)
        else:
            file.write_bytes(b"\x80\x02." * 300 if kind == "noise" else b"")
        try:
            opened(file.parent)
        except CheckpointError:
            told += 1
        file.rmdir() if kind == "folder" else file.unlink()
        file.write_bytes(whole)
    assert told >= 15

"""What checkpoints are read, in which formats, and what is refused."""

from __future__ import annotations

import functools
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.sonar import recipe
from tests.sonar.conftest import GOLDEN, state
from voicerag_core import CheckpointError
from voicerag_core.sonar import SonarEmbedder
from voicerag_core.sonar.checkpoint import (
    load_speech_encoder,
    load_text_decoder,
    load_text_encoder,
    text_sizes,
)
from voicerag_core.sonar.speech_encoder import SpeechSizes
from voicerag_core.sonar.text_encoder import TextSizes

State = dict[str, torch.Tensor]

TOKENS = torch.tensor([[447, 5, 9, 1, 250, 3]])
LOADERS: dict[str, Callable[[Path], torch.nn.Module]] = {
    "text": functools.partial(load_text_encoder, heads=recipe.HEADS),
    "speech_english": load_speech_encoder,
}

_TO_FAIRSEQ_SPEECH = (
    (r"^encoder_frontend\.post_extract_layer_norm\.", "encoder.w2v_model.layer_norm."),
    (r"^encoder_frontend\.model_dim_proj\.", "encoder.w2v_model.post_extract_proj."),
    (r"^layer_norm\.", "encoder.w2v_model.encoder.layer_norm."),
    (r"^(encoder\.layers\.\d+)\.layer_norm\.", r"\1.final_layer_norm."),
    (r"^(encoder\.layers\..*)\.conv_layer_norm\.", r"\1.conv_module.layer_norm."),
    (r"^(encoder\.layers\..*)\.conv\.", r"\1.conv_module."),
    (r"^(encoder\.layers\..*)\.ffn([12])_layer_norm\.", r"\1.ffn\2.layer_norm."),
    (r"^(encoder\.layers\..*)\.inner_proj\.", r"\1.w_1."),
    (r"^(encoder\.layers\..*ffn.)\.output_proj\.", r"\1.w_2."),
    (r"^(encoder\.layers\..*)\.self_attn\.([qkv])_proj\.", r"\1.self_attn.linear_\2."),
    (r"^(encoder\.layers\..*)\.self_attn\.output_proj\.", r"\1.self_attn.linear_out."),
    (r"\.sdpa\.r_proj\.", ".linear_pos."),
    (r"\.sdpa\.([uv])_bias$", r".pos_bias_\1"),
    (r"^encoder\.layers\.", "encoder.w2v_model.encoder.layers."),
    (r"^encoder_pooler\.decoder_frontend\.embed\.", "decoder.embed_tokens."),
    (r"^encoder_pooler\.projection_out\.weight$", "decoder.embed_out"),
    (r"^encoder_pooler\.decoder\.layers\.", "decoder.layers."),
    (r"^(decoder\.layers\..*)\.ffn_layer_norm\.", r"\1.final_layer_norm."),
    (r"^(decoder\.layers\..*)\.ffn\.inner_proj\.", r"\1.fc1."),
    (r"^(decoder\.layers\..*)\.ffn\.output_proj\.", r"\1.fc2."),
    (r"\.encoder_decoder_attn", ".encoder_attn"),
    (r"^(decoder\.layers\..*attn)\.output_proj\.", r"\1.out_proj."),
)

_TO_FAIRSEQ_TEXT = (
    (r"^encoder_frontend\.embed\.", "embed_tokens."),
    (r"^encoder\.layers\.", "layers."),
    (r"\.self_attn\.output_proj\.", ".self_attn.out_proj."),
    (r"\.ffn\.inner_proj\.", ".fc1."),
    (r"\.ffn\.output_proj\.", ".fc2."),
    (r"\.ffn_layer_norm\.", ".final_layer_norm."),
)


def renamed(weights: State, rules: tuple[tuple[str, str], ...]) -> State:
    made = {}
    for name, tensor in weights.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)  # noqa: PLW2901
        made[name] = tensor
    return made


def fairseq_text() -> State:
    """Rename to fairseq's and transformers' names, with their order of the first four rows."""
    weights = renamed(state("text"), _TO_FAIRSEQ_TEXT)
    table = weights["embed_tokens.weight"].clone()
    table[[1, 3, 0, 2]] = table[:4].clone()
    return {**weights, "embed_tokens.weight": table}


def text_vector(path: Path) -> np.ndarray:
    with torch.inference_mode():
        found: np.ndarray = load_text_encoder(path, heads=recipe.HEADS)(TOKENS, None).numpy()
    return found


def speech_vector(path: Path) -> np.ndarray:
    features = torch.from_numpy(recipe.sound(4, 160 * 30 / 16_000).reshape(1, 30, 160))
    with torch.inference_mode():
        found: np.ndarray = load_speech_encoder(path)(features, None).numpy()
    return found


@pytest.fixture(scope="module")
def text_expected(models: Path) -> np.ndarray:
    return text_vector(models / "sonar_text_encoder.pt")


@pytest.fixture(scope="module")
def speech_expected(models: Path) -> np.ndarray:
    return speech_vector(models / "spenc.eng.pt")


def test_sizes_are_read_off_the_shapes(models: Path) -> None:
    sizes, _ = text_sizes(models / "sonar_text_encoder.pt", heads=recipe.HEADS)
    assert sizes == TextSizes(recipe.VOCABULARY, 128, 3, 2, 256)
    spoken = load_speech_encoder(models / "spenc.v3ap.deu.pt").sizes
    assert spoken == SpeechSizes(160, 128, 3, 2, 256, 31, 128, 6, 256)


def test_a_flat_file_and_safetensors_are_read(
    tmp_path: Path, text_expected: np.ndarray, speech_expected: np.ndarray
) -> None:
    torch.save(state("text"), tmp_path / "flat.pt")
    assert np.array_equal(text_vector(tmp_path / "flat.pt"), text_expected)
    save_file(state("text"), tmp_path / "text.safetensors")
    assert np.array_equal(text_vector(tmp_path / "text.safetensors"), text_expected)
    save_file(state("speech_english"), tmp_path / "speech.safetensors")
    assert np.array_equal(speech_vector(tmp_path / "speech.safetensors"), speech_expected)


def test_the_oldest_file_format_of_torch_is_read(tmp_path: Path, text_expected: np.ndarray) -> None:
    torch.save(state("text"), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert np.array_equal(text_vector(tmp_path / "old.pt"), text_expected)


def test_names_of_fairseq_are_read(
    tmp_path: Path, text_expected: np.ndarray, speech_expected: np.ndarray
) -> None:
    speech = renamed(state("speech_english"), _TO_FAIRSEQ_SPEECH)
    assert not set(speech) & set(state("speech_english"))
    speech["encoder.w2v_model.mask_emb"] = torch.zeros(128)
    speech["encoder.w2v_model.encoder.pos_conv.0.bias"] = torch.zeros(128)
    torch.save({"model": speech}, tmp_path / "spenc.eng.pt")
    assert np.array_equal(speech_vector(tmp_path / "spenc.eng.pt"), speech_expected)
    text = {**fairseq_text(), "version": torch.tensor([3.0])}
    torch.save({"model": {"state_dict": text}}, tmp_path / "text.pt")
    assert np.array_equal(text_vector(tmp_path / "text.pt"), text_expected)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_of_transformers_is_read(
    tmp_path: Path, text_expected: np.ndarray, name: str
) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.M2M100Config(
        vocab_size=recipe.VOCABULARY, d_model=128, encoder_layers=3, encoder_attention_heads=2,
        encoder_ffn_dim=256, activation_function="relu", scale_embedding=True,
        max_position_embeddings=514, dropout=0.0, pad_token_id=1,
    )  # fmt: skip
    module = pytest.importorskip("transformers.models.m2m_100.modeling_m2m_100")
    theirs = module.M2M100Encoder(config).eval()
    theirs.load_state_dict(fairseq_text(), strict=False)
    if name.endswith(".bin"):
        config.save_pretrained(tmp_path)
        torch.save(theirs.state_dict(), tmp_path / name)
    else:
        theirs.save_pretrained(tmp_path)
    before = (tmp_path / name).read_bytes()
    assert np.array_equal(text_vector(tmp_path), text_expected)
    assert (tmp_path / name).read_bytes() == before
    moved = torch.tensor([[447, 5, 9, 3, 250, 2]])  # unknown and end under transformers' ids
    with torch.inference_mode():
        states = theirs(input_ids=moved, attention_mask=torch.ones_like(moved)).last_hidden_state
    assert np.abs(states.mean(1).numpy() - text_expected).max() < 1e-5


def test_all_formats_name_one_space(models: Path, tmp_path: Path) -> None:
    torch.save(fairseq_text(), tmp_path / "text.pt")
    native = SonarEmbedder(models / "sonar_text_encoder.pt", device="cpu", heads=recipe.HEADS)
    assert (
        native.model_id
        == SonarEmbedder(tmp_path / "text.pt", device="cpu", heads=recipe.HEADS).model_id
    )
    assert re.fullmatch(r"sonar-128-[0-9a-f]{12}", native.model_id)
    trained = state("text")
    trained["layer_norm.weight"] += 0.1
    torch.save(trained, tmp_path / "other.pt")
    assert (
        native.model_id
        != SonarEmbedder(tmp_path / "other.pt", device="cpu", heads=recipe.HEADS).model_id
    )


@pytest.mark.parametrize("kind", ["text", "speech_english"])
def test_a_file_is_read_whole_or_refused(tmp_path: Path, kind: str) -> None:
    load = LOADERS[kind]
    file = tmp_path / "weights.pt"
    dropped = "encoder.layers.1.ffn_layer_norm.bias"
    dropped = dropped if kind == "text" else "encoder.layers.1.conv.batch_norm.running_var"
    weights = state(kind)
    torch.save({k: v for k, v in weights.items() if k != dropped}, file)
    with pytest.raises(CheckpointError, match=f"{dropped} is missing"):
        load(file)
    torch.save({**weights, "head.weight": torch.zeros(2)}, file)
    with pytest.raises(CheckpointError, match=r"head\.weight is not known"):
        load(file)
    torch.save({**weights, dropped: torch.zeros(3)}, file)
    with pytest.raises(CheckpointError, match=r"has shape \[3\], expected \[128\]"):
        load(file)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", ["text", "speech_english"])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, kind: str, bad: float) -> None:
    weights = state(kind)
    weights["encoder.layers.2.self_attn.k_proj.weight"][7, 9] = bad
    torch.save({"model": weights}, tmp_path / "weights.pt")
    load = LOADERS[kind]
    with pytest.raises(CheckpointError, match=r"not finite, in encoder\.layers\.2\.self_attn"):
        load(tmp_path / "weights.pt")


def test_text_and_speech_are_not_mistaken_for_each_other(models: Path) -> None:
    with pytest.raises(CheckpointError, match="not a SONAR text encoder"):
        load_text_encoder(models / "spenc.eng.pt")
    with pytest.raises(CheckpointError, match="not a SONAR speech encoder"):
        load_speech_encoder(models / "sonar_text_encoder.pt")


class Payload:
    """What runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


def test_a_file_that_would_run_something_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"model": state("text"), "args": Payload(mark)}, tmp_path / "weights.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Payload(mark), protocol=2))
    for file in ("weights.pt", "plain.pt"):
        with pytest.raises(CheckpointError, match=r"was not run|cannot be read"):
            load_text_encoder(tmp_path / file)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.pt", b""),
        ("noise.pt", b"\x00\x01 no checkpoint" * 100),
        ("noise.safetensors", b"\x00\x01 no checkpoint" * 100),
        ("pickle.pt", b"\x80\x02." * 100),
        ("cut.pt", None),
    ],
)
def test_a_damaged_file_is_an_error_of_ours(
    models: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    whole = (models / "sonar_text_encoder.pt").read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(CheckpointError, match=name):
        load_text_encoder(tmp_path / name)


def test_folders_that_are_no_text_encoder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_text_encoder(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"scale_embedding": True, "activation_function": "gelu"}))
    with pytest.raises(CheckpointError, match="ReLU"):
        load_text_encoder(tmp_path)
    config.write_text(json.dumps({"scale_embedding": True, "activation_function": "relu"}))
    with pytest.raises(CheckpointError, match="neither"):
        load_text_encoder(tmp_path)


def test_heads_must_divide_the_width(models: Path) -> None:
    with pytest.raises(CheckpointError, match="3 attention heads do not divide"):
        load_text_encoder(models / "sonar_text_encoder.pt", heads=3)
    with pytest.raises(CheckpointError, match="0 attention heads do not divide"):
        load_text_encoder(models / "sonar_text_encoder.pt", heads=0)


def test_heads_are_asked_for_when_the_width_does_not_tell(models: Path) -> None:
    asked = "128 wide.* give the number .* as heads=.*VOICERAG_SONAR_HEADS"
    with pytest.raises(CheckpointError, match=asked):
        load_text_encoder(models / "sonar_text_encoder.pt")
    with pytest.raises(CheckpointError, match=asked):
        load_text_decoder(models / "sonar_text_decoder.pt")
    with pytest.raises(CheckpointError, match=asked):
        _ = SonarEmbedder(models / "sonar_text_encoder.pt", device="cpu").model_id


def test_another_number_of_heads_is_another_encoder(
    models: Path, text_expected: np.ndarray
) -> None:
    other = load_text_encoder(models / "sonar_text_encoder.pt", heads=4)
    with torch.inference_mode():
        assert np.abs(other(TOKENS, None).numpy() - text_expected).max() > 0.01


def test_the_published_width_needs_no_number_of_heads(tmp_path: Path) -> None:
    shapes = json.loads((GOLDEN / "shapes.json").read_text())["text"]
    wide = {
        name: [{128: 1024, 606: 8}.get(size, size) for size in shape]
        for name, shape in shapes.items()
    }
    torch.save({name: torch.zeros(shape) for name, shape in wide.items()}, tmp_path / "text.pt")
    assert text_sizes(tmp_path / "text.pt")[0].heads == 16
    assert text_sizes(tmp_path / "text.pt", heads=8)[0].heads == 8


def test_a_tokenizer_of_another_kind_is_refused(models: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    text = models / "sonar_text_encoder.pt"
    with pytest.raises(CheckpointError, match="sentencepiece"):
        SonarEmbedder(
            text, tokenizer=tmp_path / "tokenizer.model", device="cpu", heads=recipe.HEADS
        ).warm()
    with pytest.raises(CheckpointError, match="there is no tokenizer"):
        SonarEmbedder(
            text, tokenizer=tmp_path / "absent.model", device="cpu", heads=recipe.HEADS
        ).warm()
    weights = state("text")
    table = "encoder_frontend.embed.weight"
    torch.save({**weights, table: weights[table][:500].clone()}, tmp_path / "small.pt")
    with pytest.raises(CheckpointError, match="knows 500 tokens and the tokenizer 603"):
        SonarEmbedder(
            tmp_path / "small.pt",
            tokenizer=models / "sentencepiece.source.256000.model",
            device="cpu",
            heads=recipe.HEADS,
        ).warm()


MEASURE = """
import sys, torch
from voicerag_core.sonar import checkpoint
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(l for l in lines if l.startswith("VmHWM")).split()[1]) * 1024
dtype = getattr(torch, sys.argv[3])
checkpoint.load_text_encoder(sys.argv[1], dtype=dtype, heads=2)
before = peak()
model = checkpoint.load_text_encoder(sys.argv[2], dtype=dtype, heads=8)
assert all(p.sum().isfinite() for p in model.parameters())
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "dtype", "inner"),
    [
        ("text.pt", "bfloat16", 4096),
        pytest.param("text.pt", "bfloat16", 16_384, marks=pytest.mark.slow),
        pytest.param("text.pt", "float32", 16_384, marks=pytest.mark.slow),
        pytest.param("text.safetensors", "float32", 16_384, marks=pytest.mark.slow),
    ],
)
def test_loading_takes_little_more_memory_than_the_file(
    models: Path, tmp_path: Path, name: str, dtype: str, inner: int
) -> None:
    shapes = json.loads((GOLDEN / "shapes.json").read_text())["text"]
    table = "encoder_frontend.embed.weight"
    wide = {
        shape_name: [
            512 if size in (128, 606) else inner if size == 256 else size for size in shape
        ]
        for shape_name, shape in shapes.items()
    }
    wide[table][0] = 4 * inner
    weights = {k: torch.full(v, 0.5) for k, v in wide.items()}
    file = tmp_path / name
    if name.endswith(".pt"):
        torch.save(weights, file)
    else:
        save_file(weights, file)
    small = models / "sonar_text_encoder.pt"
    size = file.stat().st_size
    assert size > 18e3 * inner
    command = [sys.executable, "-c", MEASURE, str(small), str(file), dtype]
    used = int(subprocess.check_output(command))
    assert 0.4 * size < used < 1.2 * size

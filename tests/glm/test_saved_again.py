"""Trees that other versions of transformers saved again are the same networks.

The keys are those that transformers 4.44.1, 4.57.3, 5.0.0 and 5.23.0 wrote when they loaded and
saved the configs of `tiny`; the installed version saves them here once more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    GlmConfig,
    PretrainedConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperProcessor,
    WhisperTokenizer,
)

from tests.glm import tiny
from voicerag_core import CheckpointError
from voicerag_core.glm import convert_checkpoint, load_lm, load_speech_tokenizer

ABSENT = object()
"""Stands for a key that is left out."""
SAVED_BY_4_57 = {"_name_or_path": ABSENT, "torch_dtype": ABSENT, "dtype": "float32"}
SAVED_BY_5 = {**SAVED_BY_4_57, "use_cache": ABSENT, "classifier_dropout": None}


class ChatGLMConfig(PretrainedConfig):  # type: ignore[misc]
    """Keeps every key of the released file, as the class that is fetched with it does."""

    model_type = "chatglm"


@pytest.fixture
def trees(tmp_path: Path) -> tiny.Trees:
    return tiny.write_trees(tmp_path / "released")


def change(file: Path, changes: Mapping[str, object]) -> None:
    values: dict[str, Any] = json.loads(file.read_text()) | changes
    kept = {key: value for key, value in values.items() if value is not ABSENT}
    file.write_text(json.dumps(kept))


def check_lm(folder: Path, expected: Mapping[str, torch.Tensor]) -> None:
    """Load a language model and compare it with the one that was written first."""
    config, state = load_lm(folder)
    assert config == tiny.LM
    assert set(state) == set(expected)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    "changes",
    [
        SAVED_BY_4_57,
        SAVED_BY_5,
        {"dtype": "float32"},
        {"torch_dtype": "torch.float32"},
        {"torch_dtype": None, "dtype": "float32"},
        {"tie_word_embeddings": ABSENT},
        {"seq_length": ABSENT},
        {"seq_length": None},
        {"tie_word_embeddings": ABSENT, "seq_length": ABSENT, **SAVED_BY_5},
        {"rmsnorm": ABSENT},
        {"post_layer_norm": ABSENT},
        {"add_bias_linear": ABSENT},
        {"apply_residual_connection_post_layernorm": ABSENT},
        {"rope_ratio": ABSENT},
        {"vocab_size": ABSENT},
    ],
)
def test_a_language_model_is_read_whatever_version_saved_it(
    trees: tiny.Trees, tmp_path: Path, changes: dict[str, object]
) -> None:
    _, expected = load_lm(trees.lm)
    change(trees.lm / "config.json", changes)
    check_lm(trees.lm, expected)
    convert_checkpoint(trees.lm, tmp_path / "converted")
    check_lm(tmp_path / "converted" / "glm-4-voice-9b", expected)


def test_a_language_model_that_the_installed_version_saved_is_read(trees: tiny.Trees) -> None:
    _, expected = load_lm(trees.lm)
    ChatGLMConfig.from_pretrained(trees.lm).save_pretrained(trees.lm)
    assert "dtype" in json.loads((trees.lm / "config.json").read_text())
    check_lm(trees.lm, expected)


def test_a_language_model_in_one_file_is_read(trees: tiny.Trees) -> None:
    _, expected = load_lm(trees.lm)
    shards = sorted(trees.lm.glob("model-*.safetensors"))
    whole = {name: tensor for file in shards for name, tensor in load_file(file).items()}
    for file in (*shards, trees.lm / "model.safetensors.index.json"):
        file.unlink()
    save_file(whole, trees.lm / "model.safetensors")
    check_lm(trees.lm, expected)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dtype": "bfloat16"}, "torch_dtype is 'float32' and dtype is 'bfloat16'"),
        ({"torch_dtype": ABSENT}, "torch_dtype or dtype is missing"),
        ({"torch_dtype": ABSENT, "dtype": {"": "float32"}}, "dtype: expected a str"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is True"),
        ({"add_qkv_bias": ABSENT}, "add_qkv_bias is None"),
        ({"multi_query_attention": ABSENT}, "multi_query_attention is None"),
        ({"original_rope": ABSENT}, "original_rope is None"),
        ({"num_layers": ABSENT}, "num_layers is missing"),
        ({"vocab_size": 1601}, "padded_vocab_size is 1600"),
    ],
)
def test_a_key_that_tells_another_network_is_still_refused(
    trees: tiny.Trees, changes: dict[str, object], said: str
) -> None:
    change(trees.lm / "config.json", changes)
    with pytest.raises(CheckpointError, match=said):
        load_lm(trees.lm)


@pytest.mark.parametrize(
    "changes",
    [
        {"torch_dtype": ABSENT, "initializer_range": 0.02},
        {"torch_dtype": ABSENT, "rope_theta": ABSENT, "bos_token_id": None},
        {"torch_dtype": ABSENT, "rope_theta": ABSENT, "partial_rotary_factor": ABSENT},
        {"dtype": ABSENT, "rope_parameters": ABSENT, "rope_scaling": None},
        {"tie_word_embeddings": ABSENT, "hidden_act": ABSENT},
    ],
)
def test_a_converted_language_model_is_read_whatever_version_saved_it(
    trees: tiny.Trees, tmp_path: Path, changes: dict[str, object]
) -> None:
    _, expected = load_lm(trees.lm)
    convert_checkpoint(trees.lm, tmp_path)
    change(tmp_path / "glm-4-voice-9b" / "config.json", changes)
    check_lm(tmp_path / "glm-4-voice-9b", expected)


def test_a_converted_config_that_the_installed_version_saved_is_read(
    trees: tiny.Trees, tmp_path: Path
) -> None:
    _, expected = load_lm(trees.lm)
    convert_checkpoint(trees.lm, tmp_path)
    folder = tmp_path / "glm-4-voice-9b"
    GlmConfig.from_pretrained(folder).save_pretrained(folder)
    check_lm(folder, expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"torch_dtype": ABSENT, "dtype": "float32", "tie_word_embeddings": True},
        {"activation_function": ABSENT},
        {"scale_embedding": ABSENT},
        {"encoder_causal_attention": ABSENT},
        {"quantize_causal_encoder": ABSENT},
    ],
)
def test_a_speech_tokenizer_is_read_whatever_version_saved_it(
    trees: tiny.Trees, tmp_path: Path, changes: dict[str, object]
) -> None:
    change(trees.speech_tokenizer / "config.json", changes)
    assert load_speech_tokenizer(trees.speech_tokenizer)[0] == tiny.SPEECH_TOKENIZER
    convert_checkpoint(trees.speech_tokenizer, tmp_path)
    assert load_speech_tokenizer(tmp_path / "glm-4-voice-tokenizer")[0] == tiny.SPEECH_TOKENIZER


def test_a_speech_tokenizer_that_the_installed_version_saved_is_read(
    trees: tiny.Trees, tmp_path: Path
) -> None:
    """Transformers 5 keeps a processor's features in processor_config.json alone."""
    folder = trees.speech_tokenizer
    WhisperConfig.from_pretrained(folder).save_pretrained(folder)
    features = WhisperFeatureExtractor.from_pretrained(folder)
    features.save_pretrained(folder)
    assert load_speech_tokenizer(folder)[0] == tiny.SPEECH_TOKENIZER
    (tmp_path / "vocab.json").write_text('{"<|endoftext|>": 0, "a": 1}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    words = WhisperTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    (folder / "preprocessor_config.json").unlink()
    WhisperProcessor(features, words).save_pretrained(folder)
    assert load_speech_tokenizer(folder)[0] == tiny.SPEECH_TOKENIZER


def test_other_features_of_a_processor_are_refused(trees: tiny.Trees) -> None:
    old, new = (
        trees.speech_tokenizer / f"{name}_config.json" for name in ("preprocessor", "processor")
    )
    features = json.loads(old.read_text())
    old.unlink()
    new.write_text(json.dumps({"feature_extractor": features}))
    load_speech_tokenizer(trees.speech_tokenizer)
    new.write_text(json.dumps({"feature_extractor": features | {"hop_length": 80}}))
    with pytest.raises(CheckpointError, match=r"processor_config\.json: hop_length is 80"):
        load_speech_tokenizer(trees.speech_tokenizer)
    new.write_text("{}")
    with pytest.raises(CheckpointError, match="'feature_extractor' is missing"):
        load_speech_tokenizer(trees.speech_tokenizer)

"""Read the configs of released and of converted weights, refusing networks of another kind."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from voicerag_core import files
from voicerag_core.errors import CheckpointError
from voicerag_core.glm.weights.config_yaml import CLASS, read_config_yaml
from voicerag_core.glm.weights.configs import (
    CONTEXT_TOKENS,
    DecoderConfig,
    LMConfig,
    SpeechTokenizerConfig,
)

__all__ = [
    "check_preprocessor",
    "read_chatglm_config",
    "read_decoder_yaml",
    "read_glm_config",
    "read_json",
    "read_own_config",
    "read_whisper_config",
    "write_own_config",
]

Config = TypeVar("Config", SpeechTokenizerConfig, DecoderConfig)
VERSION = 1
"""Version of the converted files."""

CHATGLM_DEFAULTS: Mapping[str, Any] = {
    "add_bias_linear": False,
    "apply_residual_connection_post_layernorm": False,
    "post_layer_norm": True,
    "rmsnorm": True,
    "rope_ratio": 1,
    "seq_length": CONTEXT_TOKENS,
    "tie_word_embeddings": False,
}
"""What an absent key of the language model means. Source: configuration_chatglm.py of the GLM-4
models, except the last two, which no public copy of this model's config shows: the length is that
of the model card, and the checkpoint has an output table."""
GLM_DEFAULTS: Mapping[str, Any] = {
    "hidden_act": "silu",
    "partial_rotary_factor": 0.5,
    "tie_word_embeddings": False,
}
"""The same for the converted language model. Source: `GlmConfig` of transformers 4.57 and 5."""
WHISPER_DEFAULTS: Mapping[str, Any] = {
    "activation_function": "gelu",
    "encoder_causal_attention": False,
    "quantize_causal_encoder": False,
    "scale_embedding": False,
}
"""The same for the speech tokenizer. Source: speech_tokenizer/configuration_whisper.py of
THUDM/GLM-4-Voice @ eb00ce9, and `WhisperConfig`. Other keys default to another network there."""
DTYPE_KEYS = ("torch_dtype", "dtype")
"""Transformers writes the second since 4.56; a file that both versions saved can have both."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: The file is missing or holds something else.
    """
    try:
        values = files.read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return values


def write_own_config(path: Path, kind: str, config: SpeechTokenizerConfig | DecoderConfig) -> None:
    """Write the config of converted weights."""
    values = {"format": f"voicerag {kind}", "version": VERSION, "config": config.to_values()}
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_own_config(path: Path, kind: str, made: type[Config]) -> Config:
    """Read the config of converted weights."""
    values = read_json(path)
    if values.get("format") != f"voicerag {kind}" or values.get("version") != VERSION:
        raise CheckpointError(
            f"{path} is of format {values.get('format')!r}, version {values.get('version')!r}; "
            f"expected 'voicerag {kind}', version {VERSION}; convert the weights anew"
        )
    return made.from_values(values.get("config", {}), str(path))


def read_whisper_config(path: Path) -> SpeechTokenizerConfig:
    """Read ``config.json`` of the released speech tokenizer."""
    values = _filled(read_json(path), WHISPER_DEFAULTS)
    _fixed(
        values,
        path,
        activation_function="gelu",
        encoder_causal_convolution=True,
        encoder_causal_attention=False,
        pooling_position=values.get("quantize_position"),
        pooling_type="avg",
        quantize_causal_encoder=False,
        scale_embedding=False,
    )
    named = _named(
        values,
        path,
        hidden_size="d_model",
        heads="encoder_attention_heads",
        ffn_size="encoder_ffn_dim",
        layers="quantize_position",
        mels="num_mel_bins",
        positions="max_source_positions",
        codebook_size="quantize_vocab_size",
        pooling="pooling_kernel_size",
        block_frames="quantize_causal_block_size",
    )
    return SpeechTokenizerConfig.from_values(named, str(path))


def check_preprocessor(folder: Path, config: SpeechTokenizerConfig) -> None:
    """Compare the configured features with those that are computed here.

    Args:
        folder: Holds ``preprocessor_config.json``, or ``processor_config.json``, where a processor
            saved by transformers 5 keeps the same values.
        config: The sizes of the speech tokenizer.

    Raises:
        CheckpointError: Both files are missing, or the features are others.
    """
    path = folder / "preprocessor_config.json"
    whole = folder / "processor_config.json"
    if os.path.isfile(path) or not os.path.isfile(whole):
        values: Mapping[str, Any] = read_json(path)
    else:
        path = whole
        values = _section(read_json(path), path, "feature_extractor")
    _fixed(
        values,
        path,
        feature_size=config.mels,
        hop_length=160,
        n_fft=400,
        sampling_rate=16000,
    )


def read_chatglm_config(path: Path) -> LMConfig:
    """Read ``config.json`` of the language model as released, or saved again by transformers."""
    values = _filled(read_json(path), CHATGLM_DEFAULTS)
    _fixed(
        values,
        path,
        add_bias_linear=False,
        add_qkv_bias=True,
        apply_residual_connection_post_layernorm=False,
        multi_query_attention=True,
        original_rope=True,
        padded_vocab_size=values.get("vocab_size", values.get("padded_vocab_size")),
        post_layer_norm=True,
        rmsnorm=True,
        tie_word_embeddings=False,
    )
    named = _named(
        values,
        path,
        vocab_size="padded_vocab_size",
        hidden_size="hidden_size",
        ffn_size="ffn_hidden_size",
        layers="num_layers",
        heads="num_attention_heads",
        kv_heads="multi_query_group_num",
        head_dim="kv_channels",
        norm_eps="layernorm_epsilon",
        max_positions="seq_length",
        pad_token_id="pad_token_id",  # noqa: S106 - a key
    )
    ratio = values["rope_ratio"]
    if not isinstance(ratio, int | float):
        raise CheckpointError(f"{path}: rope_ratio is a number, not {ratio!r}")
    named |= {
        "rope_theta": 10000.0 * ratio,
        "eos_token_ids": _ids(values, path),
        "dtype": _dtype(values, path),
    }
    return LMConfig.from_values(named, str(path))


def read_glm_config(path: Path) -> LMConfig:
    """Read ``config.json`` of the converted language model, a `GlmConfig` of any transformers."""
    values = read_json(path)
    values = _filled({**(values.get("rope_parameters") or {}), **values}, GLM_DEFAULTS)
    _fixed(
        values,
        path,
        attention_bias=True,
        hidden_act="silu",
        partial_rotary_factor=0.5,
        tie_word_embeddings=False,
    )
    named = _named(
        values,
        path,
        vocab_size="vocab_size",
        hidden_size="hidden_size",
        ffn_size="intermediate_size",
        layers="num_hidden_layers",
        heads="num_attention_heads",
        kv_heads="num_key_value_heads",
        head_dim="head_dim",
        norm_eps="rms_norm_eps",
        rope_theta="rope_theta",
        max_positions="max_position_embeddings",
        pad_token_id="pad_token_id",  # noqa: S106 - a key
    )
    named |= {"eos_token_ids": _ids(values, path), "dtype": _dtype(values, path)}
    return LMConfig.from_values(named, str(path))


def read_decoder_yaml(path: Path) -> DecoderConfig:
    """Read ``config.yaml`` of the released decoder."""
    values = read_config_yaml(path)
    flow, hift = (_section(values, path, name) for name in ("flow", "hift"))
    named = {
        "sample_rate": values.get("sample_rate"),
        "flow": _flow(flow, path),
        "hift": _hift(hift, path),
    }
    if hift.get("sampling_rate") != named["sample_rate"]:
        raise CheckpointError(
            f"{path}: hift makes {hift.get('sampling_rate')} Hz of {named['sample_rate']} Hz"
        )
    return DecoderConfig.from_values(named, str(path))


def _flow(flow: Mapping[str, Any], path: Path) -> dict[str, Any]:
    encoder = _section(flow, path, "encoder")
    decoder = _section(flow, path, "decoder")
    regulator = _section(flow, path, "length_regulator")
    estimator = _section(decoder, path, "estimator")
    solver = _section(_section(decoder, path, "cfm_params"), path, "content")
    mels = flow.get("output_size")
    if not isinstance(mels, int):
        raise CheckpointError(f"{path}: output_size of flow is {mels!r}, and must be a number")
    _class(encoder, path, "BlockConformerEncoder")
    _fixed(
        encoder,
        path,
        input_layer="linear",
        input_size=flow.get("input_size"),
        macaron_style=False,
        normalize_before=True,
        pos_enc_layer_type="rel_pos_espnet",
        selfattention_layer_type="block_rel_selfattn",
        use_cnn_module=False,
    )
    _fixed(solver, path, solver="euler", t_scheduler="cosine")
    _class(estimator, path, "ConditionalDecoder")
    _fixed(estimator, path, act_fn="gelu", in_channels=4 * mels, out_channels=mels)
    _fixed(regulator, path, channels=mels)
    ratios = regulator.get("sampling_ratios")
    encoder_fields = _named(
        encoder,
        path,
        encoder_size="output_size",
        encoder_heads="attention_heads",
        encoder_ffn_size="linear_units",
        encoder_layers="num_blocks",
        block_tokens="block_size",
    )
    unet_fields = _named(
        estimator,
        path,
        unet_channels="channels",
        unet_heads="num_heads",
        unet_head_dim="attention_head_dim",
        unet_blocks="n_blocks",
        unet_mid_blocks="num_mid_blocks",
    )
    return {
        **_named(
            flow,
            path,
            vocab_size="vocab_size",
            token_rate="input_frame_rate",  # noqa: S106 - a key
            mels="output_size",
            embedding_size="input_size",
            speaker_size="spk_embed_dim",
        ),
        **encoder_fields,
        "regulator_layers": len(ratios) if isinstance(ratios, list) else ratios,
        **unet_fields,
        **_named(solver, path, guidance="inference_cfg_rate", sigma_min="sigma_min"),
    }


def _hift(hift: Mapping[str, Any], path: Path) -> dict[str, Any]:
    predictor = _section(hift, path, "f0_predictor")
    _fixed(predictor, path, num_class=1, in_channels=hift.get("in_channels"))
    istft = _named(
        _section(hift, path, "istft_params"), path, istft_size="n_fft", istft_hop="hop_len"
    )
    return {
        **_named(
            hift,
            path,
            mels="in_channels",
            channels="base_channels",
            harmonics="nb_harmonics",
            sine_amplitude="nsf_alpha",
            noise_std="nsf_sigma",
            voiced_hz="nsf_voiced_threshold",
            upsample_rates="upsample_rates",
            upsample_kernels="upsample_kernel_sizes",
            resblock_kernels="resblock_kernel_sizes",
            resblock_dilations="resblock_dilation_sizes",
            source_kernels="source_resblock_kernel_sizes",
            source_dilations="source_resblock_dilation_sizes",
            slope="lrelu_slope",
            limit="audio_limit",
        ),
        **istft,
        **_named(predictor, path, f0_channels="cond_channels"),
    }


def _section(values: Mapping[str, Any], path: Path, name: str) -> Mapping[str, Any]:
    section = values.get(name)
    if not isinstance(section, Mapping):
        raise CheckpointError(f"{path}: the section {name!r} is missing")
    return section


def _class(section: Mapping[str, Any], path: Path, name: str) -> None:
    given = str(section.get(CLASS))
    if given.rpartition(".")[2] != name:
        raise CheckpointError(f"{path}: expected a {name}, found {given}")


def _filled(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Put defaults in the place of keys that are absent or null."""
    return {**defaults, **{key: value for key, value in values.items() if value is not None}}


def _fixed(values: Mapping[str, Any], path: Path, **expected: object) -> None:
    """Refuse values that would ask for another network."""
    for name, value in expected.items():
        if values.get(name) != value:
            raise CheckpointError(
                f"{path}: {name} is {values.get(name)!r}, and GLM-4-Voice has {value!r}; "
                "this is another network"
            )


def _named(values: Mapping[str, Any], path: Path, **keys: str) -> dict[str, Any]:
    """Return values under our names from theirs."""
    for key in keys.values():
        if values.get(key) is None:
            raise CheckpointError(f"{path}: {key} is missing")
    return {name: values[key] for name, key in keys.items()}


def _dtype(values: Mapping[str, Any], path: Path) -> object:
    """Return the data type of the weights under any of its keys; several must agree."""
    given = {key: values[key] for key in DTYPE_KEYS if values.get(key) is not None}
    names = [one.removeprefix("torch.") if isinstance(one, str) else one for one in given.values()]
    if not names:
        raise CheckpointError(f"{path}: {' or '.join(DTYPE_KEYS)} is missing")
    if names[0] != names[-1]:
        told = " and ".join(f"{key} is {value!r}" for key, value in given.items())
        raise CheckpointError(f"{path}: {told}; remove the one that the weights do not have")
    return names[0]


def _ids(values: Mapping[str, Any], path: Path) -> list[int]:
    given = values.get("eos_token_id")
    ids = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, int)]
    if not ids or (isinstance(given, list) and len(ids) != len(given)):
        raise CheckpointError(f"{path}: eos_token_id is {given!r}, and must name one id or several")
    return ids

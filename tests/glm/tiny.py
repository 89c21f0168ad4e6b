"""Tiny random checkpoints in the true file formats of GLM-4-Voice, the same on every machine.

Each tensor is drawn by numpy's PCG64 from a seed made of its name, so that any program that knows
names and shapes builds the same numbers, whatever the order.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from voicerag_core.glm.text_tokenizer import SPECIAL_TOKENS
from voicerag_core.glm.weights.configs import (
    DecoderConfig,
    FlowConfig,
    HiFTConfig,
    LMConfig,
    SpeechTokenizerConfig,
)
from voicerag_core.glm.weights.tensor_shapes import (
    flow_shapes,
    hift_original,
    lm_original,
    speech_tokenizer_original,
)

CODES = 512
"""Speech tokens of the tiny models."""
TEXT_SIZE = 1000
"""Words of the tiny language model; its special ids follow."""
FIRST_AUDIO_ID = 1024
VOCAB_SIZE = 1600

SPEECH_TOKENIZER = SpeechTokenizerConfig(
    hidden_size=64, heads=4, ffn_size=128, layers=2, codebook_size=CODES
)
LM = LMConfig(
    vocab_size=VOCAB_SIZE, hidden_size=64, ffn_size=96, layers=2, heads=4, kv_heads=2, head_dim=16,
    pad_token_id=TEXT_SIZE, eos_token_ids=(TEXT_SIZE, TEXT_SIZE + 7, TEXT_SIZE + 9),
    dtype="float32",
)  # fmt: skip
DECODER = DecoderConfig(
    flow=FlowConfig(
        vocab_size=CODES, embedding_size=32, encoder_size=32, encoder_heads=4, encoder_ffn_size=64,
        encoder_layers=2, unet_channels=(32, 32), unet_heads=2, unet_head_dim=16, unet_blocks=1,
        unet_mid_blocks=1,
    ),
    hift=HiFTConfig(channels=32, f0_channels=16),
)  # fmt: skip


@dataclass(frozen=True)
class Trees:
    """Folders of the three trees, and the folder that holds them."""

    root: Path
    speech_tokenizer: Path
    lm: Path
    decoder: Path


def tensor_of(name: str, shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    """Draw one tensor: uniform numbers from PCG64([seed, CRC-32 of the name]), scaled.

    Matrices are divided by the square root of their inputs; gains of norms are 1 + 0.1 x; vectors
    are 0.1 x; tables ("embed", "codebook" or "ema_weight" in the name) are 0.5 x, of positions
    0.02 x, lest sound count for little; the lengths of a weight norm are 1 + 0.1 |x|, Snake's alpha
    1 + 0.5 |x|. The raw integers of the generator never
    change, x = ((raw >> 11) / 2**53 - 0.5) * sqrt(12) in float64, and the result is rounded once.
    """
    raw = np.random.PCG64([seed, zlib.crc32(name.encode())]).random_raw(math.prod(shape))
    values: NDArray[np.float64] = (
        ((raw >> np.uint64(11)) * 2.0**-53 - 0.5) * np.sqrt(12.0)
    ).reshape(shape)
    if name.endswith("weight_g"):
        values = 1.0 + 0.1 * np.abs(values)
    elif name.endswith("alpha"):
        values = 1.0 + 0.5 * np.abs(values)
    elif len(shape) == 1:
        gain = name.endswith("weight") or name == "ema_count"
        values = 0.1 * values + (1.0 if gain else 0.0)
    elif "embed_positions" in name:
        values = 0.02 * values
    elif "embed" in name or "codebook" in name or "ema_weight" in name:
        values = 0.5 * values
    else:
        values = values / np.sqrt(np.prod(shape[1:]))
    return values.astype(np.float32)


def state_of(
    shapes: Mapping[str, tuple[int, ...]], seed: int = 0, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Draw every tensor."""
    return {
        name: torch.from_numpy(tensor_of(name, shape, seed)).to(dtype)
        for name, shape in shapes.items()
    }


def eager(run: Callable[[], None]) -> Callable[[], None]:
    """Stands for a CUDA graph where there is no CUDA: runs once, and again."""
    run()
    return run


def write_trees(root: Path, seed: int = 0) -> Trees:
    """Write the three trees under the names of their hub repositories."""
    return Trees(
        root,
        write_speech_tokenizer(root / "glm-4-voice-tokenizer", seed=seed),
        write_lm(root / "glm-4-voice-9b", seed=seed),
        write_decoder(root / "glm-4-voice-decoder", seed=seed),
    )


def write_speech_tokenizer(
    folder: Path,
    config: SpeechTokenizerConfig = SPEECH_TOKENIZER,
    *,
    seed: int = 0,
    codebook: NDArray[np.float32] | None = None,
) -> Path:
    """Write the speech tokenizer's tree.

    Args:
        folder: Where.
        config: Its sizes.
        seed: Of the weights.
        codebook: Rows to use in place of random ones, shape [codes, width]. Among random rows one
            is nearest to every frame, and a comparison of ids would show nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = state_of(speech_tokenizer_original(config), seed)
    if codebook is not None:
        state["codebook.weight"] = torch.from_numpy(codebook.astype(np.float32))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(folder / "config.json", whisper_values(config))
    _write_json(
        folder / "preprocessor_config.json",
        {
            "chunk_length": 30, "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": config.mels, "hop_length": 160, "n_fft": 400, "n_samples": 480000,
            "nb_max_frames": 3000, "padding_side": "right", "padding_value": 0.0,
            "processor_class": "WhisperProcessor", "return_attention_mask": False,
            "sampling_rate": 16000,
        },
    )  # fmt: skip
    return folder


def whisper_values(config: SpeechTokenizerConfig) -> dict[str, Any]:
    """Return the released config.json with the sizes of a config."""
    return {
        "activation_function": "gelu",
        "architectures": ["WhisperVQEncoder"],
        "d_model": config.hidden_size,
        "decoder_attention_heads": config.heads,
        "decoder_ffn_dim": config.ffn_size,
        "decoder_layers": 2 * config.layers,
        "dropout": 0.0,
        "encoder_attention_heads": config.heads,
        "encoder_causal_attention": False,
        "encoder_causal_convolution": True,
        "encoder_ffn_dim": config.ffn_size,
        "encoder_layers": 2 * config.layers,
        "max_source_positions": config.positions,
        "model_type": "whisper",
        "num_mel_bins": config.mels,
        "pooling_kernel_size": config.pooling,
        "pooling_position": config.layers,
        "pooling_type": "avg",
        "quantize_causal_block_size": config.block_frames,
        "quantize_causal_encoder": False,
        "quantize_commit_coefficient": 0.25,
        "quantize_ema_decay": 0.99,
        "quantize_encoder_only": True,
        "quantize_loss_scale": 10.0,
        "quantize_position": config.layers,
        "quantize_restart_interval": 100,
        "quantize_vocab_size": config.codebook_size,
        "scale_embedding": False,
        "skip_language_detection": True,
        "torch_dtype": "float32",
        "transformers_version": "4.44.1",
        "vocab_size": 51866,
    }


def write_lm(
    folder: Path, config: LMConfig = LM, *, seed: int = 0, shards: int = 2, audio: int = CODES
) -> Path:
    """Write the language model's tree: shards with their index, config, text tokenizer.

    Args:
        folder: Where.
        config: Its sizes; the tokenizer's ids fit the default.
        seed: Of the weights.
        shards: Number of weight files.
        audio: Number of speech tokens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shapes = lm_original(config)
    state = state_of(shapes, seed, getattr(torch, config.dtype))
    frequencies = torch.arange(0, config.head_dim // 2, 2) / (config.head_dim // 2)
    state["transformer.rotary_pos_emb.inv_freq"] = (1.0 / 10000.0**frequencies).to(
        getattr(torch, config.dtype)
    )
    write_shards(folder, state, shards)
    _write_json(folder / "config.json", chatglm_values(config))
    write_text_tokenizer(folder, audio=audio)
    return folder


def write_shards(folder: Path, state: Mapping[str, torch.Tensor], shards: int) -> None:
    """Write tensors into files of about one size, and the index of them."""
    whole = sum(tensor.nbytes for tensor in state.values())
    groups: list[dict[str, torch.Tensor]] = [{}]
    filled = 0
    for name, tensor in state.items():
        if len(groups) < shards and filled >= whole * len(groups) / shards:
            groups.append({})
        groups[-1][name] = tensor.contiguous()
        filled += tensor.nbytes
    placed: dict[str, str] = {}
    for number, group in enumerate(groups, 1):
        file = f"model-{number:05}-of-{len(groups):05}.safetensors"
        save_file(group, folder / file, metadata={"format": "pt"})
        placed |= dict.fromkeys(group, file)
    index = {"metadata": {"total_size": whole}, "weight_map": placed}
    _write_json(folder / "model.safetensors.index.json", index)


def chatglm_values(config: LMConfig) -> dict[str, Any]:
    """Return the released config.json with the sizes of a config."""
    return {
        "_name_or_path": "THUDM/glm-4-voice-9b",
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "apply_query_key_layer_scaling": True,
        "apply_residual_connection_post_layernorm": False,
        "architectures": ["ChatGLMForConditionalGeneration"],
        "attention_dropout": 0.0,
        "attention_softmax_in_fp32": True,
        "bias_dropout_fusion": True,
        "eos_token_id": list(config.eos_token_ids),
        "ffn_hidden_size": config.ffn_size,
        "fp32_residual_connection": False,
        "hidden_dropout": 0.0,
        "hidden_size": config.hidden_size,
        "kv_channels": config.head_dim,
        "layernorm_epsilon": config.norm_eps,
        "model_type": "chatglm",
        "multi_query_attention": True,
        "multi_query_group_num": config.kv_heads,
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "num_layers": config.layers,
        "original_rope": True,
        "pad_token_id": config.pad_token_id,
        "padded_vocab_size": config.vocab_size,
        "post_layer_norm": True,
        "rmsnorm": True,
        "rope_ratio": config.rope_theta / 10000.0,
        "seq_length": config.max_positions,
        "tie_word_embeddings": False,
        "torch_dtype": config.dtype,
        "transformers_version": "4.44.1",
        "use_cache": True,
        "vocab_size": config.vocab_size,
    }


def write_text_tokenizer(folder: Path, *, audio: int = CODES) -> None:
    """Write ``tokenizer.model`` with `TEXT_SIZE` words, and ``tokenizer_config.json``.

    The words are the 256 bytes, then pairs of earlier words as they come in English letters.
    """
    letters = b" etaoinshrdlu"
    words = [bytes([byte]) for byte in range(256)]
    known = set(words)
    pairs = [bytes([a, b]) for a in letters for b in letters]
    triples = [bytes([a]) + pair for a in letters for pair in pairs]
    for word in pairs + triples:
        if len(words) < TEXT_SIZE and word not in known:
            words.append(word)
            known.add(word)
    lines = [f"{base64.b64encode(word).decode()} {rank}" for rank, word in enumerate(words)]
    (folder / "tokenizer.model").write_text("\n".join(lines) + "\n", encoding="ascii")
    ids = {TEXT_SIZE + i: name for i, name in enumerate(SPECIAL_TOKENS)}
    ids |= {FIRST_AUDIO_ID + i: f"<|audio_{i}|>" for i in range(audio)}
    added = {
        str(number): {
            "content": name, "lstrip": False, "normalized": False, "rstrip": False,
            "single_word": False, "special": True,
        }
        for number, name in ids.items()
    }  # fmt: skip
    _write_json(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": added,
            "auto_map": {"AutoTokenizer": ["tokenization_chatglm.ChatGLM4Tokenizer", None]},
            "eos_token": "<|endoftext|>",
            "model_max_length": 128000,
            "pad_token": "<|endoftext|>",
            "padding_side": "left",
            "tokenizer_class": "ChatGLM4Tokenizer",
        },
    )


def write_decoder(folder: Path, config: DecoderConfig = DECODER, *, seed: int = 0) -> Path:
    """Write the decoder's tree."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state_of(flow_shapes(config.flow), seed), folder / "flow.pt")
    torch.save(state_of(hift_original(config.hift), seed), folder / "hift.pt")
    (folder / "config.yaml").write_text(decoder_yaml(config), encoding="utf-8")
    return folder


def decoder_yaml(config: DecoderConfig = DECODER) -> str:
    """Return the released config.yaml with the sizes of a config, unused section and tags too."""
    flow, hift = config.flow, config.hift
    return f"""\
# as released, for hyperpyyaml
__set_seed1: !apply:random.seed [1986]
__set_seed2: !apply:numpy.random.seed [1986]
__set_seed3: !apply:torch.manual_seed [1986]
__set_seed4: !apply:torch.cuda.manual_seed_all [1986]

sample_rate: {config.sample_rate}
text_encoder_input_size: 512
llm_input_size: 1024
spk_embed_dim: {flow.speaker_size}

llm: !new:cosyvoice.llm.llm.TransformerLM
    text_encoder_input_size: !ref <text_encoder_input_size>
    spk_embed_dim: !ref <spk_embed_dim>
    text_encoder: !new:cosyvoice.transformer.encoder.ConformerEncoder
        input_size: !ref <text_encoder_input_size>
        use_cnn_module: False
    llm: !new:cosyvoice.transformer.encoder.TransformerEncoder
        input_size: !ref <llm_input_size>
        dropout_rate: 0.1

flow: !new:cosyvoice.flow.flow.MaskedDiffWithXvec
    input_size: {flow.embedding_size}
    output_size: {flow.mels}
    spk_embed_dim: !ref <spk_embed_dim>
    output_type: 'mel'
    vocab_size: {flow.vocab_size}
    input_frame_rate: {flow.token_rate}
    only_mask_loss: True
    encoder: !new:cosyvoice.transformer.encoder.BlockConformerEncoder
        output_size: {flow.encoder_size}
        attention_heads: {flow.encoder_heads}
        linear_units: {flow.encoder_ffn_size}
        num_blocks: {flow.encoder_layers}
        dropout_rate: 0.1
        positional_dropout_rate: 0.1
        attention_dropout_rate: 0.1
        normalize_before: True
        input_layer: 'linear'
        pos_enc_layer_type: 'rel_pos_espnet'
        selfattention_layer_type: 'block_rel_selfattn'
        block_size: {flow.block_tokens}
        input_size: {flow.embedding_size}
        use_cnn_module: False
        macaron_style: False
    length_regulator: !new:cosyvoice.flow.length_regulator.InterpolateRegulator
        channels: {flow.mels}
        sampling_ratios: {[1] * flow.regulator_layers}
    decoder: !new:cosyvoice.flow.flow_matching.ConditionalCFM
        in_channels: {3 * flow.mels}
        n_spks: 1
        spk_emb_dim: {flow.mels}
        cfm_params: !new:omegaconf.DictConfig
            content:
                sigma_min: 1e-06
                solver: 'euler'
                t_scheduler: 'cosine'
                training_cfg_rate: 0.2
                inference_cfg_rate: {flow.guidance}
                reg_loss_type: 'l1'
        estimator: !new:cosyvoice.flow.decoder.ConditionalDecoder
            in_channels: {4 * flow.mels}
            out_channels: {flow.mels}
            channels: {list(flow.unet_channels)}
            dropout: 0
            attention_head_dim: {flow.unet_head_dim}
            n_blocks: {flow.unet_blocks}
            num_mid_blocks: {flow.unet_mid_blocks}
            num_heads: {flow.unet_heads}
            act_fn: 'gelu'

hift: !new:cosyvoice.hifigan.generator.HiFTGenerator
    in_channels: {hift.mels}
    base_channels: {hift.channels}
    nb_harmonics: {hift.harmonics}
    sampling_rate: !ref <sample_rate>
    nsf_alpha: {hift.sine_amplitude}
    nsf_sigma: {hift.noise_std}
    nsf_voiced_threshold: {hift.voiced_hz:g}
    upsample_rates: {list(hift.upsample_rates)}
    upsample_kernel_sizes: {list(hift.upsample_kernels)}
    istft_params:
        n_fft: {hift.istft_size}
        hop_len: {hift.istft_hop}
    resblock_kernel_sizes: {list(hift.resblock_kernels)}
    resblock_dilation_sizes: {[list(one) for one in hift.resblock_dilations]}
    source_resblock_kernel_sizes: {list(hift.source_kernels)}
    source_resblock_dilation_sizes: {[list(one) for one in hift.source_dilations]}
    lrelu_slope: {hift.slope}
    audio_limit: {hift.limit}
    f0_predictor: !new:cosyvoice.hifigan.f0_predictor.ConvRNNF0Predictor
        num_class: 1
        in_channels: {hift.mels}
        cond_channels: {hift.f0_channels}
"""


def bfloat16(config: LMConfig = LM) -> LMConfig:
    """Return a config with the released type of weights."""
    return replace(config, dtype="bfloat16")


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

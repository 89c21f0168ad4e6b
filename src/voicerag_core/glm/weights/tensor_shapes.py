"""Name and shape of every tensor of the three networks, from their configs.

The names are those of the released files, with the weight norm of the vocoder folded; the language
model has those of transformers' `GlmForCausalLM`. `*_original` return what the released files hold.

Source: modules of THUDM/GLM-4-Voice @ eb00ce9 (speech_tokenizer/modeling_whisper.py,
cosyvoice/flow, cosyvoice/hifigan, cosyvoice/transformer), of shivammehta25/Matcha-TTS
(matcha/models/components/decoder.py, transformer.py) and of zai-org/glm-4-voice-9b
(modeling_chatglm.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from voicerag_core.glm.weights.configs import (
    FlowConfig,
    HiFTConfig,
    LMConfig,
    SpeechTokenizerConfig,
)

__all__ = [
    "TRAINING_ONLY",
    "flow_shapes",
    "hift_original",
    "hift_shapes",
    "lm_original",
    "lm_shapes",
    "speech_tokenizer_original",
    "speech_tokenizer_shapes",
    "weight_normed",
]

Shape = tuple[int, ...]
Shapes = dict[str, Shape]

TRAINING_ONLY = ("embed_positions2.weight", "ema_count", "ema_weight")
"""Tensors of the speech tokenizer that its answers do not depend on."""


def speech_tokenizer_shapes(config: SpeechTokenizerConfig) -> Shapes:
    """Return the encoder's tensors and the codebook."""
    wide = config.hidden_size
    shapes: Shapes = {
        "conv1.weight": (wide, config.mels, 3),
        "conv1.bias": (wide,),
        "conv2.weight": (wide, wide, 3),
        "conv2.bias": (wide,),
        "embed_positions.weight": (config.positions, wide),
    }
    for i in range(config.layers):
        layer = f"layers.{i}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{layer}.self_attn.{part}.weight"] = (wide, wide)
            if part != "k_proj":
                shapes[f"{layer}.self_attn.{part}.bias"] = (wide,)
        shapes |= _norm(f"{layer}.self_attn_layer_norm", wide)
        shapes |= _linear(f"{layer}.fc1", wide, config.ffn_size)
        shapes |= _linear(f"{layer}.fc2", config.ffn_size, wide)
        shapes |= _norm(f"{layer}.final_layer_norm", wide)
    shapes["codebook.weight"] = (config.codebook_size, wide)
    return shapes


def speech_tokenizer_original(config: SpeechTokenizerConfig) -> Shapes:
    """Return the contents of the released file, some of which only training needs."""
    second = (math.ceil(config.positions / config.pooling), config.hidden_size)
    codes = config.codebook_size
    training = (second, (codes,), (codes, config.hidden_size))
    return speech_tokenizer_shapes(config) | dict(zip(TRAINING_ONLY, training, strict=True))


def lm_shapes(config: LMConfig) -> Shapes:
    """Return the tensors of `GlmForCausalLM`."""
    wide, keys = config.hidden_size, config.kv_heads * config.head_dim
    queries = config.heads * config.head_dim
    shapes: Shapes = {"model.embed_tokens.weight": (config.vocab_size, wide)}
    for i in range(config.layers):
        layer = f"model.layers.{i}"
        for part, rows in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys)):
            shapes |= _linear(f"{layer}.self_attn.{part}", wide, rows)
        shapes[f"{layer}.self_attn.o_proj.weight"] = (wide, queries)
        shapes[f"{layer}.mlp.gate_up_proj.weight"] = (2 * config.ffn_size, wide)
        shapes[f"{layer}.mlp.down_proj.weight"] = (wide, config.ffn_size)
        shapes[f"{layer}.input_layernorm.weight"] = (wide,)
        shapes[f"{layer}.post_attention_layernorm.weight"] = (wide,)
    shapes["model.norm.weight"] = (wide,)
    shapes["lm_head.weight"] = (config.vocab_size, wide)
    return shapes


def lm_original(config: LMConfig) -> Shapes:
    """Return the tensors of `ChatGLMForConditionalGeneration`."""
    wide, keys = config.hidden_size, config.kv_heads * config.head_dim
    queries = config.heads * config.head_dim
    shapes: Shapes = {
        "transformer.embedding.word_embeddings.weight": (config.vocab_size, wide),
        "transformer.rotary_pos_emb.inv_freq": (config.head_dim // 4,),
    }
    for i in range(config.layers):
        layer = f"transformer.encoder.layers.{i}"
        shapes[f"{layer}.input_layernorm.weight"] = (wide,)
        shapes |= _linear(f"{layer}.self_attention.query_key_value", wide, queries + 2 * keys)
        shapes[f"{layer}.self_attention.dense.weight"] = (wide, queries)
        shapes[f"{layer}.post_attention_layernorm.weight"] = (wide,)
        shapes[f"{layer}.mlp.dense_h_to_4h.weight"] = (2 * config.ffn_size, wide)
        shapes[f"{layer}.mlp.dense_4h_to_h.weight"] = (wide, config.ffn_size)
    shapes["transformer.encoder.final_layernorm.weight"] = (wide,)
    shapes["transformer.output_layer.weight"] = (config.vocab_size, wide)
    return shapes


def flow_shapes(config: FlowConfig) -> Shapes:
    """Return the tensors of ``flow.pt``."""
    shapes: Shapes = {"input_embedding.weight": (config.vocab_size, config.embedding_size)}
    shapes |= _linear("spk_embed_affine_layer", config.speaker_size, config.mels)
    shapes |= _token_encoder(config)
    shapes |= _linear("encoder_proj", config.encoder_size, config.mels)
    for i in range(config.regulator_layers):
        shapes |= _conv(f"length_regulator.model.{3 * i}", config.mels, config.mels, 3)
        shapes |= _norm(f"length_regulator.model.{3 * i + 1}", config.mels)
    last = 3 * config.regulator_layers
    shapes |= _conv(f"length_regulator.model.{last}", config.mels, config.mels, 1)
    for name, shape in _unet(config).items():
        shapes[f"decoder.estimator.{name}"] = shape
    return shapes


def _token_encoder(config: FlowConfig) -> Shapes:
    wide, head = config.encoder_size, config.encoder_size // config.encoder_heads
    shapes = _linear("encoder.embed.out.0", config.embedding_size, wide)
    shapes |= _norm("encoder.embed.out.1", wide)
    shapes |= _norm("encoder.after_norm", wide)
    for i in range(config.encoder_layers):
        layer = f"encoder.encoders.{i}"
        shapes[f"{layer}.self_attn.pos_bias_u"] = (config.encoder_heads, head)
        shapes[f"{layer}.self_attn.pos_bias_v"] = (config.encoder_heads, head)
        for part in ("linear_q", "linear_k", "linear_v", "linear_out"):
            shapes |= _linear(f"{layer}.self_attn.{part}", wide, wide)
        shapes[f"{layer}.self_attn.linear_pos.weight"] = (wide, wide)
        shapes |= _linear(f"{layer}.feed_forward.w_1", wide, config.encoder_ffn_size)
        shapes |= _linear(f"{layer}.feed_forward.w_2", config.encoder_ffn_size, wide)
        shapes |= _norm(f"{layer}.norm_ff", wide)
        shapes |= _norm(f"{layer}.norm_mha", wide)
    return shapes


def _unet(config: FlowConfig) -> Shapes:
    channels = config.unet_channels
    time = 4 * channels[0]
    wide = 4 * config.mels  # noise, tokens, speaker and prompt side by side
    shapes = _linear("time_mlp.linear_1", wide, time) | _linear("time_mlp.linear_2", time, time)
    for i, out in enumerate(channels):
        shapes |= _unet_block(f"down_blocks.{i}", wide, out, config)
        wide = out
        last = i == len(channels) - 1
        shapes |= _conv(f"down_blocks.{i}.2" if last else f"down_blocks.{i}.2.conv", out, out, 3)
    for i in range(config.unet_mid_blocks):
        shapes |= _unet_block(f"mid_blocks.{i}", wide, wide, config)
    ups = (*reversed(channels), channels[0])
    for i in range(len(ups) - 1):
        shapes |= _unet_block(f"up_blocks.{i}", 2 * ups[i], ups[i + 1], config)
        if i == len(ups) - 2:
            shapes |= _conv(f"up_blocks.{i}.2", ups[i + 1], ups[i + 1], 3)
        else:
            shapes |= _conv(f"up_blocks.{i}.2.conv", ups[i + 1], ups[i + 1], 4)
    shapes |= _conv("final_block.block.0", channels[0], channels[0], 3)
    shapes |= _norm("final_block.block.1", channels[0])
    return shapes | _conv("final_proj", channels[0], config.mels, 1)


def _unet_block(name: str, wide: int, out: int, config: FlowConfig) -> Shapes:
    """Return one residual block and the transformer blocks after it."""
    shapes = _linear(f"{name}.0.mlp.1", 4 * config.unet_channels[0], out)
    for part, given in (("block1", wide), ("block2", out)):
        shapes |= _conv(f"{name}.0.{part}.block.0", given, out, 3)
        shapes |= _norm(f"{name}.0.{part}.block.1", out)
    shapes |= _conv(f"{name}.0.res_conv", wide, out, 1)
    inner = config.unet_heads * config.unet_head_dim
    for i in range(config.unet_blocks):
        block = f"{name}.1.{i}"
        shapes |= _norm(f"{block}.norm1", out)
        for part in ("to_q", "to_k", "to_v"):
            shapes[f"{block}.attn1.{part}.weight"] = (inner, out)
        shapes |= _linear(f"{block}.attn1.to_out.0", inner, out)
        shapes |= _norm(f"{block}.norm3", out)
        shapes |= _linear(f"{block}.ff.net.0.proj", out, 4 * out)
        shapes |= _linear(f"{block}.ff.net.2", 4 * out, out)
    return shapes


def hift_shapes(config: HiFTConfig) -> Shapes:
    """Return the tensors of the vocoder, its weight norm folded."""
    return {name: shape for name, shape, _ in _hift(config)}


def weight_normed(config: HiFTConfig) -> tuple[str, ...]:
    """Return the weights of the vocoder that the released file splits into length and direction."""
    return tuple(name for name, _, normed in _hift(config) if normed)


def hift_original(config: HiFTConfig) -> Shapes:
    """Return the tensors of ``hift.pt``, where ``weight_g`` and ``weight_v`` make a weight."""
    shapes: Shapes = {}
    for name, shape, normed in _hift(config):
        if normed:
            shapes[f"{name}_g"] = (shape[0], 1, 1)
            shapes[f"{name}_v"] = shape
        else:
            shapes[name] = shape
    return shapes


def _hift(config: HiFTConfig) -> Iterator[tuple[str, Shape, bool]]:
    """Name, shape, and whether the released file keeps it under weight norm."""
    spectrum = config.istft_size + 2
    yield from _plain(_linear("m_source.l_linear", config.harmonics + 1, 1))
    yield from _normed("conv_pre", config.mels, config.channels, 7)
    wide = config.channels
    for i, kernel in enumerate(config.upsample_kernels):
        yield f"ups.{i}.bias", (wide // 2,), False
        yield f"ups.{i}.weight", (wide, wide // 2, kernel), True
        wide //= 2
    for i in range(len(config.upsample_rates)):
        out = config.channels // 2 ** (i + 1)
        rate = math.prod(config.upsample_rates[i + 1 :])
        kernel = 1 if rate == 1 else 2 * rate
        yield from _plain(_conv(f"source_downs.{i}", spectrum, out, kernel))
        blocks = (config.source_kernels[i], config.source_dilations[i])
        yield from _residual(f"source_resblocks.{i}", out, *blocks)
        for j, kernel in enumerate(config.resblock_kernels):
            number = i * len(config.resblock_kernels) + j
            yield from _residual(f"resblocks.{number}", out, kernel, config.resblock_dilations[j])
    yield from _normed("conv_post", wide, spectrum, 7)
    given = config.mels
    for i in range(5):
        yield from _normed(f"f0_predictor.condnet.{2 * i}", given, config.f0_channels, 3)
        given = config.f0_channels
    yield from _plain(_linear("f0_predictor.classifier", config.f0_channels, 1))


def _residual(
    name: str, wide: int, kernel: int, dilations: tuple[int, ...]
) -> Iterator[tuple[str, Shape, bool]]:
    for i in range(len(dilations)):
        for part in ("1", "2"):
            yield from _normed(f"{name}.convs{part}.{i}", wide, wide, kernel)
            yield f"{name}.activations{part}.{i}.alpha", (wide,), False


def _normed(name: str, given: int, out: int, kernel: int) -> Iterator[tuple[str, Shape, bool]]:
    yield f"{name}.bias", (out,), False
    yield f"{name}.weight", (out, given, kernel), True


def _plain(shapes: Shapes) -> Iterator[tuple[str, Shape, bool]]:
    for name, shape in shapes.items():
        yield name, shape, False


def _linear(name: str, given: int, out: int) -> Shapes:
    return {f"{name}.weight": (out, given), f"{name}.bias": (out,)}


def _conv(name: str, given: int, out: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (out, given, kernel), f"{name}.bias": (out,)}


def _norm(name: str, wide: int) -> Shapes:
    return {f"{name}.weight": (wide,), f"{name}.bias": (wide,)}

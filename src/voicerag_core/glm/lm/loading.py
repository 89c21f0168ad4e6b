"""Loading the language model: its modules, its quantization, and its size in memory."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from voicerag_core.errors import ConfigError, MissingExtraError
from voicerag_core.glm.device_memory import telling_what_is_needed
from voicerag_core.glm.lm.weight_only import WIDTH_STEP_4, WeightOnlyLinear, quantize_linears
from voicerag_core.glm.weights.checkpoints import Part, load_lm, open_checkpoint
from voicerag_core.glm.weights.configs import CONTEXT_TOKENS, LMConfig

if TYPE_CHECKING:
    from transformers import GlmForCausalLM

__all__ = ["Quantization", "empty_lm", "lm_memory", "load_model", "quantize_to"]

Quantization = Literal["none", "int8", "int4"]
"""Bits of the weights. int8 takes any model, int4 one whose widths (hidden, feed-forward, heads
times head width) are multiples of 128, as all of the released model are."""
BITS: dict[Quantization, int] = {"int8": 8, "int4": 4}


def load_model(
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    quantization: Quantization = "none",
    max_context: int | None = None,
    check_finite: bool = False,
) -> tuple[GlmForCausalLM, int]:
    """Load the language model onto a device; see `TorchLM.load`.

    Returns:
        The model, and the tokens of prompt and reply that its cache should hold.
    """
    place = torch.device(device)
    bits = BITS.get(quantization)
    if quantization != "none" and bits is None:
        raise ConfigError(f"quantization is none, int8 or int4, not {quantization!r}")
    if max_context is not None and max_context < 1:
        raise ConfigError(f"max_context is at least 1 token, not {max_context}")
    part = open_checkpoint(folder).part("lm")
    assert isinstance(part.config, LMConfig)
    if bits == 4:  # noqa: PLR2004
        _check_widths(part.config)
    context = max_context or min(part.config.max_positions, CONTEXT_TOKENS)
    with lm_memory(place, _needed_bytes(part, bits), context, quantization):
        config, state = load_lm(
            folder, dtype=dtype, device="cpu" if bits else place, check_finite=check_finite
        )
        model = empty_lm(config)
        model.load_state_dict(state, assign=True)
        state.clear()
        if bits:
            quantize_to(model, bits, place)
    return model, context


def empty_lm(config: LMConfig) -> GlmForCausalLM:
    """Return the modules of a language model without weights.

    Raises:
        MissingExtraError: The extra ``glm`` is not installed.
    """
    try:
        from transformers import GlmConfig, GlmForCausalLM
    except ImportError as e:
        raise MissingExtraError("glm", "running GLM-4-Voice") from e
    values = GlmConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.ffn_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        attention_bias=True,
        rms_norm_eps=config.norm_eps,
        max_position_embeddings=config.max_positions,
        tie_word_embeddings=False,
        pad_token_id=config.pad_token_id,
        eos_token_id=list(config.eos_token_ids),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": config.rope_theta,
            "partial_rotary_factor": 0.5,
        },
    )
    with torch.device("meta"):
        return GlmForCausalLM(values)


def quantize_to(model: GlmForCausalLM, bits: int, device: torch.device) -> None:
    """Quantize a model and move it to a device, layer by layer; the output table takes 8 bits.

    The output table goes first: quantizing it takes the most memory.
    """
    with torch.inference_mode():
        head = WeightOnlyLinear(model.lm_head.to(device), 8)
        model.lm_head = head
        for layer in model.model.layers:
            layer.to(device)
            quantize_linears(layer, bits)
        model.model.embed_tokens.to(device)
        model.model.norm.to(device)


def _check_widths(config: LMConfig) -> None:
    """Refuse, before the weights are read, a model that 4 bits do not take."""
    widths = {
        "hidden size": config.hidden_size,
        "feed-forward size": config.ffn_size,
        "heads times head width": config.heads * config.head_dim,
    }
    if wrong := [f"{name} {width}" for name, width in widths.items() if width % WIDTH_STEP_4]:
        raise ConfigError(
            f"quantization 'int4' takes widths that are multiples of {WIDTH_STEP_4}, and this "
            f"model has {', '.join(wrong)}; choose 'int8', which takes any width, or 'none'"
        )


def _needed_bytes(part: Part, bits: int | None) -> int:
    """Estimate the size of the weights in memory from the config."""
    config = part.config
    assert isinstance(config, LMConfig)
    if bits is None:
        return part.bytes
    table = config.vocab_size * config.hidden_size
    layers = part.parameters - 2 * table
    return int(layers * (0.5625 if bits == 4 else 1.0) + 3 * table)  # noqa: PLR2004


def lm_memory(
    device: torch.device, weights: int, context: int, quantization: Quantization | None = None
) -> AbstractContextManager[None]:
    """Turn an out-of-memory error into one that says what is needed and what to choose."""
    now = "" if quantization is None else f" with quantization {quantization!r}"
    return telling_what_is_needed(
        device,
        f"the language model takes {weights / 1e9:.1f} GB{now} plus a cache for {context} tokens",
        "quantization 'int8' or 'int4', a smaller max_context, a larger GPU, or device 'cpu'",
    )

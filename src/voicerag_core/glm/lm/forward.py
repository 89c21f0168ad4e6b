"""The forward pass of GLM-4 over the layers of transformers' `GlmForCausalLM`.

Weights, names and config are transformers'; the loop over the layers is written here, so that
the cache has a fixed place in memory, can be kept between replies and be part of a CUDA graph, with
any version of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import GlmForCausalLM

__all__ = [
    "KeyValueCache",
    "RotaryTable",
    "Run",
    "embedding_table",
    "forward",
    "forward_runs",
    "left_padded_mask",
]


@dataclass(frozen=True, slots=True)
class KeyValueCache:
    """Keys and values of every layer, at a fixed place.

    Args:
        keys: [layers, B, kv heads, slots, head width], rotated.
        values: The same shape.
    """

    keys: torch.Tensor
    values: torch.Tensor

    @classmethod
    def allocate(cls, model: GlmForCausalLM, slots: int, batch: int = 1) -> KeyValueCache:
        """Make an empty cache on the model's device, in its dtype."""
        config = model.config
        table = embedding_table(model)
        layers, heads = config.num_hidden_layers, config.num_key_value_heads
        shape = (layers, batch, int(heads or 0), slots, int(config.head_dim or 0))
        keys, values = (
            torch.zeros(shape, dtype=table.dtype, device=table.device) for _ in range(2)
        )
        return cls(keys, values)

    @staticmethod
    def row_bytes(model: GlmForCausalLM, slots: int) -> int:
        """Return the bytes of one row."""
        config = model.config
        width = int(config.num_key_value_heads or 0) * int(config.head_dim or 0)
        each = embedding_table(model).element_size()
        return 2 * int(config.num_hidden_layers) * slots * width * each

    @property
    def slots(self) -> int:
        """Tokens that fit."""
        return self.keys.shape[3]


@dataclass(frozen=True, slots=True)
class RotaryTable:
    """Cosine and sine of every position, in float32.

    Upstream keeps this table in the model's dtype; in bfloat16 that moves scores by up to 3 %.

    Args:
        cos: [positions, half of the rotated width].
        sin: The same shape.
    """

    cos: torch.Tensor
    sin: torch.Tensor

    @classmethod
    def of(cls, model: GlmForCausalLM, positions: int) -> RotaryTable:
        """Compute the table of a model."""
        config = model.config
        values = getattr(config, "rope_parameters", None) or {}
        theta = values.get("rope_theta") or config.rope_theta
        share = values.get("partial_rotary_factor") or config.partial_rotary_factor
        width = int(config.head_dim * share)
        device = embedding_table(model).device
        steps = torch.arange(0, width, 2, dtype=torch.float32) / width
        angles = torch.outer(torch.arange(positions, dtype=torch.float32), 1.0 / theta**steps)
        return cls(angles.cos().to(device), angles.sin().to(device))


def embedding_table(model: GlmForCausalLM) -> torch.Tensor:
    """Return the input table [V, hidden]; its device and dtype are the model's."""
    return cast("torch.Tensor", model.model.embed_tokens.weight)


def forward(
    model: GlmForCausalLM,
    ids: torch.Tensor,
    *,
    positions: torch.Tensor,
    slots: torch.Tensor,
    filled: int,
    mask: torch.Tensor | None,
    cache: KeyValueCache,
    rotary: RotaryTable,
) -> torch.Tensor:
    """Run new tokens over the cache, and keep their keys and values there.

    Args:
        model: Its layers are used.
        ids: [B, T] int64.
        positions: [B, T] int64, for the rotary angles.
        slots: [T] int64, where the new tokens go in the cache.
        filled: Slots to attend to, counted from 0, the new ones included.
        mask: [B, 1, T, filled] bool, True where attended to; None lets every token attend to all
            filled slots when T is 1, and to those before it when the cache was empty.
        cache: Is written to.
        rotary: Of the model.

    Returns:
        [B, T, hidden], after the last norm.
    """

    def attend(
        layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        keys, values = cache.keys[layer], cache.values[layer]
        keys.index_copy_(2, slots, key)
        values.index_copy_(2, slots, value)
        return _attended(query, keys[:, :, :filled], values[:, :, :filled], mask)

    return _through_layers(model, ids, positions, rotary, attend)


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens that follow one another in a row of the cache.

    Args:
        row: Of the cache.
        start: Position and slot of the first.
        ids: The tokens.
    """

    row: int
    start: int
    ids: Sequence[int]


def forward_runs(
    model: GlmForCausalLM, runs: Sequence[Run], cache: KeyValueCache, rotary: RotaryTable
) -> torch.Tensor:
    """Run new tokens of several rows in one pass, and keep their keys and values.

    Args:
        model: Its layers are used.
        runs: Each in another row.
        cache: Is written to.
        rotary: Of the model.

    Returns:
        [tokens of all runs, hidden], after the last norm, in the order of the runs.
    """
    device = cache.keys.device
    ids = torch.tensor([[token for run in runs for token in run.ids]], device=device)
    spans = [torch.arange(run.start, run.start + len(run.ids), device=device) for run in runs]
    counts = [len(span) for span in spans]

    def attend(
        layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        found = []
        sides = (torch.split(side, counts, dim=2) for side in (query, key, value))
        parts = zip(runs, spans, *sides, strict=True)
        for run, span, one_query, one_key, one_value in parts:
            row, filled = slice(run.row, run.row + 1), run.start + len(span)
            keys, values = (side[layer, row, :, :filled] for side in (cache.keys, cache.values))
            keys[:, :, run.start :], values[:, :, run.start :] = one_key, one_value
            plain = run.start == 0 or len(span) == 1
            every = torch.arange(filled, device=device)
            mask = None if plain else (every <= span[:, None])[None, None]
            found.append(_attended(one_query, keys, values, mask))
        return torch.cat(found, dim=2)

    return _through_layers(model, ids, torch.cat(spans)[None], rotary, attend)[0]


def _through_layers(
    model: GlmForCausalLM,
    ids: torch.Tensor,
    positions: torch.Tensor,
    rotary: RotaryTable,
    attend: Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Return the hidden states [B, T, hidden] of ids [B, T] at positions [B, T].

    `attend` takes a layer's number, its query and key, both rotated, and its value, each
    [B, heads, T, width], and returns what the query reads.
    """
    rotations = torch.complex(rotary.cos[positions], rotary.sin[positions])[:, None]
    hidden = model.model.embed_tokens(ids)
    for number, layer in enumerate(model.model.layers):
        attention = layer.self_attn
        x = _normed(hidden, layer.input_layernorm)
        shape = (*x.shape[:2], -1, attention.head_dim)
        query, key, value = (
            projection(x).view(shape).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        heads = attend(number, _rotated(query, rotations), _rotated(key, rotations), value)
        hidden = hidden + attention.o_proj(heads.transpose(1, 2).flatten(2))
        hidden = hidden + layer.mlp(_normed(hidden, layer.post_attention_layernorm))
    return _normed(hidden, model.model.norm)


def left_padded_mask(lengths: torch.Tensor, longest: int, first: int, filled: int) -> torch.Tensor:
    """Let each new token attend to the tokens of its row up to itself.

    Args:
        lengths: [B] int64, tokens of each prompt; the rows are padded on the left to `longest`.
        longest: Slots of the padded prompts.
        first: Slot of the first new token.
        filled: One past the slot of the last.

    Returns:
        [B, 1, T, filled] bool.
    """
    every = torch.arange(filled, device=lengths.device)
    new = torch.arange(first, filled, device=lengths.device)[:, None]
    real = every[None, :] >= (longest - lengths)[:, None]
    own = every[None, :] == new  # keeps the rows of padding finite
    return ((every[None, :] <= new)[None] & real[:, None] | own)[:, None]


def _attended(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Attend with several query heads to each key head; [B, heads, T, width] in and out."""
    batch, heads, count, width = query.shape
    groups = heads // keys.shape[1]
    if count == 1:
        rows = query.reshape(batch, -1, groups, width)
        return functional.scaled_dot_product_attention(rows, keys, values, attn_mask=mask).reshape(
            batch, heads, 1, width
        )
    if mask is None:
        return functional.scaled_dot_product_attention(
            query, keys, values, is_causal=True, enable_gqa=True
        )
    keys, values = (side.repeat_interleave(groups, dim=1) for side in (keys, values))
    return functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)


def _normed(x: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    """Apply an RMSNorm of transformers in one kernel, where it needs six."""
    weight = cast("torch.Tensor", norm.weight)
    return functional.rms_norm(x, weight.shape, weight, cast("float", norm.variance_epsilon))


def _rotated(x: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """Rotate neighbouring pairs of the first part of each head, as complex numbers.

    Source: modeling_chatglm.py of glm-4-9b-chat, `apply_rotary_pos_emb`.
    """
    width = 2 * rotations.shape[-1]
    pairs = torch.view_as_complex(torch.unflatten(x[..., :width].float(), -1, (-1, 2)))
    rotated = torch.view_as_real(pairs * rotations).flatten(-2)
    return torch.cat((rotated.to(x.dtype), x[..., width:]), dim=-1)

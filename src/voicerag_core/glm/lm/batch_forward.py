"""The forward pass of many tokens on a GPU: parts of texts, and one token of each other row."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from voicerag_core.glm.lm.forward import RotaryTable, embedding_table
from voicerag_core.glm.lm.fused_forward import LayerWeights
from voicerag_core.glm.lm.tuning import fastest_tiles

if TYPE_CHECKING:
    from transformers import GlmForCausalLM

    from voicerag_core.glm.lm.batch_kernels import PackedTile
    from voicerag_core.glm.lm.kernels import Matrix

__all__ = ["BatchForward"]

UNPACKED = 16
"""Bits of weights as they are."""
MOST_PACKED = 128
"""Tokens up to which packed weights are unpacked tile by tile, and not as a whole before."""
TUNED = 16
"""Tokens for which tiles are chosen."""


class BatchForward:
    """Matrix products by torch's library, and what is between them in Triton's kernels.

    Args:
        model: The language model.
        layers: Its layers and their caches, shared with `FusedForward`.
        rotary: Of the model.
        most_parts: Most tokens of parts of texts.
        most_rows: Most other rows.
    """

    def __init__(
        self,
        model: GlmForCausalLM,
        layers: list[LayerWeights],
        rotary: RotaryTable,
        most_parts: int,
        most_rows: int,
    ) -> None:
        from voicerag_core.glm.lm import batch_kernels, kernels

        self._kernels = batch_kernels
        config = model.config
        self._table = embedding_table(model).detach()
        self._layers, self._rotary = layers, (rotary.cos, rotary.sin)
        self._epsilon = config.rms_norm_eps
        self._norm = model.model.norm.weight.detach()
        self._head: nn.Module = model.lm_head
        self._head_matrix = kernels.Matrix.of(model.lm_head)
        heads, kv_heads, width = (
            int(size or 0)
            for size in (config.num_attention_heads, config.num_key_value_heads, config.head_dim)
        )
        most, device = most_parts + most_rows, self._table.device
        self._one = kernels.CachedAttention(heads, kv_heads, width, device, most_rows)
        self._normed = self._table.new_empty(most, config.hidden_size)
        self._heads = self._table.new_empty(most, heads * width)
        self._gated = self._table.new_empty(most, config.intermediate_size)
        self._part = batch_kernels.PartAttention(
            heads, kv_heads, width, self._table.new_empty(most_parts, heads * width)
        )
        self._tiles: dict[str, PackedTile] = dict.fromkeys(
            ("qkv", "out", "gate_up", "down", "head"), batch_kernels.PACKED_TILES[0]
        )
        if layers[0].qkv.bits != UNPACKED:
            largest = max(m.rows * m.width for layer in layers for m in _matrices(layer))
            self._unpacked = self._table.new_empty(largest)
            if device.type == "cuda":
                self._tune()

    def __call__(
        self,
        ids: torch.Tensor,
        blocks: torch.Tensor | None,
        rows: torch.Tensor,
        positions: torch.Tensor,
        ends: torch.Tensor,
    ) -> torch.Tensor:
        """Return the logits [E, V] after some of the tokens.

        Args:
            ids: [T + B] int64, the parts of texts first.
            blocks: [3, T / BLOCK] int64; see `PartAttention`. None if T is 0.
            rows: [B] int64; see `CachedAttention`.
            positions: [B] int64.
            ends: [E] int64, numbers of tokens.
        """
        stream = self._table.index_select(0, ids)
        count, parts = len(ids), len(ids) - len(rows)
        normed, heads, gated = self._normed[:count], self._heads[:count], self._gated[:count]
        delta = None
        for layer in self._layers:
            self._add(stream, delta, layer.first_norm, normed)
            qkv = self._times("qkv", layer.qkv, layer.fused_qkv, normed)
            if blocks is not None:
                self._part.attend(
                    qkv[:parts], blocks, self._rotary, layer.keys, layer.values, heads[:parts]
                )
            if len(rows):
                self._one.attend(
                    qkv[parts:], positions, rows, self._rotary, layer.keys, layer.values,
                    heads[parts:],
                )  # fmt: skip
            attention, mlp = layer.module.self_attn, layer.module.mlp
            delta = self._times("out", layer.out, attention.o_proj, heads)  # type: ignore[union-attr,arg-type]
            self._add(stream, delta, layer.second_norm, normed)
            both = self._times("gate_up", layer.gate_up, mlp.gate_up_proj, normed)  # type: ignore[union-attr,arg-type]
            self._kernels.gate(both, gated)
            delta = self._times("down", layer.down, mlp.down_proj, gated)  # type: ignore[union-attr,arg-type]
        assert delta is not None
        last = stream.index_select(0, ends) + delta.index_select(0, ends)
        last = functional.rms_norm(last, self._norm.shape, self._norm, self._epsilon)
        return self._times("head", self._head_matrix, self._head, last)

    def _times(self, name: str, matrix: Matrix, linear: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Return x [N, K] times a weight; packed weights of few tokens are unpacked on the way."""
        if matrix.bits == UNPACKED:
            product: torch.Tensor = linear(x)
            return product
        if len(x) > MOST_PACKED:
            weight = self._unpacked[: matrix.rows * matrix.width].view(matrix.rows, matrix.width)
            self._kernels.unpack(matrix, weight)
            return functional.linear(x, weight, matrix.bias)
        out = x.new_empty(len(x), matrix.rows)
        self._kernels.packed_product(x, matrix, out, self._tiles[name])
        return out

    def _tune(self) -> None:
        """Choose the tiles of packed weights by timing them over all layers."""
        gated, normed, heads = (
            x[:TUNED].normal_() for x in (self._gated, self._normed, self._heads)
        )
        given = {"qkv": normed, "out": heads, "gate_up": normed, "down": gated}

        def over_all_layers(name: str, tile: PackedTile) -> None:
            self._tiles[name] = tile
            for layer in self._layers:
                self._times(name, getattr(layer, name), layer.module, given[name])

        self._tiles |= fastest_tiles(
            {name: partial(over_all_layers, name) for name in given}, self._kernels.PACKED_TILES
        )
        self._tiles["head"] = self._tiles["qkv"]

    def _add(
        self,
        stream: torch.Tensor,
        delta: torch.Tensor | None,
        weight: torch.Tensor,
        out: torch.Tensor,
    ) -> None:
        self._kernels.add_and_norm(stream, delta, weight, out, self._epsilon)


def _matrices(layer: LayerWeights) -> tuple[Matrix, ...]:
    return layer.qkv, layer.out, layer.gate_up, layer.down

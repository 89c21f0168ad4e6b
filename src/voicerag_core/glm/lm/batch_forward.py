"""The forward pass of many tokens on a GPU: parts of texts, and one token of each other row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from voicerag_core.glm.lm.forward import RotaryTable, embedding_table
from voicerag_core.glm.lm.fused_forward import LayerWeights

if TYPE_CHECKING:
    from transformers import GlmForCausalLM

__all__ = ["BatchForward"]


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
            qkv = layer.fused_qkv(normed)
            if blocks is not None:
                self._part.attend(
                    qkv[:parts], blocks, self._rotary, layer.keys, layer.values, heads[:parts]
                )
            if len(rows):
                self._one.attend(
                    qkv[parts:], positions, rows, self._rotary, layer.keys, layer.values,
                    heads[parts:],
                )  # fmt: skip
            self._add(stream, layer.module.self_attn.o_proj(heads), layer.second_norm, normed)  # type: ignore[union-attr,operator]
            self._kernels.gate(layer.module.mlp.gate_up_proj(normed), gated)  # type: ignore[union-attr,operator]
            delta = layer.module.mlp.down_proj(gated)  # type: ignore[union-attr,operator]
        assert delta is not None
        last = stream.index_select(0, ends) + delta.index_select(0, ends)
        last = functional.rms_norm(last, self._norm.shape, self._norm, self._epsilon)
        logits: torch.Tensor = self._head(last)
        return logits

    def _add(
        self,
        stream: torch.Tensor,
        delta: torch.Tensor | None,
        weight: torch.Tensor,
        out: torch.Tensor,
    ) -> None:
        self._kernels.add_and_norm(stream, delta, weight, out, self._epsilon)

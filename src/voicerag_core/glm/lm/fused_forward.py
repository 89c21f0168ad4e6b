"""The forward pass of one token in Triton's kernels."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from voicerag_core.glm.lm.forward import KeyValueCache, RotaryTable, embedding_table
from voicerag_core.glm.lm.tuning import fastest_tiles
from voicerag_core.glm.lm.weight_only import WeightOnlyLinear

if TYPE_CHECKING:
    from transformers import GlmForCausalLM

    from voicerag_core.glm.lm.kernels import Matrix, Tile

__all__ = ["FusedForward", "LayerWeights", "fuse_qkv", "has_triton"]


def has_triton() -> bool:
    """Return whether Triton is installed."""
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


class FusedForward:
    """The forward pass of one token in six Triton kernels per layer.

    Args:
        model: The language model; query, key and value are fused in place.
        cache: Its rows.
        rotary: Of the model.
        token: [1, 1] int64 on the device, the token to run.
        position: [1] int64 on the device, its position and slot.
        row: [1] int64 on the device, its row; as many as there are: none.
    """

    def __init__(  # noqa: PLR0917
        self,
        model: GlmForCausalLM,
        cache: KeyValueCache,
        rotary: RotaryTable,
        token: torch.Tensor,
        position: torch.Tensor,
        row: torch.Tensor,
    ) -> None:
        from voicerag_core.glm.lm import kernels

        self._kernels = kernels
        config = model.config
        table = embedding_table(model).detach()
        self._table = table
        self._token, self._position, self._row = token, position, row
        self._rotary = (rotary.cos, rotary.sin)
        self._epsilon = config.rms_norm_eps
        many, few, width = (
            int(size or 0)
            for size in (config.num_attention_heads, config.num_key_value_heads, config.head_dim)
        )
        self._attention = kernels.CachedAttention(many, few, width, table.device)
        self.layers = [
            LayerWeights(layer, cache.keys[number], cache.values[number])
            for number, layer in enumerate(model.model.layers)
        ]
        self._norm = model.model.norm.weight.detach()
        self._head = kernels.Matrix.of(model.lm_head)
        self._between = table.new_empty(config.hidden_size)
        self._stream = table.new_empty(config.hidden_size)
        self._qkv = table.new_empty((many + 2 * few) * width)
        self._heads = table.new_empty(many * width)
        self._gated = table.new_empty(config.intermediate_size)
        self._logits = torch.empty(self._head.rows, device=table.device, dtype=table.dtype)
        self._tiles: dict[str, Tile] = dict.fromkeys(
            ("qkv", "out", "gate_up", "down", "head"), kernels.TILES[0]
        )
        if table.device.type == "cuda":
            self._tune()

    def __call__(self, start: int) -> torch.Tensor:
        """Return the logits [1, V - start] of the token."""
        torch.index_select(self._table, 0, self._token[0], out=self._stream[None])
        for layer in self.layers:
            self._project(layer)
            self._attend(layer)
            self._output(layer)
            self._gate(layer)
            self._down(layer)
        return self._scores(start)

    def _project(self, layer: LayerWeights) -> None:
        self._kernels.matvec(
            self._stream, layer.qkv, self._qkv,
            tile=self._tiles["qkv"], norm=layer.first_norm, epsilon=self._epsilon,
        )  # fmt: skip

    def _attend(self, layer: LayerWeights) -> None:
        self._attention.attend(
            self._qkv, self._position, self._row, self._rotary, layer.keys, layer.values,
            self._heads,
        )  # fmt: skip

    def _output(self, layer: LayerWeights) -> None:
        self._kernels.matvec(
            self._heads, layer.out, self._between, tile=self._tiles["out"], residual=self._stream
        )

    def _gate(self, layer: LayerWeights) -> None:
        self._kernels.gated_matvec(
            self._between, layer.gate_up, self._gated,
            tile=self._tiles["gate_up"], norm=layer.second_norm, epsilon=self._epsilon,
        )  # fmt: skip

    def _down(self, layer: LayerWeights) -> None:
        self._kernels.matvec(
            self._gated, layer.down, self._stream, tile=self._tiles["down"], residual=self._between
        )

    def _scores(self, start: int) -> torch.Tensor:
        rows = self._head.sliced(start, self._head.rows)
        out = self._logits[start:]
        self._kernels.matvec(
            self._stream, rows, out,
            tile=self._tiles["head"], norm=self._norm, epsilon=self._epsilon,
        )  # fmt: skip
        return out[None]

    def _tune(self) -> None:
        """Choose each kernel's tile by timing it over all layers, so that caches stay cold."""
        for buffer in (self._stream, self._between, self._heads, self._gated):
            buffer.normal_()
        runs = {
            "qkv": self._project, "out": self._output, "gate_up": self._gate, "down": self._down,
        }  # fmt: skip

        def over_all_layers(name: str, tile: Tile) -> None:
            self._tiles[name] = tile
            for layer in self.layers:
                runs[name](layer)

        self._tiles |= fastest_tiles(
            {name: partial(over_all_layers, name) for name in runs}, self._kernels.TILES
        )
        self._tiles["head"] = self._tiles["qkv"]


class LayerWeights:
    """The weights of a layer as the kernels read them, and its part of the cache."""

    __slots__ = (
        "down", "first_norm", "fused_qkv", "gate_up", "keys", "module", "out", "qkv",
        "second_norm", "values",
    )  # fmt: skip

    def __init__(self, layer: nn.Module, keys: torch.Tensor, values: torch.Tensor) -> None:
        from voicerag_core.glm.lm.kernels import Matrix

        self.module = layer
        self.fused_qkv = fuse_qkv(layer.self_attn)  # type: ignore[arg-type]
        self.qkv: Matrix = Matrix.of(self.fused_qkv)
        self.out = Matrix.of(layer.self_attn.o_proj)  # type: ignore[union-attr,arg-type]
        self.gate_up = Matrix.of(layer.mlp.gate_up_proj)  # type: ignore[union-attr,arg-type]
        self.down = Matrix.of(layer.mlp.down_proj)  # type: ignore[union-attr,arg-type]
        self.first_norm = layer.input_layernorm.weight.detach()  # type: ignore[union-attr,operator]
        self.second_norm = layer.post_attention_layernorm.weight.detach()  # type: ignore[union-attr,operator]
        self.keys, self.values = keys, values


def fuse_qkv(attention: nn.Module) -> nn.Module:
    """Concatenate the weights of query, key and value, and return them as one layer.

    The three layers remain and share its memory.
    """
    layers = [getattr(attention, f"{name}_proj") for name in "qkv"]
    first = layers[0]
    cuts = [layer.out_features for layer in layers]
    fused: nn.Module = copy.copy(first)
    kinds = ("packed", "scale", "zero", "bias") if isinstance(first, WeightOnlyLinear) else (
        "weight", "bias",
    )  # fmt: skip
    for kind in kinds:
        if getattr(first, kind) is None:
            continue
        whole = torch.cat([getattr(layer, kind).detach() for layer in layers])
        for layer, rows in zip(layers, torch.split(whole, cuts), strict=True):
            getattr(layer, kind).data = rows
        held = dict(fused._parameters), dict(fused._buffers)
        fused._parameters, fused._buffers = held
        if isinstance(first, WeightOnlyLinear):
            fused._buffers[kind] = whole
        else:
            fused._parameters[kind] = nn.Parameter(whole, requires_grad=False)
    fused.out_features = sum(cuts)
    return fused

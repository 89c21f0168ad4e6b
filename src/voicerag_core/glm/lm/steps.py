"""One more token for a single reply: eagerly, or as a CUDA graph of fused kernels."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import nn

from voicerag_core.glm.lm.forward import KeyValueCache, RotaryTable, embedding_table, forward
from voicerag_core.glm.lm.interleave import LegalIds
from voicerag_core.glm.lm.sampler import pick
from voicerag_core.glm.lm.weight_only import WeightOnlyLinear
from voicerag_core.types import Sampling

if TYPE_CHECKING:
    from transformers import GlmForCausalLM

    from voicerag_core.glm.lm.kernels import Matrix, Tile

__all__ = ["EagerStep", "FusedForward", "GraphStep", "Masks", "PlainForward", "Step", "fuse_qkv"]

_logger = logging.getLogger(__name__)

WARM_UPS = 3
"""Runs before a capture, as torch's documentation of CUDA graphs asks for."""
TIMED_RUNS = 3


class Step(Protocol):
    """Draws the token that follows one token."""

    def begin(self, sampling: Sampling, uniform: torch.Tensor) -> None:
        """Start a reply.

        Args:
            sampling: Temperature and nucleus.
            uniform: [steps] float32, one random number a token.
        """
        ...

    def __call__(self, token: int, position: int, number: int, legal: LegalIds) -> int:
        """Run a token and draw the next.

        Args:
            token: The last id.
            position: Its position and slot.
            number: Which of the random numbers to use.
            legal: What may be drawn.

        Returns:
            The id, or `sampler.NOT_FINITE`.
        """
        ...


class Masks:
    """Masks of legal ids on a device, each made once.

    Args:
        device: Where.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._kept: WeakKeyDictionary[LegalIds, torch.Tensor] = WeakKeyDictionary()

    def of(self, legal: LegalIds) -> torch.Tensor:
        """Return the mask [V] bool."""
        mask = self._kept.get(legal)
        if mask is None:
            mask = self._kept[legal] = torch.from_numpy(legal.mask.copy()).to(self._device)
        return mask


class EagerStep:
    """A step in plain torch, for the CPU.

    Args:
        model: The language model.
        cache: Of batch 1.
        rotary: Of the model.
        masks: On the model's device.
    """

    def __init__(
        self, model: GlmForCausalLM, cache: KeyValueCache, rotary: RotaryTable, masks: Masks
    ) -> None:
        self._model, self._cache, self._rotary, self._masks = model, cache, rotary, masks
        self._device = cache.keys.device

    def begin(self, sampling: Sampling, uniform: torch.Tensor) -> None:
        """See `Step.begin`."""
        self._uniform = uniform
        self._temperature = torch.tensor(sampling.temperature)
        self._top_p = torch.tensor(sampling.top_p)

    def __call__(self, token: int, position: int, number: int, legal: LegalIds) -> int:
        """See `Step`."""
        place = torch.tensor([position], device=self._device)
        hidden = forward(
            self._model,
            torch.tensor([[token]], device=self._device),
            positions=place[None],
            slots=place,
            filled=position + 1,
            mask=None,
            cache=self._cache,
            rotary=self._rotary,
        )
        return int(
            pick(
                self._model.lm_head(hidden[:, -1]),
                self._masks.of(legal),
                self._uniform[number : number + 1],
                self._temperature,
                self._top_p,
            )
        )


class GraphStep:
    """A step as CUDA graphs: one over all ids, one over those from the first special id on.

    In a block of speech only speech and stop ids are legal, so the rows of the output table for
    words need not be read. With Triton the graphs hold the kernels of `lm_kernels`; without it,
    the plain forward pass.

    Args:
        model: The language model; query, key and value are fused in place.
        cache: Of batch 1.
        rotary: Of the model.
        masks: On the model's device.
        kernels: Whether to use Triton's kernels.
    """

    def __init__(
        self,
        model: GlmForCausalLM,
        cache: KeyValueCache,
        rotary: RotaryTable,
        masks: Masks,
        *,
        kernels: bool = True,
    ) -> None:
        self._masks = masks
        device = cache.keys.device
        rows = model.lm_head.out_features
        self._token = torch.zeros(1, 1, dtype=torch.int64, device=device)
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        self._uniform = torch.zeros(1, device=device)
        self._temperature = torch.zeros((), device=device)
        self._top_p = torch.ones((), device=device)
        self._mask = torch.ones(rows, dtype=torch.bool, device=device)
        self._shown: LegalIds | None = None
        self._drawn: dict[int, torch.Tensor] = {}
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._run = (
            FusedForward(model, cache, rotary, self._token, self._position)
            if kernels
            else PlainForward(model, cache, rotary, self._token, self._position)
        )

    def begin(self, sampling: Sampling, uniform: torch.Tensor) -> None:
        """See `Step.begin`."""
        self._draws = uniform.to(self._uniform.device)
        self._temperature.fill_(sampling.temperature)
        self._top_p.fill_(sampling.top_p)

    def __call__(self, token: int, position: int, number: int, legal: LegalIds) -> int:
        """See `Step`."""
        start = legal.start
        if start not in self._graphs:
            self._capture(start)
        if legal is not self._shown:
            self._mask.copy_(self._masks.of(legal))
            self._shown = legal
        self._token.fill_(token)
        self._position.fill_(position)
        self._uniform.copy_(self._draws[number : number + 1])
        self._graphs[start].replay()
        drawn = int(self._drawn[start])
        return drawn + start if drawn >= 0 else drawn

    def warm(self, legals: tuple[LegalIds, ...]) -> None:
        """Capture the graphs that these need."""
        for legal in legals:
            if legal.start not in self._graphs:
                self._capture(legal.start)

    def _capture(self, start: int) -> None:
        def run() -> None:
            logits = self._run(start)
            self._drawn[start] = pick(
                logits, self._mask[start:], self._uniform, self._temperature, self._top_p
            )

        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        self._graphs[start] = _captured(run)


class PlainForward:
    """The plain forward pass at fixed shapes: every slot is attended to, under a mask."""

    def __init__(
        self,
        model: GlmForCausalLM,
        cache: KeyValueCache,
        rotary: RotaryTable,
        token: torch.Tensor,
        position: torch.Tensor,
    ) -> None:
        self._model, self._cache, self._rotary = model, cache, rotary
        self._token, self._position = token, position
        self._slots = torch.arange(cache.slots, device=token.device)

    def __call__(self, start: int) -> torch.Tensor:
        """Return the logits [1, V - start]."""
        hidden = forward(
            self._model,
            self._token,
            positions=self._position[None],
            slots=self._position,
            filled=self._cache.slots,
            mask=(self._slots <= self._position)[None, None, None],
            cache=self._cache,
            rotary=self._rotary,
        )
        logits: torch.Tensor = self._model.lm_head(hidden[:, -1])
        return logits[:, start:]


class FusedForward:
    """The forward pass of one token in six Triton kernels a layer.

    Args:
        model: The language model; query, key and value are fused in place.
        cache: Of batch 1.
        rotary: Of the model.
        token: [1, 1] int64 on the device, the token to run.
        position: [1] int64 on the device, its position and slot.
    """

    def __init__(
        self,
        model: GlmForCausalLM,
        cache: KeyValueCache,
        rotary: RotaryTable,
        token: torch.Tensor,
        position: torch.Tensor,
    ) -> None:
        from voicerag_core.glm.lm import kernels as lm_kernels

        self._kernels = lm_kernels
        config = model.config
        table = embedding_table(model).detach()
        self._table = table
        self._token, self._position = token, position
        self._rotary = (rotary.cos, rotary.sin)
        self._epsilon = config.rms_norm_eps
        many, few, width = (
            int(size or 0)
            for size in (config.num_attention_heads, config.num_key_value_heads, config.head_dim)
        )
        self._attention = lm_kernels.Attention(many, few, width, table.device)
        self._layers = [
            _LayerParts(layer, cache.keys[number, 0], cache.values[number, 0])
            for number, layer in enumerate(model.model.layers)
        ]
        self._norm = model.model.norm.weight.detach()
        self._head = lm_kernels.Matrix.of(model.lm_head)
        self._between = table.new_empty(config.hidden_size)
        self._stream = table.new_empty(config.hidden_size)
        self._qkv = table.new_empty((many + 2 * few) * width)
        self._heads = table.new_empty(many * width)
        self._gated = table.new_empty(config.intermediate_size)
        self._logits = torch.empty(self._head.rows, device=table.device, dtype=table.dtype)
        self._tiles: dict[str, Tile] = dict.fromkeys(
            ("qkv", "out", "gate_up", "down", "head"), lm_kernels.TILES[0]
        )
        if table.device.type == "cuda":
            self._tune()

    def __call__(self, start: int) -> torch.Tensor:
        """Return the logits [1, V - start] of the token."""
        torch.index_select(self._table, 0, self._token[0], out=self._stream[None])
        for layer in self._layers:
            self._project(layer)
            self._attend(layer)
            self._output(layer)
            self._gate(layer)
            self._down(layer)
        return self._scores(start)

    def _project(self, layer: _LayerParts) -> None:
        self._kernels.matvec(
            self._stream, layer.qkv, self._qkv,
            tile=self._tiles["qkv"], norm=layer.first_norm, epsilon=self._epsilon,
        )  # fmt: skip

    def _attend(self, layer: _LayerParts) -> None:
        self._attention.attend(
            self._qkv, self._position, self._rotary, layer.keys, layer.values, self._heads
        )

    def _output(self, layer: _LayerParts) -> None:
        self._kernels.matvec(
            self._heads, layer.out, self._between, tile=self._tiles["out"], residual=self._stream
        )

    def _gate(self, layer: _LayerParts) -> None:
        self._kernels.gated_matvec(
            self._between, layer.gate_up, self._gated,
            tile=self._tiles["gate_up"], norm=layer.second_norm, epsilon=self._epsilon,
        )  # fmt: skip

    def _down(self, layer: _LayerParts) -> None:
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
        for name, run in runs.items():
            seconds = {}
            for tile in self._kernels.TILES:
                self._tiles[name] = tile
                seconds[tile] = _seconds(lambda run=run: [run(layer) for layer in self._layers])  # type: ignore[misc]
            self._tiles[name] = min(seconds, key=seconds.__getitem__)
        self._tiles["head"] = self._tiles["qkv"]
        _logger.debug("tiles: %s", self._tiles)


class _LayerParts:
    """What the kernels need of a layer."""

    __slots__ = ("down", "first_norm", "gate_up", "keys", "out", "qkv", "second_norm", "values")

    def __init__(self, layer: nn.Module, keys: torch.Tensor, values: torch.Tensor) -> None:
        from voicerag_core.glm.lm.kernels import Matrix

        self.qkv: Matrix = Matrix.of(fuse_qkv(layer.self_attn))  # type: ignore[arg-type]
        self.out = Matrix.of(layer.self_attn.o_proj)  # type: ignore[union-attr,arg-type]
        self.gate_up = Matrix.of(layer.mlp.gate_up_proj)  # type: ignore[union-attr,arg-type]
        self.down = Matrix.of(layer.mlp.down_proj)  # type: ignore[union-attr,arg-type]
        self.first_norm = layer.input_layernorm.weight.detach()  # type: ignore[union-attr,operator]
        self.second_norm = layer.post_attention_layernorm.weight.detach()  # type: ignore[union-attr,operator]
        self.keys, self.values = keys, values


def fuse_qkv(attention: nn.Module) -> nn.Module:
    """Lay the weights of query, key and value behind one another, and return them as one layer.

    The three layers stay and share its memory.
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


def _seconds(run: Callable[[], object]) -> float:
    """Time a run on the GPU, as a graph, so that launches from Python do not count."""
    run()
    graph = _captured(run)
    graph.replay()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    for _ in range(TIMED_RUNS):
        graph.replay()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1000 / TIMED_RUNS


def _captured(run: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """Capture a run that was warmed up; other threads may use the GPU meanwhile."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        run()
    return graph

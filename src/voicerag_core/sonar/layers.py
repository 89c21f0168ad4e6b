"""Layers of the text encoder, the speech encoder and the text decoder.

Attributes are named as in fairseq2, so a checkpoint's keys are the module's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "FeedForward",
    "MultiHeadAttention",
    "Stack",
    "TokenTable",
    "TransformerLayer",
    "interleaved_distances",
    "real_positions",
    "sinusoid",
]


class MultiHeadAttention(nn.Module):
    """Multi-head attention with biases.

    Args:
        width: Of inputs and outputs.
        heads: Divides `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)

    def forward(
        self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Let each position of `x` [N, S, D] look at `memory` [N, T, D], itself by default.

        Args:
            x: Queries.
            memory: Keys and values.
            mask: Broadcasts to [N, heads, S, T]; True where a query may look. None: everywhere.
        """
        source = x if memory is None else memory
        found = functional.scaled_dot_product_attention(
            self.split(self.q_proj(x)),
            self.split(self.k_proj(source)),
            self.split(self.v_proj(source)),
            attn_mask=mask,
        )
        return self.join(found)

    def split(self, x: Tensor) -> Tensor:
        """Turn [N, S, D] into [N, heads, S, D / heads]."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def join(self, x: Tensor) -> Tensor:
        """Turn [N, heads, S, D / heads] back, through the output projection."""
        projected: Tensor = self.output_proj(x.transpose(1, 2).flatten(2))
        return projected


class FeedForward(nn.Module):
    """Two linear maps with an activation between them."""

    def __init__(self, width: int, inner: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner_proj = nn.Linear(width, inner)
        self.output_proj = nn.Linear(inner, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., D]."""
        mapped: Tensor = self.output_proj(self.activation(self.inner_proj(x)))
        return mapped


class TokenTable(nn.Module):
    """A vector for each token."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        # uniform numbers: normal ones on the device "meta" import torch's compiler, 1.4 s
        table = torch.rand(tokens, width)
        self.embed = nn.Embedding(tokens, width, _weight=table)


class Stack(nn.Module):
    """Layers in sequence."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class TransformerLayer(nn.Module):
    """Pre-norm transformer layer with ReLU."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.self_attn = MultiHeadAttention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, inner, functional.relu)
        self.ffn_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map [N, S, D] to [N, S, D]."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask=mask)
        mapped: Tensor = x + self.ffn(self.ffn_layer_norm(x))
        return mapped


def sinusoid(first: int, count: int, width: int) -> Tensor:
    """Make the position table [count, width], float32: sines in the left half, cosines right.

    Args:
        first: Position of the first row.
        count: Rows.
        width: Columns, even.

    Source: tensor2tensor's timing signal as in fairseq2 0.8.1, nn/position_encoder.py
    (SinusoidalPositionEncoder).
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device="cpu")
    frequencies = torch.exp(steps * -(math.log(10000.0) / (half - 1)))
    positions = torch.arange(first, first + count, dtype=torch.float32, device="cpu")
    angles = torch.outer(positions, frequencies)
    return torch.cat((angles.sin(), angles.cos()), dim=1)


def interleaved_distances(length: int, width: int) -> Tensor:
    """Make the table of distances [2 * length - 1, width], float32.

    Row i is distance ``length - 1 - i``, positive when the key is to the left; sines are in even
    columns, cosines in odd ones.

    Source: Transformer-XL (arXiv 1901.02860) as in fairseq2 0.8.1, models/
    transformer/sdpa/relative.py.
    """
    steps = torch.arange(0, width, 2, dtype=torch.float32, device="cpu")
    frequencies = torch.exp(steps * -(math.log(10000.0) / width))
    distances = torch.arange(length - 1, -length, -1, dtype=torch.float32, device="cpu")
    angles = torch.outer(distances, frequencies)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


def real_positions(lengths: Tensor, width: int) -> Tensor:
    """Return whether each position of a padded batch is real, [N, width] bool."""
    return torch.arange(width, device=lengths.device)[None] < lengths[:, None]

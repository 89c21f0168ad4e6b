"""Weights of 8 or 4 bits for the language model's linear layers; activations stay as they are.

8 bits: one scale per row, symmetric. 4 bits: a scale and a zero for each group of `GROUP` inputs,
two weights per byte: byte j of a row holds input j in its low half and input j + K/2 in its high
half, so the number of inputs is a multiple of `WIDTH_STEP_4`. The output table always takes 8 bits,
since errors there change the choice of a token most.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from voicerag_core.errors import ConfigError

__all__ = ["GROUP", "WIDTH_STEP_4", "WeightOnlyLinear", "quantize_linears"]

GROUP = 64
WIDTH_STEP_4 = 2 * GROUP
"""Layers of 4 bits have a multiple of this many inputs."""
LEVELS_8, LEVELS_4 = 127, 15
ROWS_AT_ONCE = 16_384
"""Rows dequantized at a time; bounds the memory that takes."""


class WeightOnlyLinear(nn.Module):
    """A linear layer with a weight of 8 or 4 bits.

    Args:
        linear: The layer to quantize, on its device; its bias is kept.
        bits: 8, or 4 if the number of inputs is a multiple of 128.

    Raises:
        ConfigError: The layer has another number of inputs than 4 bits take.
    """

    packed: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor | None
    bias: torch.Tensor | None

    def __init__(self, linear: nn.Linear, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        packed, scale, zero = _quantized_8(weight) if bits == 8 else _quantized_4(weight)  # noqa: PLR2004
        self.register_buffer("packed", packed)
        self.register_buffer("scale", scale)
        self.register_buffer("zero", zero)
        bias = linear.bias
        self.register_buffer("bias", None if bias is None else bias.detach())

    def dequantized(self, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Return rows of the weight, [N, K] if all, in the dtype of the scales."""
        packed, scale = self.packed[start:stop], self.scale[start:stop]
        if self.zero is None:
            return packed.to(scale.dtype).mul_(scale[:, None])
        halves = torch.cat((packed & 15, packed >> 4), dim=1).to(scale.dtype)
        groups = torch.unflatten(halves, 1, (-1, GROUP))
        groups.mul_(scale[..., None]).add_(self.zero[start:stop][..., None])
        return torch.flatten(groups, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer to [..., K]."""
        parts = [
            functional.linear(x, self.dequantized(start, start + ROWS_AT_ONCE))
            for start in range(0, self.out_features, ROWS_AT_ONCE)
        ]
        y = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        return y if self.bias is None else y + self.bias


def quantize_linears(module: nn.Module, bits: int) -> None:
    """Replace every linear layer below a module, one at a time, each on its device.

    Args:
        module: Changed in place.
        bits: 8 or 4.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, WeightOnlyLinear(child, bits))
        else:
            quantize_linears(child, bits)


def _quantized_8(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
    largest = weight.abs().amax(dim=1).float().clamp(min=1e-12)
    scale = (largest / LEVELS_8).to(weight.dtype)
    packed = (weight / scale[:, None]).round().clamp(-LEVELS_8, LEVELS_8).to(torch.int8)
    return packed, scale, None


def _quantized_4(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    if weight.shape[1] % WIDTH_STEP_4:
        raise ConfigError(
            f"4 bits take layers whose number of inputs is a multiple of {WIDTH_STEP_4}, and this "
            f"one has {weight.shape[1]}; 8 bits take any number"
        )
    groups = torch.unflatten(weight, 1, (-1, GROUP)).float()
    low, high = groups.amin(dim=-1), groups.amax(dim=-1)
    scale = ((high - low) / LEVELS_4).clamp(min=1e-8).to(weight.dtype)
    zero = low.to(weight.dtype)
    levels = ((groups - zero.float()[..., None]) / scale.float()[..., None]).round()
    values = levels.clamp(0, LEVELS_4).to(torch.uint8).flatten(1)
    half = values.shape[1] // 2
    return values[:, :half] | (values[:, half:] << 4), scale, zero

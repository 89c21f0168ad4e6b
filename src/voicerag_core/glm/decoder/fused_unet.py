"""The flow's U-Net as a third of the kernels: the same weights, frames with channels together.

`UNet` is what this computes; it stays for the CPU, for float32, for small GPUs, and where Triton
is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from voicerag_core.glm.decoder import product_kernels as products
from voicerag_core.glm.decoder import unet_kernels as kernels
from voicerag_core.glm.decoder.unet import UNet

__all__ = ["FusedUNet", "fits"]

Kind = TypeVar("Kind", bound=nn.Module)
LEAST = 16
"""Channels of the smallest product."""
MOST = 256
"""Channels of the widest layer norm, which a program holds whole."""


def fits(unet: UNet) -> bool:
    """Return whether the kernels can hold a U-Net of these sizes."""
    powers: set[int] = set()
    inputs: set[int] = set()
    for name, module in unet.named_modules():
        if isinstance(module, nn.LayerNorm):
            powers.add(module.normalized_shape[0])
        elif name.endswith("attn1"):
            powers.add(_split(module)[2])
        elif isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            inputs.add(module.in_channels)
        elif isinstance(module, nn.Linear) and ".1." in name:
            inputs.add(module.in_features)
    return all(LEAST <= size <= MOST and size & (size - 1) == 0 for size in powers) and all(
        size % LEAST == 0 for size in inputs
    )


class FusedUNet:
    """Computes what a `UNet` does, with the weights that it has now.

    Weights of convolutions and of layers behind a layer norm are copied, the others shared.

    Args:
        unet: Its weights must be loaded and stay where they are.
    """

    def __init__(self, unet: UNet) -> None:
        self._down = [_Level(level) for level in unet.down_blocks]
        self._mid = [_Level(level) for level in unet.mid_blocks]
        self._up = [_Level(level, inputs=2) for level in unet.up_blocks]
        self._final = _ConvNorm(unet.final_block)
        self._projection = _product(unet.final_proj)

    def __call__(self, x: Tensor, shifts: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Predict the velocity; see `UNet.forward`, which takes and returns the same."""
        lengths = _lengths(x, mask)
        out = self._velocity(x.transpose(1, 2).contiguous(), shifts, lengths).transpose(1, 2)
        return out if mask is None else out.masked_fill(~mask, 0.0)

    def step(
        self,
        x: Tensor,
        context: Tensor,
        both: Tensor | None,
        size: float | Tensor,
        shifts: Sequence[Tensor],
        *,
        strength: float,
    ) -> Tensor:
        """Take one Euler step with guidance; see `Flow.step`.

        Args:
            x: Shape [B, mels, T], float32.
            context: Shape [2 * B, 3 * mels, T].
            both: Shape [2 * B, 1, T], bool, or None.
            size: Of the step; as a tensor float32 with one element.
            shifts: Of `UNet.time_shifts`, for one time.
            strength: Of the guidance.
        """
        lengths = _lengths(context, both)
        if not isinstance(size, Tensor):
            size = x.new_full((1,), size)
        velocity = self._velocity(kernels.stack(x, context), shifts, lengths)
        return kernels.euler(x, velocity, lengths, size, strength)

    def _velocity(self, x: Tensor, shifts: Sequence[Tensor], lengths: Tensor) -> Tensor:
        """Map shape [B, T, 4 * mels] to [B, T, mels]; padded frames have no meaning."""
        shift = iter(shifts)
        skipped: list[tuple[Tensor, Tensor]] = []
        for level in self._down:
            x = level(x, next(shift), lengths)
            skipped.append((x, lengths))
            frames = x.shape[1]
            x = level.resampled(x, lengths, frames)
            if x.shape[1] < frames:
                lengths = (lengths + 1) // 2
        for level in self._mid:
            x = level(x, next(shift), lengths)
        while skipped:
            level = self._up[-len(skipped)]
            skip, lengths = skipped.pop()
            x = level(x, next(shift), lengths, skip)
            x = level.resampled(x, lengths, skipped[-1][0].shape[1] if skipped else x.shape[1])
        x = self._final(x, lengths)
        return products.linear_add(x, *self._projection)


class _Level:
    """A residual block, transformer blocks, and a change of rate where there is one."""

    def __init__(self, level: nn.Module, inputs: int = 1) -> None:
        self._block1 = _ConvNorm(level.get_submodule("0.block1"), inputs)
        self._block2 = _ConvNorm(level.get_submodule("0.block2"))
        self._through = _product(level.get_submodule("0.res_conv"), inputs)
        self._transformers = [_Transformer(block) for block in level.get_submodule("1").children()]
        children = dict(level.named_modules())
        resample = children.get("2.conv", children.get("2"))
        self._resample = None if resample is None else _product(resample)
        self._doubles = isinstance(resample, nn.ConvTranspose1d)
        self._stride = resample.stride[0] if isinstance(resample, nn.Conv1d) else 1

    def __call__(
        self, x: Tensor, shift: Tensor, lengths: Tensor, skip: Tensor | None = None
    ) -> Tensor:
        hidden = self._block1(x, lengths, second=skip, shift=shift)
        through = products.linear_add(x, *self._through, second=skip)
        x = self._block2(hidden, lengths, residual=through)
        for block in self._transformers:
            x = block(x, lengths)
        return x

    def resampled(self, x: Tensor, lengths: Tensor, frames: int) -> Tensor:
        """Change the rate; `frames` are wanted when it doubles."""
        assert self._resample is not None
        if self._doubles:
            return products.double(x, *self._resample, lengths, frames)
        return products.conv3(x, *self._resample, lengths, stride=self._stride)


class _ConvNorm:
    """Convolution, group norm, Mish."""

    def __init__(self, module: nn.Module, inputs: int = 1) -> None:
        self._convolution = _product(module.get_submodule("block.0"), inputs)
        self._norm = _of(nn.GroupNorm, module, "block.1")

    def __call__(
        self,
        x: Tensor,
        lengths: Tensor,
        *,
        second: Tensor | None = None,
        shift: Tensor | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        norm = self._norm
        return kernels.norm_mish(
            products.conv3(x, *self._convolution, lengths, second=second),
            norm.weight, norm.bias, norm.eps, norm.num_groups, lengths,
            shift=shift, residual=residual,
        )  # fmt: skip


class _Transformer:
    """Self-attention over all valid frames and a feed-forward layer."""

    def __init__(self, block: nn.Module) -> None:
        self._heads = _split(block.get_submodule("attn1"))[1]
        norm = _of(nn.LayerNorm, block, "norm1")
        self._to_qkv = *products.fold(norm, _of(nn.Linear, block, "attn1.to_qkv")), norm.eps
        self._to_out = _product(block.get_submodule("attn1.to_out.0"))
        norm = _of(nn.LayerNorm, block, "norm3")
        self._widen = *products.fold(norm, _of(nn.Linear, block, "ff.net.0.proj")), norm.eps
        self._narrow = _product(block.get_submodule("ff.net.2"))

    def __call__(self, x: Tensor, lengths: Tensor) -> Tensor:
        qkv = products.norm_product(x, *self._to_qkv)
        x = products.linear_add(kernels.attention(qkv, lengths, self._heads), *self._to_out, x)
        hidden = products.norm_product(x, *self._widen, gelu=True)
        return products.linear_add(hidden, *self._narrow, x)


def _split(attention: nn.Module) -> tuple[int, int, int]:
    """Return 3, the heads of an attention layer, and the width of one."""
    assert isinstance(attention.split, tuple)
    return attention.split


def _of(kind: type[Kind], module: nn.Module, name: str) -> Kind:
    part = module.get_submodule(name)
    assert isinstance(part, kind)
    return part


def _product(module: nn.Module, inputs: int = 1) -> tuple[Tensor, Tensor]:
    """Return a layer's weight as the kernels want it, the channels of each tap together, and bias.

    Args:
        module: A linear layer or a convolution of torch.
        inputs: Tensors that hold its input channels, all with as many.
    """
    assert isinstance(module, nn.Linear | nn.Conv1d | nn.ConvTranspose1d)
    weight, bias = module.weight, module.bias
    assert bias is not None
    if isinstance(module, nn.ConvTranspose1d):
        given, out, _ = weight.shape
        taps = weight[:, :, [3, 1, 2, 0]].reshape(given, out, 2, 2)  # even, odd; earlier first
        return taps.permute(2, 1, 3, 0).reshape(2, out, 2 * given).contiguous(), bias
    if isinstance(module, nn.Conv1d):
        out, given, size = weight.shape
        parts = weight.reshape(out, inputs, given // inputs, size).transpose(2, 3)
        return parts.reshape(out, given * size).contiguous(), bias
    return weight, bias


def _lengths(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the valid frames of each row of shape [B, C, T], shape [B], int32."""
    if mask is None:
        return torch.full((x.shape[0],), x.shape[-1], dtype=torch.int32, device=x.device)
    return mask.sum(dim=(1, 2), dtype=torch.int32)

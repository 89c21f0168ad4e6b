"""The velocity field of the flow: a one-dimensional U-Net with transformer blocks.

Tensor names are those of the released ``flow.pt`` under ``decoder.estimator``, except the three
projections of an attention layer, which are one here: `fused_attention` joins them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from voicerag_core.glm.device_memory import has_triton
from voicerag_core.glm.weights.configs import FlowConfig

__all__ = ["UNet", "fused_attention", "group_norm"]

NORM_GROUPS = 8
"""Groups of every group norm. Source: Matcha-TTS @ 108906c, models/components/decoder.py."""
TIME_SCALE = 1000.0
"""Factor of the flow's time, 0..1, before its sinusoids. Source: the same file."""


class UNet(nn.Module):
    """Predicts the direction in which noisy mel moves at a given time.

    Args:
        config: Sizes.

    Source: cosyvoice/flow/decoder.py of THUDM/GLM-4-Voice @ eb00ce9 and
    matcha/models/components/{decoder,transformer}.py of shivammehta25/Matcha-TTS @ 108906c.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        channels = config.unet_channels
        wide = 4 * config.mels
        time = 4 * channels[0]
        self.time_mlp = _TimeEmbedding(wide, time)
        self.down_blocks = nn.ModuleList()
        for i, out in enumerate(channels):
            last = i == len(channels) - 1
            self.down_blocks.append(_Level(wide, out, config, _same(out) if last else _Halve(out)))
            wide = out
        self.mid_blocks = nn.ModuleList(
            _Level(wide, wide, config) for _ in range(config.unet_mid_blocks)
        )
        self.up_blocks = nn.ModuleList()
        ups = (*reversed(channels), channels[0])
        for i, (given, out) in enumerate(itertools.pairwise(ups)):
            last = i == len(ups) - 2
            resample = _same(out) if last else _Double(out)
            self.up_blocks.append(_Level(2 * given, out, config, resample))
        self.final_block = _ConvNorm(channels[0], channels[0])
        self.final_proj = nn.Conv1d(channels[0], config.mels, 1)
        self._time_size = 4 * config.mels

    def time_shifts(self, times: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """Compute what each residual block adds at each time; the same for every input.

        Args:
            times: Shape [S], float32, 0 (noise) to 1 (mel).

        Returns:
            For each time, one tensor of shape [1, C, 1] for each residual block.
        """
        half = self._time_size // 2
        rates = torch.exp(
            torch.arange(half, device=times.device).float() * -(math.log(10_000) / (half - 1))
        )
        angle = TIME_SCALE * times[:, None] * rates
        embedded = self.time_mlp(torch.cat((angle.sin(), angle.cos()), dim=-1))
        levels = (*_levels(self.down_blocks), *_levels(self.mid_blocks), *_levels(self.up_blocks))
        shifts = [level.residual.mlp(embedded)[:, None, :, None] for level in levels]
        return tuple(tuple(shift[i] for shift in shifts) for i in range(len(times)))

    def forward(self, x: Tensor, shifts: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Predict the velocity.

        Args:
            x: Shape [B, 4 * mels, T]: noisy mel, encoded tokens, speaker, mel known already.
            shifts: Of `time_shifts`, for one time.
            mask: Shape [B, 1, T], bool, False where a row of the batch is padded; None: nowhere.

        Returns:
            Shape [B, mels, T], zero at padded frames.
        """
        shift = iter(shifts)
        skipped: list[tuple[Tensor, Tensor | None]] = []
        for level in _levels(self.down_blocks):
            x = level(x, next(shift), mask)
            skipped.append((x, mask))
            x = level.resampled(x, mask)
            if mask is not None and x.shape[-1] < mask.shape[-1]:
                mask = mask[:, :, ::2].contiguous()  # attention without it is slow
        for level in _levels(self.mid_blocks):
            x = level(x, next(shift), mask)
        for level in _levels(self.up_blocks):
            skip, mask = skipped.pop()
            x = level(torch.cat((x[:, :, : skip.shape[-1]], skip), dim=1), next(shift), mask)
            x = level.resampled(x, mask)
        x = self.final_block(x, mask)
        return _masked(self.final_proj(x), mask)


def fused_attention(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join the query, key and value projections of a released state dict into one each."""
    fused: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith(".attn1.to_q.weight"):
            stem = name.removesuffix("to_q.weight")
            parts = [state[f"{stem}to_{part}.weight"] for part in "qkv"]
            fused[f"{stem}to_qkv.weight"] = torch.cat(parts)
        elif not name.endswith((".attn1.to_k.weight", ".attn1.to_v.weight")):
            fused[name] = tensor
    return fused


def group_norm(x: Tensor, norm: nn.GroupNorm, mask: Tensor | None) -> Tensor:
    """Normalise groups of channels over time, over valid frames only when there is a mask.

    Args:
        x: Shape [B, C, T].
        norm: Groups, scale, offset.
        mask: Shape [B, 1, T], bool.
    """
    if mask is None:
        out: Tensor = norm(x)
        return out
    rows, channels, frames = x.shape
    groups = norm.num_groups
    grouped = _masked(x.float(), mask).reshape(rows, groups, channels // groups, frames)
    weight = mask[:, None].to(grouped.dtype)
    count = weight.sum(dim=(2, 3), keepdim=True).clamp(min=1) * grouped.shape[2]
    mean = grouped.sum(dim=(2, 3), keepdim=True) / count
    spread = ((grouped - mean) * weight).square().sum(dim=(2, 3), keepdim=True) / count
    scaled = ((grouped - mean) * torch.rsqrt(spread + norm.eps)).flatten(1, 2).to(x.dtype)
    return scaled * norm.weight[:, None] + norm.bias[:, None]


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x.masked_fill(~mask, 0.0)


def _levels(blocks: nn.ModuleList) -> Iterator[_Level]:
    for block in blocks:
        assert isinstance(block, _Level)
        yield block


def _same(channels: int) -> nn.Module:
    return nn.Conv1d(channels, channels, 3, padding=1)


class _Level(nn.ModuleList):
    """A residual block, transformer blocks, and a change of rate where there is one."""

    def __init__(
        self, given: int, out: int, config: FlowConfig, resample: nn.Module | None = None
    ) -> None:
        transformers = nn.ModuleList(
            _Transformer(out, config.unet_heads, config.unet_head_dim)
            for _ in range(config.unet_blocks)
        )
        residual = _Residual(given, out, 4 * config.unet_channels[0])
        super().__init__([residual, transformers, *([] if resample is None else [resample])])

    @property
    def residual(self) -> _Residual:
        """The residual block."""
        block = self[0]
        assert isinstance(block, _Residual)
        return block

    def forward(self, x: Tensor, shift: Tensor, mask: Tensor | None) -> Tensor:
        transformers = self[1]
        assert isinstance(transformers, nn.ModuleList)
        seen = None if mask is None else mask[:, None]
        frames: Tensor = self.residual(x, shift, mask).transpose(1, 2).contiguous()
        for block in transformers:
            frames = block(frames, seen)
        return frames.transpose(1, 2)

    def resampled(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Change the rate."""
        out: Tensor = self[2](_masked(x, mask))
        return out


class _TimeEmbedding(nn.Module):
    """Time to a vector, with the activation that every residual block puts before its own layer."""

    def __init__(self, given: int, out: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(given, out)
        self.linear_2 = nn.Linear(out, out)

    def forward(self, waves: Tensor) -> Tensor:
        out: Tensor = self.linear_2(F.silu(self.linear_1(waves.to(self.linear_1.weight.dtype))))
        return out


class _Halve(nn.Module):
    """Half as many frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class _Double(nn.Module):
    """Twice as many frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(channels, channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class _ConvNorm(nn.Module):
    """Convolution, group norm, Mish."""

    def __init__(self, given: int, out: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv1d(given, out, 3, padding=1), nn.GroupNorm(NORM_GROUPS, out)
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        convolution, norm = self.block
        assert isinstance(norm, nn.GroupNorm)
        out: Tensor = convolution(_masked(x, mask))
        if mask is not None and out.is_cuda and has_triton():
            from voicerag_core.glm.decoder.kernels import norm_mish

            return norm_mish(out, norm, mask)
        return _masked(F.mish(group_norm(out, norm, mask)), mask)


class _Residual(nn.Module):
    """Two convolutions with the time added between them, and a projection as residual."""

    def __init__(self, given: int, out: int, time: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Mish(), nn.Linear(time, out))
        self.block1 = _ConvNorm(given, out)
        self.block2 = _ConvNorm(out, out)
        self.res_conv = nn.Conv1d(given, out, 1)

    def forward(self, x: Tensor, shift: Tensor, mask: Tensor | None) -> Tensor:
        hidden = self.block1(x, mask) + shift
        out: Tensor = self.block2(hidden, mask) + self.res_conv(_masked(x, mask))
        return out


class _Transformer(nn.Module):
    """Self-attention over all frames and a feed-forward layer."""

    def __init__(self, wide: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(wide)
        self.attn1 = _Attention(wide, heads, head_dim)
        self.norm3 = nn.LayerNorm(wide)
        self.ff = _FeedForward(wide)

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        x = x + self.attn1(self.norm1(x), seen)
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class _Attention(nn.Module):
    """Self-attention without biases on query, key and value."""

    def __init__(self, wide: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.split = (3, heads, head_dim)
        self.to_qkv = nn.Linear(wide, 3 * heads * head_dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(heads * head_dim, wide)])

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        rows, frames, _ = x.shape
        joined = self.to_qkv(x).view(rows, frames, *self.split)
        query, key, value = joined.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        out: Tensor = self.to_out[0](mixed.transpose(1, 2).flatten(2))
        return out


class _FeedForward(nn.Module):
    """Two layers with GELU between them, under the released names ``net.0.proj`` and ``net.2``."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        widen = nn.ModuleDict({"proj": nn.Linear(wide, 4 * wide)})
        self.net = nn.ModuleDict({"0": widen, "2": nn.Linear(4 * wide, wide)})

    def forward(self, x: Tensor) -> Tensor:
        widen = self.net["0"]
        assert isinstance(widen, nn.ModuleDict)
        out: Tensor = self.net["2"](F.gelu(widen["proj"](x)))
        return out

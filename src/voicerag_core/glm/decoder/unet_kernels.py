"""What the flow's U-Net does between its products, and the ends of an Euler step, in Triton.

All tensors are contiguous; sums are float32 and results have the dtype of the input. Lengths are
read on the device, so that a CUDA graph of these kernels serves every batch of its shape.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["attention", "euler", "norm_mish", "stack"]

PROGRAMS = 100
"""Programs of the attention that nearly fill an H200; smaller tiles are taken until there are so
many."""
ATTENTION_TILES = ((128, 64, 8, 3), (64, 64, 4, 3), (32, 64, 4, 3), (16, 64, 4, 3))
"""Queries and keys of a tile, warps and stages; the largest first."""
NORM_FRAMES = ((128, 4), (512, 16))
"""Frames that a group norm holds at a time, and warps, for short and for long rows."""


@triton.jit(do_not_specialize=["frames"])
def _attention_kernel(  # type: ignore[no-untyped-def]
    qkv, lengths, out, frames, scaling,
    HEADS: tl.constexpr, WIDTH: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """A few queries of one head, over all valid keys with a softmax that grows with them."""
    row, head = tl.program_id(1) // HEADS, tl.program_id(1) % HEADS
    length = tl.load(lengths + row)
    here = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.arange(0, WIDTH)
    qkv += row * frames * (3 * HEADS * WIDTH) + head * WIDTH
    at = here[:, None] * (3 * HEADS * WIDTH) + columns[None, :]
    query = tl.load(qkv + at, mask=(here < length)[:, None], other=0.0)
    top = tl.full((BM,), float("-inf"), tl.float32)
    mass = tl.zeros((BM,), tl.float32)
    total = tl.zeros((BM, WIDTH), tl.float32)
    end = tl.where(tl.program_id(0) * BM < length, length, 0)
    for first in range(0, end, BN):
        places = first + tl.arange(0, BN)
        inside = places < length
        there = places[:, None] * (3 * HEADS * WIDTH) + columns[None, :]
        key = tl.load(qkv + HEADS * WIDTH + there, mask=inside[:, None], other=0.0)
        value = tl.load(qkv + 2 * HEADS * WIDTH + there, mask=inside[:, None], other=0.0)
        scores = tl.dot(query, tl.trans(key), input_precision="ieee") * scaling
        scores = tl.where(inside[None, :], scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, axis=1))
        shrink = tl.exp2(top - higher)
        shares = tl.exp2(scores - higher[:, None])
        mass = mass * shrink + tl.sum(shares, axis=1)
        total = total * shrink[:, None]
        total = tl.dot(shares.to(value.dtype), value, total, input_precision="ieee")
        top = higher
    total = total / tl.where(mass > 0, mass, 1.0)[:, None]
    at = (row * frames + here)[:, None] * (HEADS * WIDTH) + head * WIDTH + columns[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=(here < frames)[:, None])


@triton.jit
def _mish(value):  # type: ignore[no-untyped-def]
    """Mish of float32: value * tanh(log(1 + exp(value)))."""
    grown = tl.exp(tl.minimum(value, 20.0))
    grown = grown * (grown + 2.0)
    return tl.where(value > 20.0, value, value * grown / (grown + 2.0))


@triton.jit(do_not_specialize=["frames"])
def _norm_mish_kernel(  # type: ignore[no-untyped-def]
    x, lengths, weight, bias, shift, residual, out, frames, channels, epsilon,
    SHIFT: tl.constexpr, RESIDUAL: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One group of channels of a row: mean, spread, result, each in a pass over its frames."""
    row = tl.program_id(0)
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    length = tl.load(lengths + row)
    place = tl.arange(0, BLOCK)
    at = (row * frames + place)[:, None] * channels + channel[None, :]
    total = tl.zeros((BLOCK, WIDTH), tl.float32)
    for start in range(0, length, BLOCK):
        live = (start + place < length)[:, None]
        total += tl.load(x + at + start * channels, mask=live, other=0.0).to(tl.float32)
    count = tl.maximum(length, 1) * WIDTH
    mean = tl.sum(tl.sum(total, axis=1), axis=0) / count
    squares = tl.zeros((BLOCK, WIDTH), tl.float32)
    for start in range(0, length, BLOCK):
        live = (start + place < length)[:, None]
        value = tl.load(x + at + start * channels, mask=live, other=0.0).to(tl.float32)
        away = tl.where(live, value - mean, 0.0)
        squares += away * away
    spread = 1.0 / tl.sqrt(tl.sum(tl.sum(squares, axis=1), axis=0) / count + epsilon)
    scale = spread * tl.load(weight + channel).to(tl.float32)[None, :]
    offset = tl.load(bias + channel).to(tl.float32)[None, :]
    for start in range(0, frames, BLOCK):
        live = (start + place < length)[:, None]
        value = tl.load(x + at + start * channels, mask=live, other=0.0).to(tl.float32)
        value = _mish((value - mean) * scale + offset)
        if SHIFT:
            value += tl.load(shift + channel).to(tl.float32)[None, :]
        if RESIDUAL:
            added = tl.load(residual + at + start * channels, mask=live, other=0.0)
            value += added.to(tl.float32)
        value = tl.where(live, value, 0.0).to(out.dtype.element_ty)
        tl.store(out + at + start * channels, value, mask=(start + place < frames)[:, None])


@triton.jit(do_not_specialize=["rows", "frames"])
def _stack_kernel(  # type: ignore[no-untyped-def]
    x, context, out, rows, frames, mels, wide, BT: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """A few frames and channels of one row, turned to have their channels together."""
    row = tl.program_id(0)
    place = (tl.program_id(1) * BT + tl.arange(0, BT))[:, None]
    channel = (tl.program_id(2) * BC + tl.arange(0, BC))[None, :]
    inside = (place < frames) & (channel < wide)
    own = channel < mels
    moving = tl.load(
        x + ((row % rows) * mels + channel) * frames + place, mask=inside & own, other=0.0
    )
    at = (row * (wide - mels) + channel - mels) * frames + place
    fixed = tl.load(context + at, mask=inside & (channel >= mels), other=0.0)
    value = tl.where(own, moving.to(out.dtype.element_ty), fixed)
    tl.store(out + (row * frames + place) * wide + channel, value, mask=inside)


@triton.jit(do_not_specialize=["rows", "frames"])
def _euler_kernel(  # type: ignore[no-untyped-def]
    x, velocity, lengths, size, out, rows, frames, mels, strength,
    BT: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """A few frames of one row, turned back to have each channel's frames together."""
    row = tl.program_id(0)
    place = (tl.program_id(1) * BT + tl.arange(0, BT))[:, None]
    channel = tl.arange(0, BC)[None, :]
    inside = (place < frames) & (channel < mels)
    live = inside & (place < tl.load(lengths + row))
    at = (row * frames + place) * mels + channel
    guided = tl.load(velocity + at, mask=live, other=0.0).to(tl.float32)
    plain = tl.load(velocity + at + rows * frames * mels, mask=live, other=0.0).to(tl.float32)
    moved = tl.load(size) * ((1.0 + strength) * guided - strength * plain)
    at = (row * mels + channel) * frames + place
    tl.store(out + at, tl.load(x + at, mask=inside, other=0.0) + moved, mask=inside)


def attention(qkv: Tensor, lengths: Tensor, heads: int) -> Tensor:
    """Let each frame of a row attend to the row's valid frames.

    Args:
        qkv: Shape [B, T, 3 * heads * D]: queries, keys, values; D is a power of two.
        lengths: Shape [B], int32, valid frames of each row.
        heads: Attention heads.

    Returns:
        Shape [B, T, heads * D]; padded frames hold finite values of no meaning.
    """
    rows, frames, wide = qkv.shape
    width = wide // (3 * heads)
    out = qkv.new_empty(rows, frames, heads * width)
    sizes = (
        tile
        for tile in ATTENTION_TILES
        if tile[0] <= frames and triton.cdiv(frames, tile[0]) * rows * heads >= PROGRAMS
    )
    block, keys, warps, stages = next(sizes, ATTENTION_TILES[-1])
    _attention_kernel[(triton.cdiv(frames, block), rows * heads)](
        qkv, lengths, out, frames, width**-0.5 * 1.4426950408889634, HEADS=heads, WIDTH=width,
        BM=block, BN=keys, num_warps=warps, num_stages=stages,
    )  # fmt: skip
    return out


def norm_mish(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    epsilon: float,
    groups: int,
    lengths: Tensor,
    *,
    shift: Tensor | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """Return the Mish of a group norm over valid frames, with something added.

    Args:
        x: Shape [B, T, C]; C / groups is a power of two.
        weight: Scale of the group norm, shape [C].
        bias: Its offset, shape [C].
        epsilon: Keeps its divisor above 0.
        groups: Groups of channels.
        lengths: Shape [B], int32, valid frames of each row.
        shift: C elements, added at every valid frame.
        residual: Shape [B, T, C], added at every valid frame.

    Returns:
        Shape [B, T, C], zero at padded frames.
    """
    rows, frames, channels = x.shape
    out = torch.empty_like(x)
    block, warps = NORM_FRAMES[frames > NORM_FRAMES[0][0]]
    _norm_mish_kernel[(rows, groups)](
        x, lengths, weight, bias, x if shift is None else shift,
        x if residual is None else residual, out, frames, channels, epsilon,
        SHIFT=shift is not None, RESIDUAL=residual is not None, WIDTH=channels // groups,
        BLOCK=block, num_warps=warps,
    )  # fmt: skip
    return out


def stack(x: Tensor, context: Tensor) -> Tensor:
    """Put the mel of each row before its context, for both directions of guidance.

    Args:
        x: Shape [B, mels, T], float32.
        context: Shape [2 * B, C, T].

    Returns:
        Shape [2 * B, T, mels + C], of the dtype of `context`.
    """
    (rows, mels, frames), both = x.shape, context.shape[0]
    wide = mels + context.shape[1]
    out = context.new_empty(both, frames, wide)
    grid = (both, triton.cdiv(frames, 32), triton.cdiv(wide, 64))
    _stack_kernel[grid](
        x.contiguous(), context.contiguous(), out, rows, frames, mels, wide, BT=32, BC=64
    )
    return out


def euler(x: Tensor, velocity: Tensor, lengths: Tensor, size: Tensor, strength: float) -> Tensor:
    """Take one Euler step with guidance.

    Args:
        x: Shape [B, mels, T], float32.
        velocity: Shape [2 * B, T, mels]: guided, and plain.
        lengths: Shape [2 * B], int32; padded frames stay as they are.
        size: Of the step, one element, float32.
        strength: Of the guidance.

    Returns:
        Shape [B, mels, T], float32.
    """
    rows, mels, frames = x.shape
    x = x.contiguous()
    out = torch.empty_like(x)
    _euler_kernel[(rows, triton.cdiv(frames, 16))](
        x, velocity, lengths, size, out, rows, frames, mels, strength,
        BT=16, BC=triton.next_power_of_2(mels),
    )  # fmt: skip
    return out

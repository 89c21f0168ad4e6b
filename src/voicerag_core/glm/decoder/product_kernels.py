"""Products of frames with weights, in Triton: what the flow's U-Net does most of its work in.

All tensors are contiguous; sums are float32 and results have the dtype of the input. Lengths are
read on the device, so that a CUDA graph of these kernels serves every batch of its shape.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

__all__ = [
    "SHARED_BYTES",
    "Tile",
    "conv3",
    "double",
    "fold",
    "linear_add",
    "norm_product",
    "shared_bytes",
]


class Tile(NamedTuple):
    """What one program of a product makes: `frames` by `outs` of its result, `inputs` at a time.

    `inputs` is an upper bound: it has to divide the channels of an input, and a power of two below
    it is taken where it does not. `warps` and `stages` are Triton's.
    """

    frames: int
    outs: int
    inputs: int
    warps: int
    stages: int
    turned: bool = False
    """Compute the transpose, so that the tensor cores' long side is that of the outputs."""


TILES = (
    (144, Tile(16, 32, 128, 4, 4)),
    (576, Tile(32, 64, 128, 4, 4, turned=True)),
    (1152, Tile(64, 64, 128, 4, 4)),
    (2304, Tile(64, 64, 128, 4, 3)),
    (4480, Tile(64, 64, 64, 4, 4)),
    (8320, Tile(64, 128, 64, 4, 4)),
    (0, Tile(128, 128, 64, 8, 3)),
)
"""Tiles of products and convolutions: each up to so many frames, the last for all others. Those
that took least time on an H200, over the kinds of products in a step."""
NORM_PRODUCT_TILES = (
    (144, Tile(16, 64, 64, 4, 4, turned=True)),
    (576, Tile(64, 128, 64, 8, 4)),
    (1152, Tile(64, 256, 64, 8, 3)),
    (0, Tile(128, 256, 64, 8, 3)),
)
"""The same for products with a layer norm."""
SHARED_BYTES = 144 * 1024
"""Shared memory of the largest program that a step in bfloat16 starts for the released sizes, as
compiled for compute capability 9.0."""


@triton.jit
def _add_taps(  # type: ignore[no-untyped-def]
    total, x, weight, row, place, live, length, n, frames, width, outs, ld, start,
    TAPS: tl.constexpr, STRIDE: tl.constexpr, MASKED: tl.constexpr, BK: tl.constexpr,
    TURNED: tl.constexpr,
):  # fmt: skip
    """Add the products of a few frames of each row with a weight for each."""
    columns = tl.arange(0, BK)
    parts = width // BK
    for step in range(TAPS * parts):
        frame = place * STRIDE + step // parts + start
        seen = live
        if MASKED:
            seen = live & (frame >= 0) & (frame < length)
        at = (row * frames + frame) * width + (step % parts) * BK
        given = tl.load(x + at[:, None] + columns[None, :], mask=seen[:, None], other=0.0)
        by = tl.load(
            weight + (n * ld + step * BK)[None, :] + columns[:, None],
            mask=(n < outs)[None, :],
            other=0.0,
        )
        if TURNED:
            total = tl.dot(tl.trans(by), tl.trans(given), total, input_precision="ieee")
        else:
            total = tl.dot(given, by, total, input_precision="ieee")
    return total


@triton.jit(do_not_specialize=["count", "frames", "made"])
def _taps_kernel(  # type: ignore[no-untyped-def]
    first, second, weight, bias, residual, lengths, out, count, frames, made, width, outs,
    TAPS: tl.constexpr, STRIDE: tl.constexpr, DOUBLE: tl.constexpr, SECOND: tl.constexpr,
    RESIDUAL: tl.constexpr, MASKED: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, TURNED: tl.constexpr,
):  # fmt: skip
    """A convolution over frames, or a plain product when it has one tap."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    parity = tl.program_id(2)
    live = m < count
    ld = TAPS * width
    if SECOND:
        ld = 2 * TAPS * width
    weight += parity * outs * ld
    row = m * 0
    place = m
    length = m * 0
    if MASKED:
        each = made
        if DOUBLE:
            each = frames
        row = m // each
        place = m % each
        length = tl.load(lengths + row, mask=live, other=0)
    start = 0
    if TAPS == 3:
        start = -1
    if DOUBLE:
        start = parity - 1
    total = tl.zeros((BN, BM), tl.float32) if TURNED else tl.zeros((BM, BN), tl.float32)
    total = _add_taps(
        total, first, weight, row, place, live, length, n, frames, width, outs, ld, start,
        TAPS, STRIDE, MASKED, BK, TURNED,
    )  # fmt: skip
    if SECOND:
        total = _add_taps(
            total, second, weight + TAPS * width, row, place, live, length, n, frames, width,
            outs, ld, start, TAPS, STRIDE, MASKED, BK, TURNED,
        )  # fmt: skip
    if TURNED:
        total = tl.trans(total)
    total += tl.load(bias + n, mask=n < outs, other=0.0).to(tl.float32)[None, :]
    kept = live
    if DOUBLE:
        kept = live & (2 * place + parity < made)
        m = row * made + 2 * place + parity
    at = m[:, None] * outs + n[None, :]
    inside = kept[:, None] & (n < outs)[None, :]
    if RESIDUAL:
        total += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _gelu(value):  # type: ignore[no-untyped-def]
    """GELU, with a polynomial for the error function: within 4e-5 of the exact one."""
    size = tl.minimum(tl.abs(value), 4.4)
    square = size * size
    shape = -1.656505637e-12
    shape = shape * square + 1.934399778e-10
    shape = shape * square - 1.012042450e-08
    shape = shape * square + 3.158112845e-07
    shape = shape * square - 6.621944176e-06
    shape = shape * square + 9.989643159e-05
    shape = shape * square - 1.132258247e-03
    shape = shape * square + 9.858602120e-03
    shape = shape * square - 6.636977722e-02
    shape = shape * square + 3.988981145e-01
    return tl.maximum(value, 0.0) - size * (0.5 - size * shape)


@triton.jit(do_not_specialize=["count"])
def _norm_product_kernel(  # type: ignore[no-untyped-def]
    x, weight, sums, offset, out, count, outs, epsilon,
    GELU: tl.constexpr, WIDTH: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    BK: tl.constexpr, TURNED: tl.constexpr,
):  # fmt: skip
    """Multiply frames as they are; their mean and spread are taken out of the product.

    For those, whole frames of shape [BM, WIDTH] are read beside the parts that are multiplied.
    """
    m = tl.program_id(1) * BM + tl.arange(0, BM)
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    columns = tl.arange(0, BK)
    live = (m < count)[:, None]
    known = (n < outs)[None, :]
    whole = tl.load(x + m[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :], mask=live, other=0.0)
    total = tl.zeros((BN, BM), tl.float32) if TURNED else tl.zeros((BM, BN), tl.float32)
    for k in range(0, WIDTH, BK):
        at = m[:, None] * WIDTH + k + columns[None, :]
        given = tl.load(x + at, mask=live, other=0.0)
        by = tl.load(weight + n[None, :] * WIDTH + k + columns[:, None], mask=known, other=0.0)
        if TURNED:
            total = tl.dot(tl.trans(by), tl.trans(given), total, input_precision="ieee")
        else:
            total = tl.dot(given, by, total, input_precision="ieee")
    value = whole.to(tl.float32)
    mean = tl.sum(value, axis=1) / WIDTH
    value -= mean[:, None]
    scale = 1.0 / tl.sqrt(tl.sum(value * value, axis=1) / WIDTH + epsilon)
    if TURNED:
        total = tl.trans(total)
    total -= mean[:, None] * tl.load(sums + n, mask=n < outs, other=0.0)[None, :]
    total = total * scale[:, None] + tl.load(offset + n, mask=n < outs, other=0.0)[None, :]
    if GELU:
        total = _gelu(total)
    at = m[:, None] * outs + n[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=live & known)


def shared_bytes(device: torch.device) -> int:
    """Return the shared memory that one program may take on a GPU."""
    index = torch.cuda.current_device() if device.index is None else device.index
    properties = triton.runtime.driver.active.utils.get_device_properties(index)
    return int(properties["max_shared_mem"])


def fold(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[Tensor, Tensor, Tensor]:
    """Return a linear layer's weight as `norm_product` wants it, with a layer norm's in it.

    Args:
        norm: Comes before it, C channels.
        linear: N outputs, with or without a bias.

    Returns:
        The weight times the norm's scale, shape [N, C], of the layer's dtype; its sum over C,
        shape [N], float32; what the norm's offset and the bias add, shape [N], float32.
    """
    wide = linear.weight.float()
    weight = (wide * norm.weight.float()).to(linear.weight.dtype)
    offset = wide @ norm.bias.float()
    if linear.bias is not None:
        offset = offset + linear.bias.float()
    return weight, weight.float().sum(dim=1), offset


def norm_product(
    x: Tensor,
    weight: Tensor,
    sums: Tensor,
    offset: Tensor,
    epsilon: float,
    *,
    gelu: bool = False,
) -> Tensor:
    """Return a product with the layer norm of each frame.

    Args:
        x: Shape [B, T, C]; C is a power of two.
        weight: Shape [N, C], with `sums` and `offset` of `fold`.
        sums: Shape [N], float32.
        offset: Shape [N], float32.
        epsilon: Keeps the norm's divisor above 0.
        gelu: Put the result through GELU.

    Returns:
        Shape [B, T, N].
    """
    rows, frames, width = x.shape
    count, outs = rows * frames, weight.shape[0]
    out = x.new_empty(rows, frames, outs)
    tile = _tile(NORM_PRODUCT_TILES, count)
    _norm_product_kernel[(triton.cdiv(outs, tile.outs), triton.cdiv(count, tile.frames))](
        x, weight, sums, offset, out, count, outs, epsilon, GELU=gelu, WIDTH=width,
        BM=tile.frames, BN=tile.outs, BK=min(tile.inputs, width), TURNED=tile.turned,
        num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return out


def linear_add(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None = None,
    *,
    second: Tensor | None = None,
) -> Tensor:
    """Return a product of each frame, with something added.

    Args:
        x: Shape [B, T, C]; 16 divides C, as for all inputs of products and convolutions.
        weight: Shape [N, C], or [N, 2 * C] when there is a second input.
        bias: Shape [N].
        residual: Shape [B, T, N], added to the result.
        second: Shape [B, T, C], behind the channels of `x`.

    Returns:
        Shape [B, T, N].
    """
    rows, frames, _ = x.shape
    out = x.new_empty(rows, frames, weight.shape[0])
    _taps(x, second, weight, bias, residual, None, out, taps=1)
    return out


def conv3(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    lengths: Tensor,
    *,
    stride: int = 1,
    second: Tensor | None = None,
) -> Tensor:
    """Return a convolution over three frames, padded frames and those outside being zero.

    Args:
        x: Shape [B, T, C].
        weight: Shape [N, 3 * C]: for each output the channels of the frame before, of the frame and
            of that after; [N, 6 * C] when there is a second input, whose weights come behind.
        bias: Shape [N].
        lengths: Shape [B], int32, valid frames of each row of the input.
        stride: 2 halves the rate.
        second: Shape [B, T, C], behind the channels of `x`.

    Returns:
        Shape [B, ceil(T / stride), N]; what it holds at padded frames has no meaning.
    """
    rows, frames, _ = x.shape
    out = x.new_empty(rows, -(-frames // stride), weight.shape[0])
    _taps(x, second, weight, bias, None, lengths, out, taps=3, stride=stride)
    return out


def double(x: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor, frames: int) -> Tensor:
    """Return the transposed convolution (kernel 4, stride 2, padding 1) that doubles the rate.

    Args:
        x: Shape [B, T, C].
        weight: Shape [2, N, 2 * C]: for even and odd frames of the result, for each output the
            channels of the two frames of the input that it is made of, the earlier first.
        bias: Shape [N].
        lengths: Shape [B], int32, valid frames of each row of the input.
        frames: To make, 2 * T at most.

    Returns:
        Shape [B, frames, N].
    """
    out = x.new_empty(x.shape[0], frames, weight.shape[1])
    _taps(x, None, weight, bias, None, lengths, out, taps=2)
    return out


def _taps(
    x: Tensor,
    second: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None,
    lengths: Tensor | None,
    out: Tensor,
    *,
    taps: int,
    stride: int = 1,
) -> None:
    """Fill `out`, shape [B, T', N], with the product of `taps` frames; two double the rate."""
    rows, frames, width = x.shape
    made, outs = out.shape[1:]
    twice = taps == 2
    count = rows * (frames if twice else made)
    tile = _tile(TILES, count)
    block, columns = tile.frames, tile.outs
    _taps_kernel[(triton.cdiv(count, block), triton.cdiv(outs, columns), 1 + twice)](
        x, x if second is None else second, weight, bias, x if residual is None else residual,
        x if lengths is None else lengths, out, count, frames, made, width, outs,
        TAPS=taps, STRIDE=stride, DOUBLE=twice, SECOND=second is not None,
        RESIDUAL=residual is not None, MASKED=lengths is not None,
        BM=block, BN=columns, BK=min(tile.inputs, width & -width), TURNED=tile.turned,
        num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip


def _tile(tiles: tuple[tuple[int, Tile], ...], count: int) -> Tile:
    """Return the tile for so many frames."""
    return next((tile for most, tile in tiles if count <= most), tiles[-1][1])

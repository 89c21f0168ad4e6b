"""One token through GLM-4 on a GPU, limited by reading the weights.

Six Triton kernels per layer: norm with query, key and value; attention in splits; their sum; output
with residual; norm with gate and up; down with residual. Each matrix row is read once, by one
program, and sums are kept in float32. Weights are bfloat16 (or what the model has), or those of
`WeightOnlyLinear`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import nn

from voicerag_core.glm.lm.weight_only import GROUP, WeightOnlyLinear

__all__ = ["TILES", "CachedAttention", "Matrix", "Tile", "gated_matvec", "matvec", "splits"]

SPLITS = 32
"""Parts that the context of one token is split into; each is a program per key head."""
ROWS_TIMES_SPLITS = 256
"""Tokens of a step times the parts of their contexts, above which there are fewer parts."""
SPLIT_BLOCK = 32
TILES = ((4, 1024, 8), (2, 1024, 4), (4, 512, 4), (1, 2048, 4))
"""Rows and inputs of a program's tile, and its warps, to choose from by measurement."""

Tile = tuple[int, int, int]


@triton.jit
def _rows_dot(  # type: ignore[no-untyped-def]
    x, norm, weight, scale, zero, rows, live, width, epsilon,
    NORM: tl.constexpr, BITS: tl.constexpr, GROUP_SIZE: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return the dot product of x, or of its RMSNorm, with each of the rows, [ROWS] float32.

    The mean square is summed in the same loop and divided by at the end, so that the weights are
    asked for from the first instruction on.
    """
    squares = tl.zeros((BLOCK,), tl.float32)
    rows = rows.to(tl.int64)
    if BITS == 4:
        # The levels of a group are summed first; its scale and zero are then needed once.
        tile_groups: tl.constexpr = BLOCK // GROUP_SIZE
        half = width // 2
        groups = width // GROUP_SIZE
        sums = tl.zeros((ROWS, tile_groups), tl.float32)
        for start in range(0, half, BLOCK):
            columns = start + tl.arange(0, BLOCK)
            within = columns < half
            packed = tl.load(
                weight + rows[:, None] * half + columns[None, :],
                mask=live[:, None] & within[None, :], other=0, eviction_policy="evict_first",
            )  # fmt: skip
            low_x = tl.load(x + columns, mask=within, other=0.0).to(tl.float32)
            high_x = tl.load(x + half + columns, mask=within, other=0.0).to(tl.float32)
            if NORM:
                squares += low_x * low_x + high_x * high_x
                low_x *= tl.load(norm + columns, mask=within, other=0.0).to(tl.float32)
                high_x *= tl.load(norm + half + columns, mask=within, other=0.0).to(tl.float32)
            low = (packed & 15).to(tl.float32) * low_x[None, :]
            high = (packed >> 4).to(tl.float32) * high_x[None, :]
            low = tl.sum(tl.reshape(low, (ROWS, tile_groups, GROUP_SIZE)), axis=2)
            high = tl.sum(tl.reshape(high, (ROWS, tile_groups, GROUP_SIZE)), axis=2)
            low_mass = tl.sum(tl.reshape(low_x, (tile_groups, GROUP_SIZE)), axis=1)
            high_mass = tl.sum(tl.reshape(high_x, (tile_groups, GROUP_SIZE)), axis=1)
            group = start // GROUP_SIZE + tl.arange(0, tile_groups)
            known = live[:, None] & (group < groups // 2)[None, :]
            at = rows[:, None] * groups + group[None, :]
            high_at = at + groups // 2
            sums += low * tl.load(scale + at, mask=known, other=0.0).to(tl.float32)
            sums += high * tl.load(scale + high_at, mask=known, other=0.0).to(tl.float32)
            zeros = tl.load(zero + at, mask=known, other=0.0).to(tl.float32)
            sums += zeros * low_mass[None, :]
            zeros = tl.load(zero + high_at, mask=known, other=0.0).to(tl.float32)
            sums += zeros * high_mass[None, :]
    else:
        sums = tl.zeros((ROWS, BLOCK), tl.float32)
        for start in range(0, width, BLOCK):
            columns = start + tl.arange(0, BLOCK)
            within = columns < width
            tile = tl.load(
                weight + rows[:, None] * width + columns[None, :],
                mask=live[:, None] & within[None, :], other=0, eviction_policy="evict_first",
            ).to(tl.float32)  # fmt: skip
            values = tl.load(x + columns, mask=within, other=0.0).to(tl.float32)
            if NORM:
                squares += values * values
                values *= tl.load(norm + columns, mask=within, other=0.0).to(tl.float32)
            sums += tile * values[None, :]
    total = tl.sum(sums, axis=1)
    if BITS == 8:
        total *= tl.load(scale + rows, mask=live, other=0.0).to(tl.float32)
    if NORM:
        total *= 1.0 / tl.sqrt(tl.sum(squares, axis=0) / width + epsilon)
    return total


@triton.jit
def _matvec_kernel(  # type: ignore[no-untyped-def]
    x, norm, weight, scale, zero, bias, residual, out, count, width, epsilon,
    NORM: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, BITS: tl.constexpr,
    GROUP_SIZE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = rows < count
    total = _rows_dot(
        x, norm, weight, scale, zero, rows, live, width, epsilon, NORM, BITS, GROUP_SIZE, ROWS,
        BLOCK,
    )  # fmt: skip
    if BIAS:
        total += tl.load(bias + rows, mask=live, other=0.0).to(tl.float32)
    if RESIDUAL:
        total += tl.load(residual + rows, mask=live, other=0.0).to(tl.float32)
    tl.store(out + rows, total.to(out.dtype.element_ty), mask=live)


@triton.jit
def _gated_kernel(  # type: ignore[no-untyped-def]
    x, norm, weight, scale, zero, out, count, width, epsilon,
    BITS: tl.constexpr, GROUP_SIZE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = rows < count
    gate = _rows_dot(
        x, norm, weight, scale, zero, rows, live, width, epsilon, True, BITS, GROUP_SIZE, ROWS,
        BLOCK,
    )  # fmt: skip
    up = _rows_dot(
        x, norm, weight, scale, zero, rows + count, live, width, epsilon, True, BITS, GROUP_SIZE,
        ROWS, BLOCK,
    )  # fmt: skip
    gated = gate * tl.sigmoid(gate) * up
    tl.store(out + rows, gated.to(out.dtype.element_ty), mask=live)


@triton.jit
def _turned(base, rows, live, cos, sin, WIDTH: tl.constexpr, ROTATED: tl.constexpr):  # type: ignore[no-untyped-def]
    """Load heads [rows, WIDTH] and rotate neighbouring pairs of their first ROTATED columns."""
    columns = tl.arange(0, WIDTH)
    turns = columns < ROTATED
    odd = columns % 2
    other = tl.where(turns, columns + 1 - 2 * odd, columns)
    here = tl.load(base + rows[:, None] * WIDTH + columns[None, :], mask=live[:, None], other=0.0)
    there = tl.load(base + rows[:, None] * WIDTH + other[None, :], mask=live[:, None], other=0.0)
    c = tl.load(cos + columns // 2, mask=turns, other=1.0)
    s = tl.load(sin + columns // 2, mask=turns, other=0.0) * tl.where(odd == 1, 1.0, -1.0)
    turned = here.to(tl.float32) * c[None, :] + there.to(tl.float32) * s[None, :]
    return turned.to(here.dtype)


@triton.jit
def _attention_kernel(  # type: ignore[no-untyped-def]
    qkv, position, row_of, cos, sin, keys, values, sums, tops, masses, slots, all_rows, scaling,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, GROUPS: tl.constexpr, PADDED: tl.constexpr,
    WIDTH: tl.constexpr, ROTATED: tl.constexpr, PARTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    head, part, one_of = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    here = tl.load(position + one_of).to(tl.int32)
    row = tl.load(row_of + one_of)
    qkv += one_of * (HEADS + 2 * KV_HEADS) * WIDTH
    cos += here * (ROTATED // 2)
    sin += here * (ROTATED // 2)
    member = tl.arange(0, PADDED)
    live = member < GROUPS
    query = _turned(qkv, head * GROUPS + member, live, cos, sin, WIDTH, ROTATED)
    columns = tl.arange(0, WIDTH)
    offset = (row * KV_HEADS + head) * slots * WIDTH
    keys += offset
    values += offset
    top = tl.full((PADDED,), float("-inf"), tl.float32)
    mass = tl.zeros((PADDED,), tl.float32)
    total = tl.zeros((PADDED, WIDTH), tl.float32)
    if part == 0:
        # The new token's own key and value, which this part also writes down.
        one = tl.zeros((1,), tl.int32)
        new_key = _turned(qkv, HEADS + head + one, one == 0, cos, sin, WIDTH, ROTATED)
        new_value = tl.load(qkv + (HEADS + KV_HEADS + head) * WIDTH + columns)
        at = here.to(tl.int64) * WIDTH + columns
        there = (columns >= 0) & (row < all_rows)
        tl.store(keys + at[None, :], new_key, mask=there[None, :])
        tl.store(values + at, new_value, mask=there)
        top = tl.sum(query.to(tl.float32) * new_key.to(tl.float32), axis=1) * scaling
        mass += 1.0
        total += new_value.to(tl.float32)[None, :]
    length = tl.cdiv(tl.cdiv(here, PARTS), BLOCK) * BLOCK
    end = tl.minimum((part + 1) * length, here)
    for start in range(part * length, end, BLOCK):
        places = start + tl.arange(0, BLOCK)
        inside = places < end
        at = places.to(tl.int64)[:, None] * WIDTH + columns[None, :]
        key = tl.load(keys + at, mask=inside[:, None], other=0.0)
        value = tl.load(values + at, mask=inside[:, None], other=0.0)
        scores = tl.dot(query, tl.trans(key), input_precision="ieee") * scaling
        scores = tl.where(inside[None, :], scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, axis=1))
        shrink = tl.exp(top - higher)
        shares = tl.exp(scores - higher[:, None])
        mass = mass * shrink + tl.sum(shares, axis=1)
        total = total * shrink[:, None] + tl.dot(
            shares.to(value.dtype), value, input_precision="ieee"
        )
        top = higher
    place = ((one_of * KV_HEADS + head) * GROUPS + member) * PARTS + part
    tl.store(tops + place, top, mask=live)
    tl.store(masses + place, mass, mask=live)
    tl.store(sums + place[:, None] * WIDTH + columns[None, :], total, mask=live[:, None])


@triton.jit
def _combine_kernel(  # type: ignore[no-untyped-def]
    sums, tops, masses, out, WIDTH: tl.constexpr, PARTS: tl.constexpr
):
    head = tl.program_id(0)
    parts = head * PARTS + tl.arange(0, PARTS)
    columns = tl.arange(0, WIDTH)
    top = tl.load(tops + parts)
    share = tl.exp(top - tl.max(top, axis=0))
    mass = tl.sum(share * tl.load(masses + parts), axis=0)
    total = tl.sum(
        share[:, None] * tl.load(sums + parts[:, None] * WIDTH + columns[None, :]), axis=0
    )
    tl.store(out + head * WIDTH + columns, (total / mass).to(out.dtype.element_ty))


@dataclass(frozen=True, slots=True)
class Matrix:
    """The weight of a linear layer as the kernels read it.

    Args:
        weight: [N, K], or [N, K/2] bytes of two weights each.
        scale: [N] for 8 bits, [N, K/GROUP] for 4, else the weight again.
        zero: [N, K/GROUP] for 4 bits, else the weight again.
        bias: [N] or None.
        bits: 16 (as it is), 8 or 4.
        width: K.
    """

    weight: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor
    bias: torch.Tensor | None
    bits: int
    width: int

    @classmethod
    def of(cls, linear: nn.Module) -> Matrix:
        """Take the weight of a linear layer, without copying it."""
        if isinstance(linear, WeightOnlyLinear):
            zero = linear.scale if linear.zero is None else linear.zero
            return cls(
                linear.packed, linear.scale, zero, linear.bias, linear.bits, linear.in_features
            )
        if not isinstance(linear, nn.Linear):
            raise TypeError(f"expected a linear layer, not {type(linear).__name__}")
        weight = linear.weight.detach()
        bias = None if linear.bias is None else linear.bias.detach()
        return cls(weight, weight, weight, bias, 16, linear.in_features)

    @property
    def rows(self) -> int:
        """N."""
        return self.weight.shape[0]

    def sliced(self, start: int, stop: int) -> Matrix:
        """Return some of the rows, without copying them."""
        bias = None if self.bias is None else self.bias[start:stop]
        return Matrix(
            self.weight[start:stop], self.scale[start:stop], self.zero[start:stop], bias,
            self.bits, self.width,
        )  # fmt: skip


def matvec(
    x: torch.Tensor,
    matrix: Matrix,
    out: torch.Tensor,
    *,
    tile: Tile,
    norm: torch.Tensor | None = None,
    epsilon: float = 0.0,
    residual: torch.Tensor | None = None,
) -> None:
    """Write the matrix times x, with its bias.

    Args:
        x: [K].
        matrix: [N, K].
        out: [N], written; not x itself.
        tile: One of `TILES`.
        norm: [K], weight of an RMSNorm of x; None takes x as it is.
        epsilon: Of the norm.
        residual: [N], added.
    """
    rows, block, warps = tile
    _matvec_kernel[(triton.cdiv(matrix.rows, rows),)](
        x, x if norm is None else norm, matrix.weight, matrix.scale, matrix.zero,
        x if matrix.bias is None else matrix.bias, x if residual is None else residual,
        out, matrix.rows, matrix.width, epsilon,
        NORM=norm is not None, BIAS=matrix.bias is not None, RESIDUAL=residual is not None,
        BITS=matrix.bits, GROUP_SIZE=GROUP, ROWS=rows, BLOCK=block, num_warps=warps,
    )  # fmt: skip


def gated_matvec(
    x: torch.Tensor,
    matrix: Matrix,
    out: torch.Tensor,
    *,
    tile: Tile,
    norm: torch.Tensor,
    epsilon: float,
) -> None:
    """Write silu(gate) times up, for the gate and up halves of a matrix times the normed x.

    Args:
        x: [K].
        matrix: [2 N, K], the gate's rows first.
        out: [N], written.
        tile: One of `TILES`.
        norm: [K], weight of the RMSNorm.
        epsilon: Of the norm.
    """
    rows, block, warps = tile
    count = matrix.rows // 2
    _gated_kernel[(triton.cdiv(count, rows),)](
        x, norm, matrix.weight, matrix.scale, matrix.zero, out, count, matrix.width, epsilon,
        BITS=matrix.bits, GROUP_SIZE=GROUP, ROWS=rows, BLOCK=block, num_warps=warps,
    )  # fmt: skip


class CachedAttention:
    """Attention of one new token of each of some rows to their caches.

    Args:
        heads: Query heads.
        kv_heads: Key and value heads.
        width: Of a head.
        device: Of the cache.
        most: Tokens at a time.
    """

    def __init__(
        self, heads: int, kv_heads: int, width: int, device: torch.device, most: int = 1
    ) -> None:
        self._heads, self._kv_heads, self._width = heads, kv_heads, width
        room = max(splits(count) * count for count in range(1, most + 1))
        self._sums = torch.empty(room * heads, width, device=device)
        self._tops, self._masses = torch.empty(2, room * heads, device=device)

    def attend(
        self,
        qkv: torch.Tensor,
        positions: torch.Tensor,
        rows: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        keys: torch.Tensor,
        values: torch.Tensor,
        out: torch.Tensor,
    ) -> None:
        """Rotate query and key, write key and value down, attend to all up to here.

        Args:
            qkv: [B, (heads + 2 kv heads) * width], contiguous.
            positions: [B] int64; also the slots of the tokens.
            rows: [B] int64, different ones; that of a token that is not real is the number of rows,
                and its position 0.
            rotary: Cosine and sine, [positions, half of the rotated width] float32.
            keys: [rows, kv heads, slots, width], of one layer.
            values: The same shape.
            out: [B, heads * width], written.
        """
        groups = self._heads // self._kv_heads
        count = len(rows)
        parts = splits(count)
        _attention_kernel[(self._kv_heads, parts, count)](
            qkv, positions, rows, rotary[0], rotary[1], keys, values,
            self._sums, self._tops, self._masses, keys.shape[2], keys.shape[0], self._width**-0.5,
            HEADS=self._heads, KV_HEADS=self._kv_heads, GROUPS=groups,
            PADDED=max(16, triton.next_power_of_2(groups)), WIDTH=self._width,
            ROTATED=2 * rotary[0].shape[1], PARTS=parts, BLOCK=SPLIT_BLOCK, num_warps=4,
        )  # fmt: skip
        _combine_kernel[(self._heads * count,)](
            self._sums, self._tops, self._masses, out,
            WIDTH=self._width, PARTS=parts, num_warps=4,
        )  # fmt: skip


def splits(count: int) -> int:
    """Return the parts that the contexts of some tokens are split into: fewer if they are many."""
    fitting = max(1, ROWS_TIMES_SPLITS // count)
    return max(4, min(SPLITS, 1 << (fitting.bit_length() - 1)))

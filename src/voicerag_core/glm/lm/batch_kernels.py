"""What a pass of many tokens through GLM-4 needs on a GPU besides its matrix products.

The tokens of a pass are parts of texts, in blocks of `BLOCK`, and behind them one token of each of
some other rows, whose attention is `kernels.CachedAttention`. All shapes are fixed, so that a pass
can be a CUDA graph, and no length of a text is met for the first time.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from voicerag_core.glm.lm.kernels import Matrix, _turned
from voicerag_core.glm.lm.weight_only import GROUP

__all__ = [
    "BLOCK",
    "PACKED_TILES",
    "PackedTile",
    "PartAttention",
    "add_and_norm",
    "gate",
    "packed_product",
    "unpack",
]

BLOCK = 64
"""Tokens of a block, which are of one text."""
KEYS = 64
"""Keys that a block reads at a time."""
GATE_BLOCK = 1024
UNPACK_BLOCK = 2048
PackedTile = tuple[int, int, int, int]
PACKED_TILES: tuple[PackedTile, ...] = (
    (32, 128, 4, 4),
    (64, 128, 4, 4),
    (32, 256, 4, 3),
    (16, 256, 4, 4),
)
"""Rows and inputs of a tile of a packed weight, warps and stages, to choose from by measurement."""


@triton.jit
def _add_norm_kernel(  # type: ignore[no-untyped-def]
    stream, delta, weight, out, width, epsilon, ADD: tl.constexpr, SIZE: tl.constexpr
):
    columns = tl.arange(0, SIZE)
    within = columns < width
    at = tl.program_id(0) * width + columns
    x = tl.load(stream + at, mask=within, other=0.0)
    if ADD:
        added = x.to(tl.float32) + tl.load(delta + at, mask=within, other=0.0).to(tl.float32)
        x = added.to(x.dtype)
        tl.store(stream + at, x, mask=within)
    x = x.to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(x * x, axis=0) / width + epsilon)
    normed = x * scale * tl.load(weight + columns, mask=within, other=0.0).to(tl.float32)
    tl.store(out + at, normed.to(out.dtype.element_ty), mask=within)


@triton.jit
def _gate_kernel(both, out, width, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * SIZE + tl.arange(0, SIZE)
    within = columns < width
    first = tl.load(both + 2 * row * width + columns, mask=within, other=0.0).to(tl.float32)
    second = tl.load(both + (2 * row + 1) * width + columns, mask=within, other=0.0)
    gated = first * tl.sigmoid(first) * second.to(tl.float32)
    tl.store(out + row * width + columns, gated.to(out.dtype.element_ty), mask=within)


@triton.jit
def _write_kernel(  # type: ignore[no-untyped-def]
    qkv, blocks, cos, sin, queries, keys, values, slots, count,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, GROUPS: tl.constexpr, PADDED: tl.constexpr,
    WIDTH: tl.constexpr, ROTATED: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """Rotate a token's queries and one key, and write the key and its value down."""
    token, head = tl.program_id(0), tl.program_id(1)
    block = token // SIZE
    row = tl.load(blocks + block)
    here = tl.load(blocks + count + block) + token % SIZE
    if token % SIZE < tl.load(blocks + 2 * count + block):
        qkv += token * (HEADS + 2 * KV_HEADS) * WIDTH
        cos += here * (ROTATED // 2)
        sin += here * (ROTATED // 2)
        columns = tl.arange(0, WIDTH)
        member = tl.arange(0, PADDED)
        live = member < GROUPS
        query = _turned(qkv, head * GROUPS + member, live, cos, sin, WIDTH, ROTATED)
        place = (token * HEADS + head * GROUPS + member) * WIDTH
        tl.store(queries + place[:, None] + columns[None, :], query, mask=live[:, None])
        one = tl.zeros((1,), tl.int32)
        key = _turned(qkv, HEADS + head + one, one == 0, cos, sin, WIDTH, ROTATED)
        value = tl.load(qkv + (HEADS + KV_HEADS + head) * WIDTH + columns)
        at = ((row * KV_HEADS + head) * slots + here) * WIDTH + columns
        tl.store(keys + at[None, :], key)
        tl.store(values + at, value)


@triton.jit
def _part_attention_kernel(  # type: ignore[no-untyped-def]
    queries, blocks, keys, values, out, slots, count, scaling,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, GROUPS: tl.constexpr, WIDTH: tl.constexpr,
    SIZE: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    block, head = tl.program_id(0), tl.program_id(1)
    row = tl.load(blocks + block)
    start = tl.load(blocks + count + block).to(tl.int32)
    size = tl.load(blocks + 2 * count + block).to(tl.int32)
    end = tl.where(size > 0, start + size, 0)
    member, columns = tl.arange(0, SIZE), tl.arange(0, WIDTH)
    here = start + member
    place = ((block * SIZE + member) * HEADS + head)[:, None] * WIDTH + columns[None, :]
    query = tl.load(queries + place, mask=(member < size)[:, None], other=0.0)
    offset = (row * KV_HEADS + head // GROUPS) * slots * WIDTH
    keys += offset
    values += offset
    top = tl.full((SIZE,), float("-inf"), tl.float32)
    mass = tl.zeros((SIZE,), tl.float32)
    total = tl.zeros((SIZE, WIDTH), tl.float32)
    for first in range(0, end, KEYS):
        places = first + tl.arange(0, KEYS)
        inside = places < end
        at = places[:, None] * WIDTH + columns[None, :]
        key = tl.load(keys + at, mask=inside[:, None], other=0.0)
        value = tl.load(values + at, mask=inside[:, None], other=0.0)
        scores = tl.dot(query, tl.trans(key), input_precision="ieee") * scaling
        seen = inside[None, :] & (places[None, :] <= here[:, None])
        scores = tl.where(seen, scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, axis=1))
        shrink = tl.exp(top - higher)
        shares = tl.exp(scores - higher[:, None])
        mass = mass * shrink + tl.sum(shares, axis=1)
        total = total * shrink[:, None] + tl.dot(
            shares.to(value.dtype), value, input_precision="ieee"
        )
        top = higher
    total = total / tl.where(mass > 0, mass, 1.0)[:, None]
    tl.store(out + place, total.to(out.dtype.element_ty))


def add_and_norm(
    stream: torch.Tensor,
    delta: torch.Tensor | None,
    weight: torch.Tensor,
    out: torch.Tensor,
    epsilon: float,
) -> None:
    """Add to a residual stream, and write its RMSNorm.

    Args:
        stream: [N, K], changed.
        delta: [N, K], or None.
        weight: [K], of the norm.
        out: [N, K], written.
        epsilon: Of the norm.
    """
    width = stream.shape[1]
    _add_norm_kernel[(len(stream),)](
        stream, stream if delta is None else delta, weight, out, width, epsilon,
        ADD=delta is not None, SIZE=triton.next_power_of_2(width), num_warps=8,
    )  # fmt: skip


def gate(both: torch.Tensor, out: torch.Tensor) -> None:
    """Write silu(gate) times up.

    Args:
        both: [N, 2 K], the gate first.
        out: [N, K], written.
    """
    width = out.shape[1]
    _gate_kernel[(len(out), triton.cdiv(width, GATE_BLOCK))](
        both, out, width, SIZE=GATE_BLOCK, num_warps=4
    )


class PartAttention:
    """Attention of parts of texts to the rows of the cache that they are in.

    Args:
        heads: Query heads.
        kv_heads: Key and value heads.
        width: Of a head.
        like: [most tokens, heads * width], of the dtype and device of the queries.
    """

    def __init__(self, heads: int, kv_heads: int, width: int, like: torch.Tensor) -> None:
        self._heads, self._kv_heads, self._width = heads, kv_heads, width
        self._queries = torch.empty_like(like)

    def attend(
        self,
        qkv: torch.Tensor,
        blocks: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        keys: torch.Tensor,
        values: torch.Tensor,
        out: torch.Tensor,
    ) -> None:
        """Rotate queries and keys, write keys and values down, attend to all up to each token.

        Args:
            qkv: [T, (heads + 2 kv heads) * width], contiguous, T a multiple of `BLOCK`.
            blocks: [3, T / BLOCK] int64, contiguous: the row of each block, the position of its
                first token, and how many of its tokens are real.
            rotary: Cosine and sine, [positions, half of the rotated width] float32.
            keys: [rows, kv heads, slots, width], of one layer.
            values: The same shape.
            out: [T, heads * width], written.
        """
        groups = self._heads // self._kv_heads
        count = blocks.shape[1]
        sizes = {"HEADS": self._heads, "KV_HEADS": self._kv_heads, "GROUPS": groups}
        _write_kernel[(len(qkv), self._kv_heads)](
            qkv, blocks, rotary[0], rotary[1], self._queries, keys, values, keys.shape[2], count,
            **sizes, PADDED=triton.next_power_of_2(groups), WIDTH=self._width,
            ROTATED=2 * rotary[0].shape[1], SIZE=BLOCK, num_warps=2,
        )  # fmt: skip
        _part_attention_kernel[(count, self._heads)](
            self._queries, blocks, keys, values, out, keys.shape[2], count, self._width**-0.5,
            **sizes, WIDTH=self._width, SIZE=BLOCK, KEYS=KEYS, num_warps=4, num_stages=2,
        )  # fmt: skip


@triton.jit
def _packed_kernel(  # type: ignore[no-untyped-def]
    x, weight, scale, zero, bias, out, count, height, width,
    BIAS: tl.constexpr, BITS: tl.constexpr, GROUP_SIZE: tl.constexpr,
    HEIGHT: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Multiply x [count, width] by rows of a weight of 8 or 4 bits, unpacked tile by tile."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    members = tl.program_id(1) * HEIGHT + tl.arange(0, HEIGHT)
    live, real = rows < height, members < count
    wide_rows = rows.to(tl.int64)[:, None]
    total = tl.zeros((HEIGHT, ROWS), tl.float32)
    if BITS == 4:
        half, groups = width // 2, width // GROUP_SIZE
        for start in range(0, half, GROUP_SIZE):
            columns = start + tl.arange(0, GROUP_SIZE)
            packed = tl.load(
                weight + wide_rows * half + columns[None, :], mask=live[:, None], other=0
            )
            at = rows * groups + start // GROUP_SIZE
            for part in tl.static_range(2):
                place = at + part * (groups // 2)
                factor = tl.load(scale + place, mask=live, other=0.0)
                least = tl.load(zero + place, mask=live, other=0.0)
                levels = ((packed >> (4 * part)) & 15).to(factor.dtype)
                tile = levels * factor[:, None] + least[:, None]
                values = tl.load(
                    x + members[:, None] * width + part * half + columns[None, :],
                    mask=real[:, None], other=0.0,
                )  # fmt: skip
                total += tl.dot(values, tl.trans(tile), input_precision="ieee")
    else:
        for start in range(0, width, BLOCK):
            columns = start + tl.arange(0, BLOCK)
            within = columns < width
            values = tl.load(
                x + members[:, None] * width + columns[None, :],
                mask=real[:, None] & within[None, :], other=0.0,
            )  # fmt: skip
            packed = tl.load(
                weight + wide_rows * width + columns[None, :],
                mask=live[:, None] & within[None, :], other=0,
            )  # fmt: skip
            total += tl.dot(values, tl.trans(packed.to(values.dtype)), input_precision="ieee")
        total *= tl.load(scale + rows, mask=live, other=0.0).to(tl.float32)[None, :]
    if BIAS:
        total += tl.load(bias + rows, mask=live, other=0.0).to(tl.float32)[None, :]
    tl.store(
        out + members[:, None] * height + rows[None, :], total.to(out.dtype.element_ty),
        mask=real[:, None] & live[None, :],
    )  # fmt: skip


def packed_product(x: torch.Tensor, matrix: Matrix, out: torch.Tensor, tile: PackedTile) -> None:
    """Write x times a weight of 8 or 4 bits, with its bias; the unpacking is shared by the rows.

    Args:
        x: [B, K], contiguous.
        matrix: [N, K].
        out: [B, N], written.
        tile: One of `PACKED_TILES`.
    """
    rows, block, warps, stages = tile
    count = len(x)
    height = max(16, min(64, triton.next_power_of_2(count)))
    grid = (triton.cdiv(matrix.rows, rows), triton.cdiv(count, height))
    _packed_kernel[grid](
        x, matrix.weight, matrix.scale, matrix.zero, x if matrix.bias is None else matrix.bias, out,
        count, matrix.rows, matrix.width, BIAS=matrix.bias is not None, BITS=matrix.bits,
        GROUP_SIZE=GROUP, HEIGHT=height, ROWS=rows, BLOCK=block, num_warps=warps, num_stages=stages,
    )  # fmt: skip


@triton.jit
def _unpack_kernel(  # type: ignore[no-untyped-def]
    weight, scale, zero, out, width,
    BITS: tl.constexpr, GROUP_SIZE: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """Write a part of a row of a weight of 8 or 4 bits as numbers."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * SIZE + tl.arange(0, SIZE)
    if BITS == 4:
        half, groups = width // 2, width // GROUP_SIZE
        within = columns < half
        packed = tl.load(weight + row * half + columns, mask=within, other=0)
        for part in tl.static_range(2):
            place = row * groups + part * (groups // 2) + columns // GROUP_SIZE
            factor = tl.load(scale + place, mask=within, other=0.0)
            least = tl.load(zero + place, mask=within, other=0.0)
            levels = ((packed >> (4 * part)) & 15).to(factor.dtype)
            at = row * width + part * half + columns
            tl.store(out + at, levels * factor + least, mask=within)
    else:
        within = columns < width
        packed = tl.load(weight + row * width + columns, mask=within, other=0)
        factor = tl.load(scale + row)
        tl.store(out + row * width + columns, packed.to(factor.dtype) * factor, mask=within)


def unpack(matrix: Matrix, out: torch.Tensor) -> None:
    """Write a weight of 8 or 4 bits as numbers, in one pass over memory.

    Args:
        matrix: [N, K].
        out: [N, K], contiguous, of the dtype of the scales; written.
    """
    columns = matrix.width // (2 if matrix.bits == 4 else 1)
    _unpack_kernel[(matrix.rows, triton.cdiv(columns, UNPACK_BLOCK))](
        matrix.weight, matrix.scale, matrix.zero, out, matrix.width,
        BITS=matrix.bits, GROUP_SIZE=GROUP, SIZE=UNPACK_BLOCK, num_warps=4,
    )  # fmt: skip

"""Triton's kernels against plain torch: on a GPU, or with TRITON_INTERPRET=1 on the CPU."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

pytest.importorskip("triton", reason="Triton comes with torch for GPUs alone")
if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("no GPU, and TRITON_INTERPRET=1 is not set", allow_module_level=True)

from voicerag_core.glm.lm import batch_kernels
from voicerag_core.glm.lm import kernels as lm_kernels
from voicerag_core.glm.lm.weight_only import WeightOnlyLinear

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the interpreter

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TILE = (2, 128, 4)
EPSILON = 1e-6


def linear(rows: int, width: int, *, bits: int = 16, bias: bool = False) -> nn.Module:
    made = nn.Linear(width, rows, bias=bias, device=DEVICE)
    nn.init.normal_(made.weight, std=width**-0.5)
    return made if bits == 16 else WeightOnlyLinear(made, bits)


def normed(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return nn.functional.rms_norm(x, weight.shape, weight, EPSILON)


@pytest.mark.parametrize("bits", [16, 8, 4])
@torch.inference_mode()
def test_matrix_times_normed_vector_with_bias(bits: int) -> None:
    torch.manual_seed(0)
    layer = linear(7, 384, bits=bits, bias=True)
    x, weight = torch.randn(2, 384, device=DEVICE)
    out = torch.empty(7, device=DEVICE)
    lm_kernels.matvec(x, lm_kernels.Matrix.of(layer), out, tile=TILE, norm=weight, epsilon=EPSILON)
    torch.testing.assert_close(out, layer(normed(x, weight)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("bits", [16, 8, 4])
@torch.inference_mode()
def test_matrix_times_vector_plus_residual(bits: int) -> None:
    torch.manual_seed(1)
    layer = linear(6, 256, bits=bits)
    x, residual = torch.randn(256, device=DEVICE), torch.randn(6, device=DEVICE)
    out = torch.empty(6, device=DEVICE)
    lm_kernels.matvec(x, lm_kernels.Matrix.of(layer), out, tile=TILE, residual=residual)
    torch.testing.assert_close(out, layer(x) + residual, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bits", [16, 8, 4])
@torch.inference_mode()
def test_gate_and_up_of_a_normed_vector(bits: int) -> None:
    torch.manual_seed(2)
    layer = linear(10, 256, bits=bits)
    x, weight = torch.randn(2, 256, device=DEVICE)
    out = torch.empty(5, device=DEVICE)
    lm_kernels.gated_matvec(
        x, lm_kernels.Matrix.of(layer), out, tile=TILE, norm=weight, epsilon=EPSILON
    )
    gate, up = layer(normed(x, weight)).chunk(2)
    torch.testing.assert_close(out, nn.functional.silu(gate) * up, atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 70])
@torch.inference_mode()
def test_attention_of_one_token_a_row_and_what_it_writes_down(length: int, count: int) -> None:
    torch.manual_seed(length)
    heads, kv_heads, width, slots = 4, 2, 32, 80
    qkv = torch.randn(count, (heads + 2 * kv_heads) * width, device=DEVICE)
    keys, values = torch.randn(2, 4, kv_heads, slots, width, device=DEVICE)
    before = keys.clone()
    angles = torch.outer(torch.arange(slots), 10000 ** -(torch.arange(0, 16, 2) / 16)).to(DEVICE)
    rows = [2, 0, 4][:count]  # row 4 is none
    positions = [length, 5, 0][:count]
    out = torch.empty(count, heads * width, device=DEVICE)
    lm_kernels.CachedAttention(heads, kv_heads, width, qkv.device, most=count).attend(
        qkv, torch.tensor(positions, device=DEVICE), torch.tensor(rows, device=DEVICE),
        (angles.cos(), angles.sin()), keys, values, out,
    )  # fmt: skip
    for number, (row, place) in enumerate(zip(rows, positions, strict=True)):
        query, key, value = torch.split(qkv[number].view(-1, 1, width), [heads, kv_heads, kv_heads])
        query, key = (turned(x, angles[place]) for x in (query, key))
        if row == 4:
            continue
        all_keys = torch.cat((before[row, :, :place], key), dim=1)
        all_values = torch.cat((values[row, :, :place], value), dim=1)
        expected = nn.functional.scaled_dot_product_attention(
            query, all_keys.repeat_interleave(2, 0), all_values.repeat_interleave(2, 0)
        )
        close(out[number].view(heads, width), expected[:, 0])
        close(keys[row, :, place], key[:, 0])
        close(values[row, :, place], value[:, 0])
        before[row, :, place] = keys[row, :, place]
    assert torch.equal(keys, before)


@pytest.mark.parametrize("starts", [(0, 0), (5, 70), (64, 3)])
@torch.inference_mode()
def test_attention_of_parts_of_texts_and_what_they_write_down(starts: tuple[int, int]) -> None:
    torch.manual_seed(starts[1])
    heads, kv_heads, width, slots = 4, 2, 32, 160
    rows, counts = (3, 1), (66, 3)  # two blocks, and one; the fourth holds nothing
    size = 4 * batch_kernels.BLOCK
    qkv = torch.randn(size, (heads + 2 * kv_heads) * width, device=DEVICE)
    keys, values = torch.randn(2, 4, kv_heads, slots, width, device=DEVICE)
    before = keys.clone(), values.clone()
    angles = torch.outer(torch.arange(slots), 10000 ** -(torch.arange(0, 16, 2) / 16)).to(DEVICE)
    blocks = torch.tensor(
        [[3, 3, 1, 4], [starts[0], starts[0] + 64, starts[1], 0], [64, 2, 3, 0]], device=DEVICE
    )
    out = torch.empty(size, heads * width, device=DEVICE)
    batch_kernels.PartAttention(heads, kv_heads, width, out).attend(
        qkv, blocks, (angles.cos(), angles.sin()), keys, values, out
    )
    for row, start, count, first in zip(rows, starts, counts, (0, 128), strict=True):
        mine = qkv[first : first + count].view(count, -1, width).transpose(0, 1)
        query, key, value = torch.split(mine, [heads, kv_heads, kv_heads])
        query, key = (turned(x, angles[start : start + count]) for x in (query, key))
        for side, new in zip(before, (key, value), strict=True):
            side[row, :, start : start + count] = new
        filled = start + count
        mask = torch.arange(filled) <= torch.arange(start, filled)[:, None]
        expected = nn.functional.scaled_dot_product_attention(
            query, *(side[row, :, :filled].repeat_interleave(2, 0) for side in before),
            attn_mask=mask.to(DEVICE),
        )  # fmt: skip
        close(out[first : first + count].view(count, heads, width), expected.transpose(0, 1))
    close(keys, before[0])
    close(values, before[1])


@torch.inference_mode()
def test_a_residual_with_its_norm_and_a_gate_for_many_tokens() -> None:
    torch.manual_seed(3)
    stream, delta = torch.randn(2, 5, 96, device=DEVICE)
    weight = torch.randn(96, device=DEVICE)
    expected = stream + delta
    out = torch.empty_like(stream)
    batch_kernels.add_and_norm(stream, delta, weight, out, EPSILON)
    close(stream, expected)
    close(out, normed(expected, weight))
    batch_kernels.add_and_norm(stream, None, weight, out, EPSILON)
    close(out, normed(expected, weight))
    both = torch.randn(5, 2 * 1100, device=DEVICE)
    gated = torch.empty(5, 1100, device=DEVICE)
    batch_kernels.gate(both, gated)
    first, second = both.chunk(2, dim=1)
    close(gated, nn.functional.silu(first) * second)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def turned(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    rotated = torch.view_as_complex(torch.unflatten(x[..., :16], -1, (-1, 2)).contiguous())
    rotated = torch.view_as_real(rotated * torch.polar(torch.ones_like(angles), angles))
    return torch.cat((rotated.flatten(-2), x[..., 16:]), dim=-1)

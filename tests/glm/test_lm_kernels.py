"""Triton's kernels against plain torch: on a GPU, or with TRITON_INTERPRET=1 on the CPU."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

pytest.importorskip("triton", reason="Triton comes with torch for GPUs alone")
if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("no GPU, and TRITON_INTERPRET=1 is not set", allow_module_level=True)

from voicerag_core.glm.lm import batch_forward, batch_kernels
from voicerag_core.glm.lm import kernels as lm_kernels
from voicerag_core.glm.lm.batch_forward import BatchForward
from voicerag_core.glm.lm.forward import KeyValueCache, RotaryTable, Run, forward_runs
from voicerag_core.glm.lm.fused_forward import FusedForward
from voicerag_core.glm.lm.loading import empty_lm, quantize_to
from voicerag_core.glm.lm.weight_only import WeightOnlyLinear
from voicerag_core.glm.weights.configs import LMConfig

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
        all_keys, all_values = (side[row, :, :filled].repeat_interleave(2, 0) for side in before)
        expected = nn.functional.scaled_dot_product_attention(
            query, all_keys, all_values, attn_mask=mask.to(DEVICE)
        )
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


@pytest.mark.parametrize("bits", [8, 4])
@torch.inference_mode()
def test_packed_weights_times_many_tokens_with_bias(bits: int) -> None:
    torch.manual_seed(4)
    layer = linear(40, 256, bits=bits, bias=True)
    x = torch.randn(18, 256, device=DEVICE)
    out = torch.empty(18, 40, device=DEVICE)
    matrix = lm_kernels.Matrix.of(layer)
    batch_kernels.packed_product(x, matrix, out, batch_kernels.PACKED_TILES[0])
    close(out, layer(x))


@pytest.mark.parametrize("bits", [8, 4])
@torch.inference_mode()
def test_a_packed_weight_as_numbers(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_kernels, "UNPACK_BLOCK", 128)
    torch.manual_seed(5)
    layer = linear(5, 384, bits=bits)
    assert isinstance(layer, WeightOnlyLinear)
    out = torch.full((5, 384), torch.nan, device=DEVICE)
    batch_kernels.unpack(lm_kernels.Matrix.of(layer), out)
    torch.testing.assert_close(out, layer.dequantized(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("unpacked", [3, 1000], ids=["as numbers", "tile by tile"])
@pytest.mark.parametrize("bits", [16, 8, 4])
@torch.inference_mode()
def test_a_pass_of_many_tokens_is_the_plain_one(
    bits: int, unpacked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_forward, "MOST_PACKED", unpacked)
    config = LMConfig(
        vocab_size=64, hidden_size=128, ffn_size=256, layers=2, heads=4, kv_heads=2, head_dim=32,
        max_positions=128, pad_token_id=0, eos_token_ids=(0,), dtype="float32",
    )  # fmt: skip
    model = empty_lm(config).to_empty(device=DEVICE)
    torch.manual_seed(0)
    for weight in model.parameters():
        nn.init.normal_(weight, mean=float(weight.ndim == 1), std=0.08)
    if bits < 16:
        quantize_to(model, bits, torch.device(DEVICE))
    caches = [KeyValueCache.allocate(model, 128, 3) for _ in range(2)]
    rotary = RotaryTable.of(model, 128)
    ids = torch.randint(64, (80,))
    for cache in caches:
        before = [Run(0, 0, ids[:9].tolist()), Run(2, 0, ids[20:25].tolist())]
        forward_runs(model, before, cache, rotary)
    runs = [Run(0, 9, ids[9:19].tolist()), Run(2, 5, [7]), Run(1, 0, [8])]
    last = forward_runs(model, runs, caches[0], rotary)[[9, 10, 11]]
    expected = model.lm_head(last)

    def whole(*values: object) -> torch.Tensor:
        return torch.tensor(values, device=DEVICE)

    none = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    one = FusedForward(model, caches[1], rotary, none[None], none, whole(3))
    many = BatchForward(model, one.layers, rotary, 64, 4)
    padded = torch.cat((ids[9:19], torch.zeros(54, dtype=torch.int64), torch.tensor([7, 8, 1, 1])))
    logits = many(
        padded.to(DEVICE), whole([0], [9], [10]), whole(2, 1, 3, 3), whole(5, 0, 0, 0),
        whole(9, 64, 65),
    )  # fmt: skip
    torch.testing.assert_close(logits, expected, atol=2e-4, rtol=0)
    for mine, plain in zip(
        (caches[1].keys, caches[1].values), (caches[0].keys, caches[0].values), strict=True
    ):
        torch.testing.assert_close(mine, plain, atol=2e-4, rtol=0)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def turned(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    rotated = torch.view_as_complex(torch.unflatten(x[..., :16], -1, (-1, 2)).contiguous())
    rotated = torch.view_as_real(rotated * torch.polar(torch.ones_like(angles), angles))
    return torch.cat((rotated.flatten(-2), x[..., 16:]), dim=-1)

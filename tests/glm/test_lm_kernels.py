"""Triton's kernels against plain torch: on a GPU, or with TRITON_INTERPRET=1 on the CPU."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

pytest.importorskip("triton", reason="Triton comes with torch for GPUs alone")
if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("no GPU, and TRITON_INTERPRET=1 is not set", allow_module_level=True)

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
    return nn.functional.rms_norm(x, x.shape, weight, EPSILON)


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


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 70])
@torch.inference_mode()
def test_attention_of_one_token_and_what_it_writes_down(length: int) -> None:
    torch.manual_seed(length)
    heads, kv_heads, width, slots = 4, 2, 32, 80
    qkv = torch.randn((heads + 2 * kv_heads) * width, device=DEVICE)
    keys, values = torch.randn(2, kv_heads, slots, width, device=DEVICE)
    angles = torch.outer(torch.arange(slots), 10000 ** -(torch.arange(0, 16, 2) / 16)).to(DEVICE)
    query, key, value = torch.split(qkv.view(-1, 1, width), [heads, kv_heads, kv_heads])
    query, key = (turned(x, angles[length]) for x in (query, key))
    all_keys = torch.cat((keys[:, :length], key), dim=1)
    all_values = torch.cat((values[:, :length], value), dim=1)
    expected = nn.functional.scaled_dot_product_attention(
        query, all_keys.repeat_interleave(2, 0), all_values.repeat_interleave(2, 0)
    )
    out = torch.empty(heads * width, device=DEVICE)
    position = torch.tensor([length], device=DEVICE)
    lm_kernels.CachedAttention(heads, kv_heads, width, qkv.device).attend(
        qkv, position, (angles.cos(), angles.sin()), keys, values, out
    )
    torch.testing.assert_close(out.view(heads, width), expected[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(keys[:, length], key[:, 0], atol=1e-6, rtol=0)
    torch.testing.assert_close(values[:, length], value[:, 0], atol=0, rtol=0)


def turned(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    rotated = torch.view_as_complex(torch.unflatten(x[..., :16], -1, (-1, 2)).contiguous())
    rotated = torch.view_as_real(rotated * torch.polar(torch.ones_like(angles), angles))
    return torch.cat((rotated.flatten(-2), x[..., 16:]), dim=-1)

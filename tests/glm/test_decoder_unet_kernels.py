"""The U-Net's Triton kernels against plain torch: on a GPU, or with TRITON_INTERPRET=1."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

pytest.importorskip("triton", reason="Triton comes with torch for GPUs alone")
if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("no GPU, and TRITON_INTERPRET=1 is not set", allow_module_level=True)

from voicerag_core.glm.decoder import fused_unet, product_kernels, unet_kernels
from voicerag_core.glm.decoder.flow import Flow
from voicerag_core.glm.decoder.fused_unet import FusedUNet, fits
from voicerag_core.glm.decoder.unet import UNet, group_norm
from voicerag_core.glm.weights.configs import FlowConfig

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the interpreter

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LENGTHS = (37, 1, 36, 20)
SIZES = FlowConfig(
    vocab_size=40, embedding_size=32, encoder_size=32, encoder_heads=4, encoder_ffn_size=64,
    encoder_layers=1, mels=16, unet_channels=(32, 64), unet_heads=2, unet_head_dim=16,
    unet_blocks=1, unet_mid_blocks=1,
)  # fmt: skip


@pytest.fixture(autouse=True)
def exact() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(5)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take large tiles: fewer programs, which the interpreter runs one after another."""
    use_tile(monkeypatch, product_kernels.Tile(64, 128, 64, 4, 2))
    monkeypatch.setattr(unet_kernels, "PROGRAMS", 1)


@pytest.fixture(params=[1, 10**9], ids=["largest tiles", "smallest tiles"])
def programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unet_kernels, "PROGRAMS", request.param)


@pytest.fixture(params=[(64, 128, 64, False), (16, 64, 16, True)], ids=["plain", "turned"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, outs, inputs, turned = request.param
    use_tile(monkeypatch, product_kernels.Tile(frames, outs, inputs, 4, 2, turned))


def use_tile(monkeypatch: pytest.MonkeyPatch, tile: product_kernels.Tile) -> None:
    for table in ("TILES", "NORM_PRODUCT_TILES"):
        monkeypatch.setattr(product_kernels, table, ((1, tile), (0, tile)))


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, device=DEVICE)


def lengths() -> Tensor:
    return torch.tensor(LENGTHS, dtype=torch.int32, device=DEVICE)


def valid(frames: int = max(LENGTHS), counts: Tensor | None = None) -> Tensor:
    """Return shape [B, T, 1], True at valid frames."""
    counts = lengths() if counts is None else counts
    return (torch.arange(frames, device=DEVICE) < counts[:, None])[..., None]


def close(made: Tensor, plain: Tensor) -> None:
    torch.testing.assert_close(made, plain, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.usefixtures("tiles")
def test_layer_norm_and_product(gelu: bool) -> None:
    norm, linear = nn.LayerNorm(32, device=DEVICE), nn.Linear(32, 160, bias=gelu, device=DEVICE)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = 5.0 + 3.0 * drawn(3, 37, 32)
    with torch.inference_mode():
        plain = linear(norm(x))
        made = product_kernels.norm_product(
            x, *product_kernels.fold(norm, linear), norm.eps, gelu=gelu
        )
        close(made, F.gelu(plain) if gelu else plain)


def test_each_number_of_frames_has_its_tile() -> None:
    small, middle, large = (product_kernels.Tile(size, 64, 64, 4, 2) for size in (16, 32, 64))
    table = ((100, small), (200, middle), (300, large))
    chosen = [product_kernels._tile(table, count) for count in (1, 100, 101, 300, 301)]
    assert chosen == [small, small, middle, large, large]


@pytest.mark.usefixtures("programs")
def test_attention_sees_the_valid_frames_of_its_row_alone() -> None:
    qkv = 2.0 * drawn(4, 37, 3 * 2 * 16)
    query, key, value = qkv.view(4, 37, 3, 2, 16).permute(2, 0, 3, 1, 4)
    seen = valid()[:, None, None, :, 0]
    plain = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    broken = torch.where(valid(), qkv, torch.nan)
    made = unet_kernels.attention(broken, lengths(), 2)
    assert made.isfinite().all()
    close(made * valid(), plain.transpose(1, 2).flatten(2) * valid())


def test_attention_over_several_blocks_of_keys() -> None:
    qkv = drawn(2, 150, 3 * 16)
    counts = torch.tensor([150, 70], dtype=torch.int32, device=DEVICE)
    query, key, value = qkv.view(2, 150, 3, 1, 16).permute(2, 0, 3, 1, 4)
    seen = valid(150, counts)
    plain = F.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None, :, 0])
    made = unet_kernels.attention(qkv, counts, 1)
    close(made * seen, plain[:, 0] * seen)


@pytest.mark.parametrize(("outs", "residual", "two"), [(48, True, False), (32, False, True)])
@pytest.mark.usefixtures("tiles")
def test_product_of_one_or_two_inputs_and_a_sum(outs: int, residual: bool, two: bool) -> None:
    x, other, added = drawn(3, 37, 96), drawn(3, 37, 96), drawn(3, 37, outs)
    weight, bias = drawn(outs, 96 * (1 + two)), drawn(outs)
    plain = F.linear(torch.cat((x, other), -1) if two else x, weight, bias)
    made = product_kernels.linear_add(
        x, weight, bias, added if residual else None, second=other if two else None
    )
    close(made, plain + added if residual else plain)


@pytest.mark.parametrize(("stride", "inputs"), [(1, 1), (1, 2), (2, 1)])
@pytest.mark.usefixtures("tiles")
@torch.inference_mode()
def test_convolution_reads_padded_frames_as_zero(stride: int, inputs: int) -> None:
    conv = nn.Conv1d(32 * inputs, 48, 3, padding=1, stride=stride, device=DEVICE)
    x = drawn(4, 37, 32 * inputs)
    plain = conv((x * valid()).transpose(1, 2)).transpose(1, 2)
    first, *rest = (part.contiguous() for part in torch.where(valid(), x, 1e9).chunk(inputs, -1))
    made = product_kernels.conv3(
        first,
        *fused_unet._product(conv, inputs),
        lengths(),
        stride=stride,
        second=rest[0] if rest else None,
    )
    close(made, plain)


@pytest.mark.parametrize("frames", [74, 73])
@pytest.mark.usefixtures("tiles")
@torch.inference_mode()
def test_doubling(frames: int) -> None:
    conv = nn.ConvTranspose1d(32, 48, 4, stride=2, padding=1, device=DEVICE)
    x = drawn(4, 37, 32)
    plain = conv((x * valid()).transpose(1, 2)).transpose(1, 2)[:, :frames]
    x = torch.where(valid(), x, 1e9)
    close(product_kernels.double(x, *fused_unet._product(conv), lengths(), frames), plain)


@pytest.mark.parametrize("most", [128, 16])
@pytest.mark.parametrize("added", ["nothing", "shift", "residual"])
@torch.inference_mode()
def test_group_norm_and_mish(added: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unet_kernels, "NORM_FRAMES", ((1, 4), (most, 4)))
    norm = nn.GroupNorm(8, 32, device=DEVICE)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x, residual, shift = 20.0 + 10.0 * drawn(4, 37, 32), drawn(4, 37, 32), drawn(1, 32, 1)
    turned = valid().transpose(1, 2)
    plain = F.mish(group_norm(x.transpose(1, 2), norm, turned)).transpose(1, 2)
    made = unet_kernels.norm_mish(
        torch.where(valid(), x, torch.nan), norm.weight, norm.bias, norm.eps, 8, lengths(),
        shift=shift if added == "shift" else None,
        residual=residual if added == "residual" else None,
    )  # fmt: skip
    sums = {"nothing": plain, "shift": plain + shift[..., 0], "residual": plain + residual}
    close(made, sums[added].masked_fill(~valid(), 0.0))


def unet(channels: tuple[int, ...], head_dim: int = 16) -> UNet:
    sizes = replace(SIZES, unet_channels=channels, unet_head_dim=head_dim)
    made = UNet(sizes).to(DEVICE).eval().requires_grad_(False)
    for parameter in made.parameters():
        if parameter.ndim == 1:
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.usefixtures("large")
@torch.inference_mode()
def test_whole_unet(masked: bool) -> None:
    module = unet((32, 64, 64))
    assert fits(module)
    shifts = module.time_shifts(torch.tensor([0.3], device=DEVICE))[0]
    x = drawn(4, 64, 37)
    mask = valid().transpose(1, 2) if masked else None
    close(FusedUNet(module)(x, shifts, mask), module(x, shifts, mask))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.usefixtures("large")
@torch.inference_mode()
def test_euler_step_with_guidance(masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = Flow(SIZES, sample_rate=22050, hop_samples=256).to(DEVICE).requires_grad_(False)
    sizes, times = flow.steps()
    size, shifts = sizes[4], times[4]
    x, context = drawn(2, 16, 37), drawn(4, 48, 37)
    mask = torch.cat((valid()[2:],) * 2).transpose(1, 2) if masked else None
    plain = flow.step(x, context, mask, size, shifts)
    monkeypatch.setattr(flow, "_fused", FusedUNet(flow.unet))
    given = torch.full((1,), size, device=DEVICE) if masked else size  # as a graph, or without one
    close(flow.step(x, context, mask, given, shifts), plain)
    assert not torch.equal(plain, x)


def test_sizes_that_do_not_fit_are_left_to_torch() -> None:
    assert fits(unet((32, 64)))
    assert not fits(unet((96, 96)))
    assert not fits(unet((8, 8)))
    assert not fits(unet((512, 32)))
    assert not fits(unet((32, 32), head_dim=8))
    assert not fits(unet((32, 32), head_dim=48))

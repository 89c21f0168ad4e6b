"""The decoder's Triton kernels against plain torch: on a GPU, or with TRITON_INTERPRET=1."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

pytest.importorskip("triton", reason="Triton comes with torch for GPUs alone")
if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("no GPU, and TRITON_INTERPRET=1 is not set", allow_module_level=True)

from voicerag_core.glm.decoder.kernels import norm_mish, snake
from voicerag_core.glm.decoder.unet import group_norm

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the interpreter

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize(("channels", "groups"), [(32, 8), (24, 3), (8, 1)])
@torch.inference_mode()
def test_norm_and_mish_of_rows_of_different_lengths(channels: int, groups: int) -> None:
    torch.manual_seed(channels)
    norm = nn.GroupNorm(groups, channels, device=DEVICE)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = 20.0 + 10.0 * torch.randn(4, channels, 301, device=DEVICE)
    mask = torch.arange(301) < torch.tensor([301, 300, 128, 1])[:, None]
    mask = mask[:, None].to(DEVICE)
    plain = F.mish(group_norm(x, norm, mask)).masked_fill(~mask, 0.0)
    torch.testing.assert_close(norm_mish(x, norm, mask), plain, atol=2e-5, rtol=0)


@torch.inference_mode()
def test_snake() -> None:
    torch.manual_seed(1)
    x, alpha = torch.randn(2, 5, 3000, device=DEVICE), 0.2 + torch.rand(5, device=DEVICE)
    plain = x + torch.sin(x * alpha[:, None]).square() / alpha[:, None]
    torch.testing.assert_close(snake(x, alpha, 1e-9), plain, atol=2e-5, rtol=1e-5)

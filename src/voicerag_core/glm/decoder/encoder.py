"""Speech tokens to one vector per token: a transformer that sees whole blocks and the past.

Tensor names are those of the released ``flow.pt``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from voicerag_core.glm.weights.configs import FlowConfig

__all__ = ["TokenEncoder"]


class TokenEncoder(nn.Module):
    """Relative-position transformer whose attention is causal between blocks.

    Position i sees position j when ``j <= i`` or both lie in one block, so that the vectors of a
    finished block never change when tokens are added. Distances are relative: a window that
    starts at a block gives the same vectors as these tokens at the start of a reply.

    Args:
        config: Sizes; `block_tokens` is the length of a block.

    Source: Dai et al., "Transformer-XL" (2019), appendix B, for the relative attention;
    cosyvoice/transformer/{attention,embedding,encoder}.py of THUDM/GLM-4-Voice @ eb00ce9.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        wide = config.encoder_size
        self.block_tokens = config.block_tokens
        self.embed = _Embedding(config.embedding_size, wide)
        self.encoders = nn.ModuleList(_Layer(config) for _ in range(config.encoder_layers))
        self.after_norm = nn.LayerNorm(wide)

    def forward(self, embedded: Tensor, valid: Tensor | None = None) -> Tensor:
        """Encode embedded tokens.

        Args:
            embedded: Shape [B, N, embedding_size], float.
            valid: Shape [B, N], bool, False where a row of the batch is padded; None: nowhere.

        Returns:
            Shape [B, N, encoder_size]; padded positions have no meaning.
        """
        x: Tensor = self.embed(embedded)
        tokens = x.shape[1]
        seen = block_causal_mask(tokens, self.block_tokens, x.device)[None]
        if valid is not None:
            seen = seen & valid[:, None, :]
        distances = sinusoids(tokens, x.shape[-1], x.device).to(x.dtype)
        for layer in self.encoders:
            x = layer(x, seen[:, None], distances)
        encoded: Tensor = self.after_norm(x)
        return encoded


class _Layer(nn.Module):
    """Attention and feed-forward, each after a norm and with a residual."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        wide = config.encoder_size
        self.self_attn = _RelativeAttention(wide, config.encoder_heads)
        self.feed_forward = _FeedForward(wide, config.encoder_ffn_size)
        self.norm_mha = nn.LayerNorm(wide)
        self.norm_ff = nn.LayerNorm(wide)

    def forward(self, x: Tensor, seen: Tensor, distances: Tensor) -> Tensor:
        x = x + self.self_attn(self.norm_mha(x), seen, distances)
        out: Tensor = x + self.feed_forward(self.norm_ff(x))
        return out


class _Embedding(nn.Module):
    """Brings a token's embedding to the width and scale of the layers."""

    def __init__(self, given: int, wide: int) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Linear(given, wide), nn.LayerNorm(wide))

    def forward(self, embedded: Tensor) -> Tensor:
        x: Tensor = self.out(embedded)
        return x * math.sqrt(x.shape[-1])


class _FeedForward(nn.Module):
    """Two layers with SiLU between them."""

    def __init__(self, wide: int, inner: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(wide, inner)
        self.w_2 = nn.Linear(inner, wide)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.w_2(F.silu(self.w_1(x)))
        return out


class _RelativeAttention(nn.Module):
    """Attention whose scores depend on content and on the distance of the two positions."""

    def __init__(self, wide: int, heads: int) -> None:
        super().__init__()
        self.linear_q = nn.Linear(wide, wide)
        self.linear_k = nn.Linear(wide, wide)
        self.linear_v = nn.Linear(wide, wide)
        self.linear_out = nn.Linear(wide, wide)
        self.linear_pos = nn.Linear(wide, wide, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(heads, wide // heads))
        self.pos_bias_v = nn.Parameter(torch.zeros(heads, wide // heads))

    def forward(self, x: Tensor, seen: Tensor, distances: Tensor) -> Tensor:
        """Attend.

        Args:
            x: Shape [B, N, C].
            seen: Shape [B or 1, 1, N, N], bool, True where the query (row) sees the key.
            distances: Shape [2N - 1, C], from N - 1 down to 1 - N.
        """
        heads, size = self.pos_bias_u.shape
        rows, tokens, _ = x.shape
        query = self.linear_q(x).view(rows, tokens, heads, size)
        key = self.linear_k(x).view(rows, tokens, heads, size).transpose(1, 2)
        value = self.linear_v(x).view(rows, tokens, heads, size).transpose(1, 2)
        place = self.linear_pos(distances).view(-1, heads, size).permute(1, 2, 0)
        by_distance = (query + self.pos_bias_v).transpose(1, 2) @ place
        step = torch.arange(tokens, device=x.device)
        column = tokens - 1 - step[:, None] + step[None, :]
        bias = by_distance.gather(-1, column.expand(*by_distance.shape[:2], -1, -1))
        bias = (bias / math.sqrt(size)).masked_fill(~seen, -math.inf)
        mixed = F.scaled_dot_product_attention(
            (query + self.pos_bias_u).transpose(1, 2), key, value, attn_mask=bias
        )
        out: Tensor = self.linear_out(mixed.transpose(1, 2).flatten(2))
        return out


def block_causal_mask(tokens: int, block: int, device: torch.device) -> Tensor:
    """Return which token sees which, shape [tokens, tokens], bool."""
    step = torch.arange(tokens, device=device)
    last_seen = (step // block + 1) * block
    return step[None, :] < last_seen[:, None]


def sinusoids(tokens: int, wide: int, device: torch.device) -> Tensor:
    """Encode the distances tokens - 1 down to 1 - tokens, shape [2 * tokens - 1, wide], float32.

    Sines at the even columns, cosines at the odd ones.

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.5.
    """
    distance = torch.arange(tokens - 1, -tokens, -1, device=device, dtype=torch.float32)
    even = torch.arange(0, wide, 2, device=device, dtype=torch.float32)
    angle = distance[:, None] * torch.exp(even * -(math.log(10_000.0) / wide))
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)

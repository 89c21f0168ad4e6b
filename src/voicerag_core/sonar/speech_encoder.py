"""SONAR's speech encoder in plain torch: w2v-BERT conformer, then an attention pooler.

Source: arXiv 2308.11466, section 4; w2v-BERT, arXiv 2108.06209; conformer, arXiv 2005.08100;
facebookresearch/SONAR v0.5.0, sonar/models/sonar_speech.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from voicerag_core.sonar.layers import (
    FeedForward,
    MultiHeadAttention,
    Stack,
    TokenTable,
    interleaved_distances,
    real_positions,
    sinusoid,
)

__all__ = ["MAX_POSITIONS", "SonarSpeechEncoder", "SpeechSizes"]

MAX_POSITIONS = 4096
"""Most positions of 20 ms: 81.92 s. Source: SONAR v0.5.0, w2v2_encoder_config.max_seq_len."""

START_TOKEN = 2
"""Row of the pooler's table whose vector asks for the summary (fairseq's beginning of sentence)."""

QUERY_BLOCK = 256
"""Queries whose scores are made together: bounds the memory of long clips, and spares scores of
distances that do not occur within the block."""


@dataclass(frozen=True, slots=True)
class SpeechSizes:
    """Sizes of a speech encoder, read from its checkpoint."""

    features: int
    width: int
    layers: int
    heads: int
    inner: int
    kernel: int
    pooler_vocabulary: int
    pooler_layers: int
    pooler_inner: int


class RelativeScores(nn.Module):
    """Parameters of relative attention besides its projections: a map of distances, two biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.u_bias = nn.Parameter(torch.empty(heads, width // heads))
        self.v_bias = nn.Parameter(torch.empty(heads, width // heads))
        self.r_proj = nn.Linear(width, width, bias=False)


class RelativeAttention(MultiHeadAttention):
    """Self-attention that also weighs how far a key is from a query.

    Source: Transformer-XL, arXiv 1901.02860, section 3.3.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.sdpa = RelativeScores(width, heads)

    def attend(self, x: Tensor, distances: Tensor, mask: Tensor | None) -> Tensor:
        """Map [N, S, D] to [N, S, D].

        Args:
            x: Input.
            distances: Table [2 * S - 1, D] of `interleaved_distances`.
            mask: [N, 1, 1, S], True for real keys; None: all are.
        """
        q, k, v = self.split(self.q_proj(x)), self.split(self.k_proj(x)), self.split(self.v_proj(x))
        far = self.sdpa.r_proj(distances).view(len(distances), self.heads, -1).permute(1, 2, 0)
        near = q + self.sdpa.u_bias[:, None]
        # scaled here and not as scores, of which there are more; exact, as heads are 64 wide
        asked = (q + self.sdpa.v_bias[:, None]) * (q.shape[-1] ** -0.5)
        length = x.shape[1]
        blocks = []
        for start in range(0, length, QUERY_BLOCK):
            stop = min(start + QUERY_BLOCK, length)
            # query i and key j are i - j apart, which is row length - 1 - (i - j)
            rows = far[..., length - stop : 2 * length - 1 - start]
            scores = _aligned(asked[:, :, start:stop] @ rows, length)
            # either makes the view dense, as fast attention wants it
            scores = scores.contiguous() if mask is None else scores.masked_fill(~mask, -torch.inf)
            blocks.append(
                functional.scaled_dot_product_attention(
                    near[:, :, start:stop], k, v, attn_mask=scores
                )
            )
        return self.join(blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2))


def _aligned(scores: Tensor, keys: int) -> Tensor:
    """Turn columns that are distances into columns that are keys, without copying.

    Key j of row r is in column ``rows - 1 - r + j``: read with rows one shorter, the numbers
    from ``rows - 1`` on have key j in column j.

    Args:
        scores: [..., rows, rows - 1 + keys], contiguous.
        keys: How many keys there are.

    Returns:
        [..., rows, keys].
    """
    rows, columns = scores.shape[-2:]
    if rows == 1:
        return scores
    flat = scores.flatten(-2)[..., rows - 1 : -1]
    return flat.view(*flat.shape[:-1], rows, columns - 1)[..., :keys]


class Convolution(nn.Module):
    """The conformer's convolution: gate, depthwise filter, batch norm, SiLU."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.pointwise_conv1 = nn.Conv1d(width, 2 * width, 1, bias=False)
        self.depthwise_conv = nn.Conv1d(
            width, width, kernel, padding="same", groups=width, bias=False
        )
        self.batch_norm = nn.BatchNorm1d(width)
        self.pointwise_conv2 = nn.Conv1d(width, width, 1, bias=False)

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """Map [N, S, D] to [N, S, D]; padding counts as zeros."""
        if real is not None:
            x = x.masked_fill(~real[..., None], 0)
        gated = functional.glu(self.pointwise_conv1(x.transpose(1, 2)), dim=1)
        filtered = functional.silu(self.batch_norm(self.depthwise_conv(gated)))
        mapped: Tensor = self.pointwise_conv2(filtered).transpose(1, 2)
        return mapped


class ConformerBlock(nn.Module):
    """Half a feed-forward part, attention, convolution, the other half, normalisation."""

    def __init__(self, sizes: SpeechSizes) -> None:
        super().__init__()
        width = sizes.width
        self.ffn1_layer_norm = nn.LayerNorm(width)
        self.ffn1 = FeedForward(width, sizes.inner, functional.silu)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = RelativeAttention(width, sizes.heads)
        self.conv_layer_norm = nn.LayerNorm(width)
        self.conv = Convolution(width, sizes.kernel)
        self.ffn2_layer_norm = nn.LayerNorm(width)
        self.ffn2 = FeedForward(width, sizes.inner, functional.silu)
        self.layer_norm = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, distances: Tensor, mask: Tensor | None, real: Tensor | None
    ) -> Tensor:
        """Map [N, S, D] to [N, S, D]."""
        x = x + 0.5 * self.ffn1(self.ffn1_layer_norm(x))
        x = x + self.self_attn.attend(self.self_attn_layer_norm(x), distances, mask)
        x = x + self.conv(self.conv_layer_norm(x), real)
        x = x + 0.5 * self.ffn2(self.ffn2_layer_norm(x))
        mapped: Tensor = self.layer_norm(x)
        return mapped


class PoolerLayer(nn.Module):
    """Post-norm decoder layer."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.self_attn = MultiHeadAttention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_decoder_attn = MultiHeadAttention(width, heads)
        self.encoder_decoder_attn_layer_norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, inner, functional.relu)
        self.ffn_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """Map [N, 1, D] to [N, 1, D], looking at `memory` [N, S, D]."""
        x = self.self_attn_layer_norm(x + self.self_attn(x))
        x = self.encoder_decoder_attn_layer_norm(x + self.encoder_decoder_attn(x, memory, mask))
        mapped: Tensor = self.ffn_layer_norm(x + self.ffn(x))
        return mapped


class FeatureProjection(nn.Module):
    """Brings stacked frames to the encoder's width."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.post_extract_layer_norm = nn.LayerNorm(features)
        self.model_dim_proj = nn.Linear(features, width)

    def forward(self, features: Tensor) -> Tensor:
        """Map [N, S, F] to [N, S, D]."""
        projected: Tensor = self.model_dim_proj(self.post_extract_layer_norm(features))
        return projected


class AttentionPooler(nn.Module):
    """Pools the positions into one vector, with a start token as the query."""

    def __init__(self, sizes: SpeechSizes) -> None:
        super().__init__()
        width = sizes.width
        self.decoder_frontend = TokenTable(sizes.pooler_vocabulary, width)
        self.decoder = Stack(
            PoolerLayer(width, sizes.heads, sizes.pooler_inner) for _ in range(sizes.pooler_layers)
        )
        self.projection_out = nn.Linear(width, width, bias=False)

    def forward(self, encoded: Tensor, mask: Tensor | None) -> Tensor:
        """Map [N, S, D] to [N, D].

        Args:
            encoded: Output of the encoder.
            mask: [N, 1, 1, S], True for real positions; None: all are.
        """
        start = self.decoder_frontend.embed.weight[START_TOKEN]
        width = encoded.shape[-1]
        query = start * math.sqrt(width) + sinusoid(0, 1, width)[0].to(start)
        query = query.expand(len(encoded), 1, -1)
        for layer in self.decoder.layers:
            query = layer(query, encoded, mask)
        pooled: Tensor = self.projection_out(query)[:, 0]
        return pooled


class SonarSpeechEncoder(nn.Module):
    """Conformer over stacked filter bank frames, pooled into one vector by attention."""

    def __init__(self, sizes: SpeechSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder_frontend = FeatureProjection(sizes.features, sizes.width)
        self.encoder = Stack(ConformerBlock(sizes) for _ in range(sizes.layers))
        self.layer_norm = nn.LayerNorm(sizes.width)
        self.encoder_pooler = AttentionPooler(sizes)
        self._distances: Tensor | None = None

    def forward(self, features: Tensor, lengths: Tensor | None) -> Tensor:
        """Encode a batch, as [N, D] in float32, not normalised.

        Args:
            features: Stacked frames [N, S, 160], S at most `MAX_POSITIONS`; values after a row's
                length have no effect.
            lengths: Positions of each row, [N]; None: no row is padded.
        """
        count = features.shape[1]
        real = None if lengths is None else real_positions(lengths, count)
        mask = None if real is None else real[:, None, None, :]
        x = self.encoder_frontend(features)
        distances = self._distance_table(count, x)
        for block in self.encoder.layers:
            x = block(x, distances, mask, real)
        pooled: Tensor = self.encoder_pooler(self.layer_norm(x), mask).float()
        return pooled

    def _distance_table(self, count: int, like: Tensor) -> Tensor:
        """Return `interleaved_distances`, cut from a larger table that is kept."""
        table = self._distances
        if (
            table is None
            or len(table) < 2 * count - 1
            or table.device != like.device
            or table.dtype != like.dtype
        ):
            kept = 1 << (count - 1).bit_length()  # few sizes, however lengths come
            table = interleaved_distances(kept, self.sizes.width).to(like)
            self._distances = table
        middle = len(table) // 2
        return table[middle - count + 1 : middle + count]

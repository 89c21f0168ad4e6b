"""SONAR's text encoder in plain torch.

Source: arXiv 2308.11466, section 4; facebookresearch/SONAR v0.5.0, sonar/models/sonar_text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from voicerag_core.sonar.layers import (
    Stack,
    TokenTable,
    TransformerLayer,
    real_positions,
    sinusoid,
)

__all__ = ["MAX_TOKENS", "TextEncoder", "TextSizes"]

MAX_TOKENS = 514
"""Most tokens of a text, including language token and end token.

Source: SONAR v0.5.0, models/sonar_text/config.py (max_seq_len 512, plus pad_idx + 1).
"""

FIRST_POSITION = 2
"""Index of the first token's position, fairseq's pad_idx + 1."""


@dataclass(frozen=True, slots=True)
class TextSizes:
    """Sizes of a text encoder, read from its checkpoint."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    inner: int


class TextEncoder(nn.Module):
    """Pre-norm transformer encoder; the vector of a text is the mean over its tokens."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder_frontend = TokenTable(sizes.vocabulary, sizes.width)
        self.encoder = Stack(
            TransformerLayer(sizes.width, sizes.heads, sizes.inner) for _ in range(sizes.layers)
        )
        self.layer_norm = nn.LayerNorm(sizes.width)
        self._positions: Tensor | None = None

    def forward(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        """Encode a batch, as [N, D] in float32, not normalised.

        Args:
            tokens: Ids [N, S], S at most `MAX_TOKENS`; values after a row's length have no
                effect.
            lengths: Tokens of each row, [N]; None: no row is padded.
        """
        table = self.encoder_frontend.embed.weight
        x = functional.embedding(tokens, table) * math.sqrt(self.sizes.width)
        x = x + self._position_table(x)[: tokens.shape[1]]
        real = None if lengths is None else real_positions(lengths, tokens.shape[1])
        mask = None if real is None else real[:, None, None, :]
        for layer in self.encoder.layers:
            x = layer(x, mask)
        x = self.layer_norm(x)
        if real is None or lengths is None:
            mean: Tensor = x.float().sum(1) / (tokens.shape[1] + 1e-7)
        else:
            mean = x.masked_fill(~real[..., None], 0).float().sum(1) / (lengths[:, None] + 1e-7)
        return mean

    def _position_table(self, like: Tensor) -> Tensor:
        table = self._positions
        if table is None or table.device != like.device or table.dtype != like.dtype:
            table = sinusoid(FIRST_POSITION, MAX_TOKENS, self.sizes.width).to(like)
            self._positions = table
        return table

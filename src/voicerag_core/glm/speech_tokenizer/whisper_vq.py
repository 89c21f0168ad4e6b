"""The network of the speech tokenizer: half of Whisper's encoder, then a codebook.

Source: `WhisperVQEncoder` of THUDM/GLM-4-Voice @ eb00ce9, speech_tokenizer/modeling_whisper.py,
for the order of operations and the names of the tensors; Zeng et al., "GLM-4-Voice" (2024),
section 2.1.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from voicerag_core.glm.weights.configs import SpeechTokenizerConfig

__all__ = ["WhisperVQ", "nearest_codes"]

ROWS = 2048
"""Frames whose distances to all codes are held together: 128 MiB with the released codebook."""


class _Attention(nn.Module):
    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(size, size)
        self.k_proj = nn.Linear(size, size, bias=False)
        self.v_proj = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, size)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        given: torch.Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return given


class _Layer(nn.Module):
    """Pre-norm: attention, then a feed-forward network, each added to its input."""

    def __init__(self, config: SpeechTokenizerConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.self_attn = _Attention(size, config.heads)
        self.self_attn_layer_norm = nn.LayerNorm(size)
        self.fc1 = nn.Linear(size, config.ffn_size)
        self.fc2 = nn.Linear(config.ffn_size, size)
        self.final_layer_norm = nn.LayerNorm(size)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask)
        given: torch.Tensor = x + self.fc2(functional.gelu(self.fc1(self.final_layer_norm(x))))
        return given


class WhisperVQ(nn.Module):
    """Features to speech tokens.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: SpeechTokenizerConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.config = config
        self.conv1 = nn.Conv1d(config.mels, size, 3)
        self.conv2 = nn.Conv1d(size, size, 3, stride=2)
        self.embed_positions = nn.Embedding(config.positions, size)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.codebook = nn.Embedding(config.codebook_size, size)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the token of every 80 ms; tokens beyond a clip's length have no meaning.

        Args:
            features: Shape [N, mels, frames], a frame per 10 ms, frames a multiple of twice the
                pooling.
            lengths: Shape [N], int64: frames of 20 ms that begin within the clip.

        Returns:
            Shape [N, frames / 8], int64.
        """
        hidden = self.encode(features, lengths)
        flat = hidden.flatten(0, 1)
        codes = self.codebook.weight
        squares = codes.square().sum(dim=1)
        ids = [nearest_codes(rows, codes, squares) for rows in torch.split(flat, ROWS)]
        return torch.cat(ids).reshape(hidden.shape[:2])

    def encode(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the vectors looked up, shape [N, tokens, width], in the codebook's dtype."""
        x = functional.gelu(self.conv1(functional.pad(features, (2, 0))))
        x = functional.gelu(self.conv2(functional.pad(x, (2, 0)))).transpose(1, 2)
        x = x + self.embed_positions.weight[: x.shape[1]]
        mask = _block_causal(x.shape[1], self.config.block_frames, lengths)
        for layer in self.layers:
            x = layer(x, mask)
        pooled = functional.avg_pool1d(x.transpose(1, 2), self.config.pooling)
        return pooled.transpose(1, 2).to(self.codebook.weight.dtype)


def nearest_codes(
    rows: torch.Tensor, codes: torch.Tensor, squares: torch.Tensor | None = None
) -> torch.Tensor:
    """Find the nearest code of each row, the first one where two are equally near.

    Args:
        rows: Shape [N, width].
        codes: Shape [codes, width].
        squares: Squared length of each code, shape [codes].

    Returns:
        Shape [N], int64.
    """
    if squares is None:
        squares = codes.square().sum(dim=1)
    lengths = rows.square().sum(dim=1, keepdim=True)
    return torch.addmm(squares + lengths, rows, codes.t(), alpha=-2.0).argmin(dim=1)


def _block_causal(frames: int, block: int, lengths: torch.Tensor) -> torch.Tensor:
    """Return which frame sees which: its past, its block, and nothing beyond the clip.

    Returns:
        Shape [N, 1, frames, frames], bool, query by key.
    """
    place = torch.arange(frames, device=lengths.device)
    seen = (place[None] <= place[:, None]) | (place[None] // block == place[:, None] // block)
    return (seen & (place < lengths[:, None])[:, None])[:, None]

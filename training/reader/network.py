"""MiniLM with a head for answers: the layers are trained, the packaged embeddings stay."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 384
HEADS = 12
LAYERS = 6
OUTPUTS = 3
"""Of each token: start of the answer, end of the answer, part of the sentence that answers."""
EPSILON = 1e-12
"""Source: nreimers/MiniLM-L6-H384-uncased, config.json (layer_norm_eps)."""


class Layer(nn.Module):
    """One encoder layer of BERT.

    Source: Devlin et al. 2019; tensor names of transformers' BertLayer.

    Args:
        dropout: Of what is added to the states.
        width: Of the states.
        heads: Of the attention.
        epsilon: Of the norms.
    """

    def __init__(
        self, dropout: float, *, width: int = WIDTH, heads: int = HEADS, epsilon: float = EPSILON
    ) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.mixed = nn.Linear(width, width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.first_norm = nn.LayerNorm(width, epsilon)
        self.second_norm = nn.LayerNorm(width, epsilon)
        self.dropout = nn.Dropout(dropout)
        self._heads = heads

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Map [B, T, width] to the same shape.

        Args:
            states: Of the layer below.
            mask: Broadcast to [B, heads, T, T]: True where there is a token, or numbers that are
                added to the scores.
        """

        def split(rows: Tensor) -> Tensor:
            return rows.reshape(*rows.shape[:-1], self._heads, -1).transpose(1, 2)

        seen = functional.scaled_dot_product_attention(
            split(self.query(states)), split(self.key(states)), split(self.value(states)), mask
        )
        mixed = self.mixed(seen.transpose(1, 2).flatten(2))
        states = self.first_norm(states + self.dropout(mixed))
        narrow = self.narrow(functional.gelu(self.wide(states)))
        normed: Tensor = self.second_norm(states + self.dropout(narrow))
        return normed


class ReaderNetwork(nn.Module):
    """Maps question and passage to three logits per token.

    Args:
        base: The packaged MiniLM, as read by prepare.py.
        dropout: Dropout of the layers and the embeddings.
    """

    words: Tensor
    positions: Tensor
    kinds: Tensor

    def __init__(self, base: Mapping[str, np.ndarray], dropout: float = 0.1) -> None:
        super().__init__()
        whole = {
            name: torch.from_numpy(base[f"{name}.q"].astype(np.float32) * base[f"{name}.scale"])
            for name in ("word_embeddings", "position_embeddings")
        }
        self.register_buffer("words", whole["word_embeddings"], persistent=False)
        self.register_buffer("positions", whole["position_embeddings"], persistent=False)
        kinds = torch.from_numpy(base["embeddings.token_type_embeddings.weight"].copy())
        self.register_buffer("kinds", kinds, persistent=False)
        self.norm = nn.LayerNorm(WIDTH, EPSILON)
        self.layers = nn.ModuleList(Layer(dropout) for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, OUTPUTS)
        self.dropout = nn.Dropout(dropout)
        self._start_from(base)

    def _start_from(self, base: Mapping[str, np.ndarray]) -> None:
        own = {
            "query": "attention.self.query", "key": "attention.self.key",
            "value": "attention.self.value", "mixed": "attention.output.dense",
            "wide": "intermediate.dense", "narrow": "output.dense",
            "first_norm": "attention.output.LayerNorm", "second_norm": "output.LayerNorm",
        }  # fmt: skip
        with torch.no_grad():
            self.norm.weight.copy_(torch.from_numpy(base["embeddings.LayerNorm.weight"]))
            self.norm.bias.copy_(torch.from_numpy(base["embeddings.LayerNorm.bias"]))
            for number, layer in enumerate(self.layers):
                for name, place in own.items():
                    stem = f"encoder.layer.{number}.{place}"
                    part = getattr(layer, name)
                    part.bias.copy_(torch.from_numpy(base[f"{stem}.bias"]))
                    if f"{stem}.q" in base:
                        rows = base[f"{stem}.q"].astype(np.float32) * base[f"{stem}.scale"]
                        part.weight.copy_(torch.from_numpy(rows))
                    else:
                        part.weight.copy_(torch.from_numpy(base[f"{stem}.weight"]))

    def embed(self, ids: Tensor, kinds: Tensor) -> Tensor:
        """Look tokens up, [B, T] to [B, T, 384], before the norm."""
        return self.words[ids] + self.positions[: ids.shape[1]] + self.kinds[kinds]

    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return [B, T, 3] from `embed` and the mask [B, T], True where there is a token."""
        states = self.dropout(self.norm(embedded))
        for layer in self.layers:
            states = layer(states, mask[:, None, None, :])
        logits: Tensor = self.head(states)
        return logits

    def forward(self, ids: Tensor, kinds: Tensor, mask: Tensor) -> Tensor:
        """Return [B, T, 3] from token ids, kinds (0 question, 1 passage) and mask, [B, T]."""
        return self.read(self.embed(ids, kinds), mask)

"""MPNet with the reader's head: a larger network that the reader is trained to agree with.

    python -m training.reader.teacher all-mpnet-base-v2/model.safetensors OUT

writes its weights to OUT as int8 rows with a scale each, in files of at most 60 MB
(teacher-*.npz), for `train.py --teacher OUT`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

from training.reader.network import OUTPUTS, Layer

__all__ = ["TeacherNetwork", "packed", "teacher_weights"]

HEADS = 12
EPSILON = 1e-5
"""Source: microsoft/mpnet-base, config.json (layer_norm_eps)."""
MOST_DISTANCE = 128
"""Source: Song et al. 2020 and T5 (Raffel et al. 2020): farther tokens share a bias."""
FIRST_POSITION = 2
"""Positions are counted from here. Source: transformers' MPNetEmbeddings (padding_idx + 1)."""
SHIFT = 4
"""A piece has this much more than its id in BERT's vocabulary; source: both vocab.txt."""
SPECIAL = {0: 1, 100: 3, 101: 0, 102: 2}
"""[PAD], [UNK], [CLS] and [SEP] in MPNet's vocabulary."""
PART_BYTES = 60_000_000

_NAMES = {
    "attention.attn.q": "query", "attention.attn.k": "key", "attention.attn.v": "value",
    "attention.attn.o": "mixed", "attention.LayerNorm": "first_norm",
    "intermediate.dense": "wide", "output.dense": "narrow", "output.LayerNorm": "second_norm",
}  # fmt: skip


class TeacherNetwork(nn.Module):
    """Maps question and passage to three logits per token, as ReaderNetwork does.

    Embeddings of words and the biases of distances stay as they are; all else is trained. It reads
    the reader's own tokens, which are pieces of its vocabulary too.

    Args:
        weights: As `teacher_weights` reads them.
        dropout: Dropout of the layers and the embeddings.
    """

    words: Tensor
    distances: Tensor
    pieces: Tensor

    def __init__(self, weights: Mapping[str, np.ndarray], dropout: float = 0.1) -> None:
        super().__init__()
        table = {name: torch.from_numpy(np.float32(values)) for name, values in weights.items()}
        words = table["embeddings.word_embeddings.weight"]
        width = words.shape[1]
        pieces = torch.arange(len(words)) + SHIFT
        for number, piece in SPECIAL.items():
            pieces[number] = piece
        self.register_buffer("words", words, persistent=False)
        self.register_buffer("pieces", pieces, persistent=False)
        distances = table["encoder.relative_attention_bias.weight"]
        self.register_buffer("distances", distances, persistent=False)
        self.positions = nn.Parameter(table["embeddings.position_embeddings.weight"].clone())
        self.kinds = nn.Parameter(torch.zeros(2, width))
        self.norm = nn.LayerNorm(width, EPSILON)
        count = 1 + max(int(n.split(".")[2]) for n in table if n.startswith("encoder.layer."))
        self.layers = nn.ModuleList(
            Layer(dropout, width=width, heads=HEADS, epsilon=EPSILON) for _ in range(count)
        )
        self.head = nn.Linear(width, OUTPUTS)
        self.dropout = nn.Dropout(dropout)
        held = {f"norm.{end}": table[f"embeddings.LayerNorm.{end}"] for end in ("weight", "bias")}
        for number in range(count):
            for theirs, name in _NAMES.items():
                for end in ("weight", "bias"):
                    stem = f"encoder.layer.{number}.{theirs}.{end}"
                    held[f"layers.{number}.{name}.{end}"] = table[stem]
        self.load_state_dict(held, strict=False)

    def states(self, ids: Tensor, kinds: Tensor, mask: Tensor) -> Tensor:
        """Return the states of the last layer, [B, T, width]."""
        count = ids.shape[1]
        places = self.positions[FIRST_POSITION : FIRST_POSITION + count]
        states = self.dropout(self.norm(self.words[self.pieces[ids]] + places + self.kinds[kinds]))
        added = self.biases(count)[None] + torch.where(mask, 0.0, -1e4)[:, None, None, :]
        if torch.is_autocast_enabled(states.device.type):
            added = added.to(torch.get_autocast_dtype(states.device.type))
        for layer in self.layers:
            states = layer(states, added)
        last: Tensor = states
        return last

    def forward(self, ids: Tensor, kinds: Tensor, mask: Tensor) -> Tensor:
        """Return [B, T, 3] from BERT's token ids, kinds (0 question, 1 passage) and mask, [B, T].

        The mask is True where there is a token; the padding comes last.
        """
        logits: Tensor = self.head(self.states(ids, kinds, mask))
        return logits

    def biases(self, count: int) -> Tensor:
        """Return what is added to the scores of so many tokens, [heads, count, count]."""
        places = torch.arange(count, device=self.distances.device)
        away = places[None, :] - places[:, None]
        half = len(self.distances) // 2
        exact = half // 2
        far = away.abs().clamp(min=1).float()
        rough = torch.log(far / exact) / math.log(MOST_DISTANCE / exact) * (half - exact)
        bucket = torch.where(
            away.abs() < exact, away.abs(), (exact + rough.long()).clamp(max=half - 1)
        )
        added: Tensor = self.distances[bucket + half * (away > 0)].permute(2, 0, 1)
        return added


def packed(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return matrices as int8 rows (`.q`) with a scale each (`.scale`), and all else as it is."""
    held: dict[str, np.ndarray] = {}
    for name, values in weights.items():
        if values.ndim == 2 and len(values) > OUTPUTS * HEADS:
            scale = np.abs(values).max(axis=1, keepdims=True) / 127
            held[f"{name}.q"] = np.round(values / np.maximum(scale, 1e-12)).astype(np.int8)
            held[f"{name}.scale"] = scale.astype(np.float32)
        else:
            held[name] = values
    return held


def teacher_weights(folder: Path) -> dict[str, np.ndarray]:
    """Read what `main` wrote, as float32."""
    held: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("teacher-*.npz")):
        with np.load(path) as part:
            held |= dict(part)
    if not held:
        raise SystemExit(f"{folder}: there are no files teacher-*.npz")
    return {
        name.removesuffix(".q"): values * held[name.removesuffix(".q") + ".scale"]
        if name.endswith(".q")
        else values
        for name, values in held.items()
        if not name.endswith(".scale")
    }


def main() -> None:
    """Pack the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, Any]] = [{}]
    used = 0
    wanted = {n: v for n, v in load_file(options.model).items() if not n.startswith("pooler")}
    for name, values in packed(wanted).items():
        if used + values.nbytes > PART_BYTES:
            parts.append({})
            used = 0
        parts[-1][name] = values
        used += values.nbytes
    for number, part in enumerate(parts):
        np.savez(options.out / f"teacher-{number}.npz", **part)


if __name__ == "__main__":
    main()

"""The speech encoder: Whisper tiny.en's encoder and a small head that reads subwords (CTC).

Sources: Radford et al. 2022 (Whisper), openai/whisper @ c0d2f62 whisper/model.py for the
layers; Graves et al. 2006
(CTC); Nozaki and Komatsu 2021, "Relaxing the conditional independence assumption of CTC-based
ASR by
conditioning on intermediate predictions" (self-conditioning).
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, HEADS, FEED_FORWARD = 384, 6, 1536
MELS, LAYERS, POSITIONS = 80, 4, 1500
CHARACTERS = "abcdefghijklmnopqrstuvwxyz' "
"""Targets of the auxiliary loss; the blank follows them."""
CONVERTED_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
"""Type numbers in CTranslate2's model files (include/ctranslate2/types.h)."""


class Block(nn.Module):
    """A pre-norm transformer layer over valid frames.

    `window` > 0 adds a depthwise convolution between attention and the feed-forward part.
    """

    def __init__(self, *, kernel: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.attn_ln = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.conv_ln = nn.LayerNorm(WIDTH) if kernel else None
        self.conv = (
            nn.Conv1d(WIDTH, WIDTH, kernel, padding=kernel // 2, groups=WIDTH) if kernel else None
        )
        self.mlp_ln = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, FEED_FORWARD)
        self.down = nn.Linear(FEED_FORWARD, WIDTH)
        self.dropout = dropout

    def forward(self, x: Tensor, valid: Tensor, bias: Tensor) -> Tensor:
        """Map [B, T, 384] to the same shape.

        `valid` [B, T, 1] holds 0 and 1, `bias` [B, 1, 1, T] 0 and a large negative.

        """
        batch, frames, _ = x.shape
        q, k, v = (
            self.qkv(self.attn_ln(x))
            .view(batch, frames, 3, HEADS, WIDTH // HEADS)
            .permute(2, 0, 3, 1, 4)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        mixed = self.out(mixed.transpose(1, 2).reshape(batch, frames, WIDTH))
        x = x + functional.dropout(mixed, self.dropout, self.training)
        if self.conv is not None and self.conv_ln is not None:
            local = functional.gelu(self.conv((self.conv_ln(x) * valid).transpose(1, 2))).transpose(
                1, 2
            )
            x = x + functional.dropout(local, self.dropout, self.training)
        wide = functional.gelu(self.up(self.mlp_ln(x)))
        return x + functional.dropout(self.down(wide), self.dropout, self.training)


class Encoder(nn.Module):
    """Whisper tiny.en's audio encoder over windows of any length up to 30 s."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MELS, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.zeros(POSITIONS, WIDTH), requires_grad=False)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.ln_post = nn.LayerNorm(WIDTH)

    def forward(self, mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode clips; a clip's states do not depend on the rest of the batch.

        Args:
            mel: [B, 80, T] log-mel, T even.
            lengths: [B] valid frames of each clip.

        Returns:
            States [B, T/2, 384], `valid` and `bias` as `Block` takes them.
        """
        present = (torch.arange(mel.shape[-1], device=mel.device) < lengths[:, None])[:, None].to(
            mel.dtype
        )
        x = functional.gelu(self.conv1(mel * present)) * present
        x = functional.gelu(self.conv2(x)).transpose(1, 2)
        valid = present[:, 0, ::2, None]
        bias = (valid[:, None, None, :, 0] - 1.0) * 1e4
        x = x + self.positions[: x.shape[1]]
        for block in self.blocks:
            x = block(x, valid, bias)
        return self.ln_post(x), valid, bias

    def load_converted(self, path: Path) -> None:
        """Read the weights from a CTranslate2 model file of Whisper tiny.en."""
        tensors = {k: v for k, v in read_converted(path).items() if k.startswith("encoder/")}
        state: dict[str, Tensor] = {
            "positions": _tensor(tensors["encoder/position_encodings/encodings"])
        }
        for ours, theirs in self._names():
            state[ours] = _tensor(tensors[f"encoder/{theirs}"])
        self.load_state_dict(state)

    @staticmethod
    def _names() -> list[tuple[str, str]]:
        names = [
            (f"conv{i}.{kind}", f"conv{i}/{kind}") for i in (1, 2) for kind in ("weight", "bias")
        ]
        norms = [("ln_post", "layer_norm")]
        for i in range(LAYERS):
            norms += [
                (f"blocks.{i}.attn_ln", f"layer_{i}/self_attention/layer_norm"),
                (f"blocks.{i}.mlp_ln", f"layer_{i}/ffn/layer_norm"),
            ]
            parts = (
                ("qkv", "self_attention/linear_0"),
                ("out", "self_attention/linear_1"),
                ("up", "ffn/linear_0"),
                ("down", "ffn/linear_1"),
            )
            names += [
                (f"blocks.{i}.{a}.{kind}", f"layer_{i}/{b}/{kind}")
                for a, b in parts
                for kind in ("weight", "bias")
            ]
        return names + [
            (f"{a}.{x}", f"{b}/{y}")
            for a, b in norms
            for x, y in (("weight", "gamma"), ("bias", "beta"))
        ]


class SpeechReader(nn.Module):
    """Encoder and CTC head: log-mel in, log-probabilities of tokens out, 50 per second."""

    def __init__(
        self, pieces: int, *, layers: int = 4, kernel: int = 15, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.ModuleList(Block(kernel=kernel, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(WIDTH)
        self.characters = nn.Linear(WIDTH, len(CHARACTERS) + 1)
        self.pieces = nn.Linear(WIDTH, pieces + 1)
        self.back = nn.Linear(pieces + 1, WIDTH)

    def read(
        self, states: Tensor, valid: Tensor, bias: Tensor
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Return token logits [B, T/2, V + 1], those of the middle layers, and of characters."""
        x, middles, characters = states, [], states
        for i, block in enumerate(self.head):
            x = block(x, valid, bias)
            if i == 0:
                characters = self.characters(x)
            if i + 1 < len(self.head) and i % 2 == 1:
                middles.append(self.pieces(self.norm(x)))
                x = x + self.back(middles[-1].softmax(-1).to(x.dtype))
        return self.pieces(self.norm(x)), middles, characters

    def forward(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """Return log-probabilities [B, T/2, V + 1]; frames behind a clip's end mean nothing."""
        return self.read(*self.encoder(mel, lengths))[0].float().log_softmax(-1)


def read_converted(path: Path) -> dict[str, np.ndarray]:
    """Read the variables of a CTranslate2 model file, format 6 (specs/model_spec.py)."""
    data, at = path.read_bytes(), 0

    def take(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return int(value)

    def name() -> str:
        nonlocal at
        size = take("H")
        at += size
        return data[at - size : at - 1].decode()

    version = take("I")
    if version != 6:
        raise ValueError(f"{path} has format {version}; 6 is read here")
    name(), take("I")
    tensors = {}
    for _ in range(take("I")):
        key, shape = name(), []
        shape = [take("I") for _ in range(take("B"))]
        dtype, size = np.dtype(CONVERTED_DTYPES[take("B")]), take("I")
        tensors[key] = np.frombuffer(data, dtype, size // dtype.itemsize, at).reshape(shape)
        at += size
    return tensors


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))

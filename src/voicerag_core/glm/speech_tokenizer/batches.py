"""Pieces of sound in batches of prepared shapes, recorded as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from voicerag_core.glm.recording import Recorder
from voicerag_core.glm.speech_tokenizer.log_mel import levels, mirrored
from voicerag_core.glm.speech_tokenizer.whisper_vq import WhisperVQ
from voicerag_core.mel import HOP_SAMPLES, WINDOW_SAMPLES, mel_filters
from voicerag_core.types import Samples

__all__ = ["LENGTHS", "ROWS", "Piece", "PreparedBatches", "length_of"]

LENGTHS = (13, 25, 38, 50, 63, 75, 100, 125, 150, 200, 250, 313, 375)
"""Tokens of the prepared batches, 80 ms each: 1 to 30 s. Pieces are padded to the next."""
ROWS = (1, 2, 4, 8, 16)
"""Pieces of a batch."""
MOST_TOKENS = 3200
"""Most tokens of a prepared batch."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Up to 30 s of sound.

    Args:
        samples: Shape [T], float32, 16 kHz.
        reflect: Whether its last windows see its end mirrored; see `mirrored`.
        wave: What `mirrored` makes of it, if it was made already.
    """

    samples: Samples
    reflect: bool
    wave: Samples | None = None


def length_of(tokens: int) -> int:
    """Return the prepared length for a piece of so many tokens."""
    return next(length for length in LENGTHS if length >= tokens)


class PreparedBatches:
    """Encodes pieces by replaying graphs; for one thread at a time.

    Args:
        network: Its weights must stay where they are.
        record: Makes the graphs.
        token_samples: Samples of a token.
        frame_samples: Samples of a frame of the encoder.
    """

    def __init__(
        self, network: WhisperVQ, record: Recorder, *, token_samples: int, frame_samples: int
    ) -> None:
        self._batches: dict[tuple[int, int], tuple[_Batch, Callable[[], None]]] = {}
        device = network.codebook.weight.device
        most = MOST_TOKENS * token_samples + ROWS[-1] * WINDOW_SAMPLES
        host = torch.zeros(most, pin_memory=device.type == "cuda")
        # cuDNN's attention would plan every shape anew, for tens of milliseconds each.
        with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
            for length in reversed(LENGTHS):
                for rows in reversed(ROWS):
                    if rows == 1 or rows * length <= MOST_TOKENS:
                        batch = _Batch(
                            network, rows, length, token_samples, frame_samples, host=host
                        )
                        self._batches[rows, length] = batch, record(batch.run)

    def largest(self, length: int) -> int:
        """Return the most pieces of a batch of a length."""
        return max(rows for rows, tokens in self._batches if tokens == length)

    def encode(self, pieces: Sequence[Piece], length: int) -> list[list[int]]:
        """Return the tokens of each piece, and more that have no meaning.

        Args:
            pieces: At most `largest`, none longer than the length.
            length: One of `LENGTHS`.
        """
        rows = next(rows for rows in ROWS if rows >= len(pieces))
        batch, run = self._batches[rows, length]
        batch.fill(pieces)
        run()
        ids: list[list[int]] = batch.ids[: len(pieces)].tolist()
        return ids


class _Batch:
    """Tensors of one shape, which stay in place.

    Args:
        network: See `PreparedBatches`.
        rows: Pieces.
        tokens: Of each.
        token_samples: See there.
        frame_samples: See there, too.
        host: Shape [T], float32: room for the samples of any batch on the host, from which a GPU
            takes them without the driver's copy. All batches share it.
    """

    def __init__(
        self,
        network: WhisperVQ,
        rows: int,
        tokens: int,
        token_samples: int,
        frame_samples: int,
        *,
        host: torch.Tensor,
    ) -> None:
        self._network = network
        self._token_samples, self._frame_samples = token_samples, frame_samples
        codes = network.codebook.weight
        self._waves = torch.zeros(
            rows, tokens * token_samples + WINDOW_SAMPLES, device=codes.device
        )
        self._host = host[: self._waves.numel()].view_as(self._waves)
        self._counts = torch.ones(2, rows, dtype=torch.int64, device=codes.device)
        self._filters = torch.from_numpy(mel_filters(network.config.mels)).to(codes.device)
        self._window = torch.hann_window(WINDOW_SAMPLES, device=codes.device)
        self.ids = torch.zeros(rows, tokens, dtype=torch.int64, device=codes.device)

    def fill(self, pieces: Sequence[Piece]) -> None:
        waves = self._host.numpy()
        counts = np.ones((2, len(waves)), np.int64)
        for row, piece in enumerate(pieces):
            wave = piece.wave
            if wave is None:
                wave = mirrored(piece.samples, multiple=self._token_samples, reflect=piece.reflect)
            waves[row, : len(wave)] = wave
            waves[row, len(wave) :] = 0
            counts[0, row] = (len(wave) - WINDOW_SAMPLES) // HOP_SAMPLES
            counts[1, row] = -(-len(piece.samples) // self._frame_samples)
        waves[len(pieces) :] = 0
        self._waves.copy_(self._host)
        self._counts.copy_(torch.from_numpy(counts))

    @torch.inference_mode()
    def run(self) -> None:
        """Make `ids`."""
        features = levels(self._waves, self._filters, self._window, self._counts[0])
        features = features.to(self._network.conv1.weight.dtype)
        self.ids.copy_(self._network(features, self._counts[1]))

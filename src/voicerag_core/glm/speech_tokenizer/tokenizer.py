"""Speech to the tokens that GLM-4-Voice reads: 12.5 per second, 14 bits each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch

from voicerag_core.audio import resample
from voicerag_core.errors import AudioError, ConfigError
from voicerag_core.glm.device_memory import nbytes, telling_what_is_needed
from voicerag_core.glm.speech_tokenizer.log_mel import log_mel
from voicerag_core.glm.speech_tokenizer.whisper_vq import WhisperVQ
from voicerag_core.glm.weights.checkpoints import load_speech_tokenizer
from voicerag_core.glm.weights.configs import SpeechTokenizerConfig
from voicerag_core.mel import HOP_SAMPLES, SAMPLE_RATE_HZ
from voicerag_core.types import Audio, Samples

__all__ = ["SpeechTokenizer"]

STRIDE = 2
"""Features of 10 ms in one frame of the encoder."""
BATCH = 16
"""Pieces of up to 30 s per batch."""
PIECE = 480_000
"""Samples of a piece: 30 s."""


class SpeechTokenizer:
    """Turns clips of any length into speech tokens; safe to share between threads.

    The ids of a clip equal those of the reference for the clip alone, and do not depend on the
    other clips of the batch. Sound at other rates than 16 kHz is resampled by soxr, the
    reference's by another filter: there a few ids may differ.

    Args:
        config: Sizes of the network.
        state: Its tensors, of `load_speech_tokenizer`.
        device: Where it runs.
        dtype: Of the encoder, float32 or bfloat16; codes are compared in float32 either way.

    Raises:
        ConfigError: Another dtype.
        ModelError: The device has too little memory.
    """

    def __init__(
        self,
        config: SpeechTokenizerConfig,
        state: dict[str, torch.Tensor],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if dtype not in {torch.float32, torch.bfloat16}:
            raise ConfigError(
                f"the speech tokenizer runs in torch.float32 or torch.bfloat16, not {dtype}"
            )
        self.config = config
        self.device = torch.device(device)
        self.dtype = dtype
        self._token_samples = HOP_SAMPLES * STRIDE * config.pooling
        with torch.device("meta"):
            network = WhisperVQ(config)
        network.load_state_dict(state, strict=True, assign=True)
        self._network = network
        with self._memory("a larger GPU, or device 'cpu'"):
            network.to(self.device, dtype).requires_grad_(requires_grad=False).eval()
            network.codebook.weight = torch.nn.Parameter(
                state["codebook.weight"].to(self.device, torch.float32), requires_grad=False
            )

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        check_finite: bool = False,
    ) -> SpeechTokenizer:
        """Load a released or converted speech tokenizer.

        Args:
            folder: Its tree.
            device: Where it runs.
            dtype: Of the encoder, float32 or bfloat16.
            check_finite: Refuse weights that are NaN or infinite.

        Raises:
            CheckpointError: A file is missing, damaged, or of another network.
            ConfigError: Another dtype.
            ModelError: The device has too little memory.
        """
        config, state = load_speech_tokenizer(folder, check_finite=check_finite)
        return cls(config, state, device=device, dtype=dtype)

    def encode(self, clips: Sequence[Audio], *, batch_size: int = BATCH) -> list[list[int]]:
        """Return the tokens of each clip: one per started 80 ms, in pieces of 30 s.

        Args:
            clips: Of any length and rate; one without samples has no tokens.
            batch_size: Most pieces per batch.

        Returns:
            For each clip, ids of 0 up to the size of the codebook.

        Raises:
            AudioError: A sample is NaN or infinite.
            ModelError: The device has too little memory.
        """
        pieces = [
            (number, start, samples[start : start + PIECE])
            for number, samples in enumerate(map(self._samples, clips))
            for start in range(0, len(samples), PIECE)
        ]
        found: dict[tuple[int, int], list[int]] = {}
        by_length = sorted(pieces, key=lambda piece: len(piece[2]))
        for start in range(0, len(by_length), batch_size):
            batch = by_length[start : start + batch_size]
            with self._memory(f"a batch_size below {batch_size}", pieces=len(batch)):
                ids = self._encode([(samples, at > 0) for _, at, samples in batch])
            found |= {(number, at): one for (number, at, _), one in zip(batch, ids, strict=True)}
        tokens: list[list[int]] = [[] for _ in clips]
        for number, at, _ in pieces:
            tokens[number] += found[number, at]
        return tokens

    def _memory(self, choose: str, *, pieces: int = 0) -> AbstractContextManager[None]:
        room = f" plus room for {pieces} pieces of up to 30 s" if pieces else ""
        weights = nbytes(self._network.parameters())
        return telling_what_is_needed(
            self.device,
            f"the speech tokenizer takes {weights / 1e9:.1f} GB{room}",
            f"{choose}, dtype torch.bfloat16, or 8 or 4 bits for the language model",
        )

    @staticmethod
    def _samples(clip: Audio) -> Samples:
        samples = resample(clip, SAMPLE_RATE_HZ).samples if len(clip.samples) else clip.samples
        if not np.isfinite(samples).all():
            raise AudioError(
                "a clip has samples that are NaN or infinite; speech tokens are made of finite "
                "ones, as voicerag_core.read_audio gives them"
            )
        return samples

    @torch.inference_mode()
    def _encode(self, pieces: list[tuple[Samples, bool]]) -> list[list[int]]:
        """Encode pieces together; the flag says that a piece is not the first of its clip.

        The reference fills a later piece with zeros up to the length of the first, so that its
        last windows see zeros, and not the end mirrored.
        """
        features = [
            log_mel(
                samples,
                bands=self.config.mels,
                multiple=self._token_samples,
                reflect=not (later and len(samples) < PIECE),
                device=self.device,
            )
            for samples, later in pieces
        ]
        longest = max(one.shape[1] for one in features)
        batch = torch.zeros(len(pieces), self.config.mels, longest, device=self.device)
        for row, one in zip(batch, features, strict=True):
            row[:, : one.shape[1]] = one
        lengths = [-(-len(samples) // (HOP_SAMPLES * STRIDE)) for samples, _ in pieces]
        ids = self._network(
            batch.to(self.dtype), torch.tensor(lengths, device=self.device)
        ).tolist()
        return list(self._kept(ids, pieces))

    def _kept(
        self, ids: list[list[int]], pieces: list[tuple[Samples, bool]]
    ) -> Iterator[list[int]]:
        for row, (samples, _) in zip(ids, pieces, strict=True):
            yield row[: -(-len(samples) // self._token_samples)]

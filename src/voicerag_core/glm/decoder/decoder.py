"""Speech tokens to sound: the released decoder, loaded once and shared by all replies."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from voicerag_core.glm.decoder.networks import DecoderNetworks
from voicerag_core.glm.decoder.schedule import Schedule
from voicerag_core.glm.decoder.stream import DecoderStream
from voicerag_core.glm.weights.checkpoints import load_decoder
from voicerag_core.glm.weights.configs import DecoderConfig
from voicerag_core.types import Audio, Samples

__all__ = ["SpeechDecoder"]

WINDOW_PERIOD = 64
"""Blocks after which the rounding of tokens to frames repeats: 64 tokens are 441 frames."""


class SpeechDecoder:
    """Turns GLM-4-Voice's speech tokens into sound, for one voice.

    May be shared between threads: their blocks are decoded one at a time. It neither reads
    nor sets torch's global random state, and the same tokens always produce the same sound.

    Args:
        networks: Tokens to mel, mel to sound.
        schedule: How replies are cut into blocks, by default.

    Raises:
        ConfigError: The schedule does not fit the encoder's block.
    """

    def __init__(self, networks: DecoderNetworks, *, schedule: Schedule | None = None) -> None:
        self.networks = networks
        self.schedule = Schedule() if schedule is None else schedule
        self.schedule.check(networks.config.flow.block_tokens)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        schedule: Schedule | None = None,
        seed: int = 42,
        check_finite: bool = False,
    ) -> Self:
        """Load ``flow`` and ``hift`` from a folder, as released or as converted.

        Args:
            folder: Of the decoder's tree.
            device: Where it runs.
            dtype: Of the U-Net, bfloat16 or float32; the rest is float32.
            schedule: How replies are cut.
            seed: Of all noise.
            check_finite: Refuse weights that are NaN or infinite.

        Raises:
            CheckpointError: A file is missing, damaged, or of another network.
            ModelError: The device has too little memory.
        """
        weights = load_decoder(folder, check_finite=check_finite)
        return cls.from_state(
            weights.config,
            weights.flow,
            weights.hift,
            device=device,
            dtype=dtype,
            schedule=schedule,
            seed=seed,
        )

    @classmethod
    def from_state(
        cls,
        config: DecoderConfig,
        flow: Mapping[str, Tensor],
        hift: Mapping[str, Tensor],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        schedule: Schedule | None = None,
        seed: int = 42,
    ) -> Self:
        """Make a decoder from weights; see `DecoderNetworks.from_state`."""
        networks = DecoderNetworks.from_state(
            config, flow, hift, device=device, dtype=dtype, seed=seed
        )
        return cls(networks, schedule=schedule)

    def warm(self) -> None:
        """Prepare now what the first reply would wait for; on a CUDA device, record its graphs.

        That takes some seconds, once. A decoder that was not warmed produces the same sound.
        """
        tokens = self.schedule.block(0)
        if self.networks.device.type == "cuda":
            self.networks.record_graphs(self._window_frames())
            tokens = sum(self.schedule.block_tokens)
        self.decode([0] * tokens)

    def _window_frames(self) -> set[int]:
        """Return the lengths of all windows of an endless reply; they recur after some blocks."""
        enough = len(self.schedule.block_tokens) + WINDOW_PERIOD
        windows = self.schedule.windows(self.networks.config.flow.block_tokens, enough)
        frames = self.networks.flow.frames
        return {frames(stop) - frames(first) for first, stop in windows}

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        return self.networks.config.sample_rate

    def samples(self, tokens: int) -> int:
        """Return the number of samples of a reply."""
        return self.networks.samples(tokens)

    def open_stream(self, schedule: Schedule | None = None) -> DecoderStream:
        """Start a reply.

        Raises:
            ConfigError: The schedule does not fit the encoder's block.
        """
        return DecoderStream(self.networks, self.schedule if schedule is None else schedule)

    def stream(self, tokens: Iterable[int]) -> Generator[Samples, None, None]:
        """Decode tokens as they come and yield the pieces of sound, none of them empty.

        Closing the generator stops the decoding and closes `tokens`, if that is a generator.

        Args:
            tokens: Speech tokens; taken one at a time, and none before it is needed.

        Raises:
            GenerationError: A token is out of range.
            CancelledError: The running call was cancelled.
        """
        try:
            with self.open_stream() as stream:
                for token in tokens:
                    piece = stream.push((token,))
                    if piece.size:
                        yield piece
                piece = stream.finish()
                if piece.size:
                    yield piece
        finally:
            if isinstance(tokens, Generator):
                tokens.close()

    def decode(self, tokens: Iterable[int]) -> Audio:
        """Decode a whole reply into the same sound as `stream`.

        Args:
            tokens: Speech tokens; without any the audio is empty.
        """
        pieces = [np.zeros(0, np.float32), *self.stream(tokens)]
        return Audio(np.concatenate(pieces), self.sample_rate)

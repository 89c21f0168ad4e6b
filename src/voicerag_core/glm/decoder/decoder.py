"""Speech tokens to sound: the released decoder, loaded once and shared by all replies."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from voicerag_core.glm.decoder.networks import DecoderNetworks
from voicerag_core.glm.decoder.schedule import Schedule
from voicerag_core.glm.decoder.service import DecodingService
from voicerag_core.glm.decoder.stream import DecoderStream
from voicerag_core.glm.pace import Pace
from voicerag_core.glm.recording import record_cuda
from voicerag_core.glm.weights.checkpoints import load_decoder
from voicerag_core.glm.weights.configs import DecoderConfig
from voicerag_core.types import Audio, Samples

__all__ = ["SpeechDecoder"]


class SpeechDecoder:
    """Turns GLM-4-Voice's speech tokens into sound, for one voice.

    May be shared between threads. A block that no other competes with is decoded at once in the
    thread that asks; others are decoded together, those first whose sound is wanted first. A
    reply alone always produces the same sound. Together with others its mel differs by rounding:
    by less than 2e-5 in float32 on a CPU, and its sound, whose pitch is summed up, by less than
    5e-4. Where more than 16 replies wait for sound, its first two blocks are decoded as one, and
    its sound is that of a schedule which begins so. Torch's global random state is neither read nor
    set.

    Args:
        networks: Tokens to mel, mel to sound.
        schedule: How replies are cut into blocks, by default.

    Raises:
        ConfigError: The schedule does not fit the encoder's block.
    """

    def __init__(self, networks: DecoderNetworks, *, schedule: Schedule | None = None) -> None:
        self.networks = networks
        self.schedule = Schedule() if schedule is None else schedule
        networks.use(self.schedule)
        self._service = DecodingService(networks)

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
        """Prepare now what the first replies would wait for; on a CUDA device, record its graphs.

        That takes some seconds, once; afterwards no reply meets a shape that was not prepared. A
        decoder that was not warmed produces the same sound.
        """
        device = self.networks.device
        if device.type == "cuda":
            self.networks.prepare(record_cuda(device))
            torch.cuda.empty_cache()  # what the runs before the recordings took
        self.decode([0] * self.schedule.block(0))

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        return self.networks.config.sample_rate

    def samples(self, tokens: int) -> int:
        """Return the number of samples of a reply."""
        return self.networks.samples(tokens)

    def open_stream(
        self,
        schedule: Schedule | None = None,
        *,
        ids_until: Callable[[int], int] | None = None,
        pace: Pace | None = None,
    ) -> DecoderStream:
        """Start a reply.

        Args:
            schedule: How the reply is cut.
            ids_until: See `SpeechTokenDecoder.open_stream`; None: each id is a speech token.
            pace: See there, too.

        Raises:
            ConfigError: The schedule does not fit the encoder's block.
        """
        return DecoderStream(
            self.networks,
            self._service,
            self.schedule if schedule is None else schedule,
            ids_until=ids_until,
            pace=pace,
        )

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

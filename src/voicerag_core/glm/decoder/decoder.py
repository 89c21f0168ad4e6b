"""Speech tokens to sound: the released decoder, loaded once and shared by all replies."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from voicerag_core.glm.decoder.demo import DemoStream, overlap_frames
from voicerag_core.glm.decoder.flow import Flow, Sampler, load_flow
from voicerag_core.glm.decoder.graphs import GraphSampler
from voicerag_core.glm.decoder.hift import HiFT, load_hift
from voicerag_core.glm.decoder.source import NoiseTable
from voicerag_core.glm.decoder.stream import DecoderStream, Schedule
from voicerag_core.glm.decoder.vocoder import NOISE_FRAMES, VocoderStream
from voicerag_core.glm.device_memory import nbytes, telling_what_is_needed
from voicerag_core.glm.weights.checkpoints import load_decoder
from voicerag_core.glm.weights.configs import DecoderConfig
from voicerag_core.types import Audio, Samples

__all__ = ["SpeechDecoder"]

FLOW_NOISE_FRAMES = 4096
"""Frames before the noise of the flow repeats; longer than any window of a usual schedule."""
WORKING_BYTES = 1_400_000_000
"""Taken at most beside the weights, CUDA graphs included, with the usual schedule: 1.8 GiB in all
were measured on an H100 (benchmarks/results/glm_decoder.md)."""

WINDOW_PERIOD = 64
"""Blocks after which the rounding of tokens to frames repeats: 64 tokens are 441 frames."""


class SpeechDecoder:
    """Turns GLM-4-Voice's speech tokens into sound, for one voice.

    May be shared between threads: their blocks are decoded one after another. It neither reads
    nor sets torch's global random state, and the same tokens always give the same sound.

    Args:
        config: Sizes.
        flow: Tokens to mel.
        hift: Mel to sound.
        schedule: How replies are cut into blocks, unless a stream is given its own.
        seed: Of all noise.
    """

    def __init__(
        self,
        config: DecoderConfig,
        flow: Flow,
        hift: HiFT,
        *,
        schedule: Schedule | None = None,
        seed: int = 42,
    ) -> None:
        self.config = config
        self.flow = flow
        self.hift = hift
        self.schedule = Schedule() if schedule is None else schedule
        self.schedule.check(config.flow.block_tokens)
        self.sampler: Sampler = flow.integrate
        self._seed = seed
        self._turn = threading.Lock()
        self._weight_bytes = nbytes((*flow.parameters(), *hift.parameters()))
        tones = config.hift.harmonics + 1
        self._flow_noise = NoiseTable(
            config.flow.mels, FLOW_NOISE_FRAMES, seed=seed, device=self.device
        )
        self._source_noise = NoiseTable(
            tones * config.hop_samples, NOISE_FRAMES, seed=seed + 1, device=self.device
        )

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        schedule: Schedule | None = None,
        seed: int = 42,
        finite: bool = False,
    ) -> Self:
        """Load ``flow`` and ``hift`` from a folder, as released or as converted.

        Args:
            folder: Of the decoder's tree.
            device: Where it runs.
            dtype: Of the U-Net, bfloat16 or float32; the rest is float32.
            schedule: How replies are cut.
            seed: Of all noise.
            finite: Refuse weights that are NaN or infinite.

        Raises:
            CheckpointError: A file is missing, damaged, or of another network.
            ModelError: The device has too little memory.
        """
        weights = load_decoder(folder, finite=finite)
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
        """Make a decoder from weights, by the names of `flow_shapes` and `hift_shapes`.

        Args:
            config: Sizes.
            flow: Tensors of ``flow.pt``.
            hift: Tensors of ``hift.pt``, their weight norm folded.
            device: Where it runs.
            dtype: Of the U-Net, bfloat16 or float32; the rest is float32.
            schedule: How replies are cut.
            seed: Of all noise.

        Raises:
            ModelError: The device has too little memory.
        """
        with _memory(torch.device(device), nbytes((*flow.values(), *hift.values()))):
            made = load_flow(
                config.flow,
                flow,
                sample_rate=config.sample_rate,
                hop_samples=config.hop_samples,
                device=device,
                dtype=dtype,
            )
            vocoder = load_hift(config.hift, hift, device=device)
            return cls(config, made, vocoder, schedule=schedule, seed=seed)

    def warm(self) -> None:
        """Do now what the first reply would wait for; on a CUDA device, record its graphs.

        That takes some seconds, once. A decoder that was not warmed gives the same sound.
        """
        tokens = self.schedule.block(0)
        if self.device.type == "cuda":
            with self.exclusive():
                graphs = GraphSampler(self.flow)
                graphs.record(self._window_frames())
                self.sampler = graphs
            tokens = sum(self.schedule.block_tokens)
        self.decode([0] * tokens)

    def _window_frames(self) -> set[int]:
        """Return the lengths of all windows of an endless reply; they recur after some blocks."""
        enough = len(self.schedule.block_tokens) + WINDOW_PERIOD
        windows = self.schedule.windows(self.config.flow.block_tokens, enough)
        return {self.flow.frames(stop) - self.flow.frames(first) for first, stop in windows}

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.hift.window.device

    @property
    def sample_rate(self) -> int:
        """Hz of the sound."""
        return self.config.sample_rate

    @property
    def overlap_frames(self) -> int:
        """Mel frames that two blocks share."""
        flow = self.config.flow
        return overlap_frames(flow.token_rate, self.sample_rate, self.config.hop_samples)

    def samples(self, tokens: int) -> int:
        """Return how many samples a reply of so many tokens has."""
        return self.flow.frames(tokens) * self.config.hop_samples

    def open_stream(self, schedule: Schedule | None = None) -> DecoderStream:
        """Begin a reply.

        Raises:
            ConfigError: The schedule does not fit the encoder's block.
        """
        return DecoderStream(self, self.schedule if schedule is None else schedule)

    def open_demo_stream(self) -> DemoStream:
        """Begin a reply that is computed as the upstream demo computes it, for comparison."""
        return DemoStream(self)

    def stream(
        self, tokens: Iterable[int], *, reference: bool = False
    ) -> Generator[Samples, None, None]:
        """Decode tokens as they come and return the pieces of sound, none of them empty.

        Closing the generator stops the decoding and closes `tokens`, if that is a generator.

        Args:
            tokens: Speech tokens; taken one at a time, and none before it is needed.
            reference: Repeat the upstream demo's arithmetic.

        Raises:
            GenerationError: A token is out of range.
            CancelledError: The running call was called off.
        """
        try:
            with self.open_demo_stream() if reference else self.open_stream() as stream:
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

    def decode(self, tokens: Iterable[int], *, reference: bool = False) -> Audio:
        """Decode a whole reply; the same sound as `stream` gives.

        Args:
            tokens: Speech tokens; none give no samples.
            reference: Repeat the upstream demo's arithmetic.
        """
        pieces = [np.zeros(0, np.float32), *self.stream(tokens, reference=reference)]
        return Audio(np.concatenate(pieces), self.sample_rate)

    def vocoder_stream(self) -> VocoderStream:
        """Make the vocoder of one reply."""
        return VocoderStream(
            self.hift,
            sample_rate=self.sample_rate,
            noise=self._source_noise,
            seed=self._seed,
        )

    def flow_noise(self, start: int, stop: int) -> Tensor:
        """Return the noise of mel frames, shape [1, mels, stop - start], float32."""
        return self._flow_noise.rows(start, stop).T[None]

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait for the turn of this thread to use the networks.

        Raises:
            ModelError: The device ran out of memory in the block.
        """
        with self._turn, _memory(self.device, self._weight_bytes):
            yield


def _memory(device: torch.device, weights: int) -> AbstractContextManager[None]:
    return telling_what_is_needed(
        device,
        f"the decoder takes up to {(weights + WORKING_BYTES) / 1e9:.1f} GB, {weights / 1e9:.1f} "
        "of them weights",
        "8 or 4 bits for a language model beside it, a schedule of shorter blocks and history, "
        "a larger GPU, or device 'cpu'",
    )

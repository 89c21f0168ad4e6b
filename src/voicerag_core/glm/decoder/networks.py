"""The decoder's two networks and what all replies share: noise, lock and sampler."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Self

import torch
from torch import Tensor

from voicerag_core.glm.decoder.flow import Flow, Sampler, load_flow
from voicerag_core.glm.decoder.graphs import FlowGraphs
from voicerag_core.glm.decoder.hift import HiFT, load_hift
from voicerag_core.glm.decoder.schedule import Schedule, overlap_frames
from voicerag_core.glm.decoder.shapes import FLOW_FRAMES, VOCODER_FRAMES, Shapes, batches
from voicerag_core.glm.decoder.source import NoiseTable, draw_offsets
from voicerag_core.glm.decoder.vocoder import NOISE_FRAMES, VocoderBatch, VocoderStream
from voicerag_core.glm.device_memory import nbytes, telling_what_is_needed
from voicerag_core.glm.recording import FIRST, Recorder
from voicerag_core.glm.weights.configs import DecoderConfig

__all__ = ["DecoderNetworks"]

FLOW_NOISE_FRAMES = 4096
"""Frames before the noise of the flow repeats; longer than any window of a usual schedule."""
WORKING_BYTES = 5_300_000_000
"""Most memory besides the weights, CUDA graphs included, with the usual schedule: 5.3 GiB in all
were held on an H200 (benchmarks/results/glm_decoder_batching.md)."""


class DecoderNetworks:
    """Flow and vocoder of the released decoder, for one voice.

    May be shared between threads; a block of work takes `exclusive`. Torch's global random state
    is neither read nor set.

    Args:
        config: Sizes.
        flow: Tokens to mel.
        hift: Mel to sound.
        seed: Seed of all noise.
    """

    def __init__(
        self,
        config: DecoderConfig,
        flow: Flow,
        hift: HiFT,
        *,
        seed: int = 42,
    ) -> None:
        self.config = config
        self.flow = flow
        self.hift = hift
        self.sampler: Sampler = flow.integrate
        self.flow_graphs = FlowGraphs(flow, None)
        self.prepared = False
        self._lock = threading.Lock()
        self._weight_bytes = nbytes((*flow.parameters(), *hift.parameters()))
        tones = config.hift.harmonics + 1
        self._flow_noise = NoiseTable(
            config.flow.mels, FLOW_NOISE_FRAMES, seed=seed, device=self.device
        )
        self._source_noise = NoiseTable(
            tones * config.hop_samples, NOISE_FRAMES, seed=seed + 1, device=self.device
        )
        self._offsets = draw_offsets(config.hift, torch.Generator().manual_seed(seed)).to(
            self.device
        )
        self._vocoders: dict[tuple[int, int], tuple[VocoderBatch, Callable[[], None]]] = {}
        self.use(Schedule())
        self._stream: torch.cuda.Stream | None = None
        if self.device.type == "cuda":
            self._stream = torch.cuda.Stream(self.device, priority=FIRST)  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream(self.device))

    @classmethod
    def from_state(
        cls,
        config: DecoderConfig,
        flow: Mapping[str, Tensor],
        hift: Mapping[str, Tensor],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        seed: int = 42,
    ) -> Self:
        """Make the networks from weights, by the names of `flow_shapes` and `hift_shapes`.

        Args:
            config: Sizes.
            flow: Tensors of ``flow.pt``.
            hift: Tensors of ``hift.pt``, their weight norm folded.
            device: Where they run.
            dtype: Of the U-Net, bfloat16 or float32; the rest is float32.
            seed: Seed of all noise.

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
            return cls(config, made, vocoder, seed=seed)

    @property
    def device(self) -> torch.device:
        """Where they run."""
        return self.hift.window.device

    @property
    def overlap_frames(self) -> int:
        """Mel frames that two blocks share."""
        config = self.config
        return overlap_frames(config.flow.token_rate, config.sample_rate, config.hop_samples)

    def samples(self, tokens: int) -> int:
        """Return the number of samples of a reply."""
        return self.flow.frames(tokens) * self.config.hop_samples

    def use(self, schedule: Schedule) -> None:
        """Pad to the lengths that replies of a schedule have.

        Raises:
            ConfigError: The schedule does not fit the encoder's block.
        """
        block = self.config.flow.block_tokens
        schedule.check(block)
        self.shapes = Shapes.of(
            schedule,
            self.flow.frames,
            block=block,
            overlap=self.overlap_frames,
            reach=self.hift.reach,
        )

    def prepare(self, record: Recorder) -> None:
        """Prepare the usual windows, and the padded lengths in all batch sizes; use no others.

        Args:
            record: Makes graphs of them, as `record_cuda` does on a GPU.
        """
        with self.exclusive():
            self.flow_graphs = FlowGraphs(self.flow, record)
            self.flow_graphs.record(self.shapes.windows, batches(self.shapes.flow, FLOW_FRAMES))
            for rows, frames in reversed(batches(self.shapes.vocoder, VOCODER_FRAMES)):
                batch = self._vocoder_batch(rows, frames)
                self._vocoders[rows, frames] = batch, record(batch.run)
            self.prepared = True

    def vocoder_batch(self, rows: int, frames: int) -> tuple[VocoderBatch, Callable[[], None]]:
        """Return the tensors of a vocoder pass of this shape, and what runs on them."""
        known = self._vocoders.get((rows, frames))
        if known is not None:
            return known
        batch = self._vocoder_batch(rows, frames)
        return batch, batch.run

    def _vocoder_batch(self, rows: int, frames: int) -> VocoderBatch:
        return VocoderBatch(
            self.hift,
            self._source_noise,
            self._offsets,
            rows=rows,
            frames=frames,
            sample_rate=self.config.sample_rate,
        )

    def vocoder_stream(self) -> VocoderStream:
        """Make the vocoder of one reply."""
        with self._on_stream():
            return VocoderStream(
                self.hift,
                sample_rate=self.config.sample_rate,
                noise=self._source_noise,
                offsets=self._offsets,
            )

    def flow_noise(self, start: int, stop: int) -> Tensor:
        """Return the noise of mel frames, shape [1, mels, stop - start], float32."""
        return self._flow_noise.rows(start, stop).T[None]

    @contextmanager
    def exclusive(self, *, wait: bool = True) -> Iterator[bool]:
        """Let one thread at a time use the networks, on a GPU on a stream of their own.

        Args:
            wait: For another thread to end; if not, the block may run without the networks.

        Yields:
            Whether the networks may be used.

        Raises:
            ModelError: The device ran out of memory in the block.
        """
        free = self._lock.acquire(blocking=wait)
        try:
            with self._on_stream(), self.memory():
                yield free
        finally:
            if free:
                self._lock.release()

    def memory(self) -> AbstractContextManager[None]:
        """Say what the decoder needs when memory runs out in the block.

        Raises:
            ModelError: It ran out.
        """
        return _memory(self.device, self._weight_bytes)

    def _on_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)


def _memory(device: torch.device, weights: int) -> AbstractContextManager[None]:
    return telling_what_is_needed(
        device,
        f"the decoder takes up to {(weights + WORKING_BYTES) / 1e9:.1f} GB, {weights / 1e9:.1f} "
        "of them weights",
        "8 or 4 bits for a language model beside it, a schedule of shorter blocks and history, "
        "a larger GPU, or device 'cpu'",
    )

"""The flow as CUDA graphs: ten steps of about a thousand small kernels, launched together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from voicerag_core.cancellation import check_cancelled
from voicerag_core.glm.decoder.flow import Flow

__all__ = ["BUCKET_FRAMES", "GraphSampler", "Recorder", "record_cuda"]

BUCKET_FRAMES = 128
"""Windows of other lengths are padded to a multiple of this."""

Recorder = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""Records what a function does to tensors that stay in place: a replay, and where it writes."""


@dataclass(frozen=True, slots=True)
class _Recorded:
    """One graph and the tensors that it reads and writes."""

    replay: Callable[[], None]
    noise: Tensor
    context: Tensor
    mask: Tensor | None
    mel: Tensor


class GraphSampler:
    """Integrates the flow of one reply at a time by replaying a graph of its length.

    Lengths that were recorded are replayed as they are; others up to the longest are padded to
    the next bucket and masked; longer ones, and batches, run without a graph. For one thread at a
    time.

    Args:
        flow: Its weights must stay where they are.
        record: Makes the graphs.
    """

    def __init__(self, flow: Flow, record: Recorder | None = None) -> None:
        self._flow = flow
        self._record = record_cuda(flow.device) if record is None else record
        self._exact: dict[int, _Recorded] = {}
        self._buckets: dict[int, _Recorded] = {}

    def record(self, frames: Iterable[int]) -> None:
        """Record graphs for lengths, and buckets for all lengths up to the longest.

        Args:
            frames: Mel frames of the windows that will come often.
        """
        lengths = sorted(set(frames), reverse=True)
        for length in lengths:
            if length not in self._exact:
                self._exact[length] = self._recorded(length, masked=False)
        for bucket in range(BUCKET_FRAMES, max(lengths, default=0) + BUCKET_FRAMES, BUCKET_FRAMES):
            if bucket not in self._buckets:
                self._buckets[bucket] = self._recorded(bucket, masked=True)

    @torch.inference_mode()
    def __call__(self, noise: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Integrate; see `Flow.integrate`."""
        check_cancelled()
        frames = noise.shape[-1]
        bucket = -(-frames // BUCKET_FRAMES) * BUCKET_FRAMES
        if mask is not None or len(noise) != 1:
            return self._flow.integrate(noise, context, mask)
        graph = self._exact.get(frames) or self._buckets.get(bucket)
        if graph is None:
            return self._flow.integrate(noise, context)
        padding = graph.noise.shape[-1] - frames
        graph.noise.copy_(F.pad(noise, (0, padding)))
        graph.context.copy_(F.pad(context, (0, padding)))
        if graph.mask is not None:
            graph.mask[:, :, :frames] = True
            graph.mask[:, :, frames:] = False
        graph.replay()
        return graph.mel[:, :, :frames].clone()

    @torch.inference_mode()
    def _recorded(self, frames: int, *, masked: bool) -> _Recorded:
        device, mels = self._flow.device, self._flow.config.mels
        noise = torch.zeros(1, mels, frames, device=device)
        context = torch.zeros(2, 3 * mels, frames, device=device)
        mask = torch.ones(1, 1, frames, dtype=torch.bool, device=device) if masked else None
        replay, mel = self._record(
            lambda: self._flow.integrate(noise, context, mask, between=lambda: None)
        )
        return _Recorded(replay, noise, context, mask, mel)


def record_cuda(device: torch.device) -> Recorder:
    """Make a recorder of CUDA graphs that share their memory, so one may be replayed at a time."""
    pool = torch.cuda.graph_pool_handle()

    def record(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        with torch.cuda.device(device):
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                run()  # libraries choose and load their kernels outside the graph
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                made = run()
        return graph.replay, made

    return record

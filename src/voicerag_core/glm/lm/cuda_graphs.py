"""CUDA graphs: capturing work on a GPU, and timing it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch.cuda import _POOL_HANDLE

__all__ = ["captured", "seconds_as_graph", "warmed_and_captured"]

WARM_UPS = 3
"""Runs before a capture, as torch's documentation of CUDA graphs asks for."""
TIMED_RUNS = 3


def warmed_and_captured(
    run: Callable[[], object], pool: _POOL_HANDLE | None = None
) -> torch.cuda.CUDAGraph:
    """Run some times on a side stream, then capture a run.

    Args:
        run: What to capture.
        pool: Of the memory that the run allocates; graphs that never run at the same time, and
            whose results are copied elsewhere, can share one.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    return captured(run, pool)


def captured(run: Callable[[], object], pool: _POOL_HANDLE | None = None) -> torch.cuda.CUDAGraph:
    """Capture a run that was warmed up; other threads may keep using the GPU."""
    graph = torch.cuda.CUDAGraph()
    stream = _capturing(torch.cuda.current_device())
    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        run()
    return graph


@functools.cache
def _capturing(index: int) -> torch.cuda.Stream:
    """Return the stream on which graphs of a GPU are captured, one since they share memory.

    Torch's own is on the GPU that captured first, and makes that one the current device.
    """
    stream: torch.cuda.Stream = torch.cuda.Stream(index)  # type: ignore[no-untyped-call]
    return stream


def seconds_as_graph(run: Callable[[], object]) -> float:
    """Return the seconds of a run on the GPU, as a graph: launches from Python do not count."""
    run()
    graph = captured(run)
    graph.replay()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    for _ in range(TIMED_RUNS):
        graph.replay()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1000 / TIMED_RUNS

"""Work on tensors that stay in place, recorded as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["FIRST", "Recorder", "record_cuda"]

FIRST = -2
"""Priority of a stream; that of the language model's is -1, and 0 the least."""

Recorder = Callable[[Callable[[], None]], Callable[[], None]]
"""Records what a function does to tensors that stay in place, and returns what replays it."""


def record_cuda(device: torch.device) -> Recorder:
    """Make a recorder of CUDA graphs that share their memory, so one may be replayed at a time.

    Their kernels go before those of the language model where both wait: they are many and small,
    and each would wait for large ones.
    """
    pool = torch.cuda.graph_pool_handle()
    side = torch.cuda.Stream(device, priority=FIRST)  # type: ignore[no-untyped-call]

    def record(run: Callable[[], None]) -> Callable[[], None]:
        with torch.cuda.device(device):
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                run()  # libraries choose and load their kernels outside the graph
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool, stream=side, capture_error_mode="thread_local"):
                run()
        return graph.replay

    return record

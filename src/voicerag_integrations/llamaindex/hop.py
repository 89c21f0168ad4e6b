"""From the event loop into a thread and back, once a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from voicerag_core.cancellation import Cancellation

__all__ = ["hop"]

_T = TypeVar("_T")


async def hop(work: Callable[[], _T]) -> _T:
    """Run blocking work in a thread and await it.

    A caller that is cancelled is released at once; the work then starts no further stage, its
    running SQL is cancelled on the server, and its result is dropped.
    """
    cancellation = Cancellation()

    def run() -> _T:
        with cancellation.active():
            return work()

    try:
        return await asyncio.to_thread(run)
    except asyncio.CancelledError:
        cancellation.cancel()
        raise

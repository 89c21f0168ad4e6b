"""The one step from an event loop to the synchronous core, and the way to call it off.

An async call runs in one worker thread. When its caller is cancelled or closes its stream, the
caller goes on at once; the thread starts no further stage, SQL that runs is cancelled on the
server, and a native call ends by itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing, suppress
from contextvars import copy_context
from typing import Final, TypeVar, cast

from voicerag_core.cancellation import Cancellation, check_cancelled

__all__ = ["in_thread", "stream_in_thread"]

_T = TypeVar("_T")

MOST_AHEAD: Final = 8
"""Pieces of a stream that may wait for its reader."""


async def in_thread(work: Callable[..., _T], /, *args: object, **named: object) -> _T:
    """Run blocking work in a thread of the loop's own pool, with the caller's context."""
    cancellation = Cancellation()

    def run() -> _T:
        with cancellation.active():
            return work(*args, **named)

    try:
        return await asyncio.to_thread(run)
    except asyncio.CancelledError:
        cancellation.cancel()
        raise


async def stream_in_thread(
    start: Callable[[], Generator[_T, None, None]],
) -> AsyncGenerator[_T, None]:
    """Run a generator in a thread of its own, at most `MOST_AHEAD` pieces ahead of the reader.

    The thread that runs the generator also closes it: after the last piece, after an error, and
    when the stream is closed early or its reader cancelled.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[_T | None, BaseException | None]] = asyncio.Queue()
    room = threading.Semaphore(MOST_AHEAD)
    cancellation = Cancellation()
    context = copy_context()

    def put(piece: _T | None, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop was closed without waiting for us
            loop.call_soon_threadsafe(pieces.put_nowait, (piece, error))

    def pump() -> None:
        end: BaseException = StopAsyncIteration()
        try:
            with cancellation.active(), closing(start()) as running:
                for piece in running:
                    put(piece, None)
                    room.acquire()
                    check_cancelled()
        except BaseException as error:  # noqa: BLE001 - raised where the stream is read
            end = error
        put(None, end)

    threading.Thread(target=context.run, args=(pump,), name="voicerag-stream", daemon=True).start()
    try:
        while True:
            piece, error = await pieces.get()
            if isinstance(error, StopAsyncIteration):
                return
            if error is not None:
                raise error
            yield cast("_T", piece)
            room.release()
    finally:
        cancellation.cancel()
        room.release()

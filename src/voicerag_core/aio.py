"""Run the synchronous core from an event loop, and cancel it.

An async call runs in one worker thread, with the context variables of its caller. When the caller
is cancelled or closes its stream, it is released at once; the thread starts no further stage,
running SQL is cancelled on the server, and a native call in flight runs to its end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing, suppress
from contextvars import copy_context
from typing import Final, ParamSpec, TypeVar, cast

from voicerag_core.cancellation import Cancellation, check_cancelled

__all__ = ["run_in_thread", "stream_in_thread"]

_T = TypeVar("_T")
_P = ParamSpec("_P")

MOST_AHEAD: Final = 8
"""Items of a stream that may wait for its reader."""


async def run_in_thread(work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run blocking work in a thread of the loop's pool and await its result.

    If the caller is cancelled, work still waiting for a thread is never started, and the result
    of running work is dropped.
    """
    cancellation = Cancellation()

    def run() -> _T:
        with cancellation.active():
            return work(*args, **kwargs)

    try:
        return await asyncio.to_thread(run)
    except asyncio.CancelledError:
        cancellation.cancel()
        raise


async def stream_in_thread(
    start: Callable[[], Generator[_T, None, None]],
) -> AsyncGenerator[_T, None]:
    """Run a generator in a new thread, at most `MOST_AHEAD` items ahead of the reader.

    The thread that runs the generator also closes it: after the last item, after an error, and
    when the stream is closed early or its reader is cancelled.
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

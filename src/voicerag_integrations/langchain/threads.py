"""The one step from an event loop to the synchronous core, and the way to call it off.

An async call runs in one worker thread. When its caller is cancelled or closes its stream, the
caller goes on at once; the thread starts no further stage, and what it is in ends by itself.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing, suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Final, TypeVar, cast

from voicerag_core import VoiceRAG

__all__ = ["checkpoint", "in_thread", "staged", "stream_in_thread"]

_T = TypeVar("_T")

MOST_AHEAD: Final = 8
"""Pieces of a stream that may wait for its reader."""

_gone: ContextVar[threading.Event | None] = ContextVar("voicerag_caller_gone", default=None)


def checkpoint() -> None:
    """Go on only if somebody still waits for the result; outside a worker thread, always.

    Raises:
        asyncio.CancelledError: The caller is gone. No ``except Exception`` takes it for a failure.
    """
    gone = _gone.get()
    if gone is not None and gone.is_set():
        raise asyncio.CancelledError


async def in_thread(work: Callable[..., _T], /, *args: object, **named: object) -> _T:
    """Run blocking work in a thread of the loop's own pool, with the caller's context."""
    gone = threading.Event()
    context = copy_context()
    context.run(_gone.set, gone)
    call = partial(context.run, partial(work, *args, **named))
    try:
        return await asyncio.get_running_loop().run_in_executor(None, call)
    except asyncio.CancelledError:
        gone.set()
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
    gone = threading.Event()
    context = copy_context()
    context.run(_gone.set, gone)

    def put(piece: _T | None, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop was closed without waiting for us
            loop.call_soon_threadsafe(pieces.put_nowait, (piece, error))

    def pump() -> None:
        end: BaseException = StopAsyncIteration()
        try:
            with closing(start()) as running:
                for piece in running:
                    put(piece, None)
                    room.acquire()
                    checkpoint()
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
        gone.set()
        room.release()


def staged(rag: VoiceRAG) -> VoiceRAG:
    """Give the same pipeline with a `checkpoint` in front of every call to one of its parts."""
    view = copy.copy(rag)
    for name in ("embedder", "store", "model", "transcriber"):
        part = getattr(rag, name)
        if part is not None:
            setattr(view, name, _Staged(part))
    return view


class _Staged:
    """A part whose methods do not begin for a caller who is gone."""

    def __init__(self, part: object) -> None:
        self._part = part

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        value = getattr(self._part, name)
        if not callable(value):
            return value

        def begin(*args: object, **named: object) -> object:
            checkpoint()
            return value(*args, **named)

        return begin

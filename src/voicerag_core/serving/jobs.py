"""Blocking work on a fixed number of threads, with progress, that ends when its caller goes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar, cast

from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import BusyError, CancelledError

__all__ = ["HEARTBEAT_SECONDS", "MOST_AHEAD", "Job", "Progress", "Workers"]

HEARTBEAT_SECONDS = 2.0
"""Longest silence while a job runs; clients give up on calls that stay silent."""

MOST_AHEAD: Final = 8
"""Pieces of a stream that may wait for their reader."""

_LOOK_SECONDS = 0.1
_SMALLEST_STEP = 1e-3

_END: Final = object()

_T = TypeVar("_T")


class Progress(Protocol):
    """Tells the caller how far a job is."""

    def __call__(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> Awaitable[None]:
        """Send one message; the values of a job must rise."""
        ...


@dataclass(slots=True, eq=False)
class Job:
    """What a piece of work knows of its caller.

    Args:
        progress: How far it is, in any unit.
        total: The value of `progress` at its end, when known.
        message: What it does.
        cancellation: Calls off the stages of the core and the SQL that runs.
    """

    progress: float = 0.0
    total: float | None = None
    message: str | None = None
    cancellation: Cancellation = field(default_factory=Cancellation)

    def check(self) -> None:
        """Return only if somebody still waits.

        Raises:
            CancelledError: Nobody does.
        """
        if self.cancellation.cancelled:
            raise CancelledError("the call was stopped")

    def tell(self, message: str, progress: float | None = None, total: float | None = None) -> None:
        """Note how far the work is, and return only if somebody still waits."""
        self.check()
        self.message = message
        self.progress = self.progress + 1 if progress is None else progress
        self.total = total

    def stop(self) -> None:
        """Ask the work to end."""
        self.cancellation.cancel()

    @property
    def stopped(self) -> bool:
        """Whether the work was asked to end."""
        return self.cancellation.cancelled


class Workers:
    """A fixed number of threads with a bounded queue before them.

    A caller that is cancelled is released at once: a job that waits is never begun, one that runs
    is asked to stop and ends at its next `Job.check`, and its result is dropped.

    Args:
        threads: Jobs at a time.
        most_waiting: Jobs that may wait for a thread; more are refused.
    """

    def __init__(self, threads: int, most_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "voicerag-job")
        self._most = threads + most_waiting
        self._jobs: set[Job] = set()
        self._lock = threading.Lock()

    @property
    def unfinished(self) -> int:
        """Jobs that wait or run, those whose callers are gone included."""
        with self._lock:
            return len(self._jobs)

    async def run(
        self,
        work: Callable[[Job], _T],
        progress: Progress | None = None,
        gone: Callable[[], Awaitable[bool]] | None = None,
    ) -> _T:
        """Do work on a thread and return its result; tell the progress every two seconds or less.

        Args:
            work: What to do.
            progress: Takes the progress.
            gone: Tells whether the caller has hung up without cancelling; the job then stops.

        Raises:
            BusyError: Too many jobs wait already.
        """
        job = Job()
        with self._lock:
            if len(self._jobs) >= self._most:
                raise BusyError(
                    f"the server is busy: {len(self._jobs)} calls run or wait; repeat the call "
                    "in a few seconds"
                )
            self._jobs.add(job)
        future = self._pool.submit(self._do, work, job)
        future.add_done_callback(lambda _: self._forget(job))
        beat = asyncio.create_task(_beat(job, progress, gone))
        try:
            return await asyncio.wrap_future(future)
        finally:
            job.stop()
            beat.add_done_callback(_look_at)
            beat.cancel()

    async def stream(
        self,
        work: Callable[[Job], Generator[_T, None, None]],
        progress: Progress | None = None,
        gone: Callable[[], Awaitable[bool]] | None = None,
    ) -> AsyncGenerator[_T, None]:
        """Iterate a generator on a thread, at most `MOST_AHEAD` pieces ahead of the reader.

        The thread that iterates the generator also closes it: after the last piece, after an error,
        and when the stream is closed early or its reader cancelled.

        Args:
            work: Starts the generator.
            progress: Takes the progress.
            gone: Tells whether the caller has hung up without cancelling; the job then stops.

        Raises:
            BusyError: Too many jobs wait already.
        """
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[object] = asyncio.Queue()
        room = threading.Semaphore(MOST_AHEAD)

        def pump(job: Job) -> None:
            with closing(work(job)) as running:
                for piece in running:
                    loop.call_soon_threadsafe(pieces.put_nowait, piece)
                    while not room.acquire(timeout=_LOOK_SECONDS):
                        job.check()
                    job.check()

        end = asyncio.create_task(self.run(pump, progress, gone))
        end.add_done_callback(lambda _: pieces.put_nowait(_END))
        end.add_done_callback(_look_at)
        try:
            while (piece := await pieces.get()) is not _END:
                yield cast("_T", piece)
                room.release()
            await end
        finally:
            end.cancel()

    def stop_all(self) -> None:
        """Ask every job to end."""
        with self._lock:
            jobs = list(self._jobs)
        for job in jobs:
            job.stop()

    def close(self) -> None:
        """Stop every job and wait for the stage in which each of them is."""
        self.stop_all()
        self._pool.shutdown(wait=True, cancel_futures=True)

    @staticmethod
    def _do(work: Callable[[Job], _T], job: Job) -> _T:
        job.check()
        with job.cancellation.active():
            return work(job)

    def _forget(self, job: Job) -> None:
        with self._lock:
            self._jobs.discard(job)


async def _beat(
    job: Job, progress: Progress | None, gone: Callable[[], Awaitable[bool]] | None
) -> None:
    """Send what changes, and a sign of life when nothing does."""
    sent, told, when = -_SMALLEST_STEP, (job.progress, job.total, job.message), time.monotonic()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if gone is not None and await gone():
            job.stop()
            return
        if progress is None:
            continue
        state = (job.progress, job.total, job.message)
        if state == told and time.monotonic() - when < HEARTBEAT_SECONDS:
            continue
        told, when = state, time.monotonic()
        sent = max(job.progress, sent + _SMALLEST_STEP)
        await progress(sent, job.total, job.message)


def _look_at(task: asyncio.Task[None]) -> None:
    """Drop the error of a task that nobody waits for any more."""
    if not task.cancelled():
        task.exception()

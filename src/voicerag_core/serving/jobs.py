"""Blocking work on a fixed number of threads, with progress; it stops when its caller leaves."""

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
"""Maximum seconds between progress messages; clients give up on silent calls."""

MOST_AHEAD: Final = 8
"""Items of a stream that may wait for their reader."""

_LOOK_SECONDS = 0.1
_SMALLEST_STEP = 1e-3

_END: Final = object()

_T = TypeVar("_T")


class Progress(Protocol):
    """Reports the progress of a job to its caller."""

    def __call__(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> Awaitable[None]:
        """Send one message; the values of a job must increase."""
        ...


@dataclass(slots=True, eq=False)
class Job:
    """The connection of running work to its caller.

    Args:
        progress: Progress so far, in any unit.
        total: Final value of `progress`, if known.
        message: What the job is doing.
        cancellation: Cancels the stages of the core and running SQL.
    """

    progress: float = 0.0
    total: float | None = None
    message: str | None = None
    cancellation: Cancellation = field(default_factory=Cancellation)

    def check(self) -> None:
        """Return only if the caller still waits.

        Raises:
            CancelledError: It does not.
        """
        if self.cancellation.cancelled:
            raise CancelledError("the call was stopped")

    def report(
        self, message: str, progress: float | None = None, total: float | None = None
    ) -> None:
        """Record the progress, and return only if the caller still waits."""
        self.check()
        self.message = message
        self.progress = self.progress + 1 if progress is None else progress
        self.total = total

    def stop(self) -> None:
        """Ask the work to stop."""
        self.cancellation.cancel()

    @property
    def stopped(self) -> bool:
        """Whether the work was asked to stop."""
        return self.cancellation.cancelled


class Workers:
    """A fixed number of threads with a bounded queue.

    A cancelled caller is released at once: a waiting job is never started, a running one is asked
    to stop, ends at its next `Job.check`, and its result is dropped.

    Args:
        threads: Concurrent jobs.
        most_waiting: Jobs that may wait for a thread; more are rejected.
    """

    def __init__(self, threads: int, most_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "voicerag-job")
        self._most = threads + most_waiting
        self._jobs: set[Job] = set()
        self._lock = threading.Lock()

    @property
    def unfinished(self) -> int:
        """Jobs that wait or run, including those whose callers have left."""
        with self._lock:
            return len(self._jobs)

    async def run(
        self,
        work: Callable[[Job], _T],
        progress: Progress | None = None,
        disconnected: Callable[[], Awaitable[bool]] | None = None,
    ) -> _T:
        """Run work on a thread and return its result; report progress at least every two seconds.

        Args:
            work: The work to run.
            progress: Receives the progress.
            disconnected: Returns whether the caller has disconnected without cancelling; then
                the job is stopped.

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
        beat = asyncio.create_task(_beat(job, progress, disconnected))
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
        disconnected: Callable[[], Awaitable[bool]] | None = None,
    ) -> AsyncGenerator[_T, None]:
        """Iterate a generator on a thread, at most `MOST_AHEAD` items ahead of the reader.

        The thread that iterates the generator also closes it: after the last item, after an error,
        and when the stream is closed early or its reader is cancelled.

        Args:
            work: Starts the generator.
            progress: Receives the progress.
            disconnected: Returns whether the caller has disconnected without cancelling; then
                the job is stopped.

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

        end = asyncio.create_task(self.run(pump, progress, disconnected))
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
        """Ask every job to stop."""
        with self._lock:
            jobs = list(self._jobs)
        for job in jobs:
            job.stop()

    def close(self) -> None:
        """Stop every job and wait for its current stage to end."""
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
    job: Job, progress: Progress | None, disconnected: Callable[[], Awaitable[bool]] | None
) -> None:
    """Send progress when it changes, and a keep-alive when it does not."""
    sent, reported, when = -_SMALLEST_STEP, (job.progress, job.total, job.message), time.monotonic()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if disconnected is not None and await disconnected():
            job.stop()
            return
        if progress is None:
            continue
        state = (job.progress, job.total, job.message)
        if state == reported and time.monotonic() - when < HEARTBEAT_SECONDS:
            continue
        reported, when = state, time.monotonic()
        sent = max(job.progress, sent + _SMALLEST_STEP)
        await progress(sent, job.total, job.message)


def _look_at(task: asyncio.Task[None]) -> None:
    """Retrieve the exception of a task that nobody awaits any more."""
    if not task.cancelled():
        task.exception()

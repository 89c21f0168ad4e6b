"""Blocking work on threads that tenants share, with progress; it stops when its caller leaves."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar, cast

from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import BusyError, CancelledError

__all__ = ["CLOSE_SECONDS", "HEARTBEAT_SECONDS", "MOST_AHEAD", "Job", "Progress", "Workers"]

HEARTBEAT_SECONDS = 2.0
"""Maximum seconds between progress messages; clients give up on silent calls."""

MOST_AHEAD: Final = 8
"""Items of a stream that may wait for their reader."""

MOST_THREADS: Final = 512
"""Jobs that run at the same time at most."""

SECONDS_OF_A_JOB: Final = 5.0
"""How long a job takes, as long as none has ended."""

NEWEST_WEIGHT: Final = 0.2
"""How much the newest job counts in the average of what they take."""

CLOSE_SECONDS: Final = 2.0
"""Seconds for which closing waits for the stages that run."""

_LOOK_SECONDS = 0.1
_ROOM_SECONDS = 0.02
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


@dataclass(slots=True, eq=False)
class _Call:
    """A job that waits or runs, and where its result goes."""

    work: Callable[[Job], Any]
    tenant: str
    job: Job = field(default_factory=Job)
    future: Future[Any] = field(default_factory=Future)


class Workers:
    """A fixed number of threads with a bounded queue, both shared fairly by the tenants.

    The next call to run is that of the tenant with the fewest running calls. One thread more is
    kept for tenants that have none running, so that nobody waits for another tenant's long calls
    alone. When the queue is full, the newest waiting call of the tenant with the most waiting ones
    is told that the server is busy.

    A cancelled caller is released at once: a waiting job is never started, a running one is asked
    to stop, ends at its next `Job.check`, and its result is dropped.

    Args:
        threads: Concurrent jobs, or what says how many at this moment; one more when a tenant
            would otherwise have none.
        most_waiting: Jobs that may wait for a thread; more are rejected.
    """

    def __init__(self, threads: int | Callable[[], int], most_waiting: int) -> None:
        self._threads = threads if callable(threads) else lambda: threads
        # Threads are started as they are needed.
        most = MOST_THREADS if callable(threads) else threads
        self._pool = ThreadPoolExecutor(most + 1, "voicerag-job")
        self._most_waiting = most_waiting
        self._waiting: OrderedDict[str, deque[_Call]] = OrderedDict()
        self._running: set[_Call] = set()
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._closed = False
        self._seconds: float | None = None

    @property
    def threads(self) -> int:
        """Jobs that may run at this moment."""
        return min(MOST_THREADS, self._threads())

    @property
    def running(self) -> int:
        """Jobs that run, including those whose callers have left."""
        with self._lock:
            return len(self._running)

    @property
    def waiting(self) -> int:
        """Jobs that wait for a thread."""
        with self._lock:
            return self._count_waiting()

    @property
    def unfinished(self) -> int:
        """Jobs that wait or run, including running ones whose callers have left."""
        with self._lock:
            return len(self._running) + self._count_waiting()

    async def run(
        self,
        work: Callable[[Job], _T],
        progress: Progress | None = None,
        disconnected: Callable[[], Awaitable[bool]] | None = None,
        *,
        tenant: str = "",
    ) -> _T:
        """Run work on a thread and return its result; report progress at least every two seconds.

        Args:
            work: The work to run.
            progress: Receives the progress.
            disconnected: Returns whether the caller has disconnected without cancelling; then
                the job is stopped.
            tenant: Whose share of the threads and of the queue the job takes.

        Raises:
            BusyError: Too many jobs wait already.
        """
        call = _Call(work, tenant)
        self._submit(call)
        beat = asyncio.create_task(_beat(call.job, progress, disconnected))
        try:
            return cast("_T", await asyncio.wrap_future(call.future))
        finally:
            call.job.stop()
            self._withdraw(call)
            beat.add_done_callback(_look_at)
            beat.cancel()

    async def stream(
        self,
        work: Callable[[Job], Generator[_T, None, None]],
        progress: Progress | None = None,
        disconnected: Callable[[], Awaitable[bool]] | None = None,
        *,
        tenant: str = "",
    ) -> AsyncGenerator[_T, None]:
        """Iterate a generator on a thread, at most `MOST_AHEAD` items ahead of the reader.

        The thread that iterates the generator also closes it: after the last item, after an error,
        and when the stream is closed early or its reader is cancelled.

        Args:
            work: Starts the generator.
            progress: Receives the progress.
            disconnected: Returns whether the caller has disconnected without cancelling; then
                the job is stopped.
            tenant: Whose share of the threads and of the queue the job takes.

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
                    while not room.acquire(timeout=_ROOM_SECONDS):
                        job.check()
                    job.check()

        end = asyncio.create_task(self.run(pump, progress, disconnected, tenant=tenant))
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
        """Ask every job to stop, and release every caller at once; those that wait never start."""
        with self._lock:
            running = list(self._running)
            waiting = [call for calls in self._waiting.values() for call in calls]
            self._waiting.clear()
        for call in [*running, *waiting]:
            call.job.stop()
            _fail(call, CancelledError("the call was stopped"))

    def close(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Stop every job and wait for the running stages to end; return whether all have.

        Args:
            seconds: How long to wait. A stage that takes longer, such as the loading of a model,
                ends by itself, and its result is dropped.
        """
        with self._lock:
            self._closed = True
        self.stop_all()
        with self._ended:
            ended = self._ended.wait_for(lambda: not self._running, seconds)
        self._pool.shutdown(wait=ended, cancel_futures=True)
        return ended

    def _submit(self, call: _Call) -> None:
        with self._lock:
            if self._closed:
                raise CancelledError("the server is stopping")
            self._waiting.setdefault(call.tenant, deque()).append(call)
            self._start()
            unlucky = None
            if self._count_waiting() > self._most_waiting:
                most = max(len(calls) for calls in self._waiting.values())
                mine = self._waiting.get(call.tenant, ())
                unlucky = (
                    call
                    if len(mine) == most
                    else next(calls for calls in self._waiting.values() if len(calls) == most)[-1]
                )
                self._drop(unlucky)
            seconds = self._expected_wait()
            busy = BusyError(
                f"the server is busy: {len(self._running) + self._count_waiting()} calls run or "
                f"wait; repeat the call in about {seconds} s",
                seconds,
            )
        if unlucky is call:
            raise busy
        if unlucky is not None:
            _fail(unlucky, busy)

    def _expected_wait(self) -> int:
        """Return the seconds until the queue has moved up by one; the lock is held."""
        seconds = SECONDS_OF_A_JOB if self._seconds is None else self._seconds
        return max(1, math.ceil(seconds * (self._count_waiting() + 1) / self.threads))

    def _start(self) -> None:
        """Start the calls for which there is a thread; the lock is held."""
        threads = self.threads
        while self._waiting:
            busy = Counter(call.tenant for call in self._running)
            tenant = min(self._waiting, key=lambda one: busy[one])
            room = threads + (busy[tenant] == 0)
            if len(self._running) >= room:
                return
            call = self._waiting[tenant][0]
            self._drop(call)
            if tenant in self._waiting:
                self._waiting.move_to_end(tenant)
            self._running.add(call)
            self._pool.submit(self._do, call)

    def _do(self, call: _Call) -> None:
        begun = time.monotonic()
        try:
            if call.future.cancelled():
                return
            try:
                call.job.check()
                with call.job.cancellation.active():
                    result = call.work(call.job)
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                _fail(call, error)
            else:
                with suppress(InvalidStateError):  # the caller was released before
                    call.future.set_result(result)
        finally:
            with self._ended:
                self._running.discard(call)
                seconds = time.monotonic() - begun
                known = seconds if self._seconds is None else self._seconds
                self._seconds = known + NEWEST_WEIGHT * (seconds - known)
                if not self._closed:
                    self._start()
                self._ended.notify_all()

    def _withdraw(self, call: _Call) -> None:
        """Give up the place of a call that waits, if it still does."""
        with self._lock:
            self._drop(call)

    def _drop(self, call: _Call) -> None:
        calls = self._waiting.get(call.tenant)
        if calls is not None and call in calls:
            calls.remove(call)
            if not calls:
                del self._waiting[call.tenant]

    def _count_waiting(self) -> int:
        return sum(map(len, self._waiting.values()))


def _fail(call: _Call, error: BaseException) -> None:
    with suppress(InvalidStateError):  # the caller was released before
        call.future.set_exception(error)


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

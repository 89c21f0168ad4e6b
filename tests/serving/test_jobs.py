"""Blocking work ends with its caller, waits its turn, and streams no further than it is read."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import aclosing
from typing import NoReturn

import pytest

from tests.waiting import PATIENCE, Gate, reached
from voicerag_core import BusyError, CancelledError
from voicerag_core.cancellation import check_cancelled
from voicerag_core.serving import Job, Workers
from voicerag_core.serving.jobs import MOST_AHEAD


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(2, 2)
    yield made
    made.close()


def endless(job: Job) -> NoReturn:
    while not threading.Event().wait(0.01):
        job.check()
    raise AssertionError


async def test_a_job_that_waits_is_never_begun() -> None:
    workers = Workers(1, 1)
    begun: list[Job] = []
    gate = Gate()

    def hold(_: Job) -> None:
        gate.wait()

    first = asyncio.create_task(workers.run(hold))
    await reached(gate.entered.is_set)
    waiting = asyncio.create_task(workers.run(begun.append))
    await reached(lambda: workers.unfinished == 2)
    with pytest.raises(BusyError, match="2 calls run or wait; repeat the call in about 10 s"):
        await workers.run(hold)
    with pytest.raises(BusyError, match="busy"):
        await anext(workers.stream(lambda _: counted([])))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.open.set()
    await first
    workers.close()
    assert begun == []


async def test_closing_stops_what_runs() -> None:
    workers = Workers(1, 0)
    running = asyncio.create_task(workers.run(endless))
    await reached(lambda: workers.unfinished == 1)
    await asyncio.to_thread(workers.close)
    with pytest.raises(CancelledError):
        await running


async def test_a_cancelled_caller_is_released_and_its_work_ends(workers: Workers) -> None:
    running = asyncio.create_task(workers.run(endless))
    await reached(lambda: workers.unfinished == 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await reached(lambda: workers.unfinished == 0)


async def test_the_stages_of_the_core_end_too(workers: Workers) -> None:
    ended = threading.Event()

    def stages(_: Job) -> None:
        try:
            while not threading.Event().wait(0.01):
                check_cancelled()
        finally:
            ended.set()

    running = asyncio.create_task(workers.run(stages))
    await reached(lambda: workers.unfinished == 1)
    running.cancel()
    assert await asyncio.to_thread(ended.wait, PATIENCE)


async def test_a_caller_that_hung_up_ends_its_job(workers: Workers) -> None:
    async def disconnected() -> bool:
        return True

    with pytest.raises(CancelledError, match="stopped"):
        await workers.run(endless, disconnected=disconnected)


async def test_progress_rises_and_says_what_is_done(workers: Workers) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None = None, message: str | None = None) -> None:
        seen.append((progress, total, message))

    def work(job: Job) -> None:
        for done in range(3):
            job.report(f"step {done}", 0 if done == 1 else None, 3)
            while not any(message == f"step {done}" for _, _, message in seen):
                threading.Event().wait(0.01)

    await workers.run(work, note)
    assert [message for _, _, message in seen] == ["step 0", "step 1", "step 2"]
    progress = [one for one, _, _ in seen]
    assert progress == sorted(set(progress)), "it rises even when the work begins again"
    assert {total for _, total, _ in seen} == {3}


def counted(made: list[int], end: int | None = None) -> Generator[int, None, None]:
    """Count, and note each number before it is given; the last entry, -1, says who closed it."""
    number = 0
    try:
        while number != end:
            made.append(number)
            yield number
            number += 1
    finally:
        made.append(-1)


async def test_a_stream_gives_every_piece_in_order(workers: Workers) -> None:
    made: list[int] = []
    got = [piece async for piece in workers.stream(lambda _: counted(made, 50))]
    assert got == list(range(50))
    assert made == [*range(50), -1]
    await reached(lambda: workers.unfinished == 0)


async def test_a_stream_runs_no_further_ahead_than_it_may(workers: Workers) -> None:
    made: list[int] = []
    async with aclosing(workers.stream(lambda _: counted(made))) as stream:
        assert await anext(stream) == 0
        await reached(lambda: len(made) > MOST_AHEAD)
        await asyncio.sleep(0.3)
        assert len(made) <= MOST_AHEAD + 2
    await reached(lambda: workers.unfinished == 0)
    assert made[-1] == -1


async def test_a_stream_is_closed_where_it_ran(workers: Workers) -> None:
    threads: list[str] = []

    def work(_: Job) -> Generator[int, None, None]:
        try:
            threads.append(threading.current_thread().name)
            while True:
                yield 1
        finally:
            threads.append(threading.current_thread().name)

    async with aclosing(workers.stream(work)) as stream:
        await anext(stream)
    await reached(lambda: len(threads) == 2)
    assert threads[0] == threads[1] != threading.current_thread().name


async def test_a_cancelled_reader_ends_the_stream(workers: Workers) -> None:
    made: list[int] = []

    async def read() -> None:
        async for _ in workers.stream(lambda _: counted(made)):
            await asyncio.sleep(0.01)

    reading = asyncio.create_task(read())
    await reached(lambda: len(made) > 3)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await reached(lambda: workers.unfinished == 0)
    assert made[-1] == -1


async def test_an_error_in_a_stream_comes_after_its_pieces(workers: Workers) -> None:
    def work(_: Job) -> Generator[int, None, None]:
        yield 1
        raise ValueError("broken")

    stream = workers.stream(work)
    assert await anext(stream) == 1
    with pytest.raises(ValueError, match="broken"):
        await anext(stream)


async def test_closing_stops_a_stream_that_nobody_reads(workers: Workers) -> None:
    made: list[int] = []
    stream = workers.stream(lambda _: counted(made))
    await anext(stream)
    await asyncio.to_thread(workers.close)
    assert made[-1] == -1
    with pytest.raises(CancelledError):
        async for _ in stream:
            pass


async def test_a_tenant_that_fills_the_threads_keeps_nobody_out() -> None:
    workers, gate = Workers(2, 20), Gate()

    def hold(_: Job) -> None:
        gate.wait()

    greedy = [asyncio.create_task(workers.run(hold, tenant="greedy")) for _ in range(20)]
    await reached(lambda: workers.unfinished == 20)
    assert await workers.run(lambda _: "answered", tenant="other") == "answered"
    assert await workers.run(lambda _: "answered", tenant="third") == "answered"
    gate.open.set()
    await asyncio.gather(*greedy)
    workers.close()


def _noting(order: list[str], name: str) -> Callable[[Job], None]:
    return lambda _: order.append(name)


def _held(gate: Gate) -> Callable[[Job], None]:
    return lambda _: gate.wait()


async def test_tenants_take_turns() -> None:
    """One of two threads is held until the end, so that one call follows the other."""
    workers, order = Workers(1, 20), list[str]()
    gates = {"x": Gate(), "y": Gate()}
    holders = [
        asyncio.create_task(workers.run(_held(gate), tenant=name)) for name, gate in gates.items()
    ]
    await reached(lambda: all(gate.entered.is_set() for gate in gates.values()))
    calls = [
        asyncio.create_task(workers.run(_noting(order, name), tenant=name)) for name in "aaaaabbc"
    ]
    await reached(lambda: workers.unfinished == 10)
    gates["x"].open.set()
    await asyncio.gather(*calls)
    gates["y"].open.set()
    await asyncio.gather(*holders)
    workers.close()
    assert sorted(order) == sorted("aaaaabbc")
    assert set(order[:3]) == set("abc"), "the first of each before the second of any"
    assert order[5:] == ["a"] * 3


async def test_a_full_queue_makes_room_for_who_has_less_in_it() -> None:
    workers, gate = Workers(1, 4), Gate()

    def hold(_: Job) -> None:
        gate.wait()

    greedy = [asyncio.create_task(workers.run(hold, tenant="greedy")) for _ in range(5)]
    await reached(lambda: workers.unfinished == 5)
    with pytest.raises(BusyError):
        await workers.run(hold, tenant="greedy")
    others = [asyncio.create_task(workers.run(hold, tenant="other")) for _ in range(3)]
    with pytest.raises(BusyError, match="repeat the call"):
        await greedy[4]
    with pytest.raises(BusyError):
        await greedy[3]
    with pytest.raises(BusyError):
        await workers.run(hold, tenant="other")
    gate.open.set()
    await asyncio.gather(*greedy[:3], *others)
    workers.close()


async def test_a_caller_that_leaves_gives_up_its_place_at_once() -> None:
    workers, gate = Workers(1, 1), Gate()

    def hold(_: Job) -> None:
        gate.wait()

    first = asyncio.create_task(workers.run(hold))
    await reached(gate.entered.is_set)
    for _ in range(5):
        waiting = asyncio.create_task(workers.run(hold))
        await reached(lambda: workers.unfinished == 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert workers.unfinished == 1
    gate.open.set()
    await first
    workers.close()


async def test_closing_does_not_wait_for_a_stage_without_an_end() -> None:
    workers, gate = Workers(1, 2), Gate()

    def hold(_: Job) -> None:
        gate.wait()

    running = asyncio.create_task(workers.run(hold))
    await reached(gate.entered.is_set)
    waiting = asyncio.create_task(workers.run(hold))
    await reached(lambda: workers.unfinished == 2)
    assert await asyncio.to_thread(workers.close, 0.05) is False
    for caller in (waiting, running):
        with pytest.raises(CancelledError, match="the call was stopped"):
            await caller
    with pytest.raises(CancelledError, match="stopping"):
        await workers.run(hold)
    gate.open.set()
    assert workers.close(PATIENCE) is True


async def test_an_error_of_the_interpreter_reaches_the_caller(workers: Workers) -> None:
    def full(_: Job) -> NoReturn:
        raise MemoryError

    with pytest.raises(MemoryError):
        await workers.run(full)
    assert await workers.run(lambda _: 1) == 1

"""The step from an event loop into a thread and back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import aclosing
from contextvars import ContextVar

import pytest

from tests.waiting import PATIENCE, Gate, reached
from voicerag_core import CancelledError
from voicerag_core.aio import MOST_AHEAD, run_in_thread, stream_in_thread
from voicerag_core.cancellation import check_cancelled

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


async def test_work_runs_in_another_thread_with_its_arguments_and_context() -> None:
    def work(number: int, *, by: int) -> tuple[int, str, int]:
        return number * by, tenant.get(), threading.get_ident()

    tenant.set("alice")
    result, seen, thread = await run_in_thread(work, 6, by=7)
    assert (result, seen) == (42, "alice")
    assert thread != threading.get_ident()


async def test_an_error_is_raised_where_the_work_is_awaited() -> None:
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(lambda: 1 // 0)


async def test_a_cancelled_caller_is_released_and_the_work_starts_no_further_stage() -> None:
    gate, ended = Gate(), threading.Event()
    outcome: list[str] = []

    def work() -> None:
        gate.wait()
        try:
            check_cancelled()
            outcome.append("went on")
        except CancelledError:
            outcome.append("stopped")
        ended.set()

    call = asyncio.create_task(run_in_thread(work))
    await reached(gate.entered.is_set)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not ended.is_set()  # released while the native call is still in flight
    gate.open.set()
    assert await asyncio.to_thread(ended.wait, PATIENCE)
    assert outcome == ["stopped"]


async def test_a_stream_gives_its_pieces_in_order_with_the_context_of_its_reader() -> None:
    def pieces() -> Generator[tuple[int, str], None, None]:
        for number in range(3 * MOST_AHEAD):
            yield number, tenant.get()

    tenant.set("bob")
    read = [piece async for piece in stream_in_thread(pieces)]
    assert read == [(number, "bob") for number in range(3 * MOST_AHEAD)]


async def test_an_error_comes_after_the_pieces_before_it() -> None:
    def pieces() -> Generator[int, None, None]:
        yield 1
        raise ValueError("broken")

    stream = stream_in_thread(pieces)
    assert await anext(stream) == 1
    with pytest.raises(ValueError, match="broken"):
        await anext(stream)


async def test_a_slow_reader_is_not_run_away_from_and_may_leave() -> None:
    made: list[int] = []
    closed_in: list[int] = []
    started_in: list[int] = []
    closed = threading.Event()

    def pieces() -> Generator[int, None, None]:
        started_in.append(threading.get_ident())
        try:
            for number in range(1000):
                made.append(number)
                yield number
        finally:
            closed_in.append(threading.get_ident())
            closed.set()

    async with aclosing(stream_in_thread(pieces)) as stream:
        assert await anext(stream) == 0
        await asyncio.sleep(0.05)
        assert len(made) <= MOST_AHEAD + 1
    assert await asyncio.to_thread(closed.wait, PATIENCE)
    assert closed_in == started_in != [threading.get_ident()]


async def test_a_cancelled_reader_ends_the_stream() -> None:
    gate, closed = Gate(), threading.Event()

    def pieces() -> Generator[int, None, None]:
        try:
            yield 0
            gate.wait()
            yield 1
        finally:
            closed.set()

    async def read() -> None:
        async with aclosing(stream_in_thread(pieces)) as stream:
            async for _ in stream:
                pass

    reader = asyncio.create_task(read())
    await reached(gate.entered.is_set)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    gate.open.set()
    assert await asyncio.to_thread(closed.wait, PATIENCE)

"""How many calls run follows the model, and who finds no place hears when to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from tests.serving.fakes import FakeModels, fake_serving
from tests.waiting import Gate, reached
from voicerag_core import BusyError
from voicerag_core.serving import Job, Limits, Workers
from voicerag_core.serving.status import Load, load_of
from voicerag_core.testing import FakeVoiceModel


class Many(FakeVoiceModel):
    """A model that answers several questions at a time once it is loaded."""

    capacity, running, waiting = 1, 0, 0
    out_of_service: tuple[str, ...] = ()


@pytest.fixture
def gates() -> Iterator[list[Gate]]:
    made: list[Gate] = []
    yield made
    for gate in made:
        gate.open.set()


def enter(gate: Gate, _: Job) -> None:
    gate.wait()


async def test_the_workers_follow_what_they_are_told(gates: list[Gate]) -> None:
    room = [1]
    workers = Workers(lambda: room[0], 8)
    gates += [Gate() for _ in range(4)]
    calls = [asyncio.create_task(workers.run(partial(enter, gate))) for gate in gates]
    await reached(gates[0].entered.is_set)
    assert (workers.threads, workers.running, workers.waiting) == (1, 1, 3)
    room[0] = 3
    gates[0].open.set()
    await reached(lambda: all(gate.entered.is_set() for gate in gates))
    assert (workers.running, workers.waiting) == (3, 0)
    for gate in gates:
        gate.open.set()
    await asyncio.gather(*calls)
    workers.close()


async def test_who_finds_no_place_hears_when_to_come_back(gates: list[Gate]) -> None:
    workers = Workers(1, 2)
    gates.append(Gate())
    calls = [asyncio.create_task(workers.run(partial(enter, gates[0]))) for _ in range(3)]
    await reached(lambda: workers.unfinished == 3)
    with pytest.raises(BusyError, match="3 calls run or wait; repeat the call in about") as caught:
        await workers.run(lambda _: None)
    # The third to wait, on one worker; a job is taken for 5 s as long as none has ended.
    assert caught.value.retry_after == 15
    gates[0].open.set()
    await asyncio.gather(*calls)
    workers.close()


def test_a_server_runs_as_many_calls_as_its_model_answers() -> None:
    model = Many()
    with fake_serving(FakeModels(model=model)) as serving:
        assert load_of(serving.workers, model) == Load(workers=4, running=0, waiting=0)
        model.capacity, model.running, model.waiting = 64, 60, 2
        model.out_of_service = ("cuda:1: lost",)
        assert load_of(serving.workers, model) == Load(68, 0, 0, 64, 60, 2, ("cuda:1: lost",))
    with fake_serving(FakeModels(model=model), Limits(workers=2)) as serving:
        assert serving.workers.threads == 2
    with fake_serving(FakeModels()) as serving:
        assert load_of(serving.workers, serving.tenants.parts.model) == Load(4, 0, 0)

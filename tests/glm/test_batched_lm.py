"""Continuous batching: what each reply gives, who waits, and what goes wrong for whom."""

from __future__ import annotations

import gc
import random
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import pytest
import torch

from tests.glm import tiny_lm
from tests.glm.test_lm import CONFIG, prompt
from tests.waiting import PATIENCE, Gate, wait_until
from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import BusyError, CancelledError, ConfigError, GenerationError, ModelError
from voicerag_core.glm.lm import batched_lm as lm_module
from voicerag_core.glm.lm import graph_runner, sampler
from voicerag_core.glm.lm.batched_lm import BatchedLM
from voicerag_core.glm.lm.eager_runner import EagerRunner
from voicerag_core.glm.lm.forward import Run, forward_runs
from voicerag_core.glm.lm.graph_runner import GraphRunner
from voicerag_core.glm.lm.interleave import AllowedTokens, Interleave, ReplyForm, TokenKind
from voicerag_core.glm.lm.loading import empty_lm
from voicerag_core.glm.lm.rows import Batch, common_prefix
from voicerag_core.glm.lm.torch_lm import TorchLM
from voicerag_core.glm.text_tokenizer import TextTokenizer
from voicerag_core.types import Sampling

GREEDY = Sampling(temperature=0.0, max_new_tokens=24)
SAMPLED = Sampling(temperature=1.3, top_p=0.9, max_new_tokens=30)


def tiny_model() -> Any:
    model = empty_lm(CONFIG)
    state = {name: torch.from_numpy(value) for name, value in tiny_lm.glm_weights().items()}
    model.load_state_dict(state, assign=True)
    return model


@pytest.fixture(scope="module")
def form(tmp_path_factory: pytest.TempPathFactory) -> ReplyForm:
    folder = tmp_path_factory.mktemp("lm")
    tiny_lm.write_text_files(folder)
    return ReplyForm(TextTokenizer.load(folder), tiny_lm.VOCAB)


@pytest.fixture(scope="module")
def alone() -> TorchLM:
    return TorchLM(tiny_model(), max_context=512)


@contextmanager
def batched(**options: Any) -> Iterator[BatchedLM]:
    with BatchedLM(tiny_model(), max_context=512, **options) as lm:
        yield lm


def reply(
    lm: TorchLM | BatchedLM, form: ReplyForm, ids: list[int], sampling: Sampling = GREEDY
) -> list[int]:
    return list(lm.stream(ids, grammar=Interleave(form), sampling=sampling))


class Steps:
    """Counts the steps of a runner, and lets a test hold one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[Batch] = []
        self.gate: Gate | None = None
        self.copied: list[tuple[int, int, int]] = []
        launch, copy = EagerRunner.launch, EagerRunner.copy

        def counted(runner: EagerRunner, batch: Batch) -> Any:
            self.batches.append(batch)
            gate, self.gate = self.gate, None
            if gate:
                gate.wait()
            return launch(runner, batch)

        def noted(runner: EagerRunner, source: int, target: int, count: int) -> None:
            self.copied.append((source, target, count))
            copy(runner, source, target, count)

        monkeypatch.setattr(EagerRunner, "launch", counted)
        monkeypatch.setattr(EagerRunner, "copy", noted)

    def sizes(self) -> list[int]:
        return [len(batch.replies) for batch in self.batches]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_each_of_many_replies_is_the_one_it_is_alone(
    alone: TorchLM, form: ReplyForm, counted: Steps, sampling: Sampling
) -> None:
    asked = [
        (prompt(5 + 2 * n), replace(sampling, seed=n, max_new_tokens=8 + 2 * n)) for n in range(12)
    ]
    expected = [reply(alone, form, ids, one) for ids, one in asked]
    with batched(rows=5, part_tokens=16) as lm, ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda one: reply(lm, form, *one), asked))
    assert found == expected
    assert len({tuple(ids) for ids in found}) > 6
    assert max(counted.sizes()) >= 3


class Replayed:
    """In place of a CUDA graph: runs three times when captured, once when replayed."""

    def __init__(self, run: Callable[[], object], pool: object) -> None:
        self.replay = run
        for _ in range(3):
            run()


class PlainOne:
    """In place of `FusedForward`."""

    layers = ()

    def __init__(self, model: Any, cache: Any, rotary: Any, *where: torch.Tensor) -> None:
        self._parts, self._where = (model, cache, rotary), where

    def __call__(self, start: int) -> torch.Tensor:
        model, cache, rotary = self._parts
        token, position, row = (int(tensor) for tensor in self._where)
        hidden = real_runs(model, [Run(row, position, [token])], cache, rotary)
        return model.lm_head(hidden)[:, start:]  # type: ignore[no-any-return]


class PlainMany:
    """In place of `BatchForward`."""

    cache: Any

    def __init__(self, model: Any, layers: Any, rotary: Any, *most: int) -> None:
        self._model, self._rotary = model, rotary

    def __call__(self, ids: Any, blocks: Any, rows: Any, positions: Any, ends: Any) -> torch.Tensor:
        hidden = torch.full((len(ids), tiny_lm.HIDDEN), torch.nan)
        length = len(ids) - len(rows)
        for number in range(length // 64):
            row, start, count = blocks[:, number].tolist()
            if count:
                first = 64 * number
                run = Run(row, start, ids[first : first + count].tolist())
                hidden[first : first + count] = real_runs(
                    self._model, [run], self.cache, self._rotary
                )
        for number, (row, position) in enumerate(zip(rows, positions, strict=True), length):
            run = Run(int(row), int(position), [int(ids[number])])
            hidden[number] = real_runs(self._model, [run], self.cache, self._rotary)[0]
        return self._model.lm_head(hidden[ends])  # type: ignore[no-any-return]


def real_runs(model: Any, runs: list[Run], cache: Any, rotary: Any) -> torch.Tensor:
    if runs[0].row == cache.keys.shape[1]:
        return torch.full((len(runs[0].ids), tiny_lm.HIDDEN), torch.nan)
    return forward_runs(model, runs, cache, rotary)


@contextmanager
def graphed(monkeypatch: pytest.MonkeyPatch, **options: Any) -> Iterator[BatchedLM]:
    """The runner of a GPU, on a CPU: plain passes in place of its kernels and graphs."""
    monkeypatch.setattr(graph_runner, "FusedForward", PlainOne)
    monkeypatch.setattr(graph_runner, "BatchForward", PlainMany)
    monkeypatch.setattr(graph_runner, "warmed_and_captured", Replayed)
    part_tokens = options.get("part_tokens", 192)

    def runner(model: Any, cache: Any, rotary: Any) -> GraphRunner:
        PlainMany.cache = cache
        return GraphRunner(model, cache, rotary, part_tokens)

    monkeypatch.setattr(lm_module, "EagerRunner", runner)
    with batched(**{"part_tokens": part_tokens, **options}) as lm:
        yield lm


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_steps_that_follow_the_replies_on_the_device_give_the_same(
    alone: TorchLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch, sampling: Sampling
) -> None:
    asked = [
        (prompt(5 + 2 * n) * (1 + n % 5), replace(sampling, seed=n, max_new_tokens=8 + 4 * n))
        for n in range(8)
    ]
    expected = [reply(alone, form, ids, one) for ids, one in asked]
    with graphed(monkeypatch, rows=3) as lm:
        lm.warm((form.text, form.audio_or_stop))
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda one: reply(lm, form, *one), asked))
        assert found == expected
        assert reply(lm, form, *asked[5]) == expected[5]


@dataclass
class Anything:
    """A grammar that is followed on the host: any id, and a stop after some of them."""

    mask: AllowedTokens
    left: int

    def allowed(self) -> AllowedTokens:
        return self.mask

    def push(self, token: int) -> TokenKind:
        assert self.mask.mask[token]
        self.left -= 1
        return TokenKind.TEXT if self.left else TokenKind.STOP


def test_a_step_that_was_prepared_and_dropped_leaves_nothing_behind(
    alone: TorchLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [prompt(9 + 70 * n) for n in range(4)]
    expected = [reply(alone, form, ids) for ids in asked]
    prepared = 0
    with graphed(monkeypatch, rows=4, part_tokens=64) as lm, ThreadPoolExecutor(4) as pool:
        scheduler, prepare = lm._scheduler, lm._runner.prepare

        def dropped(batch: Batch) -> None:
            nonlocal prepared
            prepared += 1
            prepare(batch)
            if prepared % 2:  # as when sound that is wanted at once comes now
                with scheduler._changed:
                    made = scheduler._next_batch()
                assert made is not None
                assert made is not batch
                prepare(made)

        monkeypatch.setattr(lm._runner, "prepare", dropped)
        found = list(pool.map(lambda ids: reply(lm, form, ids), asked))
    assert found == expected
    assert prepared


@pytest.mark.parametrize("ahead", [False, True])
def test_grammars_that_are_followed_on_the_host_are_asked_for_every_id(
    alone: TorchLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch, ahead: bool
) -> None:
    def grammars() -> list[Any]:
        return [Anything(form.text, 9), Anything(form.audio, 4), Interleave(form)]

    prompts = [prompt(12), prompt(20), prompt(7)]
    expected = [
        list(alone.stream(ids, grammar=grammar, sampling=GREEDY))
        for ids, grammar in zip(prompts, grammars(), strict=True)
    ]
    with graphed(monkeypatch, rows=3) if ahead else batched(rows=3) as lm:
        with ThreadPoolExecutor(3) as pool:
            found = list(
                pool.map(
                    lambda ids, grammar: list(lm.stream(ids, grammar=grammar, sampling=GREEDY)),
                    prompts, grammars(),
                )
            )  # fmt: skip
        assert found == expected
        assert lm.generate(prompts, grammars=grammars(), sampling=GREEDY) == expected
    assert [len(ids) for ids in found[:2]] == [9, 4]


def test_whole_replies_are_those_of_the_sequential_model(alone: TorchLM, form: ReplyForm) -> None:
    prompts = [prompt(8 + 3 * n) for n in range(6)]
    sampling = replace(SAMPLED, seed=3)

    def whole(lm: TorchLM | BatchedLM) -> list[list[int]]:
        return lm.generate(prompts, grammars=[Interleave(form) for _ in prompts], sampling=sampling)

    with batched(rows=4) as lm:
        assert whole(lm) == whole(alone)
        assert lm.generate([], grammars=[], sampling=sampling) == []
        assert (lm.running, lm.waiting, lm.capacity) == (0, 0, 4)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_nucleus_of_too_many_ids_is_drawn_by_a_sort(
    alone: TorchLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch, ahead: bool
) -> None:
    """Only a few of the likeliest ids are looked at, so that most steps have to be done again."""
    few = partial(sampler.sample_top, most=8)
    monkeypatch.setattr(graph_runner, "sample_top", few)
    wide = Sampling(temperature=3.0, top_p=0.95 if ahead else 1.0, max_new_tokens=12)
    asked = [(prompt(9 + 5 * n), replace(wide, seed=n)) for n in range(3)]
    expected = [reply(alone, form, ids, one) for ids, one in asked]
    with graphed(monkeypatch, rows=3) as lm, ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda one: reply(lm, form, *one), asked)) == expected


def test_a_prefix_that_another_row_holds_is_copied_and_not_computed(
    alone: TorchLM, form: ReplyForm, counted: Steps
) -> None:
    system = prompt(20)
    asked = [[*system, n, n + 1, n + 2] for n in range(40, 43)]
    expected = [reply(alone, form, ids) for ids in asked]
    with batched(rows=3) as lm:
        first = reply(lm, form, asked[0])
        counted.batches.clear()
        assert [first, reply(lm, form, asked[1]), reply(lm, form, asked[2])] == expected
        parts = [part for batch in counted.batches for part in batch.parts]
        assert [part.stop - part.start for part in parts] == [3, 3]
        assert counted.copied == [(0, 1, 20), (0, 2, 20)]
        counted.batches.clear()
        longer = asked[1] + expected[1] + prompt(5)  # the conversation goes on in its own row
        assert reply(lm, form, longer) == reply(alone, form, longer)
        part = counted.batches[0].parts[0]
        assert (part.reply.text[part.start : part.stop], len(counted.copied)) == (
            longer[len(longer) - 6 :], 2,
        )  # fmt: skip
        for n in range(50, 52):  # the row that was idle longest gives way
            reply(lm, form, [n] * 20)
        counted.batches.clear()
        reply(lm, form, longer)
        assert counted.batches[0].parts[0].stop - counted.batches[0].parts[0].start == 1


def test_replies_are_admitted_in_the_order_in_which_they_came(
    form: ReplyForm, counted: Steps
) -> None:
    with batched(rows=1) as lm, ThreadPoolExecutor(6) as pool:
        gate = counted.gate = Gate()
        jobs = [pool.submit(reply, lm, form, prompt(5))]
        assert gate.entered.wait(PATIENCE)
        for number in range(5):
            jobs.append(pool.submit(reply, lm, form, prompt(6 + number)))
            wait_until(lambda number=number: lm.waiting == number + 1)  # type: ignore[misc]
        gate.open.set()
        for job in jobs:
            assert job.result(PATIENCE)
    begun = [len(part.reply.text) for batch in counted.batches for part in batch.parts]
    read = [part.stop for batch in counted.batches for part in batch.parts]
    assert read == [5, 6, 7, 8, 9, 10]
    assert len(begun) == 6


def test_one_caller_too_many_is_told_when_to_come_back(form: ReplyForm, counted: Steps) -> None:
    with batched(rows=2, max_waiting=3) as lm, ThreadPoolExecutor(5) as pool:
        gate = counted.gate = Gate()
        jobs = [pool.submit(reply, lm, form, prompt(5))]
        assert gate.entered.wait(PATIENCE)
        jobs += [pool.submit(reply, lm, form, prompt(6 + n)) for n in range(4)]
        wait_until(lambda: lm.waiting == 4)
        with pytest.raises(
            BusyError, match=r"writes 1 replies and 4 wait; come back in about"
        ) as busy:
            reply(lm, form, prompt(9))
        assert busy.value.retry_after == 25  # five replies of 10 s in two rows
        gate.open.set()
        assert all(job.result(PATIENCE) for job in jobs)
        assert reply(lm, form, prompt(9))


def test_a_closed_reply_frees_its_row_before_the_next_step(form: ReplyForm, counted: Steps) -> None:
    long = replace(GREEDY, max_new_tokens=400)
    with batched(rows=1) as lm:
        ids = lm.stream(prompt(10), grammar=Interleave(form), sampling=long)
        next(ids)
        gate = counted.gate = Gate()
        assert gate.entered.wait(PATIENCE)
        ids.close()
        before = len(counted.batches)
        gate.open.set()
        assert reply(lm, form, prompt(12))
        assert counted.batches[before].parts[0].stop == 12


def test_a_cancelled_call_ends_while_it_waits_and_while_it_reads(
    form: ReplyForm, counted: Steps
) -> None:
    def cancelled(lm: BatchedLM, call: Cancellation) -> bool:
        with call.active():
            try:
                reply(lm, form, prompt(8), replace(GREEDY, max_new_tokens=400))
            except CancelledError:
                return True
        return False

    calls = [Cancellation(), Cancellation()]
    with batched(rows=1) as lm, ThreadPoolExecutor(2) as pool:
        gate = counted.gate = Gate()
        jobs = [pool.submit(cancelled, lm, calls[0])]
        assert gate.entered.wait(PATIENCE)
        jobs.append(pool.submit(cancelled, lm, calls[1]))
        wait_until(lambda: lm.waiting == 1)
        calls[1].cancel()
        assert jobs[1].result(PATIENCE)
        calls[0].cancel()
        assert jobs[0].result(PATIENCE)
        gate.open.set()
        assert reply(lm, form, prompt(8))
        assert (lm.running, lm.waiting) in {(0, 0), (1, 0)}


@pytest.mark.parametrize("ahead", [False, True])
def test_scores_that_are_no_numbers_end_one_reply_alone(
    alone: TorchLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch, ahead: bool
) -> None:
    """Id 7 has an embedding that is not a number; who does not read it, is not hurt."""
    expected = reply(alone, form, prompt(20))
    assert 7 not in prompt(20) + expected
    with graphed(monkeypatch, rows=2) if ahead else batched(rows=2) as lm:
        lm.model.model.embed_tokens.weight.data[7] = torch.nan
        with ThreadPoolExecutor(2) as pool:
            other = pool.submit(reply, lm, form, prompt(20))
            for _ in range(3):
                with pytest.raises(GenerationError, match="not numbers"):
                    reply(lm, form, [1, 2, 7, 9])
            assert other.result(PATIENCE) == expected
        for _ in range(3):  # in the row that held them, too
            assert reply(lm, form, prompt(20)) == expected
            assert reply(lm, form, [9, *prompt(20)]) == reply(alone, form, [9, *prompt(20)])


def test_when_memory_runs_out_the_newest_waits_and_the_others_go_on(
    alone: TorchLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of more than two rows fail."""
    launch = EagerRunner.launch
    sizes = []

    def small(runner: EagerRunner, batch: Batch) -> Any:
        sizes.append(len(batch.replies) + len(batch.parts))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return launch(runner, batch)

    asked = [(prompt(5 + 3 * n), replace(SAMPLED, seed=n)) for n in range(4)]
    expected = [reply(alone, form, ids, one) for ids, one in asked]
    monkeypatch.setattr(EagerRunner, "launch", small)
    with batched(rows=4) as lm, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda one: reply(lm, form, *one), asked)) == expected
    assert max(sizes) > 2


def test_when_memory_runs_out_for_one_reply_it_ends_and_the_next_is_served(
    form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with batched(rows=2) as lm:
        expected = reply(lm, form, prompt(9))
        with monkeypatch.context() as patch:
            patch.setattr(EagerRunner, "launch", no_memory)
            with pytest.raises(ModelError, match="cpu has too little memory"):
                reply(lm, form, prompt(9))
        assert reply(lm, form, prompt(9)) == expected


def no_memory(runner: EagerRunner, batch: Batch) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_any_other_failure_ends_all_replies_and_the_next_starts_afresh(
    form: ReplyForm, monkeypatch: pytest.MonkeyPatch, counted: Steps
) -> None:
    def broken(runner: EagerRunner, batch: Batch) -> Any:
        raise ValueError("a cable was pulled")

    def failure(lm: BatchedLM, ids: list[int]) -> str:
        with pytest.raises(GenerationError) as caught:
            reply(lm, form, ids, replace(GREEDY, max_new_tokens=400))
        return str(caught.value)

    with batched(rows=1) as lm, ThreadPoolExecutor(2) as pool:
        gate = counted.gate = Gate()
        jobs = [pool.submit(failure, lm, prompt(8))]
        assert gate.entered.wait(PATIENCE)
        jobs.append(pool.submit(failure, lm, prompt(9)))
        wait_until(lambda: lm.waiting == 1)
        with monkeypatch.context() as patch:
            patch.setattr(EagerRunner, "launch", broken)
            gate.open.set()
            for job in jobs:
                assert "stopped with ValueError: a cable was pulled; ask again" in job.result()
        assert reply(lm, form, prompt(8))


def test_a_slow_reader_neither_stalls_the_others_nor_keeps_its_row(
    alone: TorchLM, form: ReplyForm
) -> None:
    with batched(rows=1) as lm:
        slow = lm.stream(prompt(10), grammar=Interleave(form), sampling=GREEDY)
        read = [next(slow)]
        assert reply(lm, form, prompt(12)) == reply(alone, form, prompt(12))
        assert [*read, *slow] == reply(alone, form, prompt(10))


def test_a_thread_that_holds_every_place_itself_is_told_so(form: ReplyForm) -> None:
    """A grammar that is followed on the host waits for its reader."""
    with batched(rows=1) as lm:
        held = lm.stream(prompt(10), grammar=Anything(form.text, 99), sampling=GREEDY)
        next(held)
        with pytest.raises(GenerationError, match="close one before asking again"):
            reply(lm, form, prompt(10))
        held.close()
        assert reply(lm, form, prompt(10))


def test_a_prompt_without_room_is_refused_and_a_reply_ends_where_the_context_does(
    form: ReplyForm,
) -> None:
    with batched(rows=2) as lm:
        with pytest.raises(GenerationError, match="512 tokens and the model takes 512"):
            reply(lm, form, [1] * 512)
        assert len(reply(lm, form, [1] * 505, replace(GREEDY, max_new_tokens=99))) <= 7
    for options in ({"rows": 0}, {"part_tokens": 0}):
        with pytest.raises(ConfigError, match="is at least 1, not 0"), batched(**options):
            pass


def test_closing_ends_every_reply_and_the_thread(form: ReplyForm) -> None:
    """The reply waits for its reader, so that it is in its middle for certain."""
    with batched(rows=1) as lm:
        ids = lm.stream(prompt(10), grammar=Anything(form.text, 99), sampling=GREEDY)
        next(ids)
        lm.close()
        with pytest.raises(GenerationError, match="was closed"):
            list(ids)
        with pytest.raises(GenerationError, match="was closed"):
            reply(lm, form, prompt(5))
        assert not any(thread.name == "voicerag-lm" for thread in threading.enumerate())


def test_a_model_and_its_thread_go_with_the_last_reference(form: ReplyForm) -> None:
    lm = BatchedLM(tiny_model(), max_context=512)
    reply(lm, form, prompt(5))
    thread = lm._scheduler._thread
    cache = weakref.ref(lm._cache.keys)
    assert thread is not None
    del lm
    gc.collect()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    gc.collect()
    assert cache() is None


@pytest.mark.parametrize("crowd", [(8, 6), pytest.param((24, 40), marks=pytest.mark.slow)])
@pytest.mark.parametrize("ahead", [False, True])
def test_many_callers_who_come_and_go_each_get_their_own_reply(
    alone: TorchLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch,
    ahead: bool, crowd: tuple[int, int],
) -> None:  # fmt: skip
    callers, rounds = crowd
    asked = [
        ([*prompt(3 + 4 * n), n], replace(SAMPLED, seed=n, max_new_tokens=5 + 3 * n))
        for n in range(8)
    ]
    expected = [reply(alone, form, ids, one) for ids, one in asked]

    def call(number: int) -> bool:
        draw = random.Random(number)
        for _ in range(rounds):
            chosen = draw.randrange(len(asked))
            until = draw.choice([0, 1, 3, 1000, 1000])
            ids, sampling = asked[chosen]
            with closing(lm.stream(ids, grammar=Interleave(form), sampling=sampling)) as stream:
                if list(islice(stream, until)) != expected[chosen][:until]:
                    return False
        return True

    with graphed(monkeypatch, rows=3) if ahead else batched(rows=3) as lm:
        with ThreadPoolExecutor(callers) as pool:
            assert all(pool.map(call, range(callers)))
        wait_until(lambda: lm.running == lm.waiting == 0)


@pytest.mark.parametrize("sizes", [(0, 5), (1, 1), (63, 200), (64, 64), (65, 130), (300, 128)])
@pytest.mark.parametrize("swapped", [False, True])
def test_how_many_ids_two_texts_share(sizes: tuple[int, int], swapped: bool) -> None:
    short = min(sizes)
    for differs in {0, 1, 62, 63, 64, 65, 127, short - 1, short} & set(range(short + 1)):
        one, other = [7] * sizes[0], [7] * sizes[1]
        if differs < short:
            one[differs] = 8
        given = (other, one) if swapped else (one, other)
        assert common_prefix(*given) == differs

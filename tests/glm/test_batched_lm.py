"""Continuous batching: what each reply gives, who waits, and what goes wrong for whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.glm import tiny_lm
from tests.glm.test_lm import CONFIG, prompt
from tests.waiting import Gate
from voicerag_core.glm.lm import batched_lm as lm_module
from voicerag_core.glm.lm import graph_runner
from voicerag_core.glm.lm.batched_lm import BatchedLM
from voicerag_core.glm.lm.eager_runner import EagerRunner
from voicerag_core.glm.lm.forward import Run, forward_runs
from voicerag_core.glm.lm.graph_runner import GraphRunner
from voicerag_core.glm.lm.interleave import Interleave, ReplyForm
from voicerag_core.glm.lm.loading import empty_lm
from voicerag_core.glm.lm.rows import Batch
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

    def __call__(
        self, ids: Any, blocks: Any, rows: Any, positions: Any, ends: Any
    ) -> torch.Tensor:
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

"""Continuous batching: what each reply gives, who waits, and what goes wrong for whom."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.glm import tiny_lm
from tests.glm.test_lm import CONFIG, prompt
from tests.waiting import Gate
from voicerag_core.glm.lm.batched_lm import BatchedLM
from voicerag_core.glm.lm.eager_runner import EagerRunner
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

"""Ids are handed over when their reader has something to do with them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count

import numpy as np
import pytest

from tests.glm import tiny
from tests.glm.test_batched_lm import GREEDY, Steps, alone, batched, counted, form
from tests.glm.test_lm import prompt
from tests.waiting import PATIENCE, Gate
from voicerag_core.errors import GenerationError
from voicerag_core.glm import voice as voice_module
from voicerag_core.glm.lm import batched_lm as lm_module
from voicerag_core.glm.lm.batched_lm import BatchedLM
from voicerag_core.glm.lm.eager_runner import EagerRunner
from voicerag_core.glm.lm.interleave import AUDIO_BLOCK, TEXT_BLOCK, Interleave, ReplyForm
from voicerag_core.glm.lm.rows import Batch
from voicerag_core.glm.lm.sampler import NOT_FINITE
from voicerag_core.glm.lm.torch_lm import TorchLM
from voicerag_core.glm.pace import Pace
from voicerag_core.glm.voice import GLMVoice
from voicerag_core.types import Answer, Sampling

__all__ = ["alone", "counted", "form"]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tiny.Trees:
    return tiny.write_trees(tmp_path_factory.mktemp("glm"))


@pytest.fixture
def lm() -> Iterator[BatchedLM]:
    with batched() as made:
        yield made


def handed_over(lm: BatchedLM, grammar: Interleave, pace: Pace) -> list[list[int]]:
    batches = lm.batches(prompt(10), grammar=grammar, sampling=GREEDY, pace=pace)
    return [list(ids) for ids in batches]


def test_as_many_ids_are_handed_over_as_are_waited_for(
    alone: TorchLM, lm: BatchedLM, form: ReplyForm
) -> None:
    expected = list(alone.stream(prompt(10), grammar=Interleave(form), sampling=GREEDY))
    given = handed_over(lm, Interleave(form), Pace(lambda: 7))
    assert [token for ids in given for token in ids] == expected
    assert all(len(ids) >= 7 for ids in given[:-1])
    assert len(given) <= len(expected) // 7 + 1
    one_by_one = handed_over(lm, Interleave(form), Pace())
    assert [token for ids in one_by_one for token in ids] == expected


def test_the_first_speech_token_ends_the_waiting_in_text(
    lm: BatchedLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model stands still behind it, and no time ends the waiting."""
    monkeypatch.setattr(lm_module, "POLL_SECONDS", PATIENCE)
    launch, steps, gate = EagerRunner.launch, count(), Gate()

    def held(runner: EagerRunner, batch: Batch) -> object:
        if next(steps) == TEXT_BLOCK + 6:
            gate.wait()
        return launch(runner, batch)

    monkeypatch.setattr(EagerRunner, "launch", held)
    grammar = Interleave(speaking(form))
    pace = Pace(lambda: 1000, in_text=lambda: grammar.in_text)
    with closing(lm.batches(prompt(10), grammar=grammar, sampling=GREEDY, pace=pace)) as batches:
        first = next(batches)
        gate.open.set()
    assert TEXT_BLOCK < len(first) < GREEDY.max_new_tokens


def test_text_of_a_slow_model_does_not_wait_for_more_of_it(
    lm: BatchedLM, form: ReplyForm, counted: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm_module, "POLL_SECONDS", 0.01)
    pace = Pace(lambda: 1000, in_text=lambda: True)
    batches = lm.batches(prompt(10), grammar=Interleave(form), sampling=GREEDY, pace=pace)
    with ThreadPoolExecutor(1) as pool, closing(batches):
        counted.gate = before = Gate()
        given = pool.submit(next, batches)
        assert before.entered.wait(PATIENCE)
        counted.gate = after = Gate()
        before.open.set()
        assert after.entered.wait(PATIENCE)  # the next step takes long
        assert len(given.result(PATIENCE)) == 1
        after.open.set()


def speaking(form: ReplyForm) -> ReplyForm:
    """Return a form in which text and speech have their full lengths."""
    strict = object.__new__(ReplyForm)
    strict.__dict__.update(form.__dict__, any=form.text, audio_or_stop=form.audio)
    return strict


def test_a_reader_that_is_woken_gets_what_has_come(
    lm: BatchedLM, form: ReplyForm, counted: Steps
) -> None:
    pace = Pace(lambda: 1000)
    pace.wake()  # nobody reads yet
    batches = lm.batches(prompt(10), grammar=Interleave(form), sampling=GREEDY, pace=pace)
    with ThreadPoolExecutor(1) as pool, closing(batches):
        counted.gate = gate = Gate()
        woken = pool.submit(next, batches)
        gate.entered.wait(PATIENCE)
        assert pace.progress is not None
        assert pace.progress()[0] == 0
        pace.wake()
        assert woken.result(PATIENCE) == []
        gate.open.set()
        rest = [token for ids in batches for token in ids]
    assert len(rest) == GREEDY.max_new_tokens


def test_the_ids_before_a_failure_are_handed_over_first(
    lm: BatchedLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = lm._runner.launch
    left = iter(range(5))

    def failing(batch: object) -> object:
        done = launch(batch)  # type: ignore[arg-type]
        if next(left, None) is None:
            monkeypatch.setattr(done, "ids", lambda: [NOT_FINITE])
        return done

    monkeypatch.setattr(lm._runner, "launch", failing)
    pace = Pace(lambda: 1000)
    batches = lm.batches(prompt(10), grammar=Interleave(form), sampling=GREEDY, pace=pace)
    assert len(next(batches)) == 5
    with pytest.raises(GenerationError, match="are not numbers"):
        next(batches)


def test_an_answer_wakes_its_thread_for_blocks_and_not_for_ids(
    trees: tiny.Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm_module, "POLL_SECONDS", PATIENCE)  # however slow the steps are
    sampling = Sampling(temperature=0.0, max_new_tokens=2 * (TEXT_BLOCK + AUDIO_BLOCK))
    voice = GLMVoice.load(trees.root, device="cpu")
    voice._form = speaking(voice._form)
    given: list[int] = []
    plain = BatchedLM.batches

    def noting(*args: object, **options: object) -> Iterator[list[int]]:
        for ids in plain(*args, **options):  # type: ignore[arg-type]
            given.append(len(ids))
            yield ids  # type: ignore[misc]

    monkeypatch.setattr(BatchedLM, "batches", noting)
    whole = sum(voice.respond("q", (), sampling=sampling), Answer())
    assert given[0] == 1  # the first word comes at once
    assert sum(given) == sampling.max_new_tokens
    assert len(given) < sum(given) / 2  # about a fifth where the decoder has a processor of its own
    monkeypatch.setattr(voice_module, "PacedModel", Gate)  # then ids come one by one
    single = sum(voice.respond("q", (), sampling=sampling), Answer())
    assert single.text == whole.text
    assert single.audio is not None
    assert whole.audio is not None
    assert len(single.audio.samples) == len(whole.audio.samples) > 0
    np.testing.assert_allclose(single.audio.samples, whole.audio.samples, rtol=0, atol=5e-4)

"""Which blocks are decoded when: plans of the decoder's service, by a clock that a test moves."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from voicerag_core.glm import turns as turns_module
from voicerag_core.glm.decoder import service as service_module
from voicerag_core.glm.decoder.service import (
    AT_ONCE,
    FIRST_FRAMES,
    GATHERING_EACH,
    LATEST_FRAME_SECONDS,
    LATEST_SECONDS,
    LEAST_GATHERING,
    MOMENT_SECONDS,
    MOST_GATHERING,
    DecodingService,
    Task,
)
from voicerag_core.glm.decoder.shapes import BATCHES, FEW_FRAMES, batch_size
from voicerag_core.glm.turns import Turns

FIRST, SECOND, THIRD = 72, 144, 280
"""Padded frames of the windows of a first, second and third block."""


class Plans:
    """A service of replies that are made up, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(service_module, "time", clock)
        monkeypatch.setattr(turns_module, "time", clock)
        self.service = DecodingService(SimpleNamespace(device=torch.device("cpu")))  # type: ignore[arg-type]
        self.turns = self.service._turns = Turns()
        self.kept: list[Any] = []

    def replies(self, count: int, *, wanting: bool, coming: int = 0) -> None:
        for _ in range(count):
            reply = _Reply(wanting, coming)
            self.kept.append(reply)
            self.service.opened(reply)
        self.service._counted = (-math.inf, 0)

    def block(self, length: int, *, wanted_in: float | None = None) -> Task:
        """Submit a block: of a reply that waits for its first sound, unless it says when."""
        task = Task(
            None,  # type: ignore[arg-type]
            length,
            self.now + (wanted_in or 0.0),
            wanted_in is None,
            self.turns.free(),
            self.now,
        )
        self.service._waiting.append(task)
        return task

    def start(self) -> float:
        """Return in how many seconds the next blocks are decoded."""
        return self.service._next()[0] - self.now

    def lengths(self) -> list[int]:
        return [task.length for task in self.service._next()[1]]


class _Reply:
    def __init__(self, wanting: bool, coming: int) -> None:
        self.wanting = wanting
        self._coming = coming

    def coming(self) -> int:
        return self._coming

    def spare(self, step: float) -> float:
        return math.inf


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Plans:
    return Plans(monkeypatch)


@pytest.mark.parametrize(("count", "waits"), [(4, 4 * GATHERING_EACH), (60, MOST_GATHERING)])
def test_first_sounds_wait_longer_the_more_replies_wait_for_theirs(
    plans: Plans, count: int, waits: float
) -> None:
    plans.replies(count, wanting=True, coming=FIRST)
    plans.block(FIRST)
    assert plans.start() == pytest.approx(waits)


def test_the_time_in_which_the_language_model_waits_does_not_count(plans: Plans) -> None:
    plans.replies(10, wanting=True, coming=FIRST)
    plans.block(FIRST)
    with plans.turns.take():
        plans.now += 5.0
    assert plans.start() == pytest.approx(10 * GATHERING_EACH)
    plans.now += 0.02
    assert plans.start() == pytest.approx(10 * GATHERING_EACH - 0.02)


def test_nobody_is_waited_for_who_is_not_coming(plans: Plans) -> None:
    plans.replies(10, wanting=True)
    plans.block(FIRST)
    assert plans.start() == pytest.approx(MOMENT_SECONDS)


def test_late_blocks_wait_for_others_a_moment_only(plans: Plans) -> None:
    plans.replies(40, wanting=True, coming=SECOND)
    plans.block(SECOND, wanted_in=-0.1)
    assert plans.start() == pytest.approx(LEAST_GATHERING)


def test_a_reply_that_has_stopped_goes_before_first_sounds(plans: Plans) -> None:
    plans.replies(40, wanting=True, coming=THIRD)
    for _ in range(20):
        plans.block(FIRST)
    plans.now += 1.0
    late = plans.block(THIRD, wanted_in=-0.1)
    assert plans.lengths() == [THIRD]
    assert plans.start() == pytest.approx(LEAST_GATHERING)  # others of them may come
    plans.service._waiting.remove(late)
    assert plans.lengths() == [FIRST] * 20
    plans.block(THIRD, wanted_in=5.0)
    assert plans.lengths() == [FIRST] * 20


def test_blocks_wait_for_others_until_their_sound_is_nearly_wanted(plans: Plans) -> None:
    plans.replies(8, wanting=False, coming=SECOND)
    plans.block(SECOND, wanted_in=1.0)
    needed = LATEST_SECONDS + LATEST_FRAME_SECONDS * SECOND
    assert plans.start() == pytest.approx(1.0 - needed)
    plans.service._waiting.clear()
    plans.block(SECOND, wanted_in=0.01)
    assert plans.start() == pytest.approx(LEAST_GATHERING)


def test_what_is_played_later_waits_while_others_have_nothing_to_play(plans: Plans) -> None:
    for _ in range(16):  # a full batch
        plans.block(THIRD, wanted_in=1.0)
    plans.replies(40, wanting=False)
    assert plans.start() <= 0
    plans.replies(1, wanting=True)
    needed = LATEST_SECONDS + LATEST_FRAME_SECONDS * THIRD
    assert plans.start() == pytest.approx(1.0 - needed)
    plans.block(THIRD, wanted_in=1.0)  # and so the second batch is in time, too
    assert plans.start() == pytest.approx(1.0 - needed - LATEST_FRAME_SECONDS * THIRD)


def test_first_sounds_of_a_crowd_are_decoded_few_at_a_time_and_at_once(plans: Plans) -> None:
    most = FIRST_FRAMES // SECOND
    plans.replies(60, wanting=True, coming=SECOND)
    came_first = [plans.block(SECOND) for _ in range(most - 1)]
    assert plans.start() == pytest.approx(MOST_GATHERING)
    plans.now += 0.01
    for _ in range(4):
        plans.block(SECOND)
    assert plans.start() <= 0
    with plans.service._changed:
        taken = plans.service._taken()
    assert len(taken) == most
    assert set(came_first) <= set(taken)


def test_blocks_of_replies_that_are_heard_are_decoded_many_at_a_time(plans: Plans) -> None:
    many = 2 * FIRST_FRAMES // SECOND
    plans.replies(many, wanting=False)
    for _ in range(many):
        plans.block(SECOND, wanted_in=1.0)
    with plans.service._changed:
        assert len(plans.service._taken()) == many


def test_the_blocks_that_must_start_first_are_taken_first(plans: Plans) -> None:
    plans.replies(8, wanting=True, coming=FIRST)
    plans.block(FIRST)
    plans.block(SECOND, wanted_in=0.1)
    assert plans.lengths() == [SECOND]
    with plans.service._changed:
        assert [task.length for task in plans.service._taken()] == [SECOND]
    assert plans.lengths() == [FIRST]


def test_between_two_steps_only_blocks_come_that_wait_for_no_others(plans: Plans) -> None:
    plans.replies(10, wanting=True, coming=FIRST)
    plans.block(FIRST)
    long = [Task(None, 1040, plans.now + 5.0)]  # type: ignore[arg-type]
    with plans.service._changed:
        assert not plans.service._taken(long)
        plans.now += 10 * GATHERING_EACH
        assert [task.length for task in plans.service._taken(long)] == [FIRST]


def test_it_is_crowded_when_more_replies_want_sound_than_are_decoded_at_once(plans: Plans) -> None:
    plans.replies(100, wanting=False)
    plans.replies(AT_ONCE, wanting=True)
    assert not plans.service.crowded
    plans.replies(1, wanting=True)
    assert plans.service.crowded


def test_questions_and_prompts_that_come_make_a_crowd_too(plans: Plans) -> None:
    plans.replies(AT_ONCE - 4, wanting=True)
    plans.turns.reading_steps = 3
    seen = []
    with plans.turns.asked():
        seen.append(plans.service.crowded)
        with plans.turns.asked():
            seen.append(plans.service.crowded)
    seen.append(plans.service.crowded)
    plans.turns.reading_steps = 5
    seen.append(plans.service.crowded)
    assert seen == [False, True, False, True]


def test_few_frames_are_padded_to_one_batch_and_many_are_not() -> None:
    assert BATCHES[-1] == 32
    assert batch_size(17, 32, FEW_FRAMES // 32) == 32
    assert batch_size(17, 32, FEW_FRAMES // 32 + 1) == 16
    assert batch_size(16, 32, 1) == 16

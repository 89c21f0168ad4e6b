"""The first sound is played when the next is expected before its end."""

from __future__ import annotations

import pytest

from voicerag_core.glm.decoder.playout import MOST_HELD, Playout
from voicerag_core.glm.decoder.schedule import Schedule
from voicerag_core.glm.lm.interleave import AUDIO_BLOCK, TEXT_BLOCK

RATE = 12.5
OVERLAP = 0.4
"""Seconds of the first block that are given with the second."""


class Reply:
    """A reply whose ids come at a constant pace, and whose blocks take a constant time."""

    def __init__(self, pace: float, decoding: float) -> None:
        self.now = 0.0
        self.ids = 0
        self.pace, self.decoding = pace, decoding
        self.schedule = Schedule()
        self.playout = Playout(
            self.schedule, token_rate=RATE, ids_until=self.ids_until, clock=lambda: self.now
        )
        self.blocks = self.used = 0
        self.held = 0.0
        self.begun: float | None = None
        self.ends = 0.0
        self.stalled = 0.0
        self.made: list[tuple[float, float]] = []
        """When a block is decoded, and the seconds that it gives."""

    @staticmethod
    def speech(ids: int) -> int:
        blocks, rest = divmod(ids, TEXT_BLOCK + AUDIO_BLOCK)
        return blocks * AUDIO_BLOCK + max(0, rest - TEXT_BLOCK)

    def ids_until(self, speech: int) -> int:
        wanted = self.speech(self.ids) + speech
        return next(n for n in range(1000) if self.speech(self.ids + n) >= wanted)

    def run_until(self, *, blocks: int = 1000, seconds: float = 100.0) -> None:
        """Write ids, decode and play."""
        while self.now < seconds and (self.blocks < blocks or self.made):
            self.now += self.pace
            self.ids += 1
            self.playout.ids_came()
            self._decode()
            if self.begun is None and self.held:
                missing = max(
                    0, self.used + self.schedule.block(self.blocks) - self.speech(self.ids)
                )
                if self.playout.ready(self.held, blocks=self.blocks, missing=missing):
                    self.begun, self.ends = self.now, self.now + self.held

    def _decode(self) -> None:
        while self.speech(self.ids) - self.used >= self.schedule.block(self.blocks):
            tokens = self.schedule.block(self.blocks)
            self.used += tokens
            self.blocks += 1
            self.made.append((self.now + self.decoding, tokens / RATE))
        while self.made and self.made[0][0] <= self.now:
            _, gives = self.made.pop(0)
            self.playout.decoded(self.decoding)
            gives -= OVERLAP if not self.held and self.begun is None else 0.0
            if self.begun is None:
                self.held += gives
            else:
                self.stalled += max(0.0, self.now - self.ends)
                self.ends = max(self.ends, self.now) + gives


@pytest.mark.parametrize("pace", [0.003, 0.005, 0.010])
def test_a_model_far_faster_than_speech_is_heard_at_once(pace: float) -> None:
    reply = Reply(pace, 0.04)
    reply.run_until(seconds=3.0)
    assert reply.begun == pytest.approx((TEXT_BLOCK + 10) * pace + 0.04, abs=pace + 1e-6)
    assert reply.stalled == pytest.approx(0)


@pytest.mark.parametrize("decoding", [0.04, 0.1, 0.15])
@pytest.mark.parametrize("pace", [0.020, 0.025, 0.030, 0.035, 0.040])
def test_a_reply_at_any_pace_above_that_of_speech_does_not_stop_soon(
    pace: float, decoding: float
) -> None:
    reply = Reply(pace, decoding)
    reply.run_until(blocks=3)
    assert reply.stalled == pytest.approx(0)


def test_what_the_language_model_knows_of_the_next_ids_counts_and_not_their_pace() -> None:
    for seconds, expected in ((0.01, True), (0.2, False)):
        playout = Playout(
            Schedule(),
            token_rate=RATE,
            ids_until=lambda tokens: tokens,
            seconds_for=lambda ids, each=seconds: each * ids,  # type: ignore[misc]
            clock=lambda: 1.0,
        )
        playout.ids_came()
        playout.decoded(0.01)
        assert playout.ready(0.96, blocks=2, missing=20) is expected


def test_without_it_such_replies_stop() -> None:
    reply = Reply(0.035, 0.15)
    reply.playout.started = True
    reply.run_until(blocks=3)
    assert reply.stalled > 0


def test_a_model_slower_than_speech_is_not_held_back_for_long() -> None:
    reply = Reply(0.2, 0.05)
    reply.run_until(seconds=12.0)
    ready = (TEXT_BLOCK + 10) * 0.2 + 0.05
    assert reply.begun is not None
    assert reply.begun - ready <= MOST_HELD + 0.41  # it is asked once for each id


def test_what_has_begun_goes_on() -> None:
    reply = Reply(0.005, 0.04)
    reply.run_until(seconds=1.0)
    assert reply.playout.started
    assert reply.playout.ready(0.0, blocks=2, missing=500)

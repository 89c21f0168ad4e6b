"""The contract suite of the turn detector."""

from __future__ import annotations

from typing import Any

import numpy as np

from voicerag_core.errors import AudioError
from voicerag_core.ports import TurnDetector
from voicerag_core.types import Audio, Samples, TurnEvent

__all__ = ["TurnDetectorContract"]

NEAR_SECONDS = 0.6
"""How far from the true place a start or a stop may be."""


class TurnDetectorContract:
    """The rules of `voicerag_core.ports.TurnDetector`.

    Fixtures to define: ``detector``, the object under test; ``clip``, an `Audio` of one spoken
    sentence at the detector's rate, without silence around it.
    """

    def test_silence_is_nobody_s_turn(self, detector: TurnDetector) -> None:
        assert detector.push(np.zeros(3 * detector.sample_rate, np.float32)) == ()

    def test_a_sentence_is_one_turn_that_pauses_before_it_stops(
        self, detector: TurnDetector, clip: Audio
    ) -> None:
        events = detector.push(_between(clip, 1.0, 3.0))
        _check_order(events)
        assert events[-1].kind == "stopped"
        assert [event.kind for event in events].count("started") == 1
        near = NEAR_SECONDS * detector.sample_rate
        assert abs(events[0].sample - detector.sample_rate) <= near
        assert abs(events[-1].sample - detector.sample_rate - len(clip.samples)) <= near

    def test_two_sentences_far_apart_are_two_turns(
        self, detector: TurnDetector, clip: Audio
    ) -> None:
        events = detector.push(np.concatenate([_between(clip, 1.0, 3.0)] * 2))
        _check_order(events)
        stops = [event.kind for event in events].count("stopped")
        assert stops == 2, f"{stops} stops"  # noqa: PLR2004

    def test_how_the_samples_are_cut_changes_nothing(
        self, detector: TurnDetector, clip: Audio
    ) -> None:
        sound = _between(clip, 0.5, 2.0)
        whole = detector.push(sound)
        detector.reset()
        pieces: tuple[TurnEvent, ...] = ()
        start = 0
        for size in [1, 7, 320, 511, 512, 513, 4000] * len(sound):
            pieces += detector.push(sound[start : start + size])
            start += size
            if start >= len(sound):
                break
        assert pieces == whole

    def test_nothing_is_no_event(self, detector: TurnDetector) -> None:
        assert detector.push(np.zeros(0, np.float32)) == ()

    def test_a_reset_forgets_everything(self, detector: TurnDetector, clip: Audio) -> None:
        first = detector.push(_between(clip, 1.0, 0.0))
        assert [event.kind for event in first][:1] == ["started"]
        detector.reset()
        again = detector.push(_between(clip, 1.0, 3.0))
        assert [event.kind for event in again][:1] == ["started"]
        assert again[0].sample == first[0].sample

    def test_what_is_no_sound_is_refused(self, detector: TurnDetector) -> None:
        wrongs: tuple[Any, ...] = (
            np.zeros((2, 512), np.float32),
            np.zeros(512, np.int16),
            np.full(512, np.nan, np.float32),
        )
        for wrong in wrongs:
            try:
                detector.push(wrong)
            except AudioError:
                continue
            raise AssertionError(f"{wrong.dtype} of shape {wrong.shape} was accepted")
        assert detector.push(np.zeros(detector.sample_rate, np.float32)) == ()


def _between(clip: Audio, before: float, behind: float) -> Samples:
    """Put silence around a clip, in seconds."""
    rate = clip.sample_rate
    edges = [np.zeros(int(seconds * rate), np.float32) for seconds in (before, behind)]
    return np.concatenate((edges[0], clip.samples, edges[1]))


def _check_order(events: tuple[TurnEvent, ...]) -> None:
    """Check that events follow each other as the port says."""
    may_follow = {
        "": {"started"},
        "started": {"paused"},
        "paused": {"resumed", "stopped"},
        "resumed": {"paused"},
        "stopped": {"started"},
    }
    before = TurnEvent("started", 0)
    last = ""
    for event in events:
        assert event.kind in may_follow[last], f"{event.kind} after {last or 'nothing'}"
        assert event.sample >= before.sample or last in ("", "paused")
        last, before = event.kind, event

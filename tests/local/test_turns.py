"""Who speaks, on real clips with pauses, noise and the program's own voice around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voicerag_core import (
    Audio,
    ConfigError,
    MissingExtraError,
    TurnDetector,
    TurnEvent,
    TurnRules,
    open_turn_detector,
    read_audio,
)
from voicerag_core.local.turns import activity
from voicerag_core.local.turns import detector as detectors
from voicerag_core.local.turns.activity import FRAME, LoudnessActivity, SileroActivity
from voicerag_core.local.turns.detector import FrameTurnDetector
from voicerag_core.testing import TurnDetectorContract
from voicerag_core.types import Samples

RATE = 16_000
CLIPS = sorted((Path(__file__).parents[2] / "examples/sample/audio").glob("*.flac"))[::6]
HUMAN = sorted((Path(__file__).parents[1] / "data/human").glob("*.flac"))


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * RATE), np.float32)


def noise(seconds: float, level: float) -> Samples:
    draw = np.random.default_rng(1)
    return (level * draw.standard_normal(int(seconds * RATE))).astype(np.float32)


def level_of(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))


@pytest.fixture
def detector() -> FrameTurnDetector:
    return open_turn_detector(loudness=False)


@pytest.fixture(scope="module")
def clip() -> Audio:
    return read_audio(CLIPS[0])


@pytest.fixture(scope="module")
def voice() -> Audio:
    return read_audio(HUMAN[0])


class TestContract(TurnDetectorContract):
    pass


class TestLoudnessContract(TurnDetectorContract):
    @pytest.fixture
    def detector(self) -> TurnDetector:
        return FrameTurnDetector(LoudnessActivity())


class Told:
    """Voice activity that is told: the level of a frame is its probability."""

    def probability(self, frame: Samples) -> float:
        return float(frame[0])

    def reset(self) -> None: ...


def told(*spans: tuple[float, int]) -> Samples:
    """Give frames of a level: (level, how many)."""
    return np.concatenate([np.full(FRAME * count, level, np.float32) for level, count in spans])


def kinds(events: tuple[TurnEvent, ...]) -> list[str]:
    return [event.kind for event in events]


@pytest.mark.parametrize("path", [*CLIPS, *HUMAN], ids=lambda path: path.stem)
@pytest.mark.parametrize("snr", [None, 10], ids=["quiet", "10 dB of noise"])
def test_a_clip_is_one_turn_with_noise_and_without(
    detector: FrameTurnDetector, path: Path, snr: float | None
) -> None:
    speech = read_audio(path).samples
    sound = np.concatenate((silence(1.5), speech, silence(2.0)))
    if snr is not None:
        sound += noise(len(sound) / RATE, level_of(speech) / 10 ** (snr / 20))[: len(sound)]
    events = detector.push(sound)
    assert kinds(events)[0] == "started"
    assert kinds(events).count("started") == kinds(events).count("stopped") == 1
    assert abs(events[0].sample / RATE - 1.5) < 0.6
    assert abs(events[-1].sample / RATE - 1.5 - len(speech) / RATE) < 0.6


def test_a_breath_within_a_question_is_a_pause_and_a_long_one_ends_it(clip: Audio) -> None:
    middle = len(clip.samples) // 2
    halves = clip.samples[:middle], clip.samples[middle:]

    def heard(gap: float) -> list[str]:
        sound = (silence(0.5), halves[0], silence(gap), halves[1], silence(1.0))
        return kinds(open_turn_detector(loudness=False).push(np.concatenate(sound)))

    assert heard(0.35).count("started") == 1
    assert "resumed" in heard(0.35)
    assert heard(1.2).count("started") == heard(1.2).count("stopped") == 2


def test_noises_are_nobody_s_turn(detector: FrameTurnDetector) -> None:
    draw = np.random.default_rng(2)
    typing = silence(10)
    for at in draw.integers(0, len(typing) - 400, 60):
        typing[at : at + 400] += (0.3 * draw.standard_normal(400)).astype(np.float32)
    fan = np.concatenate((silence(2), noise(8, 0.05)))
    hum = (0.2 * np.sin(2 * np.pi * 110 * np.arange(8 * RATE) / RATE)).astype(np.float32)
    for sound in (typing, fan, hum):
        assert detector.push(sound) == ()
        detector.reset()


@pytest.mark.parametrize("decibels", [-20, -30, -40])
def test_the_program_does_not_interrupt_itself(
    detector: FrameTurnDetector, clip: Audio, voice: Audio, decibels: float
) -> None:
    loudness = 10 ** (decibels / 20)
    echo = np.concatenate((silence(0.2), *([clip.samples, silence(0.25)] * 3)))
    echo = (loudness * echo).astype(np.float32)
    assert detector.push(echo, playing=True) == ()
    question = voice.samples[: 2 * RATE]
    over = question + np.resize(echo, len(question))
    events = detector.push(over, playing=True)
    assert kinds(events)[:1] == ["started"], "who speaks up over it is heard"


def test_without_an_echo_a_start_takes_three_frames_and_over_one_nine() -> None:
    for playing, frames in ((False, 3), (True, 9)):
        detector = FrameTurnDetector(Told())
        assert detector.push(told((0.0, 62)), playing=playing) == ()
        assert detector.push(told((0.9, frames - 1)), playing=playing) == ()
        (event,) = detector.push(told((0.9, 1)), playing=playing)
        assert event == TurnEvent("started", 62 * FRAME)


def test_an_echo_that_goes_on_does_not_start_a_turn_and_twice_its_level_does() -> None:
    rules = TurnRules(threshold=0.1)
    detector = FrameTurnDetector(Told(), rules)
    assert detector.push(told((0.0, 4), (0.2, 400)), playing=True) == ()
    assert detector.push(told((0.39, 100)), playing=True) == ()
    assert kinds(detector.push(told((0.8, 10)), playing=True)) == ["started"]
    detector.reset()
    assert kinds(detector.push(told((0.0, 4), (0.2, 4)))) == ["started"], "nothing plays now"


def test_the_events_of_a_turn_by_the_frame() -> None:
    detector = FrameTurnDetector(Told())
    sound = told((0, 10), (1, 20), (0, 8), (1, 2), (0, 20), (1, 2), (0, 5))
    assert detector.push(sound) == (
        TurnEvent("started", 10 * FRAME),
        TurnEvent("paused", 30 * FRAME),
        TurnEvent("resumed", 38 * FRAME),
        TurnEvent("paused", 40 * FRAME),
        TurnEvent("stopped", 40 * FRAME),
    )


def test_rules_set_the_silence_and_the_threshold() -> None:
    rules = TurnRules(threshold=0.8, pause_seconds=0.15, stop_seconds=0.9)
    detector = FrameTurnDetector(Told(), rules)
    assert detector.push(told((0.7, 30))) == ()
    events = detector.push(told((0.9, 5), (0.0, 27)))
    assert kinds(events) == ["started", "paused"]
    assert kinds(detector.push(told((0.0, 1)))) == ["stopped"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0.0},
        {"threshold": 1.0},
        {"threshold": float("nan")},
        {"start_seconds": 0.0},
        {"pause_seconds": -1.0},
        {"pause_seconds": 0.5},
        {"stop_seconds": float("inf")},
        {"echo_times_louder": 0.0},
    ],
)
def test_rules_that_no_sound_could_meet_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        TurnRules(**wrong)


@pytest.fixture
def no_silero(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: object, **_: object) -> None:
        raise MissingExtraError("local", "turn taking")

    monkeypatch.setattr(SileroActivity, "__init__", missing)


@pytest.mark.usefixtures("no_silero")
def test_without_silero_loudness_decides_if_it_may(clip: Audio) -> None:
    assert kinds(open_turn_detector().push(np.concatenate((silence(1), clip.samples))))[:1] == [
        "started"
    ]
    with pytest.raises(MissingExtraError, match="local"):
        open_turn_detector(loudness=False)


def test_altered_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from voicerag_core.errors import CheckpointError

    def altered(name: str, **_: object) -> Path:
        raise CheckpointError(f"{name} was altered")

    monkeypatch.setattr(activity, "weight_path", altered)
    with pytest.raises(CheckpointError):
        detectors.open_turn_detector()

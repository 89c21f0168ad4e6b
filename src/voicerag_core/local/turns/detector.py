"""Turns out of voice activity: a start, pauses, a stop, and what the loudspeaker may not start.

Each frame is voiced or not. Three voiced frames start a turn, silence of 200 ms is a pause, and
silence of 500 ms the stop. While the program itself is heard, a start takes 300 ms of speech that
is twice as loud as what came before: an echo is speech too, but not louder than itself.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from voicerag_core.errors import AudioError, ConfigError, MissingExtraError
from voicerag_core.local.turns.activity import (
    FRAME,
    FRAME_RATE_HZ,
    LoudnessActivity,
    SileroActivity,
    VoiceActivity,
)
from voicerag_core.types import Samples, TurnEvent

__all__ = ["FrameTurnDetector", "TurnRules", "open_turn_detector"]

FRAME_SECONDS: Final = FRAME / FRAME_RATE_HZ
ECHO_SECONDS: Final = 2.0
"""How far back the level of an echo is looked for."""

ECHO_WINDOW: Final = 10
"""Frames, 320 ms, over which levels are compared: a syllable is louder than its word."""


ECHO_LEAST: Final = 31
"""Frames, 1 s, that the program must have been heard for, or could have been, before a start."""


@dataclass(frozen=True, slots=True)
class TurnRules:
    """When a turn starts, pauses and stops.

    Args:
        threshold: Least probability of speech of a voiced frame, above 0 and below 1.
        start_seconds: Speech that starts a turn.
        pause_seconds: Silence that is a pause.
        stop_seconds: Silence that ends a turn, longer than a pause.
        echo_start_seconds: Speech that starts a turn while the program is heard.
        echo_times_louder: How much louder than the echo that has to be.

    Raises:
        ConfigError: A value is out of its range.
    """

    threshold: float = 0.5
    start_seconds: float = 0.1
    pause_seconds: float = 0.2
    stop_seconds: float = 0.5
    echo_start_seconds: float = 0.3
    echo_times_louder: float = 2.0

    def __post_init__(self) -> None:
        """Refuse rules that no sound could meet."""
        if not 0 < self.threshold < 1:
            raise ConfigError(
                f"the threshold of speech is above 0 and below 1, not {self.threshold}"
            )
        times = (self.start_seconds, self.pause_seconds, self.echo_start_seconds)
        if not all(0 < seconds < math.inf for seconds in (*times, self.echo_times_louder)):
            raise ConfigError(f"the times of turn taking are above 0 seconds, not {self}")
        if not self.pause_seconds < self.stop_seconds < math.inf:
            raise ConfigError(
                f"a stop of {self.stop_seconds} s has to be longer than a pause of "
                f"{self.pause_seconds} s"
            )


class FrameTurnDetector:
    """A `TurnDetector` by the voice activity of frames.

    Args:
        activity: Of one stream.
        rules: When a turn starts, pauses and stops.
    """

    sample_rate = FRAME_RATE_HZ

    def __init__(self, activity: VoiceActivity, rules: TurnRules | None = None) -> None:
        self._activity = activity
        self.rules = rules or TurnRules()
        self._left = np.zeros(0, np.float32)
        self._echo: deque[float] = deque(maxlen=round(ECHO_SECONDS / FRAME_SECONDS))
        self._forget()

    def push(self, samples: Samples, *, playing: bool = False) -> tuple[TurnEvent, ...]:
        """Take the next samples, and return what changed in them; see `TurnDetector.push`.

        Raises:
            AudioError: The samples are not of shape [T], float32 and finite.
        """
        if samples.ndim != 1 or samples.dtype != np.float32 or not np.isfinite(samples).all():
            raise AudioError(
                f"turn taking needs finite float32 samples of shape [T] at {FRAME_RATE_HZ} Hz, "
                f"not {samples.dtype} of shape {list(samples.shape)}"
            )
        sound = np.concatenate((self._left, samples))
        whole = len(sound) // FRAME * FRAME
        self._left = sound[whole:]
        events = []
        for frame in sound[:whole].reshape(-1, FRAME):
            event = self._heard(frame, playing=playing)
            if event is not None:
                events.append(event)
        return tuple(events)

    def reset(self) -> None:
        """Forget what was heard; the next sample is number 0."""
        self._activity.reset()
        self._left = np.zeros(0, np.float32)
        self._echo.clear()
        self._forget()

    def _forget(self) -> None:
        self._frame = 0  # the number of the next frame
        self._voiced: list[float] = []  # levels of the voiced frames that may start a turn
        self._speaking = self._paused = False
        self._end = 0  # the frame behind the last voiced one

    def _heard(self, frame: Samples, *, playing: bool) -> TurnEvent | None:
        """Take a frame; return the event that it makes."""
        voiced = self._activity.probability(frame) >= self.rules.threshold
        level = float(np.sqrt(np.mean(np.square(frame))))
        number = self._frame
        self._frame += 1
        if voiced:
            self._end = self._frame
        if self._speaking:
            return self._went_on(number, voiced=voiced)
        started = self._starts(level, voiced=voiced, playing=playing)
        if playing:
            self._echo.append(level)
        elif self._echo:
            self._echo.popleft()
        if not started:
            return None
        first = self._frame - len(self._voiced)
        self._voiced = []
        self._speaking, self._paused = True, False
        return TurnEvent("started", first * FRAME)

    def _starts(self, level: float, *, voiced: bool, playing: bool) -> bool:
        """Whether the voiced frames so far start a turn."""
        if not voiced:
            self._voiced = []
            return False
        self._voiced.append(level)
        if not playing:
            return len(self._voiced) >= _frames(self.rules.start_seconds)
        needed = _frames(self.rules.echo_start_seconds)
        if len(self._voiced) < needed:
            return False
        del self._voiced[:-needed]
        before = list(self._echo)[: 1 - needed or None]
        if len(before) < ECHO_LEAST:
            return False  # this may be the beginning of the echo itself
        return _mean(self._voiced) >= self.rules.echo_times_louder * _loudest(before)

    def _went_on(self, number: int, *, voiced: bool) -> TurnEvent | None:
        """Take a frame within a turn."""
        if voiced:
            if not self._paused:
                return None
            self._paused = False
            return TurnEvent("resumed", number * FRAME)
        silence = self._frame - self._end
        if not self._paused and silence >= _frames(self.rules.pause_seconds):
            self._paused = True
            return TurnEvent("paused", self._end * FRAME)
        if self._paused and silence >= _frames(self.rules.stop_seconds):
            self._speaking = self._paused = False
            return TurnEvent("stopped", self._end * FRAME)
        return None


def open_turn_detector(
    rules: TurnRules | None = None, *, data_dir: Path | None = None, loudness: bool = True
) -> FrameTurnDetector:
    """Make a `TurnDetector` for one stream of sound, by Silero VAD.

    Args:
        rules: When a turn starts, pauses and stops; None takes the defaults of `TurnRules`.
        data_dir: Where downloaded weights are; None: the user's data folder.
        loudness: Go by loudness where Silero is not installed.

    Raises:
        MissingExtraError: Silero is not installed, and loudness is not wanted.
        CheckpointError: Its weights were altered.
    """
    try:
        activity: VoiceActivity = SileroActivity(data_dir=data_dir)
    except MissingExtraError:
        if not loudness:
            raise
        activity = LoudnessActivity()
    return FrameTurnDetector(activity, rules)


def _frames(seconds: float) -> int:
    """Return how many frames a time takes, at least 1: 100 ms are 3, 200 ms 6, 500 ms 16."""
    return max(1, round(seconds / FRAME_SECONDS))


def _mean(levels: list[float]) -> float:
    return math.sqrt(sum(level * level for level in levels) / len(levels))


def _loudest(levels: list[float]) -> float:
    """Return the level of the loudest window."""
    last = len(levels) - ECHO_WINDOW
    return max(_mean(levels[at : at + ECHO_WINDOW]) for at in range(last + 1))

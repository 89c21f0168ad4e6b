"""Turns by loudness alone, until a detector of speech is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voicerag_core import SPEECH_RATE_HZ
from voicerag_web.realtime.config import TurnDetection, silence_ms
from voicerag_web.realtime.hearing import Kind

__all__ = ["LoudnessDetector"]

_FRAME = 512
_LEAST_RMS = 0.004
_ABOVE_ROOM = 3.0
_START_FRAMES, _START_FRAMES_PLAYING, _PAUSE_FRAMES = 3, 10, 6


@dataclass(frozen=True, slots=True)
class _Change:
    kind: Kind
    sample: int


class LoudnessDetector:
    """Finds turns by loudness.

    Args:
        detection: Silence that ends a turn.
    """

    def __init__(self, detection: TurnDetection) -> None:
        self._stop = max(_PAUSE_FRAMES + 1, silence_ms(detection) * 16 // _FRAME)
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._rest = np.zeros(0, np.float32)
        self._at = self._loud = self._quiet = 0
        self._room = 1.0
        self._speaking = self._paused = False

    def push(
        self, samples: np.ndarray[tuple[int], np.dtype[np.float32]], *, playing: bool = False
    ) -> list[_Change]:
        """Take the next samples."""
        self._rest = np.concatenate((self._rest, samples))
        found: list[_Change] = []
        while len(self._rest) >= _FRAME:
            frame, self._rest = self._rest[:_FRAME], self._rest[_FRAME:]
            self._at += _FRAME
            found += self._frame(float(np.sqrt(np.mean(np.square(frame)))), playing)
        return found

    def _frame(self, level: float, playing: bool) -> list[_Change]:
        self._room = min(self._room, max(level, _LEAST_RMS / _ABOVE_ROOM))
        if level > max(_LEAST_RMS, _ABOVE_ROOM * self._room):
            self._loud, self._quiet = self._loud + 1, 0
            if self._paused:
                self._paused = False
                return [_Change("resumed", self._at - _FRAME)]
            needed = _START_FRAMES_PLAYING if playing else _START_FRAMES
            if not self._speaking and self._loud >= needed:
                self._speaking = True
                return [_Change("started", self._at - self._loud * _FRAME)]
            return []
        self._loud, self._quiet = 0, self._quiet + 1
        if not self._speaking:
            return []
        end = self._at - self._quiet * _FRAME
        if self._quiet == _PAUSE_FRAMES:
            self._paused = True
            return [_Change("paused", end)]
        if self._quiet >= self._stop:
            self._speaking = self._paused = False
            return [_Change("stopped", end)]
        return []


assert SPEECH_RATE_HZ == 16_000  # noqa: PLR2004

"""What a session hears: sound as it comes in, and the turns that are found in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from voicerag_core import SPEECH_RATE_HZ, Audio, TurnDetector, TurnEvent
from voicerag_core.serving import PcmReader
from voicerag_web.errors import RequestError
from voicerag_web.realtime.config import SessionConfig, padding_ms

__all__ = ["MOST_SECONDS", "Heard", "Hearing"]

MOST_SECONDS: Final = 60.0
"""Sound that may wait for a commit."""
TAIL_SECONDS: Final = 0.2
"""Silence after the last word that belongs to a question."""
_SPARE_SECONDS: Final = 1.0
"""Sound before the padding that is kept: a start is known only a while after it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A change in who speaks.

    Args:
        kind: What changed.
        ms: Where, in milliseconds of all the sound of the session.
        audio: What was said so far, of ``paused`` and ``stopped``.
    """

    kind: Literal["started", "paused", "resumed", "stopped"]
    ms: int
    audio: Audio | None = None


class Hearing:
    """The input of a session: a buffer at 16 kHz, and turns if a detector finds them.

    Args:
        config: Rate of the input, padding of turns.
        detector: Finds turns; None leaves that to the client.
        most_seconds: Longest turn.
        before: Samples that earlier inputs of the session took.
    """

    def __init__(
        self,
        config: SessionConfig,
        detector: TurnDetector | None,
        *,
        most_seconds: float,
        before: int = 0,
    ) -> None:
        detection = config.audio.input.turn_detection
        self.rate = config.audio.input.format.rate
        self._padding = 0 if detection is None else padding_ms(detection) * SPEECH_RATE_HZ // 1000
        self._reader = PcmReader(self.rate, SPEECH_RATE_HZ)
        self._detector = detector
        self._most = int(most_seconds * SPEECH_RATE_HZ)
        self._kept = np.zeros(0, np.float32)
        self._first = self._origin = before
        self._turn: int | None = None
        self._given = 0.0

    @property
    def total(self) -> int:
        """Samples of the session so far, at 16 kHz."""
        return self._first + len(self._kept)

    @property
    def seconds(self) -> float:
        """Sound in the buffer."""
        return len(self._kept) / SPEECH_RATE_HZ

    def add(self, data: bytes, *, playing: bool = False) -> list[Heard]:
        """Take the next bytes, and return what changed in them.

        Raises:
            RequestError: Too much waits for a commit; the bytes are dropped.
        """
        given = self._given + len(data) / 2 / self.rate
        if self._detector is None and given > MOST_SECONDS:
            raise RequestError(
                f"{MOST_SECONDS:g} s of sound wait for a commit, and no more is taken; send "
                "input_audio_buffer.commit or input_audio_buffer.clear",
                "audio",
                "input_audio_buffer_full",
            )
        self._given = given
        samples = self._reader.add(data)
        self._kept = np.concatenate((self._kept, samples))
        if self._detector is None:
            return []
        changes = self._detector.push(samples, playing=playing)
        found = [heard for change in changes if (heard := self._follow(change)) is not None]
        if self._turn is not None and self.total - self._turn >= self._most:
            found.append(self._stop(self._turn + self._most))
            assert self._detector is not None
            self._detector.reset()  # whoever speaks on begins a new turn
            self._origin = self.total
        self._forget()
        return found

    def commit(self) -> Audio:
        """Return the sound in the buffer, and empty it.

        Raises:
            RequestError: It is empty.
        """
        if self._detector is None and self._given > 0:
            self._kept = np.concatenate((self._kept, self._reader.end()))
        first = self._first if self._turn is None else max(self._turn, self._first)
        samples = self._kept[first - self._first :]
        if not len(samples) or (self._detector is not None and self._turn is None):
            raise RequestError(
                "the buffer is empty: send sound with input_audio_buffer.append before a commit",
                None,
                "input_audio_buffer_commit_empty",
            )
        audio = Audio(samples.copy(), SPEECH_RATE_HZ)
        self.clear()
        return audio

    def clear(self) -> None:
        """Forget the sound in the buffer."""
        self._first, self._kept, self._turn = self.total, np.zeros(0, np.float32), None
        self._origin, self._given = self._first, 0.0
        self._reader = PcmReader(self.rate, SPEECH_RATE_HZ)
        if self._detector is not None:
            self._detector.reset()

    def _follow(self, change: TurnEvent) -> Heard | None:
        at = self._origin + change.sample
        if change.kind == "started":
            self._turn = max(at - self._padding, self._first)
            return Heard("started", _ms(self._turn))
        if self._turn is None:
            return None  # its start was cleared
        if change.kind == "resumed":
            return Heard("resumed", _ms(at))
        if change.kind == "paused":
            return Heard("paused", _ms(at), self._said(at))
        return self._stop(at)

    def _stop(self, at: int) -> Heard:
        heard = Heard("stopped", _ms(at), self._said(at))
        self._turn = None
        return heard

    def _said(self, until: int) -> Audio:
        assert self._turn is not None
        tail = int(TAIL_SECONDS * SPEECH_RATE_HZ)
        last = min(until + tail, self.total, self._turn + self._most)
        samples = self._kept[self._turn - self._first : last - self._first]
        return Audio(samples.copy(), SPEECH_RATE_HZ)

    def _forget(self) -> None:
        """Drop what no turn can begin with any more."""
        spare = self._padding + int(_SPARE_SECONDS * SPEECH_RATE_HZ)
        keep_from = self.total - spare if self._turn is None else self._turn
        if keep_from - self._first > spare:
            self._kept = self._kept[keep_from - self._first :].copy()
            self._first = keep_from


def _ms(sample: int) -> int:
    return sample * 1000 // SPEECH_RATE_HZ

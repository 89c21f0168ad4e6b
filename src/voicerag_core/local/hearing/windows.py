"""Cutting a long clip into the windows that Whisper's encoder takes, at quiet points."""

from __future__ import annotations

import numpy as np

from voicerag_core.mel import SAMPLE_RATE_HZ
from voicerag_core.types import Samples

__all__ = ["FRAME_SAMPLES", "WINDOW_SECONDS", "windows_of"]

FRAME_SAMPLES = 320
"""One encoder state: two hops of 10 ms."""

WINDOW_SECONDS = 30.0
"""Length of sound that Whisper was trained on, and the longest it takes at once."""

SEARCH_FROM_SECONDS = 20.0
"""A window of a long clip ends at the quietest point between this and `WINDOW_SECONDS`."""
QUIET_SECONDS = 0.2


def windows_of(samples: Samples) -> list[Samples]:
    """Cut a clip into windows of at most 30 s, each ending at a quiet point.

    Args:
        samples: Shape [T], float32, 16 kHz.

    Returns:
        Views that joined give the clip back.
    """
    windows = []
    longest, search_from = (
        int(seconds * SAMPLE_RATE_HZ) for seconds in (WINDOW_SECONDS, SEARCH_FROM_SECONDS)
    )
    quiet = int(QUIET_SECONDS * SAMPLE_RATE_HZ)
    while len(samples) > longest:
        energy = np.cumsum(np.square(samples[search_from:longest], dtype=np.float64))
        level = energy[quiet:] - energy[:-quiet]
        cut = search_from + int(np.argmin(level)) + quiet // 2
        windows.append(samples[:cut])
        samples = samples[cut:]
    return [*windows, samples]

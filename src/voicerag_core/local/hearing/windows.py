"""Split a long clip at quiet points into windows for Whisper's encoder."""

from __future__ import annotations

import hashlib

import numpy as np

from voicerag_core.mel import SAMPLE_RATE_HZ
from voicerag_core.types import Samples

__all__ = ["FRAME_SAMPLES", "WINDOW_SECONDS", "clip_digest", "windows_of"]

FRAME_SAMPLES = 320
"""One encoder state: two hops of 10 ms."""

WINDOW_SECONDS = 30.0
"""Length of sound that Whisper was trained on, and its maximum input."""

SEARCH_FROM_SECONDS = 20.0
"""A window of a long clip ends at the quietest point between this and `WINDOW_SECONDS`."""
QUIET_SECONDS = 0.2


def windows_of(samples: Samples) -> list[Samples]:
    """Split a clip into windows of at most 30 s, each ending at a quiet point.

    Args:
        samples: Shape [T], float32, 16 kHz.

    Returns:
        Views whose concatenation is the clip.
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


def clip_digest(samples: Samples) -> bytes:
    """Return a digest of a clip, to know it again: a caller may reuse the array for another."""
    return hashlib.sha256(samples.tobytes()).digest()

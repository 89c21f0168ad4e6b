"""One vector out of two: that of the sound and that of its transcript."""

from __future__ import annotations

import numpy as np

from voicerag_core.types import Embedding

__all__ = ["SPEECH_SHARE", "mixed"]

SPEECH_SHARE = 0.75
"""Part of the speech vector in the vector that ``hybrid`` searches by; the rest is the
transcript's. Chosen by training/thresholds/adaptive.py on development questions."""


def mixed(speech: Embedding, transcript: Embedding) -> Embedding:
    """Return the weighted mean of two unit vectors, [D], L2-normalised.

    Args:
        speech: Vector of the sound.
        transcript: Vector of its words.
    """
    # The store fuses one ranking by vector with one ranking by words. Were speech and transcript
    # ranked on their own, the transcript would have two of three votes (its vector and its words)
    # and outvote the sound exactly where the recogniser misheard. Both vectors lie in one space, so
    # their mean is a vector of it, and one look into the index serves both.
    mean = SPEECH_SHARE * speech + (1 - SPEECH_SHARE) * transcript
    # Opposite vectors can cancel each other out; the floor keeps the division finite.
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)

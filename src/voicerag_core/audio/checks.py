"""What sound has to be like to be used, and the limits on what is decoded for it."""

from __future__ import annotations

import numpy as np

from voicerag_core.errors import AudioError, SilentError
from voicerag_core.types import Audio

__all__ = [
    "LOUDEST",
    "MAX_SECONDS",
    "MIN_SECONDS",
    "SPEECH_RATE_HZ",
    "check_audio",
    "check_form",
    "check_length",
    "check_levels",
    "check_measures",
]

SPEECH_RATE_HZ = 16_000
"""Rate of every question: what Whisper, SONAR and GLM-4-Voice's speech tokenizer take."""

MIN_SECONDS = 0.025
"""One analysis window of 25 ms; less gives no feature frame."""

MAX_SECONDS = 30.0
"""Default longest question: one window of Whisper's and of GLM-4-Voice's encoder."""

SILENCE_PEAK = 1e-4
"""Peak below which a clip counts as silent: -80 dBFS, about three steps of 16-bit sound."""

LOUDEST = 2.0**31
"""Largest sample, as a multiple of full scale. Floats that hold integers of 16, 24 or 32 bits stay
below it; beyond it the numbers are no sound, and their squares overflow in float32."""

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
"""Rates of recordings that exist. A false rate in a header would make any file seem short."""

MAX_CHANNELS = 64
"""Ambisonics of the seventh order; more is a damaged header."""


def check_audio(audio: Audio, *, max_seconds: float = MAX_SECONDS, name: str = "the clip") -> Audio:
    """Return the clip back if it can be used as a question.

    Raises:
        AudioError: Empty, not finite, silent, beyond every scale, shorter than `MIN_SECONDS` or
            too long.
    """
    peak = float(np.abs(audio.samples).max(initial=0.0))
    check_levels(peak, name)
    check_measures(audio.seconds, peak, max_seconds, name)
    return audio


def check_measures(seconds: float, peak: float, max_seconds: float, name: str) -> None:
    """Refuse what is empty, silent, shorter than `MIN_SECONDS` or too long."""
    if seconds == 0:
        raise AudioError(f"{name} holds no samples")
    if seconds < MIN_SECONDS:
        raise AudioError(
            f"{name} lasts {seconds * 1000:.1f} ms; at least {MIN_SECONDS * 1000:.0f} ms are needed"
        )
    check_length(seconds, max_seconds, name)
    if peak < SILENCE_PEAK:
        raise SilentError(
            f"{name} is silent (peak {peak:.1e} of full scale); check the microphone or the file",
            seconds,
        )


def check_levels(peak: float, name: str) -> None:
    """Refuse samples that are no numbers, or larger than those of any sample format."""
    if not np.isfinite(peak):
        raise AudioError(f"{name} holds samples that are not finite (NaN or infinity)")
    if peak > LOUDEST:
        raise AudioError(
            f"{name} holds samples up to {peak:.1e} times full scale; samples are expected "
            "between -1 and 1, so divide them by their largest"
        )


def check_form(rate: int, channels: int, name: str) -> None:
    """Refuse a rate or a number of channels that no recording has."""
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise AudioError(
            f"{name} cannot be read as audio: its header announces {rate} samples per second; "
            f"{MIN_RATE_HZ} to {MAX_RATE_HZ} are expected"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(
            f"{name} cannot be read as audio: its header announces {channels} channels; "
            f"1 to {MAX_CHANNELS} are expected"
        )


def check_length(seconds: float, max_seconds: float, name: str) -> None:
    """Refuse what lasts longer than `max_seconds`."""
    if seconds > max_seconds:
        raise AudioError(
            f"{name} lasts {seconds:.1f} s or more; a question may last {max_seconds:g} s "
            "(VOICERAG_MAX_QUESTION_SECONDS sets the limit)"
        )

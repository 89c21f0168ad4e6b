"""Checks before and after SONAR's encoders, for both backends.

SONAR's own package reads a text as the path of a file, two channels as one at half the speed, and
returns NaN for silence; here each is refused or corrected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from voicerag_core.audio import SPEECH_RATE_HZ, check_audio
from voicerag_core.errors import AudioError, ConfigError, ModelError
from voicerag_core.sonar.fbank import HOP, MIN_SAMPLES, STACKED
from voicerag_core.sonar.speech_encoder import MAX_POSITIONS
from voicerag_core.types import Audio, Embeddings

__all__ = [
    "MAX_SPEECH_SECONDS",
    "check_clips",
    "check_texts",
    "finite_rows",
    "no_speech_encoder",
    "running",
    "unit_rows",
]

MAX_SPEECH_SECONDS = MAX_POSITIONS * STACKED * HOP / SPEECH_RATE_HZ
"""Longest clip of one vector, 81.92 s."""


def check_texts(texts: Sequence[str]) -> None:
    """Refuse a single text in place of a list: it would count as one text per letter.

    Raises:
        ConfigError: A string was given.
    """
    if isinstance(texts, str):
        raise ConfigError("a single text was given where a list of texts was expected")


def check_clips(clips: Sequence[Audio], max_seconds: float) -> None:
    """Refuse clips that cannot be embedded.

    Raises:
        AudioError: At another rate than 16 kHz, empty, silent, not finite, too short or too long.
    """
    for place, clip in enumerate(clips):
        name = f"clip {place}"
        if clip.sample_rate != SPEECH_RATE_HZ:
            raise AudioError(
                f"{name} is at {clip.sample_rate} Hz, and speech is embedded at {SPEECH_RATE_HZ} "
                "Hz; convert it with voicerag_core.resample"
            )
        if clip.seconds > max_seconds:
            raise AudioError(
                f"{name} lasts {clip.seconds:.1f} s, and one vector holds at most {max_seconds:g} "
                "s; cut it into windows with voicerag_core.recordings.speech_windows"
            )
        check_audio(clip, max_seconds=max_seconds, name=name)
        if len(clip.samples) < MIN_SAMPLES:
            raise AudioError(
                f"{name} lasts {clip.seconds * 1000:.1f} ms; SONAR needs at least "
                f"{MIN_SAMPLES / SPEECH_RATE_HZ * 1000:.0f} ms, two frames"
            )


def no_speech_encoder(embedder: str) -> ConfigError:
    """Return the error of an embedder without a speech encoder."""
    return ConfigError(
        f"{embedder} was made without a speech encoder; give it one of the language spoken, such "
        "as speech='spenc.eng.pt'"
    )


@contextmanager
def running(kind: str, device: torch.device) -> Iterator[None]:
    """Run a part of SONAR without gradients, and raise errors of our tree."""
    try:
        with torch.inference_mode():
            yield
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"{device} has too little memory for SONAR's {kind}; give it shorter inputs, "
            "a half-precision format, or the CPU"
        ) from error
    except RuntimeError as error:
        raise ModelError(f"SONAR's {kind} failed: {error}") from error


def finite_rows(rows: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Return an encoder's rows if they are finite.

    Raises:
        ModelError: A value is not finite, as with damaged weights or too narrow a data type.
    """
    if not np.isfinite(rows).all():
        raise ModelError(
            f"SONAR's {kind} encoder gave numbers that are not finite; "
            "run it in float32 or bfloat16, whose range is wider than that of float16"
        )
    return rows


def unit_rows(rows: NDArray[np.float32]) -> Embeddings:
    """Scale rows to length 1; SONAR's raw vectors are short and of unequal length.

    Raises:
        ModelError: A row is all zeros.
    """
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (norms > 0).all():
        raise ModelError("SONAR gave a vector of zeros, which has no direction")
    scaled: Embeddings = (rows / norms).astype(np.float32)
    return scaled

"""`Audio` to WAV."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from voicerag_core.errors import AudioError
from voicerag_core.types import Audio

__all__ = ["to_wav_bytes", "write_wav"]


def to_wav_bytes(audio: Audio) -> bytes:
    """Encode as a 16-bit PCM WAV file; samples beyond full scale are clipped."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(
        buffer, np.clip(audio.samples, -1, 1), audio.sample_rate, "PCM_16", format="WAV"
    )
    return buffer.getvalue()


def write_wav(path: str | os.PathLike[str], audio: Audio) -> None:
    """Write a 16-bit PCM WAV file: whole, or not at all.

    Raises:
        AudioError: The file cannot be written.
    """
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(to_wav_bytes(audio))
        draft.replace(target)
    except OSError as e:
        draft.unlink(missing_ok=True)
        raise AudioError(f"cannot write {target}: {e.strerror or e}") from e

"""`Audio` to WAV."""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from voicerag_core.errors import AudioError
from voicerag_core.types import Audio

__all__ = ["private_draft", "to_wav_bytes", "write_wav"]


def to_wav_bytes(audio: Audio) -> bytes:
    """Encode as a 16-bit PCM WAV file; samples beyond full scale are clipped."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(
        buffer, np.clip(audio.samples, -1, 1), audio.sample_rate, "PCM_16", format="WAV"
    )
    return buffer.getvalue()


def write_wav(path: str | os.PathLike[str], audio: Audio) -> None:
    """Write a 16-bit PCM WAV file as by `private_draft`.

    Raises:
        AudioError: The file cannot be written.
    """
    target = Path(path)
    try:
        with private_draft(target) as draft:
            draft.write_bytes(to_wav_bytes(audio))
    except (OSError, ValueError) as e:
        said = (e.strerror if isinstance(e, OSError) else None) or e
        raise AudioError(f"cannot write {target}: {said}") from e


@contextmanager
def private_draft(target: Path) -> Iterator[Path]:
    """Yield an empty file that takes the place of another one at the end of the block.

    It appears whole or not at all. A new file is for its owner alone (mode 0600), since speech
    tells what was asked; one that is replaced keeps its mode. For a pipe or a device, which cannot
    be replaced, its own path is yielded. A draft that is removed in the block replaces nothing.

    Raises:
        OSError: The file cannot be written.
    """
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(target))
    if mode is not None and not stat.S_ISREG(mode):
        yield target
        return
    draft = target.with_name(f".voicerag-{secrets.token_hex(8)}.part")  # fits where the target does
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield draft
        if os.path.exists(draft):
            if mode is not None:
                draft.chmod(stat.S_IMODE(mode))
            draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)

"""Bytes and files to checked `Audio`, and back.

Sound is checked once, here at the edge; later stages check only the rate.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import AudioError
from voicerag_core.types import Audio

if TYPE_CHECKING:
    import soundfile

__all__ = [
    "MAX_SECONDS",
    "MIN_SECONDS",
    "SPEECH_RATE_HZ",
    "check_audio",
    "read_audio",
    "resample",
    "to_wav_bytes",
    "write_wav",
]

SPEECH_RATE_HZ = 16_000
"""Rate of every question: what Whisper, SONAR and GLM-4-Voice's speech tokenizer take."""

MIN_SECONDS = 0.025
"""One analysis window of 25 ms; less gives no feature frame."""

MAX_SECONDS = 30.0
"""Default longest question: one window of Whisper's and of GLM-4-Voice's encoder."""

SILENCE_PEAK = 1e-4
"""Peak below which a clip counts as silent: -80 dBFS, about three steps of 16-bit sound."""

_READ_FRAMES = 65_536


def read_audio(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO,
    *,
    max_seconds: float = MAX_SECONDS,
    sample_rate: int = SPEECH_RATE_HZ,
) -> Audio:
    """Read sound of any format, rate and channel count that libsndfile knows.

    Channels are averaged, and the rate is converted with soxr at high quality. A file that is
    too long is refused by its header, or as soon as the limit is passed, before it is read whole.

    Args:
        source: A path, the bytes of a file (wav, flac, ogg, mp3, ...), or an open binary file.
        max_seconds: Longest clip to accept.
        sample_rate: Hz to convert to.

    Returns:
        Checked mono sound at `sample_rate`.

    Raises:
        AudioError: Not audio, truncated, empty, silent, not finite, too short or too long.
    """
    name, stream = _open(source)
    import soundfile

    try:
        _check_riff_whole(stream, name)
        with soundfile.SoundFile(stream) as file:
            samples = _read_mono(file, name, max_seconds)
            rate = int(file.samplerate)
    except soundfile.SoundFileError as e:
        raise AudioError(
            f"{name} cannot be read as audio ({_reason(e)}); "
            "give wav, flac, ogg or mp3, as a path or as the bytes of such a file"
        ) from e
    except OSError as e:
        raise AudioError(f"{name} cannot be read: {e.strerror or e}") from e
    finally:
        if stream is not source:
            stream.close()
    checked = check_audio(Audio(samples, rate), max_seconds=max_seconds, name=name)
    return resample(checked, sample_rate)


def check_audio(audio: Audio, *, max_seconds: float = MAX_SECONDS, name: str = "the clip") -> Audio:
    """Return the clip back if it can be used as a question.

    Raises:
        AudioError: Empty, not finite, silent, shorter than `MIN_SECONDS` or too long.
    """
    if len(audio.samples) == 0:
        raise AudioError(f"{name} holds no samples")
    if not np.isfinite(audio.samples).all():
        raise AudioError(f"{name} holds samples that are not finite (NaN or infinity)")
    if audio.seconds < MIN_SECONDS:
        raise AudioError(
            f"{name} lasts {audio.seconds * 1000:.1f} ms; "
            f"at least {MIN_SECONDS * 1000:.0f} ms are needed"
        )
    _check_length(audio.seconds, max_seconds, name)
    peak = float(np.abs(audio.samples).max())
    if peak < SILENCE_PEAK:
        raise AudioError(
            f"{name} is silent (peak {peak:.1e} of full scale); check the microphone or the file"
        )
    return audio


def resample(audio: Audio, sample_rate: int) -> Audio:
    """Convert to another rate with soxr's high-quality filter."""
    if sample_rate <= 0:
        raise AudioError(f"a sample rate is above 0 Hz, not {sample_rate}")
    if audio.sample_rate == sample_rate:
        return audio
    import soxr

    converted = soxr.resample(audio.samples, audio.sample_rate, sample_rate, quality="HQ")
    return Audio(np.ascontiguousarray(converted, dtype=np.float32), sample_rate)


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


def _open(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO,
) -> tuple[str, BinaryIO]:
    """Return a name to speak of the source by, and a binary stream over it."""
    if isinstance(source, bytes | bytearray | memoryview):
        if len(source) == 0:
            raise AudioError("no bytes were given where the bytes of an audio file were expected")
        return f"the given {len(source)} bytes", io.BytesIO(source)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            size = path.stat().st_size
            stream = path.open("rb")
        except OSError as e:
            raise AudioError(f"{path} cannot be read: {e.strerror or e}") from e
        except ValueError as e:  # a NUL character in the path
            raise AudioError(f"{str(source)!r} is not a path") from e
        if size == 0 and path.is_file():
            stream.close()
            raise AudioError(f"{path} is empty")
        return str(path), stream
    return str(getattr(source, "name", "the given file")), source


def _read_mono(file: soundfile.SoundFile, name: str, max_seconds: float) -> NDArray[np.float32]:
    """Read block by block, so that neither a false header nor a huge file fills the memory."""
    if file.frames < 2**62:  # libsndfile's stand-in for "unknown" is the largest int64
        _check_length(file.frames / file.samplerate, max_seconds, name)
    blocks: list[NDArray[np.float32]] = []
    frames = 0
    while len(block := file.read(_READ_FRAMES, dtype="float32", always_2d=True)):
        frames += len(block)
        _check_length(frames / file.samplerate, max_seconds, name)
        blocks.append(block.mean(axis=1, dtype=np.float32))
    if file.seekable() and frames < file.frames < 2**62:
        raise AudioError(
            f"{name} is truncated: its header announces {file.frames} samples a channel, "
            f"{frames} could be read"
        )
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _check_riff_whole(stream: BinaryIO, name: str) -> None:
    """Refuse a WAV file that ends before its data chunk does; libsndfile would just play less.

    Sizes of 0 and from 2^31 - 1 up are what programs write that stream into a pipe, so they tell
    nothing. Source: RIFF chunk layout, Microsoft/IBM Multimedia Programming Interface 1.0.
    """
    start = stream.tell()
    if stream.read(4) == b"RIFF":
        end = stream.seek(0, io.SEEK_END)
        position = start + 12
        while position + 8 <= end:
            stream.seek(position)
            kind = stream.read(4)
            size = int.from_bytes(stream.read(4), "little")
            position += 8
            if kind == b"data":
                if size < 2**31 - 1 and position + size > end:
                    raise AudioError(
                        f"{name} is truncated: its header announces {size} bytes of sound, "
                        f"{end - position} are there"
                    )
                break
            position += size + size % 2
    stream.seek(start)


def _check_length(seconds: float, max_seconds: float, name: str) -> None:
    if seconds > max_seconds:
        raise AudioError(
            f"{name} lasts {seconds:.1f} s or more; a question may last {max_seconds:g} s "
            "(VOICERAG_MAX_QUESTION_SECONDS sets the limit)"
        )


def _reason(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return text.rsplit(": ", 1)[-1] if text else type(error).__name__

"""Files and bytes to checked `Audio`."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import BinaryIO

from voicerag_core.audio.checks import MAX_SECONDS, SPEECH_RATE_HZ
from voicerag_core.audio.ffmpeg import (
    SNIFFED_BYTES,
    Container,
    FFmpegDecoder,
    container_of,
    conversion,
    find_ffmpeg,
)
from voicerag_core.audio.mixing import read_mono
from voicerag_core.audio.mp3_frames import find_mp3, is_no_mp3
from voicerag_core.audio.ogg_pages import holds_one_known_stream
from voicerag_core.audio.sound_file import SoundFileDecoder, is_foreign
from voicerag_core.audio.wav_header import with_true_sizes
from voicerag_core.errors import AudioError
from voicerag_core.types import Audio

__all__ = ["read_audio"]

MP3_BYTES_PER_SECOND = 40_000
"""At 320 kbit/s, the highest rate."""

STREAM_BYTES_PER_SECOND = 400_000
"""A stereo file at 48 kHz in 32 bits."""

SPARE_BYTES = 32 << 20
"""For tags, pictures in them, and short sound of higher rates."""


def read_audio(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO,
    *,
    max_seconds: float = MAX_SECONDS,
    sample_rate: int = SPEECH_RATE_HZ,
) -> Audio:
    """Read sound of any format, rate and channel count.

    wav, flac, ogg (Vorbis and Opus), mp3, aiff, au and caf are read by libsndfile; webm, m4a, mp4,
    aac, amr and other containers by the ``ffmpeg`` program, when there is one (the extra
    ``media`` brings it). Channels are averaged, or the loudest is taken when they cancel each
    other, and the rate is converted with soxr at high quality. A file that is too long is refused
    by its header, or as soon as the limit is passed, before it is read whole.

    Args:
        source: A path, the bytes of a file, or an open binary file.
        max_seconds: Longest clip to accept.
        sample_rate: Hz to convert to.

    Returns:
        Checked mono sound at `sample_rate`.

    Raises:
        AudioError: Not audio, of a format that cannot be read here, truncated, empty, silent, not
            finite, too short or too long.
    """
    if sample_rate <= 0:
        raise AudioError(f"a sample rate is above 0 Hz, not {sample_rate}")
    name, stream = _open(source)
    try:
        seekable = _seekable(stream, name, max_seconds)
        return _read(seekable, name, max_seconds, sample_rate)
    except OSError as e:
        raise AudioError(f"{name} cannot be read: {e.strerror or e}") from e
    finally:
        if stream is not source:
            stream.close()


def _read(stream: BinaryIO, name: str, max_seconds: float, sample_rate: int) -> Audio:
    import soundfile

    head = stream.read(SNIFFED_BYTES)
    container = container_of(head)
    stream.seek(0)
    if container is not None and (
        container.by_ffmpeg_alone
        or (container.demuxer == "ogg" and not holds_one_known_stream(stream, name))
    ):
        return _by_ffmpeg(stream, name, container, max_seconds, sample_rate)
    try:
        may_be_mp3 = (container is None or container.demuxer == "wav") and not is_no_mp3(head)
        decoder = _sound_file(stream, name, max_seconds, may_be_mp3=may_be_mp3)
        return read_mono(decoder, name, max_seconds, sample_rate)
    except soundfile.SoundFileError as e:
        if container is not None and is_foreign(e) and find_ffmpeg() is not None:
            return _by_ffmpeg(stream, name, container, max_seconds, sample_rate)
        raise AudioError(
            f"{name} cannot be read as audio ({_reason(e)}); give wav, flac, ogg, mp3, webm or "
            f"m4a, as a path or as the bytes of such a file, or convert it: {conversion(name)}"
        ) from e


def _by_ffmpeg(
    stream: BinaryIO, name: str, container: Container, max_seconds: float, sample_rate: int
) -> Audio:
    decoder = FFmpegDecoder(stream, name, container, max_seconds)
    return read_mono(decoder, name, max_seconds, sample_rate)


def _sound_file(
    stream: BinaryIO, name: str, max_seconds: float, *, may_be_mp3: bool
) -> SoundFileDecoder:
    if may_be_mp3:
        most = int(max_seconds * MP3_BYTES_PER_SECOND) + SPARE_BYTES
        mp3 = find_mp3(stream, name, most)
        stream.seek(0)
        if mp3 is not None:
            return SoundFileDecoder(mp3.stream, name, max_seconds, samples=mp3.samples)
    return SoundFileDecoder(with_true_sizes(stream, name), name, max_seconds)


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
        if size == 0 and os.path.isfile(path):
            stream.close()
            raise AudioError(f"{path} is empty")
        return str(path), stream
    return str(getattr(source, "name", "the given file")), source


def _seekable(stream: BinaryIO, name: str, max_seconds: float) -> BinaryIO:
    """Return the stream, or its bytes when it is a pipe or does not stand at its start."""
    given: object = stream
    if isinstance(given, io.TextIOBase):
        raise AudioError(f"{name} is opened as text; open it in binary mode, open(path, 'rb')")
    with contextlib.suppress(OSError):  # a pipe does not know where it stands
        if stream.seekable() and stream.tell() == 0:
            return stream
    most = int(max_seconds * STREAM_BYTES_PER_SECOND) + SPARE_BYTES
    data = stream.read(most + 1)
    if len(data) > most:
        raise AudioError(
            f"{name} gives more than the {most >> 20} MiB that sound of {max_seconds:g} s may have"
        )
    if not data:
        raise AudioError(f"{name} is empty")
    return io.BytesIO(data)


def _reason(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return text.rsplit(": ", 1)[-1] if text else type(error).__name__

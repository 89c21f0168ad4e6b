"""Containers that libsndfile does not read, decoded by the ``ffmpeg`` program.

FFmpeg is a program here and no library: its builds are mostly under the GPL, and files of
strangers are read by a process with little memory and time, no network and no other file. The
program on the path is taken, or else the one that the package ``imageio-ffmpeg`` brings (the
extra ``media``).

Source: ffmpeg's manual for the options; Sun's .au header for what comes out.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from numpy.typing import NDArray

from voicerag_core.audio.mixing import BLOCK_VALUES, Decoded
from voicerag_core.errors import AudioError

__all__ = [
    "SNIFFED_BYTES",
    "Container",
    "FFmpegDecoder",
    "container_of",
    "conversion",
    "find_ffmpeg",
]

MEMORY_BYTES = 1 << 30
CPU_SECONDS, SOUND_PER_CPU_SECOND = 10, 60
"""Seconds of computing that are allowed: so many, and one more for so many seconds of sound."""
WALL_SECONDS = 30.0
"""Least time that a busy machine is given; twice the seconds of computing where that is more."""
LOG_BYTES = 1 << 20

_AU_HEADER = re.compile(rb"\.snd(.{4})(.{4})\0\0\0\x06(.{4})(.{4})", re.DOTALL)
_AU_BYTES = 24
_CUT_OFF = re.compile("partial file|ended prematurely")
_ADDRESS = re.compile(r"^\[[^]]*\] |^/dev/stdin: ")


@dataclass(frozen=True, slots=True)
class Container:
    """A file format by its first bytes.

    Args:
        name: As people know it.
        demuxer: FFmpeg's name of it. Named to ffmpeg, so that it tries no other: a playlist, for
            one, would make it open further files.
        by_ffmpeg_alone: Whether libsndfile need not be asked.
    """

    name: str
    demuxer: str
    by_ffmpeg_alone: bool = True


_MP4 = Container("MP4 (m4a, mp4, mov, 3gp)", "mov")
_CONTAINERS = (
    (re.compile(rb"\x1a\x45\xdf\xa3"), Container("WebM or Matroska", "matroska")),
    (re.compile(rb"....(ftyp|moov|mdat|wide|pnot|skip|free)", re.DOTALL), _MP4),
    (re.compile(rb"#!AMR"), Container("AMR", "amr")),
    (re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"), Container("AAC", "aac")),
    (re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), Container("Windows Media", "asf")),
    (re.compile(rb"FLV\x01"), Container("Flash Video", "flv")),
    (re.compile(rb"RIFF....AVI ", re.DOTALL), Container("AVI", "avi")),
    (re.compile(rb"wvpk"), Container("WavPack", "wv")),
    (re.compile(rb"MAC "), Container("Monkey's Audio", "ape")),
    (re.compile(rb"TTA1"), Container("True Audio", "tta")),
    (re.compile(rb"\x0b\x77"), Container("AC-3", "ac3")),
    (re.compile(rb"\0\0\x01\xba"), Container("MPEG", "mpeg")),
    (re.compile(rb"\x47.{187}\x47", re.DOTALL), Container("MPEG transport stream", "mpegts")),
    (re.compile(rb"OggS"), Container("Ogg", "ogg", by_ffmpeg_alone=False)),
    (re.compile(rb"caff"), Container("Core Audio", "caf", by_ffmpeg_alone=False)),
    (re.compile(rb"FORM....AIF[FC]", re.DOTALL), Container("AIFF", "aiff", by_ffmpeg_alone=False)),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), Container("WAV", "wav", by_ffmpeg_alone=False)),
)
SNIFFED_BYTES = 189


def container_of(head: bytes) -> Container | None:
    """Return the container that a file begins like; None: none that ffmpeg is asked about."""
    for pattern, container in _CONTAINERS:
        if pattern.match(head):
            return container
    return None


class FFmpegDecoder:
    """Decodes one file, from its start each time that it is called.

    Args:
        stream: Seekable, at its start.
        name: To speak of the file by.
        container: What it is.
        max_seconds: No more than this and a second is decoded.

    Raises:
        AudioError: There is no ffmpeg.
    """

    def __init__(
        self, stream: BinaryIO, name: str, container: Container, max_seconds: float
    ) -> None:
        self._program = find_ffmpeg()
        if self._program is None:
            raise AudioError(
                f"{name} is {container.name} sound, which needs ffmpeg: install the program, or "
                "pip install 'voicerag-core[media]'; or convert the file elsewhere: "
                f"{conversion(name)}"
            )
        self._stream = stream
        self._name = name
        self._container = container
        self._max_seconds = max_seconds
        self._cpu_seconds = CPU_SECONDS + int(max_seconds / SOUND_PER_CPU_SECOND)

    def __call__(self) -> AbstractContextManager[Decoded]:
        """Begin to decode."""
        return self._decoded()

    @contextlib.contextmanager
    def _decoded(self) -> Iterator[Decoded]:
        with (
            _as_file(self._stream) as file,
            tempfile.TemporaryFile() as log,
            self._process(file, log) as process,
        ):
            output = process.stdout
            assert output is not None
            clock = threading.Timer(max(WALL_SECONDS, 2 * self._cpu_seconds), process.kill)
            clock.start()
            try:
                header = _AU_HEADER.match(output.read(_AU_BYTES))
                if header is None:
                    raise self._error(process, log)
                offset, _, rate, channels = (int.from_bytes(n, "big") for n in header.groups())
                output.read(max(offset - _AU_BYTES, 0))
                yield Decoded(rate, channels, self._blocks(process, output, log, channels))
            finally:
                clock.cancel()
                process.kill()
                output.close()

    def _process(self, file: IO[bytes], log: IO[bytes]) -> subprocess.Popen[bytes]:
        assert self._program is not None
        guarded = ["-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1"]
        source = ["-protocol_whitelist", "file", "-f", self._container.demuxer, "-i", "/dev/stdin"]
        wanted = ["-map", "0:a:0", "-t", f"{self._max_seconds + 1:.3f}", "-threads", "1"]
        try:
            process = subprocess.Popen(  # noqa: S603 - a fixed command, no shell
                [self._program, *guarded, *source, *wanted, "-c:a", "pcm_f32be", "-f", "au", "-"],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=os.sep,
                env={"PATH": os.defpath, "LC_ALL": "C"},
                start_new_session=True,
            )
        except OSError as error:
            raise AudioError(
                f"{self._name} needs ffmpeg, and {self._program} cannot be started: "
                f"{error.strerror or error}"
            ) from error
        _limit(process.pid, self._cpu_seconds)
        return process

    def _blocks(
        self, process: subprocess.Popen[bytes], output: IO[bytes], log: IO[bytes], channels: int
    ) -> Iterator[NDArray[np.float32]]:
        frame_bytes = 4 * channels
        size = max(BLOCK_VALUES // channels, 1) * frame_bytes
        while data := output.read(size):
            whole = len(data) - len(data) % frame_bytes
            yield np.frombuffer(data[:whole], ">f4").astype(np.float32).reshape(-1, channels)
        if process.wait() != 0 or _is_partial(log):
            raise self._error(process, log)

    def _error(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> AudioError:
        status = process.wait()
        reason = _last_words(log)
        if "matches no streams" in reason:
            return AudioError(
                f"{self._name} holds no sound: it is {self._container.name} without a sound track"
            )
        if status < 0:
            reason = (
                f"ffmpeg was stopped by signal {-status}; it may compute for {self._cpu_seconds} s"
            )
        return AudioError(
            f"{self._name} cannot be read as {self._container.name} sound "
            f"({reason or 'no sound came out'}); it is damaged or was cut off"
        )


@functools.cache
def find_ffmpeg() -> str | None:
    """Return the path of ffmpeg; None when there is none."""
    if found := shutil.which("ffmpeg"):
        return found
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError, OSError):
        return None


@contextlib.contextmanager
def _as_file(stream: BinaryIO) -> Iterator[IO[bytes]]:
    """Return the stream as a file that a process can read from its start."""
    stream.seek(0)
    try:
        os.lseek(stream.fileno(), 0, os.SEEK_SET)
        is_file = True
    except (OSError, AttributeError):
        is_file = False
    if is_file:
        yield stream
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        copy.flush()
        copy.seek(0)
        yield copy


def _limit(pid: int, cpu_seconds: int) -> None:
    """Bound what a process may use, where the system can."""
    if sys.platform != "linux":
        return
    import resource

    limits = (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, LOG_BYTES),
    )
    for kind, most in limits:
        with contextlib.suppress(OSError, ValueError):  # it has ended, or has lower limits
            resource.prlimit(pid, kind, (most, most))


def _is_partial(log: IO[bytes]) -> bool:
    return _CUT_OFF.search(_log_text(log)) is not None


def _last_words(log: IO[bytes]) -> str:
    lines = [line for line in _log_text(log).splitlines() if line.strip()]
    wanted = [line for line in lines if "matches no streams" in line or _CUT_OFF.search(line)]
    return _ADDRESS.sub("", (wanted or lines or [""])[-1]).strip().rstrip(".")


def _log_text(log: IO[bytes]) -> str:
    log.seek(0, io.SEEK_END)
    log.seek(max(log.tell() - 4096, 0))
    return log.read().decode(errors="replace")


def conversion(name: str) -> str:
    """Return the command that converts a file to what is read without ffmpeg."""
    path = Path(name)
    if not path.suffix or not path.stem:
        return "ffmpeg -i IN -ac 1 -ar 16000 OUT.wav"
    ending = "-converted.wav" if path.suffix == ".wav" else ".wav"
    target = path.with_name(f"{path.stem}{ending}")
    return f"ffmpeg -i {shlex.quote(name)} -ac 1 -ar 16000 {shlex.quote(str(target))}"

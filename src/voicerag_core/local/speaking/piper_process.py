"""Piper as a process of its own: sentences in by a pipe, sound out by a private folder.

Piper is under the GPL, so it is neither imported nor linked. ``python -m piper --output-dir DIR``
reads one sentence a line from its standard input, writes each into a WAV file of the folder (in
memory where the system has such a place) and then says ``Wrote PATH`` on standard error; here the
file is read and removed. The process ends when its input does, so also when this program is killed.

Source: OHF-Voice/piper1-gpl 1.8.0, src/piper/__main__.py, for the protocol.
"""

from __future__ import annotations

import collections
import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import wave
from concurrent.futures import Future
from pathlib import Path
from typing import IO

import numpy as np

from voicerag_core.errors import CheckpointError, GenerationError, MissingExtraError, ModelError
from voicerag_core.files import read_json
from voicerag_core.types import Audio

__all__ = ["PiperDiedError", "PiperProcess", "SpeechRequest"]

STOP_SECONDS = 2.0
"""Longest wait for a process to end by itself once its input is closed."""

MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - only private folders are made in it
MEMORY_NEEDED_BYTES = 16 << 20
FOLDER_PREFIX = "voicerag-speech-"
MARK = "in-use"

_WROTE = re.compile(r"Wrote (.+\.wav)\s*$")


class PiperDiedError(Exception):
    """The process ended before it gave the sound; says its last words."""


class SpeechRequest:
    """A sentence on its way through one process.

    Args:
        piper: The process that was given the sentence.
        line: The sentence.
        ahead: How many sentences were in work before it.
        first: Whether the process had to start for it.
    """

    __slots__ = ("ahead", "first", "line", "piper", "sound")

    def __init__(self, piper: PiperProcess, line: str, *, ahead: int, first: bool) -> None:
        self.piper = piper
        self.line = line
        self.ahead = ahead
        self.first = first
        self.sound: Future[Audio] = Future()


class PiperProcess:
    """One Piper process with its folder and the thread that reads what it says.

    Args:
        voice: The voice's .onnx file.
        pace: Speed as a multiple of the voice's own.
    """

    def __init__(self, voice: Path, *, pace: float = 1.0) -> None:
        if importlib.util.find_spec("piper") is None:
            raise MissingExtraError("local", "speech output (piper-tts)")
        if not os.path.isfile(voice) or not os.path.isfile(f"{voice}.json"):
            raise CheckpointError(
                f"a Piper voice is two files, NAME.onnx and NAME.onnx.json; not found: {voice}"
            )
        _remove_orphans()
        self._folder, self._owned = _private_folder()
        command = [sys.executable, "-X", "utf8", "-m", "piper", "-m", str(voice.resolve())]
        if pace != 1.0:
            command += ["--length-scale", f"{_length_scale(voice) / pace:.3f}"]
        self.pace = pace
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a fixed command, no shell
                [*command, "--output-dir", str(self._folder)],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            self._remove_folder()
            raise ModelError(f"Piper cannot be started: {error}") from error
        # Reentrant, for the garbage collector may close this process from any thread at any point.
        self._lock = threading.RLock()
        self._pending: collections.deque[SpeechRequest] = collections.deque()
        self._started = False
        self._ended = False
        self._last_words: collections.deque[str] = collections.deque(maxlen=5)
        self._reader = threading.Thread(target=self._read, name="piper-reader", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether sentences are still answered."""
        return not self._ended

    @property
    def waiting(self) -> int:
        """How many sentences are in work."""
        return len(self._pending)

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits any more for a sentence that is in work."""
        with self._lock:
            return any(request.sound.cancelled() for request in self._pending)

    def submit(self, line: str) -> SpeechRequest:
        """Hand over a sentence; its sound, or the reason for none, arrives in the request."""
        with self._lock:
            request = SpeechRequest(self, line, ahead=len(self._pending), first=not self._started)
            self._started = True
            if self._ended:
                request.sound.set_exception(PiperDiedError(self._epitaph()))
                return request
            self._pending.append(request)
            # A broken pipe means that the process is gone: the reader then ends every request.
            with contextlib.suppress(OSError, ValueError):
                _stream(self._process.stdin).write(line + "\n")
                _stream(self._process.stdin).flush()
            return request

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def close(self) -> None:
        """End the process, thread and folder; drop what is in work."""
        with self._lock:
            for request in self._pending:
                request.sound.cancel()
            with contextlib.suppress(OSError, ValueError):
                _stream(self._process.stdin).close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader is not threading.current_thread():
            self._reader.join()
            _stream(self._process.stderr).close()
        self._remove_folder()

    def _read(self) -> None:
        for text in _stream(self._process.stderr):
            wrote = _WROTE.search(text)
            if wrote is None:
                self._last_words.append(text.strip())
                continue
            with self._lock:
                request = self._pending.popleft()
            self._hand_over(request.sound, Path(wrote.group(1)))
        self._process.wait()
        with self._lock:
            self._ended = True
            for request in self._pending:
                if request.sound.set_running_or_notify_cancel():
                    request.sound.set_exception(PiperDiedError(self._epitaph()))
            self._pending.clear()

    @staticmethod
    def _hand_over(sound: Future[Audio], path: Path) -> None:
        """Read a file, remove it, and return its sound to who waits, if anyone still does."""
        wanted = sound.set_running_or_notify_cancel()
        try:
            audio = _read_wav(path) if wanted else None
            path.unlink()
        except (OSError, EOFError, wave.Error) as error:
            if wanted:
                sound.set_exception(GenerationError(f"Piper's sound cannot be read: {error}"))
            return
        if audio is not None:
            sound.set_result(audio)

    def _epitaph(self) -> str:
        words = " | ".join(self._last_words)
        return f"exit status {self._process.returncode}; {words or 'none'}"

    def _remove_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._owned.close()


def _length_scale(voice: Path) -> float:
    """Return how long a voice makes its phonemes, as a multiple of those it was trained with."""
    try:
        settings = read_json(Path(f"{voice}.json"))
        return float(settings["inference"]["length_scale"])
    except (OSError, ValueError, KeyError, TypeError):
        return 1.0


def _stream(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _read_wav(path: Path) -> Audio:
    with wave.open(str(path), "rb") as file:
        frames = file.readframes(file.getnframes())
        samples = np.frombuffer(frames, dtype="<i2").astype(np.float32) / 32768.0
        return Audio(samples, file.getframerate())


def _private_folder() -> tuple[Path, IO[bytes]]:
    """Make a folder that only this user can open, in memory if possible, marked as in use."""
    parent: Path | None = None
    with contextlib.suppress(OSError):
        if shutil.disk_usage(MEMORY_FOLDER).free >= MEMORY_NEEDED_BYTES:
            parent = MEMORY_FOLDER if os.access(MEMORY_FOLDER, os.W_OK | os.X_OK) else None
    try:
        while True:
            folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=parent))
            mark = (folder / MARK).open("wb")
            if _hold(mark) and os.path.isdir(folder):
                return folder, mark
            mark.close()  # another program took it for an orphan before it was marked
    except OSError as error:
        raise ModelError(f"no folder for speech can be made: {error}") from error


def _remove_orphans() -> None:
    """Remove the folders of programs that were killed: their mark is no longer held."""
    for parent in {MEMORY_FOLDER, Path(tempfile.gettempdir())}:
        for folder in parent.glob(f"{FOLDER_PREFIX}*"):
            with contextlib.suppress(OSError), (folder / MARK).open("r+b") as mark:
                if _hold(mark):
                    shutil.rmtree(folder, ignore_errors=True)


def _hold(mark: IO[bytes]) -> bool:
    """Lock a mark for as long as it is open; False when another program holds it."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(mark.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

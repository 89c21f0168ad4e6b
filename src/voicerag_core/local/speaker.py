"""Speech by Piper, which runs as a process of its own.

Piper is under the GPL, so it is neither imported nor linked. It reads one sentence a line from its
standard input, writes each into a WAV file of a private folder (in memory where the system has
such a place) and then says ``Wrote PATH`` on standard error; here the file is read and removed.
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
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from voicerag_core.errors import CheckpointError, GenerationError, MissingExtraError, ModelError
from voicerag_core.local.segments import bounded, speakable
from voicerag_core.local.weights import weight_path
from voicerag_core.types import Audio

__all__ = ["JOE", "PiperSpeaker"]

JOE = "piper-joe/en_US-joe-medium.onnx"
"""The packaged voice, 22,050 Hz. Its settings are beside it, where Piper looks: NAME.onnx.json."""

START_SECONDS = 30.0
"""Longest wait for a process to start and load its voice."""

STOP_SECONDS = 2.0
"""Longest wait for a process to end by itself once its input is closed."""

MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - only private folders are made in it
MEMORY_NEEDED_BYTES = 16 << 20
FOLDER_PREFIX = "voicerag-speech-"
MARK = "in-use"

_WROTE = re.compile(r"Wrote (.+\.wav)\s*$")


class PiperSpeaker:
    """Speaks English text, one sentence at a time, in the order asked.

    The process starts with the first sentence, or with `warm`, stays, and is started once more
    when it dies. It ends with `close`, with this object, with the program, and also when the
    program is killed, since its input ends then. Safe to share between threads: their sentences
    queue up. Not to be shared with a forked child.

    Args:
        voice: A Piper voice (.onnx, with its .onnx.json beside it); None speaks as `JOE`.
        timeout: Longest wait for one sentence, in seconds; those queued before it are added.
        data_dir: Where downloaded weights are; None: the user's data folder.
    """

    def __init__(
        self, voice: Path | None = None, *, timeout: float = 30.0, data_dir: Path | None = None
    ) -> None:
        self._voice = voice
        self._timeout = timeout
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._piper: _Piper | None = None
        self._finalizer: weakref.finalize[[], PiperSpeaker] | None = None
        self._closed = False

    def warm(self) -> None:
        """Start the process and let it speak a word, so that the next sentence comes at once.

        Raises:
            MissingExtraError: Piper or the voice is not installed.
            ModelError: Piper cannot be started.
        """
        self.speak("Ready.")

    def speak(self, text: str) -> Audio:
        """Speak a text whole.

        Args:
            text: One sentence; longer text is spoken in pieces and joined.

        Returns:
            Mono sound at the voice's rate, 22,050 Hz for `JOE`.

        Raises:
            GenerationError: Nothing in the text can be spoken, or no sound came in time.
            MissingExtraError: Piper or the voice is not installed.
            ModelError: Piper cannot be started, or died twice.
        """
        spoken = list(self.stream([text]))
        if not spoken:
            raise GenerationError(
                f"there is nothing to speak in {text[:40]!r}; give text with letters or digits"
            )
        return sum(spoken[1:], spoken[0])

    def stream(self, sentences: Iterable[str]) -> Iterator[Audio]:
        """Speak sentences one by one; what cannot be spoken is left out, what is long is cut.

        A sentence of more than `voicerag_core.local.segments.MAX_CHARACTERS` gives several pieces.

        A list or tuple is spoken one sentence ahead of the listener. From any other iterable the
        next sentence is taken only when its sound is asked for, since it may not be known yet.
        When the iterator is closed, the sentence in work is finished and dropped, and no other is
        spoken.

        Raises:
            GenerationError: No sound came in time.
            MissingExtraError: Piper or the voice is not installed.
            ModelError: Piper cannot be started, or died twice over one sentence.
        """
        if isinstance(sentences, str):
            sentences = [sentences]
        lines = (piece for sentence in sentences for piece in bounded(speakable(sentence)))
        ahead = 1 if isinstance(sentences, Sequence) else 0
        requests: collections.deque[_Request] = collections.deque()
        try:
            for line in lines:
                requests.append(self._submit(line))
                if len(requests) > ahead:
                    yield self._collect(requests.popleft())
            while requests:
                yield self._collect(requests.popleft())
        finally:
            for request in requests:
                request.sound.cancel()

    def close(self) -> None:
        """End the process and remove its folder; what is being spoken is dropped."""
        with self._lock:
            self._closed = True
            self._discard()

    def __enter__(self) -> Self:
        """Give the speaker itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the speaker."""
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id of the running Piper, or None; for `voicerag doctor` and measurements."""
        piper = self._piper
        return piper.pid if piper is not None and piper.alive else None

    def _submit(self, line: str) -> _Request:
        with self._lock:
            if self._closed:
                raise ModelError("the speaker is closed; make a new PiperSpeaker to speak again")
            if self._piper is None or not self._piper.alive:
                self._discard()
                self._piper = _Piper(self._voice or weight_path(JOE, data_dir=self._data_dir))
                self._finalizer = weakref.finalize(self, self._piper.close)
            return self._piper.submit(line)

    def _collect(self, request: _Request) -> Audio:
        """Wait for a sentence; give it to a fresh process when the one it was given to died."""
        try:
            return self._wait(request)
        except _DiedError:
            again = self._submit(request.line)
        try:
            return self._wait(again)
        except _DiedError as error:
            raise ModelError(
                f"Piper died twice while it spoke {request.line[:60]!r}; its last words: {error}"
            ) from error

    def _wait(self, request: _Request) -> Audio:
        limit = self._timeout * (1 + request.ahead) + (START_SECONDS if request.first else 0.0)
        try:
            return request.sound.result(limit)
        except TimeoutError as error:
            request.piper.kill()
            raise GenerationError(
                f"Piper gave no sound within {limit:.0f} s for {request.line[:60]!r} and was "
                "stopped; give a longer timeout or a shorter sentence"
            ) from error
        except CancelledError as error:
            raise ModelError("the speaker was closed while it spoke") from error

    def _discard(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._finalizer = None
        self._piper = None


class _DiedError(Exception):
    """The process ended before it gave the sound; says its last words."""


class _Request:
    """A sentence on its way through one process.

    Args:
        piper: The process that was given the sentence.
        line: The sentence.
        ahead: How many sentences were in work before it.
        first: Whether the process had to start for it.
    """

    __slots__ = ("ahead", "first", "line", "piper", "sound")

    def __init__(self, piper: _Piper, line: str, *, ahead: int, first: bool) -> None:
        self.piper = piper
        self.line = line
        self.ahead = ahead
        self.first = first
        self.sound: Future[Audio] = Future()


class _Piper:
    """One Piper process with its folder and the thread that reads what it says.

    Args:
        voice: The voice's .onnx file.
    """

    def __init__(self, voice: Path) -> None:
        if importlib.util.find_spec("piper") is None:
            raise MissingExtraError("local", "speech output (piper-tts)")
        if not voice.is_file() or not Path(f"{voice}.json").is_file():
            raise CheckpointError(
                f"a Piper voice is two files, NAME.onnx and NAME.onnx.json; not found: {voice}"
            )
        _remove_orphans()
        self._folder, self._owned = _private_folder()
        command = [sys.executable, "-X", "utf8", "-m", "piper", "-m", str(voice.resolve())]
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
        self._pending: collections.deque[_Request] = collections.deque()
        self._started = False
        self._ended = False
        self._last_words: collections.deque[str] = collections.deque(maxlen=5)
        self._reader = threading.Thread(target=self._read, name="piper-reader", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self._ended

    def submit(self, line: str) -> _Request:
        """Hand over a sentence; its sound, or the reason for none, arrives in the request."""
        with self._lock:
            request = _Request(self, line, ahead=len(self._pending), first=not self._started)
            self._started = True
            if self._ended:
                request.sound.set_exception(_DiedError(self._epitaph()))
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
                    request.sound.set_exception(_DiedError(self._epitaph()))
            self._pending.clear()

    @staticmethod
    def _hand_over(sound: Future[Audio], path: Path) -> None:
        """Read a file, remove it, and give its sound to who waits, if anyone still does."""
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
            if _hold(mark) and folder.is_dir():
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

"""Speech by Piper."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from voicerag_core.cancellation import check_cancelled
from voicerag_core.closing import Closing
from voicerag_core.errors import (
    CancelledError,
    ConfigError,
    GenerationError,
    MissingExtraError,
    ModelError,
)
from voicerag_core.languages import ENGLISH
from voicerag_core.local.speaking.manner import FASTEST, SLOWEST
from voicerag_core.local.speaking.piper_process import PiperDiedError, PiperProcess, SpeechRequest
from voicerag_core.local.speaking.segments import bounded, spoken_line
from voicerag_core.local.weights.files import weight_path
from voicerag_core.types import Audio

__all__ = ["JOE", "PiperSpeaker"]

JOE = "piper-joe/en_US-joe-medium.onnx"
"""The packaged voice, 22,050 Hz. Its settings are beside it, where Piper looks: NAME.onnx.json."""

START_SECONDS = 30.0
"""Longest wait for a process to start and load its voice."""

POLL_SECONDS = 0.05
"""How often a call that waits for its sound checks whether it was cancelled."""

MOST_PROCESSES = 2
"""Processes of the usual pace: one that may finish what was given up, and one for what is next."""


class PiperSpeaker(Closing):
    """Speaks text in its voice's language, one sentence at a time, in the order asked.

    The process starts with the first sentence, or with `warm`, stays, and is started once more
    when it dies. It ends with `close`, with this object, with the program, and also when the
    program is killed, since its input ends then. Safe to share between threads: their sentences
    queue up. Not to be shared with a forked child.

    A cancelled call gives its sentence up within 50 ms. Piper itself finishes it, for a second or
    less, so that the next sentence goes to a second process; `stand_by` has it ready, and the first
    call that is cancelled starts it. Another pace takes a process of its own, too.

    Args:
        voice: A Piper voice (.onnx, with its .onnx.json beside it); None speaks as `JOE`.
        timeout: Longest wait for one sentence, in seconds; those queued before it are added.
        data_dir: Where downloaded weights are; None: the user's data folder.
        language: Code of the voice's language, in which figures and dates are put into words.
    """

    def __init__(
        self,
        voice: Path | None = None,
        *,
        timeout: float = 30.0,
        data_dir: Path | None = None,
        language: str = ENGLISH,
    ) -> None:
        self.language = language
        self._voice = voice
        self._timeout = timeout
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._processes: list[PiperProcess] = []
        self._finalizer = weakref.finalize(self, _close_all, self._processes)
        self._closed = False

    def warm(self) -> None:
        """Start the process and let it speak a word, so that the next sentence comes at once.

        Raises:
            MissingExtraError: Piper or the voice is not installed.
            ModelError: Piper cannot be started.
        """
        self.speak("Ready.")

    def stand_by(self) -> None:
        """Have a second process ready for the sentence after one that is given up.

        Returns at once; the process loads its voice meanwhile. It takes as much memory as the
        first.

        Raises:
            MissingExtraError: Piper or the voice is not installed.
            ModelError: Piper cannot be started, or the speaker is closed.
        """
        with self._lock:
            while len(self._lane(1.0)) < MOST_PROCESSES:
                self._start(1.0).submit("Ready.")

    def speak(self, text: str) -> Audio:
        """Speak a text whole; see `speak_at`."""
        return self.speak_at(text, pace=1.0)

    def speak_at(self, text: str, *, pace: float) -> Audio:
        """Speak a text whole, faster or slower.

        Args:
            text: One sentence; longer text is spoken in pieces and joined.
            pace: Speed as a multiple of the voice's own, 0.5 to 2.

        Returns:
            Mono sound at the voice's rate, 22,050 Hz for `JOE`.

        Raises:
            CancelledError: The running call was cancelled.
            ConfigError: The pace is out of its range.
            GenerationError: Nothing in the text can be spoken, or no sound came in time.
            MissingExtraError: Piper or the voice is not installed.
            ModelError: Piper cannot be started, or died twice.
        """
        if not SLOWEST <= pace <= FASTEST:
            raise ConfigError(f"the pace is {SLOWEST} to {FASTEST} times the usual, not {pace}")
        spoken = list(self._spoken([text], round(pace, 1)))
        if not spoken:
            raise GenerationError(
                f"there is nothing to speak in {text[:40]!r}; give text with letters or digits"
            )
        return sum(spoken[1:], spoken[0])

    def stream(self, sentences: Iterable[str]) -> Iterator[Audio]:
        """Speak sentences one by one; what cannot be spoken is left out, what is long is cut.

        A sentence of more than `segments.MAX_CHARACTERS` characters gives several pieces.

        A list or tuple is spoken one sentence ahead of the listener. From any other iterable the
        next sentence is taken only when its sound is asked for, since it may not be known yet.
        When the iterator is closed, the sentence in work is finished and dropped, and no other is
        spoken.

        Raises:
            CancelledError: The running call was cancelled.
            GenerationError: No sound came in time.
            MissingExtraError: Piper or the voice is not installed.
            ModelError: Piper cannot be started, or died twice over one sentence.
        """
        yield from self._spoken([sentences] if isinstance(sentences, str) else sentences, 1.0)

    def _spoken(self, sentences: Iterable[str], pace: float) -> Iterator[Audio]:
        lines = (
            piece
            for sentence in sentences
            for piece in bounded(spoken_line(sentence, self.language))
        )
        ahead = 1 if isinstance(sentences, Sequence) else 0
        requests: collections.deque[SpeechRequest] = collections.deque()
        try:
            for line in lines:
                requests.append(self._submit(line, pace))
                if len(requests) > ahead:
                    yield self._collect(requests.popleft())
            while requests:
                yield self._collect(requests.popleft())
        finally:
            for request in requests:
                request.sound.cancel()

    def close(self) -> None:
        """End the processes and remove their folders; what is being spoken is dropped."""
        with self._lock:
            self._closed = True
            _close_all(self._processes)

    @property
    def pid(self) -> int | None:
        """The process id of the running Piper, or None; for `voicerag doctor` and measurements."""
        return next((one.pid for one in self._processes if one.alive), None)

    def _submit(self, line: str, pace: float) -> SpeechRequest:
        """Give a sentence to the process with the least work that nobody gave up."""
        with self._lock:
            lane = self._lane(pace)
            if not lane:
                lane = [self._start(pace)]
            return min(lane, key=lambda one: (one.abandoned, one.waiting)).submit(line)

    def _lane(self, pace: float) -> list[PiperProcess]:
        """Return the running processes of a pace; drop those that ended."""
        for one in [one for one in self._processes if not one.alive]:
            self._processes.remove(one)
            one.close()
        return [one for one in self._processes if one.pace == pace]

    def _start(self, pace: float) -> PiperProcess:
        """Start a process; of other paces than the usual one only the latest keeps its own."""
        if self._closed:
            raise ModelError("the speaker is closed; make a new PiperSpeaker to speak again")
        idle = [one for one in self._processes if one.pace not in (1.0, pace) and not one.waiting]
        for one in idle:
            self._processes.remove(one)
            one.close()
        voice = self._voice or weight_path(JOE, data_dir=self._data_dir)
        started = PiperProcess(voice, pace=pace)
        self._processes.append(started)
        return started

    def _collect(self, request: SpeechRequest) -> Audio:
        """Wait for a sentence; return it to a fresh process when the one it was given to died."""
        try:
            return self._wait(request)
        except PiperDiedError:
            again = self._submit(request.line, request.piper.pace)
        try:
            return self._wait(again)
        except PiperDiedError as error:
            raise ModelError(
                f"Piper died twice while it spoke {request.line[:60]!r}; its last words: {error}"
            ) from error

    def _wait(self, request: SpeechRequest) -> Audio:
        limit = self._timeout * (1 + request.ahead) + (START_SECONDS if request.first else 0.0)
        deadline = time.monotonic() + limit
        try:
            while True:
                try:
                    return request.sound.result(min(POLL_SECONDS, limit))
                except TimeoutError:
                    check_cancelled()
                    if time.monotonic() > deadline:
                        raise
        except TimeoutError as error:
            request.piper.kill()
            raise GenerationError(
                f"Piper gave no sound within {limit:.0f} s for {request.line[:60]!r} and was "
                "stopped; give a longer timeout or a shorter sentence"
            ) from error
        except CancelledError:
            request.sound.cancel()
            self._stand_by_soon()
            raise
        except concurrent.futures.CancelledError as error:
            raise ModelError("the speaker was closed while it spoke") from error

    def _stand_by_soon(self) -> None:
        """Start the second process on a thread of its own: calls are given up here."""

        def start() -> None:
            with contextlib.suppress(ModelError, MissingExtraError):
                self.stand_by()

        threading.Thread(target=start, name="piper-stand-by", daemon=True).start()


def _close_all(processes: list[PiperProcess]) -> None:
    while processes:
        processes.pop().close()

"""Speech by Piper."""

from __future__ import annotations

import collections
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path

from voicerag_core.closing import Closing
from voicerag_core.errors import GenerationError, ModelError
from voicerag_core.languages import ENGLISH
from voicerag_core.local.speaking.piper_process import PiperDiedError, PiperProcess, SpeechRequest
from voicerag_core.local.speaking.segments import bounded, spoken_line
from voicerag_core.local.weights.files import weight_path
from voicerag_core.types import Audio

__all__ = ["JOE", "PiperSpeaker"]

JOE = "piper-joe/en_US-joe-medium.onnx"
"""The packaged voice, 22,050 Hz. Its settings are beside it, where Piper looks: NAME.onnx.json."""

START_SECONDS = 30.0
"""Longest wait for a process to start and load its voice."""


class PiperSpeaker(Closing):
    """Speaks text in its voice's language, one sentence at a time, in the order asked.

    The process starts with the first sentence, or with `warm`, stays, and is started once more
    when it dies. It ends with `close`, with this object, with the program, and also when the
    program is killed, since its input ends then. Safe to share between threads: their sentences
    queue up. Not to be shared with a forked child.

    Args:
        voice: A Piper voice (.onnx, with its .onnx.json beside it); None speaks as `JOE`.
        timeout: Longest wait for one sentence, in seconds; those queued before it are added.
        data_dir: Where downloaded weights are; None: the user's data folder.
        language: Code of the voice's language; figures and dates are put into words in English.
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
        self._piper: PiperProcess | None = None
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

        A sentence of more than `segments.MAX_CHARACTERS` characters gives several pieces.

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
        lines = (
            piece
            for sentence in sentences
            for piece in bounded(spoken_line(sentence, self.language))
        )
        ahead = 1 if isinstance(sentences, Sequence) else 0
        requests: collections.deque[SpeechRequest] = collections.deque()
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

    @property
    def pid(self) -> int | None:
        """The process id of the running Piper, or None; for `voicerag doctor` and measurements."""
        piper = self._piper
        return piper.pid if piper is not None and piper.alive else None

    def _submit(self, line: str) -> SpeechRequest:
        with self._lock:
            if self._closed:
                raise ModelError("the speaker is closed; make a new PiperSpeaker to speak again")
            if self._piper is None or not self._piper.alive:
                self._discard()
                self._piper = PiperProcess(self._voice or weight_path(JOE, data_dir=self._data_dir))
                self._finalizer = weakref.finalize(self, self._piper.close)
            return self._piper.submit(line)

    def _collect(self, request: SpeechRequest) -> Audio:
        """Wait for a sentence; return it to a fresh process when the one it was given to died."""
        try:
            return self._wait(request)
        except PiperDiedError:
            again = self._submit(request.line)
        try:
            return self._wait(again)
        except PiperDiedError as error:
            raise ModelError(
                f"Piper died twice while it spoke {request.line[:60]!r}; its last words: {error}"
            ) from error

    def _wait(self, request: SpeechRequest) -> Audio:
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

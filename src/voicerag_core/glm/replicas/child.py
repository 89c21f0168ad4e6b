"""The child process of a replica: one GLM-4-Voice, asked over pipes.

It reads calls from its standard input and writes to its standard output, which nothing else may
use: what is printed goes to the standard error. It ends when its input does, so that it never
outlives its parent, and leaves interrupts of the terminal and requests to end to it.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from functools import partial
from logging.handlers import QueueHandler
from queue import SimpleQueue
from types import NoneType
from typing import IO, TYPE_CHECKING, Any

from voicerag_core.cancellation import Cancellation, check_cancelled
from voicerag_core.glm.replicas.beats import BEAT_SECONDS, PATIENCE, Quiet
from voicerag_core.glm.replicas.wire import WINDOW, Kind, Message, Outbox, failure_of, frames
from voicerag_core.heaps import settle
from voicerag_core.types import Answer

if TYPE_CHECKING:
    from voicerag_core.glm.voice import GLMVoice

__all__ = ["main"]


def main() -> None:
    """Serve the parent until it closes the pipe."""
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(faulthandler, "register"):  # the parent asks where the threads are
        faulthandler.register(signal.SIGUSR1)
    asked, answers = _own_pipes()
    first = next(frames(asked), None)
    if first is not None:
        name, level, loader = first[0]
        child = _Child(name, level, loader, answers)
        threading.Thread(target=child.open, name="voicerag-replica-load", daemon=True).start()
        for messages in frames(asked):
            for message in messages:
                child.take(message)
    sys.stdout.flush()
    os._exit(0)  # without waiting for what runs: nobody would hear it


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Return the two pipes, and let the standard input be empty and the output the error."""
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return asked, answers


class _Call:
    """A call that runs."""

    def __init__(self) -> None:
        self.cancellation = Cancellation()
        self.room = threading.Semaphore(WINDOW)
        self.sent = 0
        """Pieces of its stream."""
        self.full = False
        """Whether it waits for its reader."""
        self.quiet = Quiet()

    def take_room(self) -> None:
        """Wait until there is room for another piece."""
        if not self.room.acquire(blocking=False):
            self.full = True
            self.room.acquire()
            self.full = False

    def stands_still(self) -> float:
        """Return the seconds since its latest piece; 0 before the first."""
        return self.quiet.look(self.sent, excused=self.full or not self.sent)


class _Threads:
    """Runs jobs at once, in threads that are kept: starting one takes long in a busy process."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._idle = threading.Semaphore(0)

    def run(self, job: Callable[[], None]) -> None:
        if not self._idle.acquire(blocking=False):
            self.add()
        self._jobs.put(job)

    def add(self) -> None:
        """Start another thread."""
        threading.Thread(target=self._work, name="voicerag-replica-call", daemon=True).start()

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            self._idle.release()

    def prepare(self, count: int) -> None:
        """Start some threads for later jobs."""
        for _ in range(count):
            self.add()
            self._idle.release()


class _Child:
    """Answers the calls of the parent, each in a thread of its own.

    Args:
        name: The device.
        level: Of the log records that the parent wants.
        loader: Loads the voice; pickled.
        answers: To the parent.
    """

    def __init__(self, name: str, level: int, loader: bytes, answers: IO[bytes]) -> None:
        self._name, self._loader = name, loader
        self._voice: GLMVoice | None = None
        self._silent: GLMVoice | None = None
        self._calls: dict[int, _Call] = {}
        self._threads = _Threads()
        self._done = 0  # pieces sent, calls answered; what threads add at once may count once
        self._quiet = Quiet()
        self._beaten = 0.0
        self._told = (0, 0)
        self._out = Outbox(answers, "voicerag-replica-out", self._news)
        root = logging.getLogger()
        root.addHandler(_ToParent(self._out))
        root.setLevel(level)

    @property
    def load(self) -> tuple[int, int]:
        """Replies that are being written, and questions that wait."""
        voice = self._voice
        return (0, 0) if voice is None else (voice.running, voice.waiting)

    def _news(self) -> list[Message]:
        """Return the load if it has changed, and a sign of life every now and then."""
        news: list[Message] = []
        if (load := self.load) != self._told:
            self._told = load
            news.append((Kind.LOAD, *load))
        now = time.monotonic()
        if now >= self._beaten + BEAT_SECONDS:
            self._beaten = now
            news.append((Kind.BEAT, self._stalled()))
        return news

    def _stalled(self) -> float:
        """Return for how many seconds nothing was done, though there is something to do.

        Done is what the networks have computed, what was sent, and what was answered; calls that
        come, fail or are left are not, lest they hide that nothing is done. Where others go on, a
        reply that stands still counts by a part of its time: it may be the only one that waits for
        what hangs.
        """
        voice, calls = self._voice, list(self._calls.values())
        loaded = voice is not None
        done = (loaded, voice.worked if voice is not None else 0, self._done)
        nothing = self._quiet.look(done, excused=loaded and all(call.full for call in calls))
        return max(nothing, max((call.stands_still() for call in calls), default=0.0) / PATIENCE)

    def open(self) -> None:
        """Load the voice and say so."""
        try:
            with self._device():
                stack = self._stack = ExitStack()  # open as long as the process
                voice: GLMVoice = pickle.loads(self._loader)(stack)  # noqa: S301 - the parent's
                self._silent, self._voice = voice.silent(), voice
                self._threads.prepare(voice.capacity)
                self._out.put(Kind.READY, voice.capacity, voice.end_token)
        except BaseException as error:  # noqa: BLE001 - the parent raises it
            self._out.put(Kind.FAILED, None, failure_of(error))

    def take(self, message: Message) -> None:
        """Act on a message of the parent; takes no time."""
        kind, *rest = message
        if kind is Kind.CALL:
            number, *asked = rest
            call = self._calls[number] = _Call()
            self._threads.run(partial(self._answer, number, call, *asked))
        elif kind is Kind.CUT and self._voice is not None:
            turn, heard, seconds = rest
            self._voice.cut(turn, heard, seconds=seconds)
        elif (known := self._calls.get(rest[0])) is not None:
            if kind is Kind.CANCEL:
                known.cancellation.cancel()
            known.room.release(rest[1] if kind is Kind.MORE else 1)

    def _answer(self, number: int, call: _Call, speaks: bool, streams: bool, asked: bytes) -> None:
        try:
            with call.cancellation.active(), self._device():
                method, args, named = pickle.loads(asked)  # noqa: S301 - the parent's
                result = getattr(self._voice if speaks else self._silent, method)(*args, **named)
                if streams:
                    self._send(number, call, result)
                    result = None
                if method == "warm":
                    settle()
            self._done += 1
        except BaseException as error:  # noqa: BLE001 - the parent raises it
            self._out.put(Kind.FAILED, number, failure_of(error))
        else:
            self._out.put(Kind.RETURNED, number, result)
        finally:
            del self._calls[number]

    def _send(self, number: int, call: _Call, stream: Any) -> None:  # noqa: ANN401
        """Send the pieces of a stream as far as there is room for them."""
        with closing(stream) as pieces:
            for piece in pieces:
                call.take_room()
                check_cancelled()
                sound = isinstance(piece, Answer) and piece.audio is not None
                self._out.piece(number, piece, urgent=not call.sent or sound)
                call.sent += 1
                self._done += 1

    def _device(self) -> AbstractContextManager[object]:
        """Make the device the current one of this thread for a block."""
        if not self._name.startswith("cuda"):
            return nullcontext()
        from voicerag_core.glm.device_memory import current_device

        return current_device(self._name)


class _ToParent(QueueHandler):
    """Hands log records to the parent."""

    def __init__(self, out: Outbox) -> None:
        super().__init__(SimpleQueue())  # not used
        self._out = out

    def enqueue(self, record: logging.LogRecord) -> None:
        plain = (str, int, float, NoneType)  # others may not be picklable
        known = {key: value for key, value in vars(record).items() if isinstance(value, plain)}
        self._out.put(Kind.LOG, known)

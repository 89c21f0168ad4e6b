"""A GLM-4-Voice in a child process, as its parent sees it."""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING, Any, TypeAlias, cast

from voicerag_core.cancellation import check_cancelled, interruptible
from voicerag_core.closing import Closing
from voicerag_core.errors import ModelError
from voicerag_core.glm.replicas.beats import BEAT_SECONDS, PATIENCE, Quiet
from voicerag_core.glm.replicas.wire import WINDOW, Failure, Kind, Message, Outbox, frames
from voicerag_core.types import Turn

if sys.platform == "linux":
    import fcntl

if TYPE_CHECKING:
    from voicerag_core.glm.voice import GLMVoice

__all__ = ["Loader", "LostError", "VoiceProcess"]

_logger = logging.getLogger(__name__)

Loader: TypeAlias = "Callable[[ExitStack], GLMVoice]"
"""Loads a voice in the child; what it opens besides is left to the stack, which is never closed.

It is pickled by its name, so it is a function of a module that can be imported, or a `partial`."""

CLOSE_SECONDS = 5.0
"""How long a child may take to end by itself."""
PIPE_BYTES = 1 << 20
"""Of a pipe: a question of 15 s goes through in one piece."""
WRITING_SECONDS = 0.2
"""How long a child that hangs is left to write where."""
CANCEL_SECONDS = 0.2
"""How long a caller who leaves waits until the child has noted how far the reply came."""


class LostError(Exception):
    """The process has ended or hangs, or its device failed, and the call with it."""


class VoiceProcess(Closing):
    """A child process with a voice of its own. Safe to share between threads.

    It is a plain child with pipes, which does not run the main program again. A thread hands its
    pieces to the callers' own queues and waits for none of them: a stream has `WINDOW` pieces at
    most on the way. Another thread looks whether the child hangs, and then ends it.

    Args:
        name: The device, for messages; the child makes it the current one of its threads.
        loader: Loads the voice there.
        lost: Called with the reason when the process ends before it is closed, or hangs.
        hangs_after: Seconds without a sign of life, or of work on its calls, after which it hangs;
            `PATIENCE` times as many without a sign of life while it loads, and without work until
            it has answered a call, and while it warms.
    """

    def __init__(
        self, name: str, loader: Loader, lost: Callable[[str], None], *, hangs_after: float
    ) -> None:
        self.name, self._on_loss, self._hangs_after = name, lost, hangs_after
        self.capacity = self.running = self.waiting = 0
        self.end_token = -1
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._calls: dict[int, SimpleQueue[Message]] = {}
        self._lost: str | None = None
        self._closing = self._ready = self._answered = self._warming = False
        self._frames = 0  # that came
        self._stalled = 0.0  # as the child said in its latest beat
        self._over = threading.Event()
        self._loaded: SimpleQueue[Message] = SimpleQueue()
        level = logging.getLogger("voicerag_core").getEffectiveLevel()
        first = (name, level, pickle.dumps(loader))
        self._child = _started()
        self._out = Outbox(cast("IO[bytes]", self._child.stdin), "voicerag-replica-out")
        self._out.put(*first)
        self._reader = threading.Thread(target=self._read, name="voicerag-replica-in", daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, name="voicerag-replica-watch", daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    @property
    def lost(self) -> str | None:
        """Why it is of no use any more."""
        return self._lost

    def wait(self) -> None:
        """Wait until the voice is loaded; call it once.

        Raises:
            VoiceRAGError: What loading raised, with the name before its text.
            LostError: The process ended.
        """
        kind, *rest = self._loaded.get()
        if kind is Kind.FAILED:
            failure: Failure = rest[0]
            self.close()
            raise failure.raised(self.name)
        if kind is not Kind.READY:
            raise LostError(self._lost)

    def warm(self) -> None:
        """Let the voice prepare what its first replies would wait for; it may take long.

        Raises:
            LostError: The process ended, or its device failed.
            VoiceRAGError: What `GLMVoice.warm` raised.
        """
        self._warming = True
        try:
            self.call("warm")
        finally:
            self._warming = False

    def call(self, method: str, *args: object, **named: object) -> Any:  # noqa: ANN401
        """Return what a method of the voice returns.

        Raises:
            CancelledError: The running call was cancelled.
            LostError: The process ended, or its device failed.
            VoiceRAGError: What the method raised.
        """
        number, answers = self._begun(method, args, named, speaks=True, streams=False)
        ended = False
        try:
            message = self._next(answers)
            ended = True
            return self._value(message)
        finally:
            self._left(number, answers, ended=ended)

    def stream(
        self, method: str, *args: object, speaks: bool = True, **named: object
    ) -> Generator[Any, None, None]:
        """Yield what a method of the voice yields; closing it closes that.

        Args:
            method: Its name.
            args: Of the method.
            speaks: Ask the voice with its decoder.
            named: Of the method.

        Raises:
            CancelledError: The running call was cancelled.
            LostError: The process ended, or its device failed.
            VoiceRAGError: What the method raised.
        """
        number, answers = self._begun(method, args, named, speaks=speaks, streams=True)
        taken, ended = 0, False
        try:
            while True:
                message = self._next(answers)
                ended = message[0] is not Kind.PIECES
                if ended:
                    self._value(message)
                    return
                for piece in message[1]:
                    yield piece
                    check_cancelled()
                    taken += 1
                    if taken == WINDOW // 2:
                        self._out.put(Kind.MORE, number, taken)
                        taken = 0
        finally:
            self._left(number, answers, ended=ended)

    def cut(self, turn: Turn, heard: Turn, *, seconds: float) -> None:
        """Pass `RemembersReplies.cut` on; calls that are begun later find it done."""
        self._out.put(Kind.CUT, turn, heard, seconds)

    def close(self) -> None:
        """End the process: calls that run in it end with an error."""
        if os.getpid() != self._owner:
            return  # a fork; the child is its parent's
        with self._lock:
            self._closing = True
        self._out.close()
        self._reader.join(CLOSE_SECONDS)
        if self._reader.is_alive():
            self._child.kill()
            self._reader.join(CLOSE_SECONDS)

    def _begun(
        self, method: str, args: object, named: object, *, speaks: bool, streams: bool
    ) -> tuple[int, SimpleQueue[Message]]:
        if os.getpid() != self._owner:
            raise ModelError(
                f"the replica on {self.name} belongs to the process that was forked; open the "
                "voice anew in this one"
            )
        asked = pickle.dumps((method, args, named), protocol=5)
        answers: SimpleQueue[Message] = SimpleQueue()
        with self._lock:
            if self._lost is not None:
                raise LostError(self._lost)
            number = next(self._numbers)
            self._calls[number] = answers
        self._out.put(Kind.CALL, number, speaks, streams, asked)
        return number, answers

    def _next(self, answers: SimpleQueue[Message]) -> Message:
        """Wait for the next message of a call; a cancellation ends the waiting."""
        with interruptible(lambda: answers.put((Kind.CANCEL,))):
            message = answers.get()
        check_cancelled()
        return message

    def _value(self, message: Message) -> Any:  # noqa: ANN401
        kind, value = message
        if kind is Kind.RETURNED:
            return value
        if kind is Kind.FAILED:
            raise value.raised()
        raise LostError(value)

    def _left(self, number: int, answers: SimpleQueue[Message], *, ended: bool) -> None:
        """Forget a call; if it has not ended, end it and wait a moment until it has.

        The wait lets the child remember the reply before the next call asks for it.
        """
        if not ended:
            self._out.put(Kind.CANCEL, number)
            try:
                while answers.get(timeout=CANCEL_SECONDS)[0] in (Kind.PIECES, Kind.CANCEL):
                    pass
            except Empty:
                _logger.debug("%s: a call that was left still runs", self.name)
        with self._lock:
            self._calls.pop(number, None)

    def _read(self) -> None:
        """Hand on what the child says until it ends."""
        try:
            with cast("IO[bytes]", self._child.stdout) as stream:
                for messages in frames(stream):
                    self._frames += 1
                    for message in messages:
                        self._take(message)
        except Exception:
            _logger.exception("%s: what its process says cannot be read", self.name)
        self._out.close()
        try:
            code = self._child.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        self._lose(_why(code))

    def _watch(self) -> None:
        """End the child when it hangs; callers are told first."""
        silence = Quiet()
        while not self._over.wait(BEAT_SECONDS):
            life = self._hangs_after * (1 if self._ready else PATIENCE)
            work = self._hangs_after * (1 if self._answered and not self._warming else PATIENCE)
            if silence.look(self._frames) > life:
                self._lose(f"its process hangs: no sign of life for {life:g} s")
            elif self._stalled > work:
                self._ask_where()
                self._lose(f"its process hangs: nothing of its work went on for {work:g} s")
            else:
                continue
            self.close()

    def _ask_where(self) -> None:
        """Let the child write to the standard error what its threads are doing."""
        if hasattr(signal, "SIGUSR1"):
            self._child.send_signal(signal.SIGUSR1)
            time.sleep(WRITING_SECONDS)

    def _take(self, message: Message) -> None:
        kind, *rest = message
        if kind is Kind.LOG:
            record = logging.makeLogRecord(rest[0])
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)
        elif kind is Kind.LOAD:
            self.running, self.waiting = rest
        elif kind is Kind.BEAT:
            (self._stalled,) = rest
        elif kind is Kind.READY:
            self.capacity, self.end_token = rest
            self._ready = True
            self._loaded.put(message)
        elif kind is Kind.FAILED and rest[0] is None:
            self._loaded.put((kind, rest[1]))
        elif kind is Kind.FAILED and rest[1].broken is not None:
            _logger.error("%s failed:\n%s", self.name, rest[1].trace)
            self._lose(rest[1].broken)
            self._child.kill()
        else:
            if kind is Kind.RETURNED:
                self._answered, self._stalled = True, 0.0
            with self._lock:
                answers = self._calls.get(rest[0])
            if answers is not None:
                answers.put((kind, rest[1]))

    def _lose(self, reason: str) -> None:
        """Tell all callers, once, that the process is of no use any more."""
        with self._lock:
            if self._lost is not None:
                return
            self._lost = "the voice was closed" if self._closing else reason
            waiting = [*self._calls.values(), self._loaded]
            told = not self._closing
        self._over.set()
        if told:
            self._on_loss(reason)
        for answers in waiting:
            answers.put((Kind.LOST, self._lost))


def _started() -> subprocess.Popen[bytes]:
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        "from voicerag_core.glm.replicas.child import main; main()"
    )
    child = subprocess.Popen(  # noqa: S603 - a fixed command, no shell
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    if sys.platform == "linux":
        for pipe in (child.stdin, child.stdout):
            with suppress(OSError):  # the user has too many; smaller ones do
                fcntl.fcntl(cast("IO[bytes]", pipe), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return child


def _why(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"its process ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    memory = "; the machine may have run out of memory" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{memory}"

"""What a process and its child say to each other: messages in frames, over two pipes.

A message is a tuple whose first item is a `Kind`. A frame is a pickled list of messages with its
length before it; only the two ends of the pipes can write one.

===========  ==============================================================================
to the child
------------------------------------------------------------------------------------------
`CALL`       id, whether the reply is spoken, whether it is streamed, the pickled method and
             arguments
`MORE`       id, how many pieces of a stream were taken
`CANCEL`     id
`CUT`        turn, heard, seconds: as of `RemembersReplies.cut`
-----------  ------------------------------------------------------------------------------
to the parent
------------------------------------------------------------------------------------------
`READY`      capacity, the id that ends a reply
`LOAD`       replies that are being written, questions that wait
`BEAT`       seconds for which nothing was done of what there is to do
`PIECES`     id, pieces of a stream
`RETURNED`   id, what a call returned; None at the end of a stream
`FAILED`     id, or None while loading; `Failure`
`LOG`        attributes of a log record
-----------  ------------------------------------------------------------------------------
to oneself
------------------------------------------------------------------------------------------
`LOST`       why the child is gone
===========  ==============================================================================
"""

from __future__ import annotations

import pickle
import struct
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import IO, Any, TypeAlias

from voicerag_core.errors import ModelError, VoiceRAGError

__all__ = ["WINDOW", "Failure", "Kind", "Message", "Outbox", "failure_of", "frames"]

WINDOW = 64
"""Most pieces of a stream that were sent and not taken yet."""

GATHER_SECONDS = 0.03
"""How long pieces that can wait are gathered into one frame."""
NOTICE_SECONDS = 0.25
"""How often a child looks whether it has news."""

_LENGTH = struct.Struct("<Q")


class Kind(Enum):
    """What a message says."""

    CALL = auto()
    MORE = auto()
    CANCEL = auto()
    CUT = auto()
    READY = auto()
    LOAD = auto()
    BEAT = auto()
    PIECES = auto()
    RETURNED = auto()
    FAILED = auto()
    LOG = auto()
    LOST = auto()


Message: TypeAlias = tuple[Any, ...]
"""A `Kind`, and what belongs to it."""


class InChildError(Exception):
    """The cause of an error that comes from a child: its traceback there."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error on its way to the parent.

    Args:
        error: It, pickled; None if it is not of our error tree, or cannot be pickled.
        said: Its type and text.
        trace: Its traceback.
        broken: What is wrong with the device, if it must not be used any more.
    """

    error: bytes | None
    said: str
    trace: str
    broken: str | None = None

    def raised(self, name: str = "") -> VoiceRAGError:
        """Return the error to raise, with the name of the replica before its text if one is given.

        Whatever is not of our error tree becomes a `ModelError`.
        """
        error: VoiceRAGError = ModelError(self.said)
        if self.error is not None:
            try:
                error = pickle.loads(self.error)  # noqa: S301 - a child's, over its own pipe
            except Exception:  # noqa: BLE001 - it cannot be made again from its arguments
                error = ModelError(self.said)
        if name and error.args and not str(error.args[0]).startswith(name):
            error.args = (f"{name}: {error.args[0]}", *error.args[1:])
        error.__cause__ = InChildError(f"\n{self.trace}")
        return error


def failure_of(error: BaseException) -> Failure:
    """Return an error as it travels."""
    cause = device_failure(error)
    return Failure(
        _pickled(error),
        f"{type(error).__name__}: {error}",
        "".join(traceback.format_exception(error)),
        None if cause is None else f"{type(cause).__name__}: {cause}".splitlines()[0],
    )


def device_failure(error: BaseException | None) -> BaseException | None:
    """Return the error of a device that is behind another error, or None.

    After such an error a CUDA device answers nothing more in this process. Memory that ran out is
    no failure.
    """
    while error is not None:
        if isinstance(error, RuntimeError) and "CUDA error" in str(error):
            return error
        error = error.__cause__
    return None


def _pickled(error: BaseException) -> bytes | None:
    if not isinstance(error, VoiceRAGError):
        return None
    try:
        return pickle.dumps(error)
    except Exception:  # noqa: BLE001 - its text is sent instead
        return None


def frames(stream: IO[bytes]) -> Iterator[list[Message]]:
    """Yield the frames of a stream until it ends, before a frame or within."""
    while True:
        head = stream.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return
        (length,) = _LENGTH.unpack(head)
        body = stream.read(length)
        if len(body) < length:
            return
        yield pickle.loads(body)  # noqa: S301 - the other end's, over its own pipe


class Outbox:
    """Sends messages from a thread of its own, so that nobody waits for the pipe.

    Pieces that can wait are gathered for `GATHER_SECONDS`, those of one stream in one message: the
    receiver is woken for a frame, and a reader of a stream once for all its pieces in it.

    Args:
        stream: Where they go.
        name: Of the thread.
        news: Asked every `NOTICE_SECONDS`, and whenever something is sent; returns what is sent
            along.
    """

    def __init__(
        self, stream: IO[bytes], name: str, news: Callable[[], list[Message]] | None = None
    ) -> None:
        self._stream, self._news = stream, news
        self._changed = threading.Condition()
        self._messages: list[Message] = []
        self._pieces: dict[int, list[Any]] = {}
        self._urgent = self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, *message: Any) -> None:  # noqa: ANN401
        """Send a message at once; after closing it is dropped."""
        with self._changed:
            if self._closed:
                return
            self._messages.append(message)
            self._urgent = True
            self._changed.notify()

    def piece(self, call: int, piece: object, *, urgent: bool) -> None:
        """Send a piece of a stream, at once or with the next ones."""
        with self._changed:
            if self._closed:
                return
            gathered = self._pieces.get(call)
            if gathered is None:
                gathered = self._pieces[call] = []
                self._messages.append((Kind.PIECES, call, gathered))
            gathered.append(piece)
            if urgent or len(self._messages) == 1:
                self._urgent |= urgent
                self._changed.notify()

    def close(self) -> None:
        """Send what is left, then close the stream; does not wait for it."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        try:
            while self._send():
                pass
        except OSError:
            pass  # the other end has gone, and whoever reads from it notices
        finally:
            with self._changed:
                self._closed = True
            with suppress(OSError):  # what a dead process did not take
                self._stream.close()

    def _send(self) -> bool:
        """Wait for messages and send them; return False when nothing more will come."""
        with self._changed:
            while not self._messages and not self._closed:
                if not self._changed.wait(None if self._news is None else NOTICE_SECONDS):
                    break
            if self._messages and not self._urgent and not self._closed:
                self._changed.wait(GATHER_SECONDS)
            messages, self._messages, self._pieces = self._messages, [], {}
            self._urgent, closed = False, self._closed
        if self._news is not None:
            messages += self._news()
        if messages:
            body = pickle.dumps(messages, protocol=5)
            self._stream.write(_LENGTH.pack(len(body)))
            self._stream.write(body)
            self._stream.flush()
        return not closed

"""Strangers' files are parsed in a process of its own, so that they can neither harm nor stop us.

One process parses many files, one after the other. It is started at the first file, ended when it
has been idle for a while, and started anew after a crash, a file that took too long or too much
memory. It is a plain child with pipes: it does not run the main program again, so it works under a
test runner, in a notebook and in a program without a guard around its main part.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from typing import IO, cast

from voicerag_core.blocks import Block, BlockKind, Place, Unit
from voicerag_core.documents.formats import Parsed
from voicerag_core.documents.packages import MAX_UNPACKED, unpacked_bytes
from voicerag_core.errors import DocumentError, MissingExtraError
from voicerag_core.types import Document, JSONValue

__all__ = [
    "MEMORY_BYTES",
    "PROCESS",
    "SECONDS",
    "SECONDS_PER_MEGABYTE",
    "ParserProcess",
    "parse_apart",
    "receive",
    "send",
]

MEMORY_BYTES = 2 << 30
"""Most memory of the process that parses, where the system can bound it (not on Windows)."""

SECONDS = 60.0
"""Most seconds for a file, besides those for its size."""

SECONDS_PER_MEGABYTE = 10.0
"""Seconds added for every million bytes of the file, or four million that it unpacks to."""

IDLE_EXIT = 0
"""Exit code of a process that ended because nothing was asked of it."""

_LENGTH = struct.Struct("<Q")
_MAX_REPLY = 2_000_000_000


def parse_apart(
    data: bytes,
    source: str,
    suffix: str,
    *,
    text_column: str | None = None,
    encoding: str | None = None,
) -> Parsed:
    """Read the bytes of a file as `formats.parse` does, in a process of its own.

    Raises:
        DocumentError: They cannot be read, or the process crashed, ran out of memory or of time.
        MissingExtraError: The extra ``documents`` is missing.
    """
    seconds = (
        SECONDS
        + SECONDS_PER_MEGABYTE * max(len(data), min(MAX_UNPACKED, unpacked_bytes(data)) / 4) / 1e6
    )
    request = {
        "source": source,
        "suffix": suffix,
        "text_column": text_column,
        "encoding": encoding,
        "seconds": seconds,
        "memory": MEMORY_BYTES,
    }
    reply = PROCESS.ask(json.dumps(request).encode(), data, source, seconds)
    return _parsed(json.loads(reply))


def send(stream: IO[bytes], message: bytes) -> None:
    """Write a message with its length before it."""
    stream.write(_LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Read a message; None when the stream has ended, before it or within."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > _MAX_REPLY:
        return None
    message = stream.read(length)
    return message if len(message) == length else None


class ParserProcess:
    """The process that parses, started when it is first needed. Safe to share between threads."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Leave the process to the one that was forked, whose child it is."""
        self.child = None
        self._lock = threading.Lock()

    def end(self) -> None:
        """End the process, when there is one; the next file starts another."""
        with self._lock:
            self._end()

    def ask(self, request: bytes, data: bytes, source: str, seconds: float) -> bytes:
        """Return the reply to a request.

        Raises:
            DocumentError: There was none; the process is ended then.
        """
        with self._lock:
            reply, code = self._exchange(request, data, seconds)
            if reply is None and code == IDLE_EXIT:  # it ended right before it was asked
                reply, code = self._exchange(request, data, seconds)
        if reply is None:
            raise DocumentError(_why(source, code, seconds))
        return reply

    def _exchange(
        self, request: bytes, data: bytes, seconds: float
    ) -> tuple[bytes | None, int | None]:
        """Return the reply, or None and the code that the process ended with, None when late."""
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            child.kill()

        watch = threading.Timer(seconds, stop)
        watch.daemon = True
        watch.start()
        reply = None
        try:
            send(child.stdin, request)
            send(child.stdin, data)
            reply = receive(child.stdout)
        except (OSError, ValueError):
            reply = None  # it has ended
        except BaseException:
            self._end()  # an interrupt in the middle of an exchange
            raise
        finally:
            watch.cancel()
        if reply is not None:
            return reply, IDLE_EXIT
        code = child.wait()
        self._end()
        return None, None if late.is_set() else code

    def _running(self) -> subprocess.Popen[bytes]:
        if self.child is not None and self.child.poll() is not None:
            self._end()
        if self.child is None:
            program = (
                f"import sys; sys.path[:] = {sys.path!r}; "
                "from voicerag_core.documents.child import main; main()"
            )
            threads = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}
            self.child = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **threads},
            )
        return self.child

    def _end(self) -> None:
        child, self.child = self.child, None
        if child is None:
            return
        child.kill()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was not yet written to a dead child
                    stream.close()
        child.wait()


PROCESS = ParserProcess()
atexit.register(PROCESS.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PROCESS.forget)


def _why(source: str, code: int | None, seconds: float) -> str:
    """Say why a file could not be read when its parser gave no reply."""
    if code is None or code == -getattr(signal, "SIGALRM", 0):
        return (
            f"{source} took longer than {seconds:.0f} s to read and was given up; it may be "
            "damaged, or made to stop its readers; save it anew, or split it"
        )
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return (
        f"{source} made its parser stop ({how}): it is damaged, or needs more than "
        f"{MEMORY_BYTES >> 20:,} MiB of memory; save it anew, or split it"
    )


def _parsed(reply: dict[str, JSONValue]) -> Parsed:
    """Return what a reply tells.

    Raises:
        DocumentError: The child refused the file.
        MissingExtraError: It lacks a library.
    """
    if "refused" in reply:
        raise DocumentError(str(reply["refused"]))
    if "missing" in reply:
        extra, needed_for = cast("list[str]", reply["missing"])
        raise MissingExtraError(extra, needed_for)
    documents = cast("list[dict[str, JSONValue]]", reply["documents"])
    notices = cast("list[str]", reply["notices"])
    return Parsed(tuple(map(_document, documents)), tuple(notices))


def _document(entry: dict[str, JSONValue]) -> Document:
    paths = [tuple(path) for path in cast("list[list[str]]", entry["paths"])]
    places = [
        Place(cast("Unit", unit), at, sheet)
        for unit, at, sheet in cast("list[tuple[str, int, str]]", entry["places"])
    ]
    blocks = tuple(
        Block(
            start, end, cast("BlockKind", kind), paths[path], level,
            None if place is None else places[place],
        )
        for start, end, kind, path, level, place in cast(
            "list[tuple[int, int, str, int, int, int | None]]", entry["blocks"]
        )
    )  # fmt: skip
    return Document(
        cast("str", entry["source"]),
        cast("str", entry["text"]),
        cast("str", entry["title"]),
        cast("dict[str, JSONValue]", entry["metadata"]),
        blocks,
    )

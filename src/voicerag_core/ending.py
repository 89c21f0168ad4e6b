"""How a process ends: with the right code, soon, and with nothing left behind.

From the first import on, Ctrl-C and SIGTERM end the program without a word: nothing is open yet.
While a command runs they raise `KeyboardInterrupt` or `SystemExit` in it, so that what is open is
closed. An exception that a destructor swallows is raised again; one that a long native call or an
import delays is not waited for longer than `PATIENCE_SECONDS`: then the embedded database is
stopped, which drops the transaction in work as a whole, and the program ends.

A server that a signal has ended closes what is open by itself: `close_in_peace` bounds that.
Whatever ends a process, it ends by `leave_threads`: a thread that is still in a native call when
the interpreter is taken down is ended in the middle of that call, which aborts the process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from types import FrameType
from typing import Final, NoReturn

__all__ = [
    "PATIENCE_SECONDS",
    "close_in_peace",
    "end_at_signals",
    "end_early",
    "leave",
    "leave_late",
    "leave_threads",
    "signalled",
]

PATIENCE_SECONDS: Final = 6.0
"""Seconds for which an end in good order is waited for."""

_EXIT_SECONDS: Final = 3.0
_CLOSING_SECONDS: Final = 4.0
_AGAIN_SECONDS: Final = 0.05
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_COMMANDS: Final = ("voicerag", "voicerag-mcp")
_MODULES: Final = ("voicerag_core.cli", "voicerag_core.cli.__main__", "voicerag_mcp")
_WATCHER: Final = "signals"
_WORDS: Final = "ended at once: what was in work is dropped as a whole\n"

_first: int | None = None
"""Number of the first signal that arrived while a command ran."""


def signalled() -> int | None:
    """Return the number of the signal that ends the running command, or None."""
    return _first


def end_early() -> None:
    """If this process is one of the program's commands, let signals end it without a word."""
    if threading.current_thread() is threading.main_thread() and _is_command():
        for number in _SIGNALS:
            signal.signal(number, _end_now)


def end_at_signals() -> None:
    """From now on, let signals end the running command in good order."""
    signal.signal(signal.SIGINT, _raise)
    signal.signal(signal.SIGTERM, _raise)
    sys.unraisablehook = _raised_again(sys.unraisablehook)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=[reading], name=_WATCHER, daemon=True).start()


def close_in_peace(code: int) -> None:
    """Let no further signal interrupt the closing, and bound it; call it from the main thread."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    leave_late(code)


def leave_late(code: int) -> None:
    """End the process with a code unless it has ended by itself a few seconds from now."""
    late = threading.Timer(_CLOSING_SECONDS, leave, [code])
    late.daemon = True
    late.start()


def leave_threads(code: int) -> None:
    """End the process if threads are left that it would wait for, or tear out of native calls."""
    own = {threading.current_thread(), threading.main_thread()}
    if any(
        one not in own and one.name != _WATCHER and not isinstance(one, threading.Timer)
        for one in threading.enumerate()
    ):
        leave(code)


def leave(code: int) -> NoReturn:
    """End the process without waiting for its threads; a database that still runs is stopped."""
    closing = threading.Thread(target=atexit._run_exitfuncs, daemon=True)
    closing.start()
    closing.join(_EXIT_SECONDS)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def _is_command() -> bool:
    if os.path.basename(sys.argv[0] if sys.argv else "") in _COMMANDS:
        return True
    return any(one == "-m" and of in _MODULES for one, of in pairwise(sys.orig_argv))


def _end_now(number: int, _: FrameType | None) -> NoReturn:
    os._exit(128 + number)


def _raise(number: int, _: FrameType | None) -> None:
    global _first  # noqa: PLW0603 - one process, one end
    if _first is not None and number == signal.SIGTERM:
        return  # the end is under way, and bounded
    _first = _first or number
    if number == signal.SIGTERM:
        raise SystemExit(128 + number)
    raise KeyboardInterrupt


def _raised_again(
    hook: Callable[[sys.UnraisableHookArgs], object],
) -> Callable[[sys.UnraisableHookArgs], object]:
    """Wrap the hook for exceptions of destructors: an end that one swallowed comes again."""

    def look(args: sys.UnraisableHookArgs) -> None:
        global _first
        if issubclass(args.exc_type, SystemExit | KeyboardInterrupt) and _first is not None:
            number, _first = _first, None
            again = threading.Timer(_AGAIN_SECONDS, os.kill, [os.getpid(), number])
            again.daemon = True
            again.start()
            return
        hook(args)

    return look


def _watch(reading: int) -> None:
    """Wait for the first signal, and then not for ever for the end.

    The interpreter writes the number of a signal at once, even while the main thread is in a
    native call and no handler can run.
    """
    while True:
        numbers = os.read(reading, 1)
        if not numbers:
            return
        if numbers[0] in _SIGNALS:
            time.sleep(PATIENCE_SECONDS)
            _force(numbers[0])


def _force(number: int) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, _WORDS.encode())
    leave(128 + number)


end_early()  # importing the package does this first

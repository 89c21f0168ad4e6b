"""The progress of an index run: a moving bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Protocol

import typer

from voicerag_core.cli.output import stderr
from voicerag_core.cli.time_left import TimeLeft, duration

if TYPE_CHECKING:
    from voicerag_core.ingest import FileProgress

__all__ = ["IndexProgress", "Lines", "index_progress", "progress_line"]

QUIET_SECONDS = 5.0
"""A run that is not on a terminal says nothing until then, and then what it is doing."""

LINE_SECONDS = 30.0
"""From one line to the next."""

_DOING = {
    "opening": "opening the knowledge base",
    "comparing": "comparing files",
    "estimating": "estimating the time",
    "reading": "reading",
    "loading": "loading the model",
    "embedding": "embedding",
    "writing": "writing",
    "preparing": "preparing the search",
}
_NO_WORK = frozenset({"opening", "comparing", "estimating", "loading"})
_FINISHING = "\nfinishing what is in work; interrupt again to end at once\n"


def progress_line(progress: FileProgress, left: float | None) -> str:
    """Return in words how far a run is: files, passages, and the time left."""
    if not progress.files_total:
        return ""
    parts = [f"{progress.files:,} of {progress.files_total:,} files"]
    if progress.passages_total:
        about = "about " if progress.files < progress.files_total else ""
        parts.append(f"{progress.passages:,} of {about}{progress.passages_total:,} passages")
    if left is not None and progress.files < progress.files_total:
        parts.append(f"{duration(left)} left")
    return ", ".join(parts)


class _Display(Protocol):
    """Where progress is shown."""

    def show(self, progress: FileProgress, left: Callable[[], float | None]) -> None:
        """Show the progress; `left` returns the seconds left whenever it is called."""
        ...

    def say(self, text: str) -> None:
        """Show what is being done, instead of what was said before."""
        ...

    def stop(self) -> None:
        """Show nothing more, until it is resumed."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...


class Lines:
    """Progress as lines, few enough for a log.

    Args:
        write: Writes a line.
        clock: Seconds.
    """

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._next = clock() + QUIET_SECONDS

    def show(self, progress: FileProgress, left: Callable[[], float | None]) -> None:
        """Write a line if it is time for one."""
        if self._clock() >= self._next:
            self._next = self._clock() + LINE_SECONDS
            how_far = progress_line(progress, left())
            doing = _DOING[progress.doing]
            self._write(f"{doing}: {how_far}" if how_far else doing)

    def say(self, text: str) -> None:
        """Write a line."""
        self._write(text)

    def stop(self) -> None:
        """Do nothing."""

    def resume(self) -> None:
        """Do nothing."""


class _Bar:
    """Progress as a bar that moves, with the time left counted down between the updates."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            ProgressColumn,
            SpinnerColumn,
            Task,
            TextColumn,
        )
        from rich.text import Text

        class HowFar(ProgressColumn):
            """The line of `progress_line`, made anew whenever the bar is drawn."""

            max_refresh = 1.0

            def render(self, task: Task) -> Text:
                progress = task.fields["progress"]
                return Text(
                    "" if progress is None else progress_line(progress, task.fields["left"]())
                )

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            HowFar(),
            console=stderr(),
            transient=True,
        )
        self._task = self._progress.add_task(
            _DOING["opening"], total=None, progress=None, left=lambda: None
        )
        self._progress.start()

    def show(self, progress: FileProgress, left: Callable[[], float | None]) -> None:
        """Move the bar."""
        self._progress.update(
            self._task,
            description=_DOING[progress.doing],
            total=progress.bytes_total or None,
            completed=progress.bytes,
            progress=progress,
            left=left,
        )

    def say(self, text: str) -> None:
        """Show what is being done."""
        self._progress.update(self._task, description=text)

    def stop(self) -> None:
        """Remove the bar."""
        self._progress.stop()

    def resume(self) -> None:
        """Draw the bar again."""
        self._progress.start()


class IndexProgress:
    """Shows the progress of `index_files`, and delays an interrupt to a transaction's end.

    The first interrupt lets the current work finish, the second ends it at once. When all is
    written, the first does: what prepares the search may take long, and the next run makes up for
    it.

    Args:
        display: Where it is shown.
        clock: Seconds.
    """

    def __init__(self, display: _Display, clock: Callable[[], float] = time.monotonic) -> None:
        self._display = display
        self._clock = clock
        self._left = TimeLeft(clock)
        self._last: FileProgress | None = None
        self._interrupted = False

    def update(self, progress: FileProgress) -> None:
        """Show the progress.

        Raises:
            KeyboardInterrupt: An interrupt came since the last call; here is between transactions.
        """
        if self._last is None:  # before, an interrupt could end the process
            self.take_interrupts()
        before, self._last = self._last, progress
        if self._interrupted:
            raise KeyboardInterrupt
        if progress.doing == "preparing":
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if before is not None and before.doing in _NO_WORK:
            self._left.begin()
        if progress.step == "update":
            self._left.update(progress.passages, progress.passages_total)
        self._display.show(progress, self._left.seconds)

    def expect(self, passages_per_second: float) -> None:
        """Take a rate that was measured beforehand for the first one."""
        self._left = TimeLeft(self._clock, passages_per_second)

    def stop(self) -> None:
        """Show nothing more."""
        self._display.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Show nothing for a while, and let an interrupt end the run at once."""
        self._display.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        except typer.Abort:  # how a question reports an interrupt
            raise KeyboardInterrupt from None
        finally:
            self.take_interrupts()
        self._display.resume()

    def take_interrupts(self) -> None:
        """Delay interrupts from now on."""
        signal.signal(signal.SIGINT, self._note)

    def left_off(self) -> str:
        """Describe in one line how far an interrupted run got, and what is kept."""
        last = self._last
        if last is None or last.step != "update" or not last.files:
            return "nothing was written; what was indexed before stays as it was"
        return (
            f"kept: {last.files:,} of {last.files_total:,} new or changed files, each as a whole, "
            "and all that was indexed before; the next run does the rest"
        )

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        if sys.stderr.isatty():
            self._display.say("finishing what is in work (interrupt again to end at once)")
        else:  # the handler may have come in the middle of a write through the buffer
            os.write(sys.stderr.fileno(), _FINISHING.encode())


@contextmanager
def index_progress() -> Iterator[IndexProgress]:
    """Yield the display of a run, and say at an interrupt what is kept."""
    previous = signal.getsignal(signal.SIGINT)
    on_terminal = stderr().is_terminal
    display: _Display = _Bar() if on_terminal else Lines(lambda line: typer.echo(line, err=True))
    shown = IndexProgress(display)
    try:
        yield shown
    except (KeyboardInterrupt, SystemExit):
        shown.stop()
        typer.echo(shown.left_off(), err=True)
        raise
    finally:
        shown.stop()
        signal.signal(signal.SIGINT, previous)

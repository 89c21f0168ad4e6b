"""Progress bars, shown only on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from voicerag_core.cli.output import stderr

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

__all__ = ["byte_bars", "progress_bar"]


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Create progress bars on standard error, each with a description.

    Args:
        columns: The other columns of each bar.
    """
    from rich.progress import BarColumn, Progress, TextColumn

    console = stderr()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        console=console,
        disable=not console.is_terminal,
    )


@contextmanager
def byte_bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield a callable that shows the bytes done of each named item."""
    from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    tasks: dict[str, TaskID] = {}
    with progress_bar(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) as bar:

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield show

"""How far a run or a calibration is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from voicerag_core.cli.output import stderr
from voicerag_core.cli.progress import progress_bar
from voicerag_core.cli.time_left import TimeLeft, duration

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, TaskID

    from voicerag_core.evaluation.runs import Progress

__all__ = ["told"]


@contextmanager
def told() -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows progress and the time left on a terminal, or a line a minute."""
    timers: dict[str, tuple[TimeLeft, int]] = {}
    with progress_bar(*_columns()) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(now: Progress) -> None:
            if now.stage not in tasks:
                tasks[now.stage] = bar.add_task(now.stage, total=now.total)
                timers[now.stage] = (TimeLeft(), now.done - 1)
                timers[now.stage][0].begin()
            left, first = timers[now.stage]
            left.update(now.done - first, now.total - first)
            seconds = left.seconds()
            known = seconds is not None and now.done < now.total
            rest = f", {duration(seconds or 0.0)} left" if known else ""
            bar.update(
                tasks[now.stage],
                completed=now.done,
                total=now.total,
                description=f"{now.stage} {now.set}{rest}",
            )
            if not stderr().is_terminal and (now.done == now.total or now.done % 100 == 0):
                typer.echo(f"{now.stage} {now.set}: {now.done} of {now.total}{rest}", err=True)

        yield tell


def _columns() -> tuple[ProgressColumn, ...]:
    from rich.progress import MofNCompleteColumn

    return (MofNCompleteColumn(),)

"""``voicerag download``."""

from __future__ import annotations

import typer

from voicerag_core.cli.output import stderr
from voicerag_core.cli.running import Given

__all__ = ["local"]


def local(given: Given) -> None:
    """Fetch weight files of the local stack that are missing or altered, where a hub has them.

    The wheels of the extra 'local' carry every file; this is for a file whose wheel cannot be had.
    Each download is resumed where it stopped and compared with its SHA-256.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from voicerag_core.local.download import download

    folder = given.settings().data_dir / "weights"
    console = stderr()
    tasks: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done)

        fetched = download(folder, progress=show)
    for path in fetched:
        typer.echo(f"fetched {path}")
    if not fetched:
        typer.echo("nothing to fetch: every weight file is here and verified")

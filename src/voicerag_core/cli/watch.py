"""``voicerag watch``."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicerag_core.cli.command import GlobalOptions
from voicerag_core.cli.output import report

if TYPE_CHECKING:
    from voicerag_core.ingest import FileReport, WatchEvent

__all__ = ["watch"]


MOST_SECONDS = 86_400.0
"""A day: what looks less often is a timer's business."""


def watch(
    given: GlobalOptions,
    *,
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDERS...", help="Folders to watch.", show_default=False),
    ],
    interval: Annotated[
        float,
        typer.Option(
            "--interval", min=0.1, max=MOST_SECONDS, help="Seconds between two looks, at least."
        ),
    ] = 2.0,
    settle: Annotated[
        float,
        typer.Option(
            "--settle",
            min=0,
            max=MOST_SECONDS,
            help="Seconds that a file must have stayed as it is.",
        ),
    ] = 2.0,
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="Remove deleted files from the index.")
    ] = True,
) -> None:
    """Keep the index up to date with folders until interrupted.

    First compares the folders as a whole, like voicerag index, then indexes each file that is new
    or changed and has settled, in one transaction each. If a folder is missing, or lost more than
    half of its documents at once, nothing of it is removed, and a line says so. While the database
    is away or its disk is full, it waits. A timer that runs voicerag index does the same less
    often.
    """
    from voicerag_core.ingest import watch_files
    from voicerag_core.stack import open_voicerag

    settings = given.settings()
    report("comparing the folders with the index; what is new is indexed first", level="info")
    with open_voicerag(settings) as rag:
        for event in watch_files(
            rag,
            folders,
            stop=threading.Event(),
            interval=interval,
            settle=settle,
            chunk_size=settings.chunk_size,
            chunk_overlap=settings.chunk_overlap,
            recordings=settings.embedder == "sonar",
            prune=prune,
        ):
            _show(event)


def _show(event: WatchEvent) -> None:
    if event.report is not None:
        for failure in event.report.failures:
            report(f"skipped: {failure}", level="warning")
        for notice in event.report.notices:
            report(f"note: {notice}", level="info")
        _say(f"{'watching; ' if event.kind == 'ready' else ''}{_summary(event.report)}")
    elif event.kind == "kept":
        report(
            f"kept: {event.vanished} of the {event.known} documents of {event.folder} are files no "
            "longer, which may be a mount that is gone; remove them with `voicerag remove "
            f"{event.folder}` if they were deleted on purpose",
            level="warning",
        )
    else:
        report(f"waiting: {event.error}", level="warning")


def _summary(done: FileReport) -> str:
    return (
        f"files: {done.new} new, {done.changed} changed, {done.removed} removed, "
        f"{len(done.failures)} failed; passages written or deleted: {done.passages}"
    )


def _say(text: str) -> None:
    typer.echo(f"{datetime.now().astimezone():%H:%M:%S}  {text}")

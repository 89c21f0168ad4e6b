"""``voicerag calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voicerag_core.cli.command import GlobalOptions
from voicerag_core.cli.evaluation_progress import told
from voicerag_core.cli.output import say, show_json

__all__ = ["calibrate"]


def calibrate(
    given: GlobalOptions,
    *,
    questions: Annotated[
        Path,
        typer.Argument(
            metavar="QUESTIONS",
            help="questions.jsonl: question or audio, sources, answers, answerable.",
        ),
    ],
    voices: Annotated[
        bool,
        typer.Option("--voices/--no-voices", help="Speak typed questions in installed voices."),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the choice, keep nothing.")
    ] = False,
    reset: Annotated[
        bool, typer.Option("--reset", help="Go back to the usual thresholds.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Choose the thresholds of `adaptive` and of declining on your own questions.

    They are kept with the collection, and every search and answer over it obeys them.
    """
    from dataclasses import asdict

    from voicerag_core.evaluation.calibration import calibrated
    from voicerag_core.stack import open_voicerag
    from voicerag_core.types import Thresholds

    settings = given.settings(speak=False)
    with open_voicerag(settings, read_only=dry_run) as rag:
        if reset:
            rag.store.set_thresholds(Thresholds())  # type: ignore[attr-defined]
            say("thresholds", "the usual ones")
            return
        with told() as tell:
            found = calibrated(
                rag, questions, clips=settings.data_dir if voices else None, on_progress=tell
            )
        if not dry_run:
            rag.store.set_thresholds(found.thresholds)  # type: ignore[attr-defined]
    if json_output:
        show_json(asdict(found))
        return
    for line in found.lines():
        typer.echo(line)
    say("thresholds", "kept with the collection" if not dry_run else "not kept (--dry-run)")

"""``voicerag db``."""

from __future__ import annotations

from typing import Annotated

import typer

from voicerag_core.cli.question import JsonOutput
from voicerag_core.cli.running import Given

__all__ = ["migrate", "reset", "status"]


def status(given: Given, json_output: JsonOutput = False) -> None:
    """Say what the database is, which schema it has and what its collections hold."""


def migrate(given: Given) -> None:
    """Make the schema of the database, or bring it up to date.

    The login must be allowed to make a schema and roles. An embedded database is kept up to date
    without this.
    """
    from voicerag_core.assembly import open_database
    from voicerag_core.store import migrate as bring_up_to_date

    with open_database(given.settings()) as dsn:
        applied = bring_up_to_date(dsn)
    if applied:
        typer.echo(f"applied migrations {', '.join(map(str, applied))}")
    else:
        typer.echo("the schema is up to date")


def reset(
    given: Given,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Every collection of every tenant, not one collection.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a collection, or all of them, with passages and vectors; asks before it does."""

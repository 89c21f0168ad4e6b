"""``voicerag db stats``, ``reindex`` and ``url``."""

from __future__ import annotations

import signal
from dataclasses import asdict
from typing import Annotated

import typer

from voicerag_core.cli.command import GlobalOptions
from voicerag_core.cli.database import none_yet, reached
from voicerag_core.cli.output import counted, say, show_json, status_line
from voicerag_core.cli.question import JsonOutput
from voicerag_core.errors import StoreError

__all__ = ["reindex", "stats", "url"]


def stats(given: GlobalOptions, *, json_output: JsonOutput = False) -> None:
    """Print the sizes of tables and indexes and how they are used, of all tenants together.

    Numbers of rows are the server's estimates.
    """
    from voicerag_core.store import database_stats

    settings = given.settings()
    with reached(settings) as dsn:
        if dsn is None:
            typer.echo(none_yet(settings))
            return
        found = database_stats(dsn)
    if json_output:
        value = asdict(found)
        for table in value["tables"]:
            for key in ("vacuumed", "analyzed"):
                table[key] = None if table[key] is None else table[key].isoformat()
        show_json(value)
        return
    for table in found.tables:
        analyzed = "never" if table.analyzed is None else f"{table.analyzed:%Y-%m-%d %H:%M}"
        say("table", f"{table.name}: {counted(table.rows, 'row')}, {table.dead:,} dead, "
            f"{_size(table.bytes)}, indexes {_size(table.index_bytes)}, "
            f"analysed {analyzed}")  # fmt: skip
    for index in found.indexes:
        broken = "" if index.valid else ", left by an interrupted rebuild: voicerag db reindex"
        say("index", f"{index.name}: {_size(index.bytes)}, used "
            f"{counted(index.scans, 'time')}{broken}")  # fmt: skip
    if found.cached is not None:
        say("memory", f"{found.cached:.1%} of the pages read were in the server's memory")
    say("clients", f"{counted(found.connections, 'connection')} of at most "
        f"{found.connections_most}; the "
        f"longest transaction runs {found.longest_transaction:.0f} s")  # fmt: skip


def reindex(given: GlobalOptions) -> None:
    """Build the vector index of a collection anew, while it is searched and written.

    The collection is that of --collection, or "default". Worth it after many passages were replaced
    or deleted. To rebuild takes the login that ran `voicerag db migrate`.
    """
    from voicerag_core.store import reindex as rebuild

    settings = given.settings()
    with reached(settings) as dsn, status_line("building the index"):
        if dsn is None:
            raise StoreError(f"there is nothing to index: {none_yet(settings)}")
        again = rebuild(dsn, collection=settings.collection, tenant=settings.tenant)
    typer.echo(f"{settings.collection}: the index was built" + (" anew" if again else ""))


def url(
    given: GlobalOptions,
    *,
    show_password: Annotated[
        bool, typer.Option("--show-password", help="Print the password, too, if there is one.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the embedded server running until interrupted.")
    ] = False,
) -> None:
    """Print where the database is, for psql and other programs.

    The embedded server runs only while a voicerag program does; --keep is such a program.
    """
    from voicerag_core.store import without_password

    settings = given.settings()
    with reached(settings) as dsn:
        if dsn is None:
            raise StoreError(none_yet(settings))
        typer.echo(dsn if show_password else without_password(dsn))
        if keep and settings.database_url is None:
            signal.pause()


def _size(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:,.0f} kB"  # noqa: PLR2004

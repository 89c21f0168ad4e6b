"""``voicerag db backup``, ``restore`` and ``verify``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicerag_core.cli.command import EXIT_FAULT, GlobalOptions
from voicerag_core.cli.database import none_yet, reached
from voicerag_core.cli.output import say, show_json
from voicerag_core.cli.progress import byte_bars, progress_bar
from voicerag_core.cli.question import JsonOutput
from voicerag_core.errors import StoreError

if TYPE_CHECKING:
    from voicerag_core.store import VerifyReport

__all__ = ["backup", "restore", "verify"]

_MOST_DIFFERENCES = 20

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.", show_default=False)]


def backup(
    given: GlobalOptions,
    *,
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write.", show_default=False)
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file of this name when all is written.")
    ] = False,
    json_output: JsonOutput = False,
) -> None:
    """Write all collections of all tenants into one file.

    The rows are those of one moment; questions and indexing go on meanwhile. The file is there
    whole or not at all. The login must be the one that ran `voicerag db migrate`, a superuser, or a
    member of voicerag_owner; a replica will do. The file is compressed, not encrypted.
    """
    from voicerag_core.store import backup as save

    settings = given.settings()
    with reached(settings) as dsn:
        if dsn is None:
            raise StoreError(f"there is nothing to back up: {none_yet(settings)}")
        with progress_bar() as bar:
            tasks = {}

            def show(table: str, rows: int) -> None:
                if table not in tasks:
                    tasks[table] = bar.add_task(table, total=None)
                bar.update(tasks[table], completed=rows, description=f"{table}: {rows:,} rows")

            report = save(dsn, path, replace=force, on_rows=show)
    if json_output:
        show_json({**asdict(report), "path": str(report.path)})
        return
    say("backup", f"{report.path}, {report.bytes / 1e6:.1f} MB, SHA-256 {report.sha256[:12]}…")
    say("schema", f"version {report.schema}")
    say("tenants", str(report.tenants))
    say("rows", _counted(report.rows))


def restore(given: GlobalOptions, *, path: File, json_output: JsonOutput = False) -> None:
    """Bring a backup back into an empty database, and compare every row.

    The database must not hold rows of voicerag yet. All happens in one transaction: whatever fails,
    the database stays as it was. A backup of an older schema is brought up to date. The indexes are
    built anew, which takes the most time.
    """
    from voicerag_core.stack import open_database
    from voicerag_core.store import restore as bring_back

    settings = given.settings()
    with open_database(settings) as dsn, byte_bars() as show:
        report = bring_back(dsn, path, on_bytes=show)
    if json_output:
        show_json(asdict(report))
        return
    say("restored", f"{path}: every row is that of the backup")
    later = ", ".join(map(str, report.migrated))
    say("schema", f"version {report.schema}" + (f"; migrations applied: {later}" if later else ""))
    say("rows", _counted(report.rows))
    say("indexes", f"{report.indexes} built")


def verify(
    given: GlobalOptions,
    *,
    path: File,
    file_only: Annotated[
        bool, typer.Option("--file-only", help="Check the file alone, without a database.")
    ] = False,
    json_output: JsonOutput = False,
) -> None:
    """Check every byte of a backup, and compare its rows with the database.

    Rows are counted and compared by digest for each table, tenant and collection. The exit code is
    1 if the file was cut or altered, or if any row differs, as it does when something was indexed
    since.
    """
    from voicerag_core.store import verify as compare

    settings = given.settings()
    with byte_bars() as show:
        if file_only:
            report = compare(path, on_bytes=show)
        else:
            with reached(settings) as dsn:
                if dsn is None:
                    raise StoreError(
                        f"there is nothing to compare with: {none_yet(settings)}; check the file "
                        "alone with --file-only"
                    )
                report = compare(path, dsn, on_bytes=show)
    if json_output:
        _show_values(report)
    else:
        _show(path, report)
    if report.differences:
        raise typer.Exit(EXIT_FAULT)


def _show_values(report: VerifyReport) -> None:
    manifest = report.manifest
    show_json(
        {
            "same": not report.differences,
            "database": report.database,
            "schema": manifest.schema,
            "created": manifest.created,
            "program": manifest.program,
            "parts": report.parts,
            "rows": report.rows,
            "differences": [asdict(one) for one in report.differences],
        }
    )


def _show(path: Path, report: VerifyReport) -> None:
    manifest = report.manifest
    say("file", f"{path} is complete and unaltered")
    say("made", f"{manifest.created} by voicerag-core {manifest.program} from Postgres "
        f"{manifest.server}, schema version {manifest.schema}")  # fmt: skip
    say("rows", _counted({t.name: sum(part.rows for part in t.parts) for t in manifest.tables}))
    if report.database is None:
        return
    say("database", f"{report.database}: {report.rows:,} rows compared in {report.parts:,} parts")
    for one in report.differences[:_MOST_DIFFERENCES]:
        where = "" if one.collection is None else f", collection {one.collection}"
        say("differs", f"{one.table} of tenant {one.tenant}{where}: {one.in_backup:,} rows in the "
            f"backup, {one.in_database:,} in the database")  # fmt: skip
    if len(report.differences) > _MOST_DIFFERENCES:
        say("", f"and {len(report.differences) - _MOST_DIFFERENCES} more")
    if not report.differences:
        say("same", "every row")


def _counted(rows: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in rows.items()) or "none"

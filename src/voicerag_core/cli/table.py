"""``voicerag table``: tables that other programs fill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from voicerag_core.cli.command import GlobalOptions
from voicerag_core.cli.output import say, show_json, status_line
from voicerag_core.cli.question import JsonOutput
from voicerag_core.errors import ConfigError, EmbeddingMismatchError

if TYPE_CHECKING:
    from voicerag_core.settings import Settings
    from voicerag_core.store import ExistingTable, IndexOn, ModelMatch, TableReport, VectorColumn

__all__ = ["inspect", "list_tables"]


def list_tables(given: GlobalOptions, *, json_output: JsonOutput = False) -> None:
    """List the columns of vectors in a database that other programs fill.

    Any login may ask. Nothing is written.
    """
    from voicerag_core.store import list_vector_columns

    settings = given.settings()
    if settings.database_url is None:
        raise ConfigError("name the database: --database-url, or VOICERAG_DATABASE_URL")
    found = list_vector_columns(settings.database_url.get_secret_value())
    if json_output:
        show_json({"tables": [_values(column) for column in found]})
        return
    for column in found:
        say(column.kind, _described(column))
    if not found:
        typer.echo("there is no table with vectors", err=True)


def inspect(
    given: GlobalOptions,
    *,
    table: Annotated[
        str | None,
        typer.Argument(show_default=False, metavar="TABLE", help="Its name, or SCHEMA.NAME."),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe/--no-probe",
            help="Embed a few of its texts again, to tell whether its vectors are of the embedder.",
        ),
    ] = True,
    json_output: JsonOutput = False,
) -> None:
    """Show how a table is read and searched, and what to look at; nothing is written.

    Columns that are not clear are named by VOICERAG_TABLE_ID, _TEXT, _EMBEDDING, _METADATA,
    _COLUMNS, _TITLE and _SOURCE, rows to leave out by VOICERAG_TABLE_ONLY.
    """
    from voicerag_core.store import inspect_table

    settings = given.settings(table=table)
    with _opened(settings) as opened:
        match, fault = _match(settings, opened) if probe else (None, None)
        report = inspect_table(opened, match)
    if json_output:
        show_json({**asdict(report), "fault": fault})
    else:
        _show(report)
        if fault is not None:
            say("model", fault)
    if fault is not None or (match is not None and match.verdict == "another"):
        raise typer.Exit(1)


@contextmanager
def _opened(settings: Settings) -> Iterator[ExistingTable]:
    from voicerag_core.stack import existing_table

    with existing_table(settings, None) as opened, status_line("looking at the table"):
        opened.warm()
        yield opened


def _match(settings: Settings, table: ExistingTable) -> tuple[ModelMatch | None, str | None]:
    """Compare the table's vectors with the embedder's; an embedder of another width is a fault."""
    from voicerag_core.stack import open_parts

    with open_parts(settings) as parts:
        try:
            return table.probe(parts.embedder), None
        except EmbeddingMismatchError as error:
            return None, str(error)


def _show(report: TableReport) -> None:
    say(report.kind, f"{report.table} ({report.program})")
    for held, column in report.columns.items():
        say(held, column)
    say("vectors", report.vectors)
    if report.collections:
        say("parts", ", ".join(report.collections))
    say("rows", str(report.rows))
    say("index", report.index or "none serves a search")
    say("words", "indexed" if report.words else "re-rank what the vectors find")
    if report.model is not None:
        say("model", f"{report.model.verdict} (agreement {report.model.agreement:.2f})")
    for warning in report.warnings:
        say("note", warning)
    for grant in report.grants:
        say("grant", grant)
    if report.suggestion:
        say("its owner", report.suggestion)


def _described(column: VectorColumn) -> str:
    rows = "unknown" if column.rows is None else f"about {column.rows}"
    indexes = [f"{one.method} {one.operator_class}" for one in _of_vectors(column)]
    return (
        f"{column.full_name}.{column.column} {column.type}({column.width or 'any width'}), "
        f"{rows} rows, {', '.join(indexes) or 'no index'}"
        f"{'' if column.readable else ', not readable by this login'}"
        f"{', row-level security' if column.row_security else ''}"
    )


def _values(column: VectorColumn) -> dict[str, object]:
    return {
        "table": column.full_name,
        "kind": column.kind,
        "column": column.column,
        "type": column.type,
        "width": column.width,
        "rows": column.rows,
        "columns": dict(column.columns),
        "indexes": [
            {"name": one.name, "method": one.method, "operator_class": one.operator_class}
            for one in _of_vectors(column)
        ],
        "row_security": column.row_security,
        "readable": column.readable,
    }


def _of_vectors(column: VectorColumn) -> list[IndexOn]:
    return [one for one in column.indexes if one.method != "gin"]

"""``voicerag index``."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicerag_core.cli.command import EXIT_FAULT, GlobalOptions
from voicerag_core.cli.index_progress import IndexProgress, index_progress
from voicerag_core.cli.output import counted
from voicerag_core.cli.output import report as tell
from voicerag_core.cli.time_left import duration
from voicerag_core.errors import MissingExtraError

if TYPE_CHECKING:
    from voicerag_core.ingest import Engine, Estimate, FileReport
    from voicerag_core.settings import Settings

__all__ = ["index", "summary"]

_MOST_NOTICES = 50
_MOST_NAMES = 5
LONG_SECONDS = 1800.0
"""A run that takes longer is announced, and on a terminal asked about."""


def index(
    given: GlobalOptions,
    *,
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATHS...", help="Files and folders to index.", show_default=False),
    ],
    prune: Annotated[
        bool,
        typer.Option(
            "--prune/--no-prune", help="Remove deleted files of the given folders from the index."
        ),
    ] = True,
    prune_all: Annotated[
        bool,
        typer.Option(
            "--prune-all",
            help="Remove them even if they are more than half of a folder's documents.",
        ),
    ] = False,
    chunk_size: Annotated[
        int | None,
        typer.Option(
            "--chunk-size",
            min=1,
            show_default=False,
            help="Maximum length of a passage, in characters; default 1200.",
        ),
    ] = None,
    chunk_overlap: Annotated[
        int | None,
        typer.Option(
            "--chunk-overlap",
            min=0,
            show_default=False,
            help="Overlap of consecutive passages, in characters; default 0.",
        ),
    ] = None,
    sentences: Annotated[
        bool | None,
        typer.Option(
            "--sentences/--no-sentences",
            show_default=False,
            help="Also index a vector per sentence, which points to its passage; default yes.",
        ),
    ] = None,
    words: Annotated[
        bool | None,
        typer.Option(
            "--words/--no-words",
            show_default=False,
            help="Make the collection with or without a search by words; default with. One that "
            "is there was made with its choice, and the other is refused.",
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option(
            "--text-column",
            metavar="NAME",
            show_default=False,
            help="Column of csv and tsv files, key of jsonl files, with the text; default 'text'.",
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            "--encoding",
            metavar="NAME",
            show_default=False,
            help="Encoding of text files; default: what they state, UTF-8, or detected.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Read and split the files and estimate the time; write nothing."
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before a run that takes long.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            show_default=False,
            help="Index the I-th of N shares of the files; N such runs beside each other do all.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            show_default=False,
            help="Index on a Ray cluster: 'auto', its address, or 'local' for this machine.",
        ),
    ] = None,
    ray_workers: Annotated[
        int | None,
        typer.Option(
            "--ray-workers",
            min=1,
            show_default=False,
            help="Workers on the cluster, each with its own models; default: one per node.",
        ),
    ] = None,
) -> None:
    """Update the index from files and folders.

    Reads txt, md, rst, html, pdf, docx, pptx, xlsx, odt, epub, eml, msg, ipynb, srt, vtt, jsonl,
    csv and tsv; with --embedder sonar also recordings (wav, flac, ogg, opus, mp3, aiff), as timed
    windows of speech. Unchanged files are skipped, each changed file is replaced in one
    transaction, and deleted files are removed, unless more than half of a folder's documents are
    gone, as when it is not mounted (exit code 1; --prune-all removes them). Unreadable files are
    reported and skipped (exit code 1). Safe to interrupt: the next run resumes. A run of more than
    half an hour is announced, from a timed sample of the files, and on a terminal asked about.
    """
    settings = given.settings(sentence_vectors=sentences, words=words)
    start = time.perf_counter()
    with ExitStack() as stack:
        with index_progress() as progress:
            from voicerag_core.ingest import Shard, index_files
            from voicerag_core.stack import open_voicerag

            share = None if shard is None else Shard.parsed(shard)
            engine = None
            if ray is not None:
                engine = stack.enter_context(_cluster(settings, ray, ray_workers))
            rag = stack.enter_context(open_voicerag(settings))
            report = index_files(
                rag,
                paths,
                chunk_size=settings.chunk_size if chunk_size is None else chunk_size,
                chunk_overlap=settings.chunk_overlap if chunk_overlap is None else chunk_overlap,
                text_column=text_column,
                encoding=encoding,
                recordings=settings.embedder == "sonar",
                prune=prune,
                prune_all=prune_all,
                dry_run=dry_run,
                shard=share,
                engine=engine,
                on_progress=progress.update,
                on_estimate=_told(progress, yes=yes, dry_run=dry_run),
            )
        for failure in report.failures:
            tell(f"skipped: {failure}", level="warning")
        for notice in report.notices[:_MOST_NOTICES]:
            tell(f"note: {notice}", level="info")
        if len(report.notices) > _MOST_NOTICES:
            tell(f"note: and {len(report.notices) - _MOST_NOTICES} more", level="info")
        for line in passed_over(report):
            tell(line, level="info")
        typer.echo(summary(report, time.perf_counter() - start, dry_run=dry_run))
    if report.failures:
        raise typer.Exit(EXIT_FAULT)


def _cluster(
    settings: Settings, address: str, workers: int | None
) -> AbstractContextManager[Engine]:
    """Connect to a Ray cluster; the adapter is named here, since the core imports none."""
    from voicerag_core.stack import require_server

    require_server(settings, "indexing on several machines")
    try:
        adapter = importlib.import_module("voicerag_integrations.ray")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "ray":
            raise
        raise MissingExtraError("ray", "indexing on a Ray cluster (--ray)") from error
    opened: AbstractContextManager[Engine] = adapter.ray_engine(
        settings, address=address, workers=workers
    )
    return opened


def _told(progress: IndexProgress, *, yes: bool, dry_run: bool) -> Callable[[Estimate], None]:
    """Return what is called with the estimate of a run: it warns, and asks on a terminal."""

    def tell(estimate: Estimate) -> None:
        rate = estimate.passages / max(0.001, estimate.seconds)
        line = (
            f"{counted(estimate.files, 'new or changed file')} with about "
            f"{counted(estimate.passages, 'passage')}: indexing takes "
            f"{duration(estimate.seconds)} on this machine "
            f"({rate:.1f} passages a second)"
        )
        if dry_run:
            progress.stop()
            typer.echo(line)
            return
        progress.expect(rate)
        if estimate.seconds < LONG_SECONDS:
            return
        with progress.paused():
            typer.echo(line, err=True)
            if yes or not is_interactive():
                return
            if not typer.confirm("Begin now? It may be interrupted and resumed", err=True):
                typer.echo("nothing was written", err=True)
                raise typer.Exit(EXIT_FAULT)

    return tell


def is_interactive() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def passed_over(report: FileReport) -> Iterator[str]:
    """Yield a line for each kind of file that was passed over."""
    from voicerag_core.documents.finding import OLD_OFFICE

    for suffix, names in report.passed_over.items():
        kind = suffix or "files without an ending"
        shown = ", ".join(names[:_MOST_NAMES])
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        better = OLD_OFFICE.get(suffix)
        advice = f" (save as {better} to have them read)" if better else ""
        yield f"passed over: {len(names)} {kind}: {shown}{more}{advice}"


def summary(report: FileReport, seconds: float, *, dry_run: bool = False) -> str:
    """Summarize a run over files in one line."""
    files = ", ".join(
        (
            f"{report.new} new",
            f"{report.changed} changed",
            f"{report.unchanged} unchanged",
            f"{report.removed} removed",
            f"{len(report.failures)} failed",
        )
    )
    skipped = f" ({report.skipped} of other kinds passed over)" if report.skipped else ""
    passages = "to embed" if dry_run else "written or deleted"
    done = f"files: {files}{skipped}; passages {passages}: {report.passages}; {seconds:.1f} s"
    return f"dry run, nothing was written; {done}" if dry_run else done

"""``voicerag index``."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from voicerag_core.cli.command import EXIT_FAULT, GlobalOptions
from voicerag_core.cli.progress import progress_bar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from voicerag_core.ingest import FileProgress, FileReport

__all__ = ["index", "index_progress", "summary"]

_MOST_NOTICES = 50
_MOST_NAMES = 5
_STEPS = {"compare": "comparing", "update": "embedding"}


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
        bool, typer.Option("--dry-run", help="Read and split the files; do not embed or write.")
    ] = False,
) -> None:
    """Update the index from files and folders.

    Reads txt, md, rst, html, pdf, docx, pptx, xlsx, odt, epub, eml, msg, ipynb, srt, vtt, jsonl,
    csv and tsv; with --embedder sonar also recordings (wav, flac, ogg, opus, mp3, aiff), as timed
    windows of speech. Unchanged files are skipped, each changed file is replaced in one
    transaction, and deleted files are removed. Unreadable files are reported and skipped (exit
    code 1). Safe to interrupt: the next run resumes.
    """
    settings = given.settings(sentence_vectors=sentences)
    from voicerag_core.ingest import index_files
    from voicerag_core.stack import open_voicerag

    start = time.perf_counter()
    with open_voicerag(settings) as rag:
        with index_progress() as on_progress:
            report = index_files(
                rag,
                paths,
                chunk_size=settings.chunk_size if chunk_size is None else chunk_size,
                chunk_overlap=settings.chunk_overlap if chunk_overlap is None else chunk_overlap,
                text_column=text_column,
                encoding=encoding,
                recordings=settings.embedder == "sonar",
                prune=prune,
                dry_run=dry_run,
                on_progress=on_progress,
            )
        for failure in report.failures:
            typer.echo(f"skipped: {failure}", err=True)
        for notice in report.notices[:_MOST_NOTICES]:
            typer.echo(f"note: {notice}", err=True)
        if len(report.notices) > _MOST_NOTICES:
            typer.echo(f"note: and {len(report.notices) - _MOST_NOTICES} more", err=True)
        for line in passed_over(report):
            typer.echo(line, err=True)
        typer.echo(summary(report, time.perf_counter() - start, dry_run=dry_run))
    if report.failures:
        raise typer.Exit(EXIT_FAULT)


@contextmanager
def index_progress() -> Iterator[Callable[[FileProgress], None]]:
    """Yield the progress display of `index_files`, and delay interrupts to a transaction's end.

    The first interrupt lets the current work finish, the second ends it at once.
    """
    from rich.progress import TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with progress_bar(*columns) as bar:
        bars = _Bars(bar)
        previous = signal.getsignal(signal.SIGINT)
        try:
            yield bars.update
        except KeyboardInterrupt:
            bar.stop()
            typer.echo(bars.left_off(), err=True)
            raise
        finally:
            signal.signal(signal.SIGINT, previous)


class _Bars:
    """One progress bar for each step.

    Args:
        progress: Where the bars are shown.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._start = 0.0
        self._last: FileProgress | None = None
        self._interrupted = False

    def update(self, progress: FileProgress) -> None:
        """Show the progress; raise if an interrupt came since the last call.

        Raises:
            KeyboardInterrupt: Between two transactions.
        """
        if self._last is None:  # before, an interrupt could end the process
            signal.signal(signal.SIGINT, self._note)
        self._last = progress
        if self._interrupted:
            raise KeyboardInterrupt
        if progress.step not in self._tasks:
            self._start = time.monotonic()
            self._tasks[progress.step] = self._progress.add_task(
                _STEPS[progress.step], total=max(1, progress.bytes_total), detail=""
            )
        rate = progress.passages / max(0.001, time.monotonic() - self._start)
        embedded = f", {progress.passages} passages, {rate:.0f}/s" if progress.passages else ""
        self._progress.update(
            self._tasks[progress.step],
            completed=progress.bytes,
            detail=f"{progress.files} of {progress.files_total} files{embedded}",
        )

    def left_off(self) -> str:
        """Describe in one line how far an interrupted run got."""
        if self._last is None or self._last.step != "update":
            return "nothing was written"
        return (
            f"{self._last.files} of {self._last.files_total} new or changed files are done; "
            "what was written stays, and the next run does the rest"
        )

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True


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

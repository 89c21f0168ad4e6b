"""What every command shares: the global options and the exit codes."""

from __future__ import annotations

import errno
import functools
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from voicerag_core.cli.output import report, set_up_reports
from voicerag_core.ending import end_at_signals, leave_threads, signalled
from voicerag_core.errors import VoiceRAGError

if TYPE_CHECKING:
    from voicerag_core.settings import Settings

__all__ = [
    "EXIT_ASKED_BACK",
    "EXIT_FAULT",
    "EXIT_INTERRUPTED",
    "EXIT_UNEXPECTED",
    "Collection",
    "DataDir",
    "DatabaseUrl",
    "Embedder",
    "GlobalOptions",
    "Stack",
    "Tenant",
    "Verbose",
    "command",
    "exiting_well",
]

EXIT_FAULT = 1
"""A `VoiceRAGError`, or a check that failed."""
EXIT_ASKED_BACK = 3
"""A spoken question was not heard well; the answer asks what was meant."""
EXIT_UNEXPECTED = 70
"""An internal error (EX_SOFTWARE of sysexits.h)."""
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""What a shell reports for a program ended by SIGPIPE."""

_OF_FILES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.ENFILE)
"""Errors of the file system that may not name a file: no room, too large, too many open."""

_PANEL = "Global options"

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="DSN",
        show_default=False,
        rich_help_panel=_PANEL,
        help="Postgres with pgvector; default: an embedded one. (VOICERAG_DATABASE_URL)",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        show_default=False,
        rich_help_panel=_PANEL,
        help="Folder for the embedded database and downloaded weights. (VOICERAG_DATA_DIR)",
    ),
]
Collection = Annotated[
    str | None,
    typer.Option(
        "--collection",
        metavar="NAME",
        show_default=False,
        rich_help_panel=_PANEL,
        help="Collection to index and ask. (VOICERAG_COLLECTION)",
    ),
]
Tenant = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        metavar="NAME",
        show_default=False,
        rich_help_panel=_PANEL,
        help="Tenant to read and write as. (VOICERAG_TENANT)",
    ),
]
Stack = Annotated[
    str | None,
    typer.Option(
        "--stack",
        metavar="NAME",
        show_default=False,
        rich_help_panel=_PANEL,
        help="Models that answer: local or glm. (VOICERAG_STACK)",
    ),
]
Embedder = Annotated[
    str | None,
    typer.Option(
        "--embedder",
        metavar="NAME",
        show_default=False,
        rich_help_panel=_PANEL,
        help="Embedding model: local, multilingual, sonar, http, or a folder or hub name; see "
        "`voicerag models`. (VOICERAG_EMBEDDER)",
    ),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", rich_help_panel=_PANEL, help="Show the traceback of an error."),
]


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """The global options; None for one that was not given."""

    database_url: str | None = None
    data_dir: Path | None = None
    collection: str | None = None
    tenant: str | None = None
    embedder: str | None = None
    verbose: bool = False
    stack: str | None = None

    def settings(
        self,
        *,
        collection: str | None = None,
        strategy: str | None = None,
        limit: int | None = None,
        speak: bool | None = None,
        sentence_vectors: bool | None = None,
        words: bool | None = None,
        table: str | None = None,
        instructions: str | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        max_new_tokens: int | None = None,
    ) -> Settings:
        """Build the settings from the command's values, the global options and the environment.

        Raises:
            ConfigError: A value is unknown or out of its range.
        """
        from voicerag_core.settings import load_settings
        from voicerag_core.telemetry import set_up_telemetry

        settings = load_settings(
            database_url=self.database_url,
            data_dir=self.data_dir,
            collection=self.collection if collection is None else collection,
            tenant=self.tenant,
            stack=self.stack,
            embedder=self.embedder,
            strategy=strategy,
            limit=limit,
            speak=speak,
            sentence_vectors=sentence_vectors,
            words=words,
            table=table,
            instructions=instructions,
            temperature=temperature,
            top_p=top_p,
            max_new_tokens=max_new_tokens,
        )
        set_up_telemetry(settings.telemetry, service="voicerag")
        return settings


_GLOBAL_OPTIONS: dict[str, Any] = {
    "database_url": DatabaseUrl,
    "data_dir": DataDir,
    "collection": Collection,
    "tenant": Tenant,
    "embedder": Embedder,
    "verbose": Verbose,
    "stack": Stack,
}


def command(
    app: typer.Typer, name: str | None = None, *, examples: tuple[str, ...]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command.

    Its first parameter is the `GlobalOptions`; on the command line they may also follow the
    command, and then override those before it. Errors become exit codes.

    Args:
        app: Where to register the command.
        name: Its name; None uses the function's.
        examples: Command lines for the end of its help.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(ctx: typer.Context, **values: Any) -> None:  # noqa: ANN401 - any option
            given = _merged(ctx.obj, {key: values.pop(key) for key in _GLOBAL_OPTIONS})
            with _ending(verbose=given.verbose):
                set_up_reports()
                function(given, **values)
                sys.stdout.flush()

        signature, hints = _with_global_options(function)
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = hints
        # typer reads its hints from the function below the wrapper otherwise
        del run.__wrapped__
        paragraphs = (inspect.getdoc(function) or "").split("\n\n")
        return app.command(
            name,
            help="\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs),
            epilog="\n\n".join(("Examples:", *examples)),
        )(run)

    return register


@contextmanager
def exiting_well() -> Iterator[None]:
    """Clean up on a signal, end silently when the output pipe is closed, and wait for no thread."""
    end_at_signals()
    try:
        with _flushed():
            yield
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            leave_threads(ended.code or 0)
        raise


@contextmanager
def _flushed() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _hush()


@contextmanager
def _ending(*, verbose: bool) -> Iterator[None]:
    """Print in one line why a command failed, and exit with the matching code."""
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except BrokenPipeError:
        _hush()
        raise typer.Exit(EXIT_BROKEN_PIPE) from None
    except KeyboardInterrupt:
        _quit("interrupted", EXIT_INTERRUPTED)
    except SystemExit:
        _end_if_signalled()
        raise
    except VoiceRAGError as error:
        _end_if_signalled()
        if verbose:
            traceback.print_exc()
        _quit(f"error: {error}", EXIT_FAULT, error)
    except Exception as error:  # noqa: BLE001 - the last place where it can be put plainly
        _end_if_signalled()
        if verbose:
            traceback.print_exc()
        if isinstance(error, OSError) and (error.filename or error.errno in _OF_FILES):
            _quit(f"error: {_plain(error)}", EXIT_FAULT, error)
        said = f"{type(error).__name__}: {error}".strip(": ")
        hint = "" if verbose else " (--verbose shows where)"
        _quit(f"unexpected error: {said}{hint}", EXIT_UNEXPECTED, error)


def _plain(error: OSError) -> str:
    """Say what the system refused, and for which file."""
    said = error.strerror or str(error)
    return f"{error.filename}: {said}" if error.filename else said


def _end_if_signalled() -> None:
    """End as the signal asks: what an interrupted import or call raises is not the reason."""
    if (number := signalled()) is not None:
        words = "interrupted" if number == signal.SIGINT else "terminated"
        _quit(words, 128 + number)


def _quit(message: str, code: int, error: Exception | None = None) -> NoReturn:
    with suppress(BrokenPipeError):
        report(message, level="error", error=error)
    raise typer.Exit(code) from None


def _hush() -> None:
    """Discard the output that is still to be flushed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def _merged(before: object, values: dict[str, Any]) -> GlobalOptions:
    if isinstance(before, GlobalOptions):
        for key in _GLOBAL_OPTIONS:
            values[key] = values[key] or getattr(before, key)
    return GlobalOptions(**values)


def _with_global_options(
    function: Callable[..., None],
) -> tuple[inspect.Signature, dict[str, Any]]:
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("ctx", keyword, annotation=typer.Context),
        *(parameter.replace(kind=keyword) for parameter in own),
        *(
            inspect.Parameter(
                key, keyword, default=False if key == "verbose" else None, annotation=annotation
            )
            for key, annotation in _GLOBAL_OPTIONS.items()
        ),
    ]
    hints = {parameter.name: parameter.annotation for parameter in parameters}
    return inspect.Signature(parameters), {**hints, "return": None}

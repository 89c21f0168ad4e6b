"""``voicerag eval``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from voicerag_core.cli.command import GlobalOptions
from voicerag_core.cli.evaluation_progress import told
from voicerag_core.cli.output import say, show_json
from voicerag_core.errors import ConfigError
from voicerag_core.retrieval import STRATEGIES

if TYPE_CHECKING:
    from voicerag_core.evaluation.report.tables import Table
    from voicerag_core.evaluation.runs.config import StoreMode
    from voicerag_core.types import SecondRound, Strategy

__all__ = ["compare", "export", "judge", "report", "run_sets", "show_sets"]

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the run.")]


def run_sets(
    given: GlobalOptions,
    *,
    folder: Folder,
    sets: Annotated[
        str | None,
        typer.Option(
            "--sets",
            metavar="NAMES",
            show_default=False,
            help="Sets, by comma; NAME=PATH for your own (simple=FOLDER). `voicerag eval sets` "
            "lists them.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", show_default=False, help="Folder of the sets."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few questions of each set, over few passages.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Every question spoken, under every condition.")
    ] = False,
    strategies: Annotated[
        str | None,
        typer.Option(
            "--strategies",
            metavar="NAMES",
            show_default=False,
            help=f"By comma, of {', '.join(STRATEGIES)}.",
        ),
    ] = None,
    stores: Annotated[
        str | None,
        typer.Option(
            "--stores",
            metavar="NAMES",
            show_default=False,
            help="shared, own (one store a question), or both.",
        ),
    ] = None,
    typed: Annotated[
        int | None,
        typer.Option("--typed", min=0, show_default=False, help="Typed questions of a set."),
    ] = None,
    spoken: Annotated[
        int | None,
        typer.Option("--spoken", min=0, show_default=False, help="Spoken questions of a set."),
    ] = None,
    hard: Annotated[
        int | None,
        typer.Option(
            "--hard", min=0, show_default=False, help="Of them with noise, room and telephone."
        ),
    ] = None,
    conditions: Annotated[
        str | None,
        typer.Option(
            "--conditions",
            metavar="NAMES",
            show_default=False,
            help="By comma, of 20 dB, 10 dB, 5 dB, 0 dB, room, telephone; 'none' for clean alone. "
            "All but telephone need recordings in noise/ of --data.",
        ),
    ] = None,
    answers: Annotated[
        int | None,
        typer.Option("--answers", min=0, show_default=False, help="Questions also answered."),
    ] = None,
    second_round: Annotated[
        str | None,
        typer.Option(
            "--second-round", metavar="WHEN", show_default=False, help="always, or when unsure."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Draws the questions.")] = 17,
    voices: Annotated[
        str | None,
        typer.Option(
            "--voices",
            metavar="NAMES",
            show_default=False,
            help="By comma, such as piper/joe,espeak/en-us; default: four that are installed.",
        ),
    ] = None,
    speak: Annotated[
        bool, typer.Option("--speak", help="Speak the answers, and transcribe them again.")
    ] = False,
    tiny: Annotated[
        bool,
        typer.Option("--tiny", help="Say in the report that the weights are random.", hidden=True),
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask questions whose answers are known, typed and spoken, and keep what came of each.

    An interrupted run goes on where it stopped. `voicerag eval report FOLDER` shows the figures.
    """
    from voicerag_core.evaluation.runs import QUICK, RunConfig, RunFolder, run

    if quick and everything:
        raise typer.BadParameter("give --quick or --all, not both", param_hint="--quick")
    config = QUICK if quick else RunConfig()
    if everything:
        config = replace(config, spoken=None, hard=10**9, answers=None, whole=True)
    changes: dict[str, Any] = {
        "sets": None if sets is None else _names(sets),
        "data": None if data is None else str(data),
        "strategies": None
        if strategies is None
        else cast("tuple[Strategy, ...]", _names(strategies)),
        "stores": None if stores is None else cast("tuple[StoreMode, ...]", _names(stores)),
        "typed": typed,
        "spoken": spoken,
        "hard": hard,
        "conditions": None if conditions is None else _names(conditions.replace("none", "")),
        "answers": answers,
        "second_round": cast("SecondRound | None", second_round),
        "voices": None if voices is None else _names(voices),
        "speak": speak or None,
        "tiny": tiny or None,
        "seed": seed,
    }
    given_values = {name: value for name, value in changes.items() if value is not None}
    config = replace(config, **given_values)
    settings = given.settings(speak=speak)
    with told() as tell:
        records = run(folder, config, settings, on_progress=tell)
    if json_output:
        show_json({"run": str(folder), "records": len(records)})
        return
    say("run", f"{folder}: {len(records)} records")
    for name, known in RunFolder(folder).sets().items():
        if known["problems"]:
            say("problems", f"{name}: {len(known['problems'])}, listed in the report")
    typer.echo(f"the figures: voicerag eval report {folder}", err=True)


def report(
    given: GlobalOptions,
    *,
    folder: Folder,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", show_default=False, help="Page; default: FOLDER/report.html."
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the tables as Markdown too.")
    ] = False,
    seen: Annotated[
        bool,
        typer.Option(
            "--seen", help="Count questions, too, that training, thresholds or development saw."
        ),
    ] = False,
) -> None:
    """Write one HTML page with the figures, plots and worst cases of a run."""
    del given
    from voicerag_core.evaluation.report import page, tables
    from voicerag_core.evaluation.runs import RunFolder

    run = RunFolder(folder)
    records = run.records()
    file = folder / "report.html" if out is None else out
    text = page(records, run.config(), run.about(), run.sets(), seen=seen)
    part = file.with_suffix(".part")
    try:
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror or error}") from error
    if markdown:
        for table in tables(records, seen=seen):
            typer.echo(_markdown(table))
    say("report", f"{file}: {len(records)} records")


def compare(
    given: GlobalOptions,
    *,
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="Folder of a run.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="Folder of another.")],
) -> None:
    """Compare two runs, question by question."""
    del given
    from voicerag_core.evaluation.report import compared_runs
    from voicerag_core.evaluation.runs import RunFolder

    typer.echo(_markdown(compared_runs(RunFolder(before).records(), RunFolder(after).records())))


def export(
    given: GlobalOptions,
    *,
    folder: Folder,
    form: Annotated[
        str,
        typer.Option("--as", metavar="TOOL", help="ragas, langsmith, phoenix or bare."),
    ] = "ragas",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", show_default=False, help="Default: standard output."),
    ] = None,
    answered: Annotated[
        bool, typer.Option("--answered/--every", help="Only records with an answer, or all.")
    ] = True,
) -> None:
    """Write the records of a run as JSON lines for other tools."""
    del given
    from voicerag_core.evaluation.report import exported
    from voicerag_core.evaluation.runs import RunFolder

    records = [one for one in RunFolder(folder).records() if not answered or one.answer is not None]
    lines = "".join(f"{line}\n" for line in exported(records, form))
    if out is None:
        typer.echo(lines, nl=False)
    else:
        out.write_text(lines, encoding="utf-8", errors="replace")
        say("export", f"{out}: {len(records)} records")


def judge(
    given: GlobalOptions,
    *,
    folder: Folder,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most answers to judge.")] = 100,
) -> None:
    """Let a chat model (VOICERAG_CHAT_*) judge the answers of a run.

    It is shown the gold answer of every second question alone; on the others its agreement with
    the gold is measured. Answers that have marks already are not judged again.
    """
    from contextlib import ExitStack

    from voicerag_core.evaluation.judging import agreement, judged
    from voicerag_core.evaluation.runs import Progress, RunFolder
    from voicerag_core.stack.remote import chosen_chat

    run = RunFolder(folder)
    answered = [one for one in run.records() if one.answer is not None]
    wanted = [one for one in answered if not one.judged][:limit]
    unmarked = 0
    with ExitStack() as stack:
        chat = chosen_chat(given.settings(), stack)
        if chat is None:
            raise ConfigError(
                "a judge is a chat model: set VOICERAG_CHAT=http and VOICERAG_CHAT_URL"
            )
        tell = stack.enter_context(told())
        for number, one in enumerate(wanted, 1):
            marked = judged(one, chat)
            unmarked += not marked.judged
            run.add(marked)
            tell(Progress("judging", one.set, number, len(wanted)))
    say("judged", f"{len(wanted)} answers, {unmarked} of them without marks")
    same = agreement(run.records())
    if same is not None:
        say("agreement", f"{same.share:.3f} with the gold, kappa {same.kappa:.3f} (n {same.count})")


def show_sets(given: GlobalOptions) -> None:
    """List the sets that a run can ask."""
    del given
    from voicerag_core.evaluation.datasets import SETS

    for name, source in SETS.items():
        form = f"{name}=PATH" if source.needs_path else name
        typer.echo(f"{form:<29}{'*' if source.usual else ' '} {source.about}")
    typer.echo("* asked unless --sets says otherwise", err=True)


def _names(given: str) -> tuple[str, ...]:
    return tuple(name for one in given.split(",") if (name := one.strip()))


def _markdown(table: Table) -> str:
    lines = [f"## {table.title}", ""]
    if table.note:
        lines += [table.note, ""]
    lines += [
        "| " + " | ".join(row) + " |"
        for row in (table.head, ["---"] * len(table.head), *table.lines)
    ]
    return "\n".join([*lines, ""])

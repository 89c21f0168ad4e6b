"""The command tree."""

from __future__ import annotations

from typing import Annotated

import typer

from voicerag_core.cli import (
    ask,
    backups,
    calibration,
    care,
    chat,
    convert,
    database,
    demo,
    doctor,
    download,
    evaluation,
    exchange,
    index,
    listing,
    models,
    serve,
    speech,
    table,
    watch,
)
from voicerag_core.cli.command import (
    Collection,
    DatabaseUrl,
    DataDir,
    Embedder,
    GlobalOptions,
    Stack,
    Tenant,
    Verbose,
    command,
)

__all__ = ["app"]

app = typer.Typer(
    name="voicerag",
    help="Ask your documents by voice: answers in text and speech, with their sources.",
    epilog='Start here:\n\nvoicerag index ./docs\n\nvoicerag ask "Who may sign a contract?"\n\n'
    "voicerag ask --audio q.wav",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"voicerag {version('voicerag-core')}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    *,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    collection: Collection = None,
    tenant: Tenant = None,
    embedder: Embedder = None,
    verbose: Verbose = False,
    stack: Stack = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Store the global options given before the command."""
    ctx.obj = GlobalOptions(database_url, data_dir, collection, tenant, embedder, verbose, stack)


command(app, examples=("voicerag demo", "voicerag demo --out answer.wav --data-dir /tmp/try"))(
    demo.demo
)
command(
    app,
    examples=(
        "voicerag index ~/notes handbook.pdf",
        "voicerag index faq.csv --text-column answer --collection faq",
        "voicerag index ~/notes --dry-run",
        "voicerag index ~/notes --embedder sonar --collection sonar",
    ),
)(index.index)
command(
    app,
    examples=(
        'voicerag ask "Who may sign a contract?"',
        "voicerag ask --audio question.wav --out answer.wav",
        "voicerag ask - --no-speech < question.txt",
        "arecord -f cd -d 5 | voicerag ask --audio - --json",
    ),
)(ask.ask)
command(
    app,
    examples=(
        "voicerag chat",
        'voicerag chat --instructions "Speak slowly, with long pauses."',
        "voicerag chat --no-speech < questions.txt",
    ),
)(chat.chat)
command(
    app,
    examples=(
        'voicerag search "notice period" --limit 10',
        "voicerag search --audio question.wav --where title=Handbook --json",
        "voicerag search --audio question.wav --embedder sonar --clips found",
    ),
)(ask.search)
command(app, examples=("voicerag watch ~/notes", "voicerag watch /srv/docs --settle 10"))(
    watch.watch
)
command(
    app, "list",
    examples=(
        "voicerag list",
        "voicerag list --documents --collection faq",
        "voicerag list --match '*.pdf' --json",
    ),
)(listing.list_content)  # fmt: skip
command(
    app,
    examples=(
        "voicerag remove ~/notes/old.md",
        "voicerag remove ~/notes/drafts '*.tmp.md' --yes",
        "voicerag remove --whole-collection --collection faq",
    ),
)(listing.remove)
command(
    app,
    examples=(
        "voicerag export faq.jsonl --collection faq",
        "voicerag export - --no-vectors | gzip > texts.jsonl.gz",
    ),
)(exchange.export)
command(
    app, "import",
    examples=(
        "voicerag import faq.jsonl",
        "voicerag import faq.jsonl --collection copy --embed",
        "zcat texts.jsonl.gz | voicerag import - --embed",
    ),
)(exchange.import_)  # fmt: skip
command(app, examples=("voicerag transcribe meeting.wav", "voicerag transcribe *.flac --json"))(
    speech.transcribe
)
command(
    app, examples=('voicerag speak "Good morning." --out hello.wav', "voicerag speak - < text")
)(speech.speak)
command(
    app,
    examples=(
        "voicerag serve",
        "voicerag serve --collection faq --port 8100",
        "voicerag serve --host 0.0.0.0 --token-file tokens.toml",
    ),
)(serve.serve)
command(app, examples=("voicerag convert ~/weights/glm ~/weights/converted",))(convert.convert)
command(app, examples=("voicerag doctor", "voicerag doctor --no-calls --json"))(doctor.doctor)

command(app, examples=("voicerag models", "voicerag models --json"))(models.models)

_db = typer.Typer(help="Manage the database.", no_args_is_help=True)
app.add_typer(_db, name="db")
command(_db, examples=("voicerag db status", "voicerag db status --json"))(database.status)
command(_db, examples=("voicerag db migrate --database-url postgresql://me@db.example.com/kb",))(
    database.migrate
)
command(
    _db,
    examples=(
        "voicerag db reembed --to intfloat/multilingual-e5-small",
        "voicerag db reembed --to http --collection faq",
    ),
)(database.reembed)
command(_db, examples=("voicerag db partition --parts 16",))(database.partition)
command(
    _db,
    examples=(
        "voicerag db tune",
        "voicerag db tune --recall 0.99 --collection faq",
        "voicerag db tune --index bit",
    ),
)(database.tune)
command(_db, examples=("voicerag db reset --collection faq", "voicerag db reset --all --yes"))(
    database.reset
)

command(_db, examples=("voicerag db backup kb.zip", "voicerag db backup /mnt/kb.zip --force"))(
    backups.backup
)
command(
    _db,
    examples=("voicerag db restore kb.zip --database-url postgresql://me@db.example.com/new",),
)(backups.restore)
command(_db, examples=("voicerag db verify kb.zip", "voicerag db verify kb.zip --file-only"))(
    backups.verify
)
command(_db, examples=("voicerag db stats", "voicerag db stats --json"))(care.stats)
command(_db, examples=("voicerag db reindex", "voicerag db reindex --collection faq"))(care.reindex)
command(_db, examples=("voicerag db url", "voicerag db url --keep"))(care.url)

_table = typer.Typer(
    help="Look at tables that other programs fill, before you ask them.", no_args_is_help=True
)
app.add_typer(_table, name="table")
command(
    _table,
    "list",
    examples=("voicerag table list --database-url postgresql://me@db.example.com/app",),
)(table.list_tables)
command(
    _table,
    examples=(
        "voicerag table inspect public.documents --database-url postgresql://me@db.example.com/app",
        "voicerag table inspect langchain_pg_embedding --collection docs --json",
    ),
)(table.inspect)

command(
    app,
    examples=(
        "voicerag calibrate questions.jsonl --collection faq",
        "voicerag calibrate questions.jsonl --dry-run --json",
    ),
)(calibration.calibrate)
_eval = typer.Typer(
    help="Measure retrieval and answers on questions whose answers are known.",
    no_args_is_help=True,
)
app.add_typer(_eval, name="eval")
command(
    _eval,
    "run",
    examples=(
        "voicerag eval run figures --data ~/sets --quick",
        "voicerag eval run mine --sets simple=~/questions",
        "voicerag eval run figures --data ~/sets --sets xquad-en,hotpotqa --strategies e2e,hybrid",
    ),
)(evaluation.run_sets)
command(
    _eval,
    "report",
    examples=("voicerag eval report figures", "voicerag eval report figures --markdown"),
)(evaluation.report)
command(_eval, "compare", examples=("voicerag eval compare before after",))(evaluation.compare)
command(_eval, "export", examples=("voicerag eval export figures --as ragas --out samples.jsonl",))(
    evaluation.export
)
command(_eval, "judge", examples=("voicerag eval judge figures --limit 50",))(evaluation.judge)
command(_eval, "sets", examples=("voicerag eval sets",))(evaluation.show_sets)

_download = typer.Typer(help="Fetch weight files on request.", no_args_is_help=True)
app.add_typer(_download, name="download")
command(_download, examples=("voicerag download local",))(download.local)
command(
    _download,
    examples=("voicerag download glm", "voicerag download glm --part lm --to ~/weights/glm"),
)(download.glm)
command(
    _download,
    examples=(
        "voicerag download model intfloat/multilingual-e5-small",
        "voicerag download model Systran/faster-whisper-small --revision main",
    ),
)(download.model)
command(
    _download,
    examples=("voicerag download sonar --language eng", "voicerag download sonar --language deu"),
)(download.sonar)

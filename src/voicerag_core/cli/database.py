"""``voicerag db``, and the database checks of ``voicerag doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from voicerag_core.cli.checks import Finding
from voicerag_core.cli.command import GlobalOptions
from voicerag_core.cli.output import counted, say, show_json
from voicerag_core.cli.plans import plans
from voicerag_core.cli.progress import progress_bar
from voicerag_core.cli.question import JsonOutput
from voicerag_core.errors import StoreError

if TYPE_CHECKING:
    from voicerag_core.settings import Settings
    from voicerag_core.store import CollectionInfo, DatabaseStatus

__all__ = [
    "described",
    "findings",
    "migrate",
    "none_yet",
    "partition",
    "reached",
    "reembed",
    "reset",
    "status",
    "tune",
]

_OLDEST_EXTENSION = (0, 8)


class IndexKind(StrEnum):
    """What an index is over."""

    HALFVEC = "halfvec"
    BIT = "bit"


def status(given: GlobalOptions, *, json_output: JsonOutput = False) -> None:
    """Print the server, its schema version and the content of its collections."""
    settings = given.settings()
    with reached(settings) as dsn:
        if dsn is None:
            if json_output:
                show_json({"database": None, "collections": []})
            else:
                typer.echo(none_yet(settings))
            return
        found, collections = _looked_at(dsn, settings.tenant)
        if json_output:
            listed = [asdict(collection) for collection in collections]
            show_json({"database": asdict(found), "collections": listed})
            return
        say("database", found.place)
        say("server", f"Postgres {found.server_version}, pgvector {_extension(found)}")
        say("schema", _schema(found))
        say("size", f"{found.size / 1e6:.1f} MB, voicerag's tables {found.tables / 1e6:.1f} MB")
        say("tenant", settings.tenant)
        for collection in collections:
            say("", described(collection))
        if not collections and found.schema_version == found.schema_expected:
            say("", "no collections")


def migrate(given: GlobalOptions) -> None:
    """Create the schema of the database, or update it.

    The login needs permission to create a schema and roles. An embedded database is updated
    automatically. Nothing needs to be indexed again, and an interrupted update changes nothing.
    """
    from voicerag_core.store import EmbeddedPostgres
    from voicerag_core.store import migrate as bring_up_to_date

    settings = given.settings()
    if settings.database_url is not None:
        applied = bring_up_to_date(settings.database_url.get_secret_value())
    else:
        with EmbeddedPostgres(settings.data_dir / "postgres") as server:
            applied = bring_up_to_date(server.dsn)
    if applied:
        typer.echo(f"migrations applied: {', '.join(map(str, applied))}")
    else:
        typer.echo("the schema is up to date")


def reset(
    given: GlobalOptions,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Every collection of every tenant, instead of one.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete a collection, or all of them, with documents, passages and vectors.

    The collection is that of --collection, or "default". Asks for confirmation.
    """
    from voicerag_core.store import list_collections
    from voicerag_core.store import reset as delete

    settings = given.settings()
    with reached(settings) as dsn:
        if dsn is None:
            typer.echo(f"nothing to delete: {none_yet(settings)}")
            return
        if everything:
            what = (
                f"every collection of every tenant in {_looked_at(dsn, settings.tenant)[0].place}"
            )
        else:
            name = settings.collection
            listed = {one.name: one for one in list_collections(dsn, tenant=settings.tenant)}
            if name not in listed:
                raise StoreError(
                    f"there is no collection {name!r} of tenant {settings.tenant!r}; "
                    f"there are: {', '.join(listed) or 'none'}"
                )
            what = f"the collection {name!r} with {counted(listed[name].passages, 'passage')}"
        if not yes:
            typer.confirm(f"delete {what}?", abort=True, err=True)
        deleted = delete(
            dsn, collection=None if everything else settings.collection, tenant=settings.tenant
        )
    number = f" ({counted(deleted, 'passage')})" if everything else ""
    typer.echo(f"deleted: {what}{number}")


def reembed(
    given: GlobalOptions,
    *,
    to: Annotated[
        str,
        typer.Option("--to", metavar="EMBEDDER", help="The new embedder, as VOICERAG_EMBEDDER."),
    ],
) -> None:
    """Give a collection the vectors of another embedder, from its stored texts.

    The collection is that of --collection, or "default"; no file is read again. Until all vectors
    are there, the collection is searched and filled as before; then they take the place of the old
    ones at once. A run that was interrupted goes on where it stopped. The passages of recordings
    are embedded by their transcripts.
    """
    from voicerag_core.rag import embed_passages
    from voicerag_core.stack import open_database, open_parts
    from voicerag_core.store import reembed as embed_again

    settings = given.settings().model_copy(update={"embedder": to})
    with (
        open_parts(settings) as parts,
        open_database(settings) as dsn,
        progress_bar() as bar,
    ):
        task = bar.add_task("passages", total=None)
        done = embed_again(
            dsn,
            collection=settings.collection,
            tenant=settings.tenant,
            model_id=parts.embedder.model_id,
            dim=parts.embedder.dim,
            embed=lambda passages: embed_passages(
                parts.embedder, passages, sentences=settings.sentence_vectors
            ),
            on_progress=lambda have, total: bar.update(task, completed=have, total=total),
        )
        model = parts.embedder.model_id
    if done:
        have = "has" if done == 1 else "have"
        passages = counted(done, "passage")
        typer.echo(f"{settings.collection}: {passages} {have} vectors of {model} now")
        typer.echo(f"search it with VOICERAG_EMBEDDER={to}, or --embedder {to}")
    else:
        typer.echo(f"nothing to do: {settings.collection} has vectors of {model}")


def tune(
    given: GlobalOptions,
    *,
    recall: Annotated[
        float | None,
        typer.Option(
            "--recall",
            metavar="SHARE",
            show_default=False,
            help="Share of the ten nearest passages to find; default: as last time, or 0.97.",
        ),
    ] = None,
    ef_search: Annotated[
        int | None,
        typer.Option(
            "--ef-search",
            metavar="N",
            show_default=False,
            help="Keep this number of candidates instead of finding one, and measure its recall.",
        ),
    ] = None,
    questions: Annotated[
        int | None,
        typer.Option("--questions", metavar="N", show_default=False, help="How many to ask."),
    ] = None,
    over: Annotated[
        IndexKind | None,
        typer.Option(
            "--index",
            show_default=False,
            help="Build the index anew first: over the vectors, or over their signs (bit).",
        ),
    ] = None,
    json_output: JsonOutput = False,
) -> None:
    """Measure how widely the index of a collection is to be searched, and keep it.

    The collection is that of --collection, or "default". Questions near its stored vectors are
    asked by the index and by comparing all; searches then keep as few candidates as give the
    recall. The same happens whenever an index is built.
    """
    from voicerag_core.stack import open_collection_to_tune

    settings = given.settings()
    with open_collection_to_tune(settings) as store:
        if over is not None:
            store.build_index(kind=over.value, anew=True, tune=False)
        done = store.tune(recall, ef_search=ef_search, questions=questions)
    if json_output:
        show_json(
            {"collection": settings.collection, "tuned": None if done is None else asdict(done)}
        )
        return
    if done is None:
        typer.echo(
            f"{settings.collection} has no index: all its vectors are compared, and every search "
            "is exact; --index builds one"
        )
        return
    for candidates, share in done.measured:
        say("", f"{candidates:>5,} candidates: recall {share:.3f}")
    typer.echo(
        f"{settings.collection}: searches keep {done.ef_search} candidates, which find "
        f"{done.recall:.3f} of the ten nearest passages ({done.questions} questions, aim "
        f"{done.target:g})"
    )


def partition(
    given: GlobalOptions,
    *,
    parts: Annotated[
        int, typer.Option("--parts", metavar="N", help="How many partitions; 2 to 256.")
    ] = 16,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Spread the vectors of all collections over partitions, by a hash of the collection.

    For databases of many large collections: while the index of one is built, writes to the others
    go on. Searches stay as they are. Reads and writes wait until it is done, which takes as long as
    copying the vectors and building every index; asks for confirmation.
    """
    from voicerag_core.stack import open_database
    from voicerag_core.store import partition as spread

    settings = given.settings()
    if not yes:
        typer.confirm("copy all vectors and build all indexes anew?", abort=True, err=True)
    with open_database(settings) as dsn:
        built = spread(dsn, parts)
    typer.echo(f"the vectors are in {parts} partitions; indexes built: {built}")


def findings(settings: Settings) -> Iterator[Finding]:
    """Check server, extension, schema and collections without changing them."""
    with reached(settings) as dsn:
        if dsn is None:
            from voicerag_core.store.embedded import server_programs

            server_programs()
            yield Finding("database", "ok", none_yet(settings))
            return
        found, collections = _looked_at(dsn, settings.tenant)
        yield Finding("database", "ok", f"Postgres {found.server_version} ({found.place})")
        yield _extension_finding(found)
        if found.schema_version == found.schema_expected:
            yield Finding("database", "ok", f"schema {_schema(found)}")
        elif found.schema_version > found.schema_expected:
            cure = "install a newer voicerag-core"
            yield Finding("database", "fail", f"schema {_schema(found)}", cure)
        else:
            yield Finding("database", "fail", f"schema {_schema(found)}", "voicerag db migrate")
        for collection in collections:
            yield _collection_finding(collection, settings)
        yield from plans(dsn, settings.tenant, collections)


def _extension_finding(found: DatabaseStatus) -> Finding:
    text = f"pgvector {_extension(found)}"
    version = found.extension_version
    if version is not None:
        if tuple(int(part) for part in version.split(".")[:2]) >= _OLDEST_EXTENSION:
            return Finding("database", "ok", text)
        cure = "update pgvector on the server to 0.8 or newer, then ALTER EXTENSION vector UPDATE"
        return Finding("database", "fail", text, cure)
    if found.extension_available is not None:
        return Finding("database", "fail", text, "voicerag db migrate")
    return Finding("database", "fail", text, "install pgvector 0.8 or newer on the server")


def _collection_finding(collection: CollectionInfo, settings: Settings) -> Finding:
    if settings.multilingual:
        from voicerag_core.local.multilingual.embedder import DIM, MODEL_ID
    else:
        from voicerag_core.local.minilm import DIM, MODEL_ID

    text = f"collection {described(collection)}"
    packaged = settings.multilingual or settings.embedder == "local"
    if not packaged or (collection.model_id, collection.dim) == (MODEL_ID, DIM):
        return Finding("database", "ok", text)
    return Finding(
        "database", "warn", f"{text}; the running stack embeds with {MODEL_ID}, width {DIM}",
        "use another --collection with this stack, or voicerag db reembed --to local",
    )  # fmt: skip


@contextmanager
def reached(settings: Settings) -> Iterator[str | None]:
    """Yield the DSN of the database; None if the embedded one does not exist yet.

    Raises:
        StoreError: Its folder cannot be looked into.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    from voicerag_core.store import EmbeddedPostgres

    folder = settings.data_dir.expanduser() / "postgres"
    try:
        (folder / "pgdata").stat()
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    except OSError as error:
        raise StoreError(
            f"the data folder {settings.data_dir} cannot be looked into: "
            f"{error.strerror or error}; run this as its owner, or choose another folder"
        ) from error
    with EmbeddedPostgres(folder) as server:
        yield server.dsn


def _looked_at(dsn: str, tenant: str) -> tuple[DatabaseStatus, tuple[CollectionInfo, ...]]:
    from voicerag_core.store import list_collections
    from voicerag_core.store import status as look

    found = look(dsn)
    current = found.schema_version == found.schema_expected
    return found, list_collections(dsn, tenant=tenant) if current else ()


def none_yet(settings: Settings) -> str:
    """Say that the embedded database was not made yet."""
    return f"no database yet in {settings.data_dir}; the first `voicerag index` makes it"


def _schema(found: DatabaseStatus) -> str:
    if found.schema_version == found.schema_expected:
        return f"version {found.schema_version}, up to date"
    if found.schema_version == 0:
        return "not made yet: run voicerag db migrate"
    cure = "run voicerag db migrate"
    if found.schema_version > found.schema_expected:
        cure = "install a newer voicerag-core"
    versions = f"version {found.schema_version}, and this program works with"
    return f"{versions} {found.schema_expected}: {cure}"


def _extension(found: DatabaseStatus) -> str:
    if found.extension_version is not None:
        return found.extension_version
    if found.extension_available is not None:
        return f"{found.extension_available} on the server, not in this database"
    return "not on the server"


def described(collection: CollectionInfo) -> str:
    """Say in one line what a collection is and holds."""
    how = "no index: all are compared, exactly"
    if collection.indexed:
        how = "HNSW index" + (" over signs" if collection.index_kind == "bit" else "")
        if collection.recall is not None:
            how += f", {collection.ef_search} candidates, recall {collection.recall:.3f}"
    if not collection.words:
        how += ", without words"
    return (
        f"{collection.name}: {counted(collection.documents, 'document')}, "
        f"{counted(collection.passages, 'passage')}, {counted(collection.vectors, 'vector')} of "
        f"{collection.model_id} ({collection.dim} wide), {how}"
    )

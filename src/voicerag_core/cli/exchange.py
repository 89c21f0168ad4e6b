"""``voicerag export`` and ``voicerag import``."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from voicerag_core.cli.command import GlobalOptions
from voicerag_core.cli.database import none_yet, reached
from voicerag_core.cli.output import counted
from voicerag_core.cli.progress import progress_bar
from voicerag_core.errors import DocumentError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from voicerag_core.ingest import CollectionHeader, ImportReport, OnPassages
    from voicerag_core.settings import Settings
    from voicerag_core.store import PgVectorStore
    from voicerag_core.types import Embeddings, Passage

__all__ = ["export", "import_"]

_STANDARD = "-"


def export(
    given: GlobalOptions,
    *,
    path: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="The file to write, '-' for standard output.", show_default=False
        ),
    ],
    vectors: Annotated[
        bool, typer.Option("--vectors/--no-vectors", help="Write the vectors, too.")
    ] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file of this name when all is written.")
    ] = False,
) -> None:
    """Write a collection as lines of JSON: documents, passages, metadata and vectors.

    The collection is that of --collection, or "default", as it is at one moment. The file is there
    whole or not at all. To save all collections of all tenants, use voicerag db backup.
    """
    from voicerag_core.ingest import CollectionHeader, write_collection
    from voicerag_core.store import export_passages
    from voicerag_core.store.whole_file import whole_file

    settings = given.settings()
    with ExitStack() as stack:
        dsn = stack.enter_context(reached(settings))
        if dsn is None:
            raise StoreError(f"there is nothing to export: {none_yet(settings)}")
        known, passages = stack.enter_context(
            export_passages(
                dsn, collection=settings.collection, tenant=settings.tenant, vectors=vectors
            )
        )
        bar = stack.enter_context(progress_bar())
        task = bar.add_task("passages", total=known.passages)
        file: BinaryIO = (
            sys.stdout.buffer
            if path == _STANDARD
            else stack.enter_context(whole_file(Path(path), replace=force))
        )
        documents, number = write_collection(
            file,
            CollectionHeader(
                known.name, known.model_id, known.dim, known.language, vectors, known.words
            ),
            passages,
            on_passages=lambda done, _: bar.update(task, completed=done),
        )
        file.flush()
    what = f"{counted(documents, 'document')}, {counted(number, 'passage')}"
    typer.echo(f"exported: {what}", err=path == _STANDARD)


def import_(
    given: GlobalOptions,
    *,
    path: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A file of voicerag export, '-' for standard input.",
            show_default=False,
        ),
    ],
    embed: Annotated[
        bool,
        typer.Option(
            "--embed", help="Compute the vectors from the texts, with the embedder in use."
        ),
    ] = False,
) -> None:
    """Put an exported collection into a collection, which is made if there is none.

    It is that of --collection, or of the name that it had. Documents of the same name are
    replaced; what else is there stays. The whole file is checked before anything is written, and to
    import it again changes nothing. Vectors of another embedding model than the one in use, or than
    the collection's, are refused. A new collection is searched by words if the exported one was,
    unless VOICERAG_WORDS says otherwise.
    """
    from voicerag_core.ingest import read_header

    with _opened(path) as file:
        header = read_header(file)
        settings = given.settings()
        if "collection" not in settings.model_fields_set:
            settings = settings.model_copy(update={"collection": header.collection})
        with progress_bar() as bar:
            task = bar.add_task("passages", total=None)

            def show(done: int, total: int | None) -> None:
                bar.update(task, completed=done, total=total)

            report = _imported(settings, file, header, show, embed=embed)
    typer.echo(
        f"imported into {settings.collection}: {counted(report.documents, 'document')}, "
        f"{counted(report.passages, 'passage')}; {report.changed} new, changed or deleted"
    )


def _imported(
    settings: Settings, file: BinaryIO, header: CollectionHeader, show: OnPassages, *, embed: bool
) -> ImportReport:
    from voicerag_core.ingest import import_collection
    from voicerag_core.rag import embed_passages
    from voicerag_core.stack import LateStore, open_database, open_parts

    def embedded(passages: Sequence[Passage]) -> tuple[Embeddings, NDArray[np.int64]]:
        return embed_passages(model, passages, sentences=settings.sentence_vectors)

    with ExitStack() as stack:
        model = stack.enter_context(open_parts(settings)).embedder

        def opened() -> PgVectorStore:
            from voicerag_core.store import PgVectorStore, list_collections

            dsn = stack.enter_context(open_database(settings))
            there = {one.name for one in list_collections(dsn, tenant=settings.tenant)}
            words = settings.words
            if words is None and settings.collection not in there:
                words = header.words
            return stack.enter_context(
                PgVectorStore.open(
                    dsn,
                    collection=settings.collection,
                    tenant=settings.tenant,
                    model_id=model.model_id,
                    dim=model.dim,
                    language=None if settings.collection in there else header.language,
                    words=words,
                )
            )

        return import_collection(
            LateStore(opened),  # no collection is made for a file that cannot be used
            file,
            model_id=model.model_id,
            dim=model.dim,
            embed=embedded if embed else None,
            on_passages=show,
        )


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Yield a file that can be read twice."""
    from voicerag_core.files import regular_file

    if path == _STANDARD:
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.seek(0)
            yield copy
        return
    try:
        with regular_file(Path(path)) as file:
            yield file
    except OSError as error:
        raise DocumentError(
            f"{path} cannot be read: {error.strerror or error}; give a file, or '-' for standard "
            "input"
        ) from error

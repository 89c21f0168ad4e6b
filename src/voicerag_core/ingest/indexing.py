"""The stages in this process, one after the other: plan, read, embed, write."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from voicerag_core.chunking import CHUNK_OVERLAP, CHUNK_SIZE
from voicerag_core.documents import OpenFile, find_files, open_regular, source_of
from voicerag_core.errors import ConfigError, VoiceRAGError
from voicerag_core.ingest.digests import Cutting
from voicerag_core.ingest.embed import Batch, BatchEmbedding, Vectors, embed_documents
from voicerag_core.ingest.engine import Engine, Indexed
from voicerag_core.ingest.estimate import Estimate, OnEstimate, Sample, estimated, is_large
from voicerag_core.ingest.plan import Plan, Source, plan_documents, plan_files
from voicerag_core.ingest.progress import FileReport, Meter, OnProgress
from voicerag_core.ingest.pruning import withheld
from voicerag_core.ingest.read import CutDocument, read_sources
from voicerag_core.ingest.shards import Shard
from voicerag_core.ingest.write import write_document
from voicerag_core.ports import BulkStore
from voicerag_core.rag import VoiceRAG
from voicerag_core.types import Document

__all__ = ["index_documents", "index_files"]


def index_files(
    rag: VoiceRAG,
    paths: Sequence[str | os.PathLike[str]],
    *,
    chunk_size: int = CHUNK_SIZE,
    chunk_overlap: int = CHUNK_OVERLAP,
    text_column: str | None = None,
    encoding: str | None = None,
    recordings: bool = False,
    check: Callable[[Path], None] | None = None,
    prune: bool = True,
    prune_all: bool = False,
    open_file: OpenFile = open_regular,
    dry_run: bool = False,
    shard: Shard | None = None,
    engine: Engine | None = None,
    on_progress: OnProgress | None = None,
    on_estimate: OnEstimate | None = None,
) -> FileReport:
    """Synchronize the store with files and folders.

    A file that cannot be read is reported, and its indexed content is kept. Other failures, such as
    those of the database, are raised; what was written until then is kept. An exception from
    `on_progress` or `on_estimate` stops the run between two transactions.

    Args:
        rag: Its store is a `DocumentStore`.
        paths: Files and folders.
        chunk_size: Maximum length of a passage, in characters.
        chunk_overlap: Maximum overlap of passages, in characters.
        text_column: Column of csv and tsv files, key of jsonl files, that holds the text; by
            default "text", and when there is none, all columns are used.
        encoding: Encoding of text files; by default what they state, UTF-8, or detected.
        recordings: Index sound files too; requires an embedder of arbitrary speech such as SONAR,
            not only of spoken questions.
        check: Called with the path of each file before it is opened; a `DocumentError` that it
            raises is reported for the file.
        prune: Remove files that were deleted from the given folders. If more than half of a
            folder's documents are gone, they are kept and a failure is reported.
        prune_all: Remove them even then.
        open_file: Opens a file for reading; a `DocumentError` that it raises is reported for it.
        dry_run: Read and split the files; write nothing.
        shard: Take only this share of the files, and of those that were deleted.
        engine: Reads, embeds and writes in other processes; this one plans and removes.
        on_progress: Called when an activity begins, and after every file compared, every batch
            embedded and every file written.
        on_estimate: Called before a run that has much to do, with an estimate from a timed sample
            of its files; and at the end of a dry run.

    Raises:
        ConfigError: The store is not a `DocumentStore`, size and overlap do not fit, or the
            embedder cannot embed recordings.
        ModelError: The embedder failed.
        StoreError: The database failed.
    """
    if recordings and rag.embedder.needs_transcriber:
        raise ConfigError(
            f"recordings are found by their sound, and the embedder {rag.embedder.model_id!r} "
            "needs a transcript; choose one that does not, such as SonarEmbedder"
        )
    store = rag.document_store
    cutting = Cutting(chunk_size, chunk_overlap, rag.sentence_vectors, text_column, encoding)
    Meter("compare", (), on_progress).begin("opening")
    found = find_files(paths, recordings=recordings)
    known = store.document_digests()
    if shard is not None:
        mine = tuple(path for path in found.files if shard.has(source_of(path)))
        found = replace(found, files=mine)
        known = {source: digest for source, digest in known.items() if shard.has(source)}
    kept, withheld_errors = withheld(found, known) if prune and not prune_all else ((), [])
    plan = plan_files(
        found, known, cutting, check=check, open_file=open_file, on_progress=on_progress
    )
    if on_estimate is not None and not dry_run and engine is None and is_large(plan):
        Meter("update", plan.differing, on_progress).begin("estimating")
        on_estimate(estimated(plan, cutting, BatchEmbedding(rag.embedder, cutting.sentences)))
    if engine is not None and not dry_run:
        report = _by_engine(rag, plan, cutting, engine, on_progress)
    else:
        report = _update(rag, plan, cutting, on_progress, on_estimate, dry_run=dry_run)
    deleted = [one for one in found.vanished(plan.vanished) if one not in kept] if prune else []
    removed = store.remove_documents(deleted) if deleted and not dry_run else 0
    return replace(
        report,
        removed=len(deleted),
        failures=(*report.failures, *withheld_errors),
        passages=report.passages + removed,
        passed_over=found.passed_over,
        notices=(*_said_of(plan), *report.notices),
    )


def _said_of(plan: Plan) -> Iterator[str]:
    """Yield what there is to say of files that did not change and are read again."""
    if plan.read_anew:
        files = "1 file is" if plan.read_anew == 1 else f"{plan.read_anew:,} files are"
        yield f"{files} read anew: this version reads such files in another way"


def index_documents(
    rag: VoiceRAG,
    documents: Iterable[Document],
    *,
    chunk_size: int = CHUNK_SIZE,
    chunk_overlap: int = CHUNK_OVERLAP,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
) -> FileReport:
    """Synchronize the store with these documents.

    Documents are identified by their source. Those of one source replace its stored content in one
    transaction; unchanged ones are neither embedded nor written, and other sources are not touched.
    A document that cannot be stored is reported. Failures and progress are as in `index_files`,
    counting sources instead of files.

    Args:
        rag: Its store is a `DocumentStore`.
        documents: Texts from other places than files, or read by the caller.
        chunk_size: Maximum length of a passage, in characters.
        chunk_overlap: Maximum overlap of passages, in characters.
        dry_run: Split the documents; neither embed nor write.
        on_progress: Called when an activity begins, and after every source compared, every batch
            embedded and every source written.

    Raises:
        ConfigError: The store is not a `DocumentStore`, or size and overlap do not fit.
        ModelError: The embedder failed.
        StoreError: The database failed.
    """
    cutting = Cutting(chunk_size, chunk_overlap, rag.sentence_vectors)
    Meter("compare", (), on_progress).begin("opening")
    known = rag.document_store.document_digests()
    plan = plan_documents(documents, known, cutting, on_progress=on_progress)
    return _update(rag, plan, cutting, on_progress, None, dry_run=dry_run)


def _update(
    rag: VoiceRAG,
    plan: Plan,
    cutting: Cutting,
    on_progress: OnProgress | None,
    on_estimate: OnEstimate | None,
    *,
    dry_run: bool,
) -> FileReport:
    """Read, embed and write the sources of a plan."""
    meter = _meter(plan, on_progress)
    failed: dict[str, VoiceRAGError] = {}

    def fail(source: Source, error: VoiceRAGError) -> None:
        failed[source.source] = error
        meter.add(files=1, size=source.size)

    notices: list[str] = []
    documents = _noting(
        read_sources(_announced(plan.differing, meter), cutting, fail), meter, notices
    )
    embed = BatchEmbedding(rag.embedder, cutting.sentences)
    if dry_run:
        passages = _tried(documents, embed, meter, on_estimate)
    else:
        passages = _stored(rag, documents, embed, meter)
    read = {source.source for source in plan.differing} - failed.keys()
    return FileReport(
        new=len(read - plan.known),
        changed=len(read & plan.known),
        unchanged=plan.unchanged,
        removed=0,
        skipped=plan.skipped,
        failures=(*plan.failures, *failed.values()),
        passages=passages,
        vectors=meter.vectors,
        notices=tuple(notices),
    )


def _meter(plan: Plan, on_progress: OnProgress | None) -> Meter:
    """Return the meter of a plan's sources; without any there is no update whose share is told."""
    return Meter("update" if plan.differing else "compare", plan.differing, on_progress)


def _by_engine(
    rag: VoiceRAG, plan: Plan, cutting: Cutting, engine: Engine, on_progress: OnProgress | None
) -> FileReport:
    """Let an engine do the sources of a plan."""
    meter = _meter(plan, on_progress)
    done: dict[str, Indexed] = {}
    if plan.differing:
        meter.begin("loading")
    with _loading(rag):
        for one in engine(plan.differing, cutting) if plan.differing else ():
            if one.source in done:
                continue  # an engine may do a source again whose result was lost
            done[one.source] = one
            meter.begin("writing")
            meter.add(files=1, size=one.size, passages=one.passages, vectors=one.vectors)
        meter.begin("preparing")
    read = {one.source for one in done.values() if one.failure is None}
    failed = [one.failure for one in done.values() if one.failure is not None]
    return FileReport(
        new=len(read - plan.known),
        changed=len(read & plan.known),
        unchanged=plan.unchanged,
        removed=0,
        skipped=plan.skipped,
        failures=(*plan.failures, *failed),
        passages=sum(one.changed for one in done.values()),
        vectors=meter.vectors,
        notices=tuple(f"{one.source}: {note}" for one in done.values() for note in one.notices),
    )


def _loading(rag: VoiceRAG) -> AbstractContextManager[None]:
    """Tell the store that much is written, if it wants to know.

    A run that finds nothing to write says so too: an earlier one may have been ended before the
    store did what it puts off until a load is over.
    """
    store: object = rag.store
    return store.bulk_load() if isinstance(store, BulkStore) else nullcontext()


def _stored(
    rag: VoiceRAG, documents: Iterable[CutDocument], embed: BatchEmbedding, meter: Meter
) -> int:
    """Embed and write documents; return how many passages were written or deleted."""
    loaded = False

    def announced(batch: Batch) -> Vectors:
        nonlocal loaded
        if not loaded:
            meter.begin("loading")
            embed.warm()
            loaded = True
        meter.begin("embedding")
        return embed(batch)

    passages = 0
    with _loading(rag):
        for part in embed_documents(documents, announced):
            if part.document is not None:
                meter.begin("writing")
                passages += write_document(rag.document_store, part.document)
            meter.add(
                files=int(part.document is not None),
                size=part.size,
                passages=part.passages,
                vectors=part.vectors,
            )
        meter.begin("preparing")
    return passages


def _tried(
    documents: Iterable[CutDocument],
    embed: BatchEmbedding,
    meter: Meter,
    on_estimate: OnEstimate | None,
) -> int:
    """Read documents, and estimate how long it takes to index them; return their passages."""
    start = time.perf_counter()
    sample = Sample()
    files = passages = 0
    for document in documents:
        files += 1
        passages += len(document.passages)
        sample.add(document)
        meter.add(files=1, size=document.size)
    reading = time.perf_counter() - start
    if on_estimate is not None and passages:
        meter.begin("embedding")
        on_estimate(Estimate(files, passages, reading + passages * sample.seconds_each(embed)))
    return passages


def _announced(sources: Iterable[Source], meter: Meter) -> Iterator[Source]:
    """Yield sources, and report before each that it is read."""
    for source in sources:
        meter.begin("reading")
        yield source


def _noting(
    documents: Iterable[CutDocument], meter: Meter, notices: list[str]
) -> Iterator[CutDocument]:
    """Yield documents, and keep how dense they are and what was not read of them."""
    for document in documents:
        meter.count_read(document, len(document.passages))
        notices += [f"{document.source}: {notice}" for notice in document.notices]
        yield document

"""Ingest texts and files for the callers of a server."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from voicerag_core.documents import read_file
from voicerag_core.errors import ConfigError, DocumentError
from voicerag_core.ingest import (
    FileProgress,
    FileReport,
    index_documents,
    index_files,
    text_source,
)
from voicerag_core.rag import VoiceRAG
from voicerag_core.serving.auth import Caller
from voicerag_core.serving.jobs import Job
from voicerag_core.serving.limits import Limits
from voicerag_core.serving.paths import AllowedPaths
from voicerag_core.serving.tenants import Tenants
from voicerag_core.serving.values import TakenIn
from voicerag_core.settings import Settings
from voicerag_core.types import Document

__all__ = ["Ingesting", "ingest_paths"]

_MOST_FAILURES = 20
_MOST_NAME_BYTES = 200


class Ingesting:
    """Ingests texts and files for callers.

    The methods block. Each runs as a `Job`, which receives its progress and can stop it.

    Args:
        tenants: Models and collections.
        paths: Folders whose files calls may name.
        limits: Limits of the server.
    """

    def __init__(self, tenants: Tenants, paths: AllowedPaths, limits: Limits) -> None:
        self._tenants = tenants
        self._paths = paths
        self._limits = limits

    def take_text(
        self,
        job: Job,
        caller: Caller,
        text: str,
        *,
        source: str | None = None,
        title: str = "",
        collection: str | None = None,
    ) -> TakenIn:
        """Ingest the text of a document; one of the same name is replaced.

        Args:
            job: Receives the progress.
            caller: Who makes the call.
            text: The text.
            source: Name of the document; None derives one from the text.
            title: Title of the document.
            collection: Created if absent; None is the default one.

        Raises:
            ForbiddenError: The caller may not write, or the server is read-only.
            ConfigError: The text cannot be ingested.
            VoiceRAGError: A part failed.
        """
        caller.check_may_write()
        started, most = time.perf_counter(), self._limits.max_text_chars
        if len(text) > most:
            raise ConfigError(
                f"the text has {len(text)} characters, and {most} are taken in one call; cut it "
                "into several documents"
            )
        if "\0" in text + title + (source or ""):
            raise ConfigError("the text holds a NUL character, which no database keeps; remove it")
        document = Document(source or text_source(text), text, title)
        with self._tenants.rag(job, caller.tenant, collection, write=True) as rag:
            report = _ingest_documents(rag, [document], self._tenants.settings, job)
        return self._taken(report, collection, started)

    def take_file(
        self, job: Job, caller: Caller, name: str, data: bytes, *, collection: str | None = None
    ) -> TakenIn:
        """Ingest the text of an uploaded file; one of the same name is replaced.

        Args:
            job: Receives the progress.
            caller: Who makes the call.
            name: Name of the file; its ending tells the kind, folders before it are left out.
            data: Its bytes.
            collection: Created if absent; None is the default one.

        Raises:
            ForbiddenError: The caller may not write, or the server is read-only.
            DocumentError: The file is of an unknown kind, or cannot be read as text.
            VoiceRAGError: A part failed.
        """
        caller.check_may_write()
        started = time.perf_counter()
        job.report("reading")
        documents = _uploaded(name, data)
        if not documents:
            raise DocumentError(f"{name} holds no text; give a file with text in it")
        with self._tenants.rag(job, caller.tenant, collection, write=True) as rag:
            report = _ingest_documents(rag, documents, self._tenants.settings, job)
        return self._taken(report, collection, started)

    def take_paths(
        self,
        job: Job,
        caller: Caller,
        paths: Sequence[str],
        *,
        collection: str | None = None,
        prune_all: bool = False,
    ) -> TakenIn:
        """Synchronize a collection with files and folders of the server.

        Args:
            job: Receives the progress.
            caller: Who makes the call.
            paths: Paths in allowed folders.
            collection: Created if absent; None is the default one.
            prune_all: Remove deleted documents even if they are more than half of a folder's.

        Raises:
            ForbiddenError: The caller may not write, or the server is read-only.
            DocumentError: A path may not be read.
            VoiceRAGError: A part failed.
        """
        caller.check_may_write()
        started = time.perf_counter()
        with self._tenants.rag(job, caller.tenant, collection, write=True) as rag:
            report = ingest_paths(
                rag, paths, self._paths, self._tenants.settings, job, prune_all=prune_all
            )
        return self._taken(report, collection, started)

    def _taken(self, report: FileReport, collection: str | None, started: float) -> TakenIn:
        failures = [str(error) for error in report.failures]
        if len(failures) > _MOST_FAILURES:
            failures = [*failures[:_MOST_FAILURES], f"and {len(failures) - _MOST_FAILURES} more"]
        return TakenIn(
            collection or self._tenants.settings.collection,
            sources=report.new + report.changed,
            unchanged=report.unchanged,
            removed=report.removed,
            passages=report.passages,
            failures=tuple(failures),
            seconds=time.perf_counter() - started,
        )


def _uploaded(name: str, data: bytes) -> list[Document]:
    """Read the bytes of a file as files are read; its source is its name."""
    plain = PurePosixPath(name.replace("\\", "/")).name
    if not plain.isprintable() or len(plain.encode(errors="replace")) > _MOST_NAME_BYTES:
        raise DocumentError(
            f"a file cannot be called {plain[:40]!r}…: give it a name of at most "
            f"{_MOST_NAME_BYTES} bytes without control characters"
        )
    with tempfile.TemporaryDirectory(prefix="voicerag-upload-") as folder:
        path = Path(folder, plain)
        path.write_bytes(data)
        try:
            content = read_file(path)
        except DocumentError as error:
            raise DocumentError(str(error).replace(str(path), plain)) from error
        return [
            replace(document, source=document.source.replace(content.source, plain, 1))
            for document in content.documents
        ]


def _ingest_documents(
    rag: VoiceRAG, documents: Sequence[Document], settings: Settings, job: Job
) -> FileReport:
    job.report("looking")
    report = index_documents(
        rag,
        documents,
        chunk_size=settings.chunk_size,
        chunk_overlap=settings.chunk_overlap,
        on_progress=lambda _: job.report("embedding"),
    )
    for failure in report.failures:
        raise failure
    return report


def ingest_paths(
    rag: VoiceRAG,
    paths: Sequence[str],
    allowed: AllowedPaths,
    settings: Settings,
    job: Job,
    *,
    prune_all: bool = False,
) -> FileReport:
    """Synchronize the store of a `VoiceRAG` with allowed files and folders.

    Every file is opened by `AllowedPaths.open`.

    Raises:
        DocumentError: A path may not be read.
        VoiceRAGError: A part failed.
    """
    return index_files(
        rag,
        [allowed.find(path) for path in paths],
        chunk_size=settings.chunk_size,
        chunk_overlap=settings.chunk_overlap,
        prune_all=prune_all,
        open_file=allowed.open,
        on_progress=lambda state: _tell(job, state),
    )


def _tell(job: Job, state: FileProgress) -> None:
    done = state.bytes if state.step == "update" else 0
    total = max(1, state.bytes_total) if state.step == "update" else None
    job.report(f"{state.doing}: {state.files} of {state.files_total} files", done, total)

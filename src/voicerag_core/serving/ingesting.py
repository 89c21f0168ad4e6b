"""Take in texts and files: from the arguments of a call to counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

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


class Ingesting:
    """Writes for callers: takes in texts and files.

    The methods block. Each runs as a `Job`, which takes its progress and ends it.

    Args:
        tenants: Models and collections.
        paths: Files that may be named.
        limits: What is taken in.
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
        """Take in the text of a document; one of the same name is replaced.

        Args:
            job: Takes the progress.
            caller: Who wants it.
            text: The text.
            source: Name of the document; None makes one of the text.
            title: Title of the document.
            collection: Made when there is none; None is the default one.

        Raises:
            ForbiddenError: The caller may not write, or the server is read-only.
            ConfigError: The text cannot be taken.
            VoiceRAGError: Something failed.
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
            report = _ingest_text(rag, document, self._tenants.settings, job)
        return self._taken(report, collection, started)

    def take_paths(
        self, job: Job, caller: Caller, paths: Sequence[str], *, collection: str | None = None
    ) -> TakenIn:
        """Bring a collection in step with files and folders of the server.

        Args:
            job: Takes the progress.
            caller: Who wants it.
            paths: In folders that the server allows.
            collection: Made when there is none; None is the default one.

        Raises:
            ForbiddenError: The caller may not write, or the server is read-only.
            DocumentError: A path may not be read.
            VoiceRAGError: Something failed.
        """
        caller.check_may_write()
        started = time.perf_counter()
        with self._tenants.rag(job, caller.tenant, collection, write=True) as rag:
            report = ingest_paths(rag, paths, self._paths, self._tenants.settings, job)
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


def _ingest_text(rag: VoiceRAG, document: Document, settings: Settings, job: Job) -> FileReport:
    job.tell("looking")
    report = index_documents(
        rag,
        [document],
        chunk_size=settings.chunk_size,
        chunk_overlap=settings.chunk_overlap,
        on_progress=lambda _: job.tell("embedding"),
    )
    for failure in report.failures:
        raise failure
    return report


def ingest_paths(
    rag: VoiceRAG, paths: Sequence[str], allowed: AllowedPaths, settings: Settings, job: Job
) -> FileReport:
    """Bring the store of a `VoiceRAG` in step with allowed files and folders.

    Raises:
        DocumentError: A path may not be read.
        VoiceRAGError: Something failed.
    """

    def check(file: Path) -> None:
        if allowed.inside(file) is None:
            raise DocumentError(f"{file} leads out of the folders that this server may read")

    return index_files(
        rag,
        [allowed.find(path) for path in paths],
        chunk_size=settings.chunk_size,
        chunk_overlap=settings.chunk_overlap,
        check=check,
        on_progress=lambda state: _tell(job, state),
    )


def _tell(job: Job, state: FileProgress) -> None:
    step = "comparing" if state.step == "compare" else "embedding"
    done = state.bytes if state.step == "update" else 0
    total = max(1, state.bytes_total) if state.step == "update" else None
    job.tell(f"{step}: {state.files} of {state.files_total} files", done, total)

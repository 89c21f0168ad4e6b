"""The tool that writes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from inspect import getdoc
from pathlib import Path
from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from voicerag_core import (
    ConfigError,
    Document,
    FileProgress,
    VoiceRAG,
    VoiceRAGError,
    index_documents,
    index_files,
)
from voicerag_core.documents import FoundFiles, find_files
from voicerag_core.ingest import text_source
from voicerag_mcp.auth import WRITE
from voicerag_mcp.results import IngestResult, result
from voicerag_mcp.service import Service, told
from voicerag_mcp.tools import CollectionName
from voicerag_mcp.work import Job

__all__ = ["WritingTools"]

_MOST_FAILURES = 20


class WritingTools:
    """Ingest texts and files.

    Args:
        service: What the tool works with.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, server: MCPServer[None]) -> None:
        """Add the tool to a server."""
        server.add_tool(
            self.voice_ingest,
            title="Add documents",
            description=getdoc(self.voice_ingest),
            annotations=ToolAnnotations(
                read_only_hint=False,
                destructive_hint=True,
                idempotent_hint=True,
                open_world_hint=False,
            ),
        )

    async def voice_ingest(
        self,
        ctx: Context[None, object],
        *,
        text: Annotated[str | None, Field(description="Text of a document", min_length=1)] = None,
        source: Annotated[
            str | None,
            Field(
                description="Name of the text's document; one of the same name is replaced",
                min_length=1,
                max_length=1000,
            ),
        ] = None,
        title: Annotated[
            str, Field(description="Title of the text's document", max_length=500)
        ] = "",
        paths: Annotated[
            list[str] | None,
            Field(
                description="Files and folders that the server allows; kept in step with the disk",
                min_length=1,
                max_length=100,
            ),
        ] = None,
        collection: CollectionName = None,
    ) -> Annotated[CallToolResult, IngestResult]:
        """Take a text, or files of the server, into the knowledge base.

        Give either text (with source and title) or paths. What is unchanged costs nothing; a
        changed document is replaced as a whole. The collection is made when there is none.
        """
        service, tenant = self._service, self._service.tenant
        if not service.caller.may_write:
            raise ToolError(f"this token may not write: it lacks the scope {WRITE!r}")

        def work(job: Job) -> IngestResult:
            started = time.perf_counter()
            with service.knowledge.rag(job, tenant, collection, write=True) as rag:
                if text is not None and paths is None:
                    counts = _ingest_text(service, rag, text, source, title, job)
                elif paths is not None and text is None:
                    counts = _ingest_paths(service, rag, paths, job)
                else:
                    raise ConfigError("give either text or paths")
            return counts.model_copy(
                update={
                    "collection": collection or service.knowledge.settings.collection,
                    "seconds": round(time.perf_counter() - started, 3),
                }
            )

        with told():
            value = await service.run(ctx, work)
        counts = (
            f"{value.sources} documents taken in, {value.unchanged} unchanged, {value.removed} "
            f"removed; {value.passages} passages written in {value.collection!r}."
        )
        problems = [f"not usable: {failure}" for failure in value.failures]
        return result(value, "\n".join([counts, *problems]))


def _ingest_text(  # noqa: PLR0917
    service: Service, rag: VoiceRAG, text: str, source: str | None, title: str, job: Job
) -> IngestResult:
    settings, most = service.knowledge.settings, service.settings.max_text_chars
    if len(text) > most:
        raise ConfigError(
            f"the text has {len(text)} characters, and {most} are taken in one call; cut it into "
            "several documents"
        )
    job.tell("embedding")
    report = index_documents(
        rag,
        [Document(source or text_source(text), text, title)],
        chunk_size=settings.chunk_size,
        chunk_overlap=settings.chunk_overlap,
    )
    for failure in report.failures:
        raise failure
    return _counts(
        sources=report.new + report.changed, unchanged=report.unchanged, passages=report.passages
    )


def _ingest_paths(service: Service, rag: VoiceRAG, paths: Sequence[str], job: Job) -> IngestResult:
    settings = service.knowledge.settings
    found = find_files([service.paths.find(path) for path in paths])
    inside, outside = _split(service, found.files)
    report = index_files(
        rag,
        inside,
        chunk_size=settings.chunk_size,
        chunk_overlap=settings.chunk_overlap,
        on_progress=lambda state: _tell(job, state),
    )
    removed, gone = _prune(rag, found, job)
    failures = [*_said(found.problems), *outside, *_said(report.failures)]
    return _counts(
        sources=report.new + report.changed,
        unchanged=report.unchanged,
        removed=removed,
        passages=report.passages + gone,
        failures=failures[:_MOST_FAILURES]
        + (
            [f"and {len(failures) - _MOST_FAILURES} more"] if len(failures) > _MOST_FAILURES else []
        ),
    )


def _split(service: Service, files: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Part the files that lie in allowed folders from links that lead elsewhere."""
    inside, outside = [], []
    for file in files:
        if service.paths.inside(file) is None:
            outside.append(f"{file} leads out of the folders that this server may read")
        else:
            inside.append(file)
    return inside, outside


def _prune(rag: VoiceRAG, found: FoundFiles, job: Job) -> tuple[int, int]:
    """Remove what lay in the named folders and is there no longer."""
    job.check()
    vanished = found.vanished(rag.document_store.document_digests())
    return len(vanished), rag.document_store.remove_documents(vanished) if vanished else 0


def _tell(job: Job, state: FileProgress) -> None:
    step = "comparing" if state.step == "compare" else "embedding"
    done = state.bytes if state.step == "update" else 0
    total = max(1, state.bytes_total) if state.step == "update" else None
    job.tell(f"{step}: {state.files} of {state.files_total} files", done, total)


def _said(errors: Sequence[VoiceRAGError]) -> list[str]:
    return [str(error) for error in errors]


def _counts(
    *,
    sources: int = 0,
    unchanged: int = 0,
    removed: int = 0,
    passages: int = 0,
    failures: Sequence[str] = (),
) -> IngestResult:
    return IngestResult(
        collection="",
        sources=sources,
        unchanged=unchanged,
        removed=removed,
        passages=passages,
        failures=list(failures),
        seconds=0.0,
    )

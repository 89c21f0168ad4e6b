"""The tool that writes."""

from __future__ import annotations

from inspect import getdoc
from typing import Annotated

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from voicerag_core import ConfigError
from voicerag_core.serving import Caller, Job, TakenIn
from voicerag_mcp.errors import tool_errors
from voicerag_mcp.results import IngestResult, result
from voicerag_mcp.service import Service
from voicerag_mcp.tools import CollectionName

__all__ = ["WritingTools"]


class WritingTools:
    """Ingest texts and files.

    Args:
        service: The application.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def tools(self) -> list[Tool]:
        """Return the tool."""
        return [
            Tool.from_function(
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
        ]

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
                description="Files and folders that the server allows; deleted files are removed",
                min_length=1,
                max_length=100,
            ),
        ] = None,
        collection: CollectionName = None,
        prune_all: Annotated[
            bool,
            Field(
                description="Remove deleted files even if they are more than half of a folder's; "
                "only when the user confirmed that they were deleted on purpose"
            ),
        ] = False,
    ) -> Annotated[CallToolResult, IngestResult]:
        """Ingest a text, or files of the server, into the knowledge base.

        Pass either text (with source and title) or paths. Unchanged documents are skipped; a
        changed document is replaced as a whole. The collection is created if absent.
        """
        ingesting = self._service.serving.ingesting

        def work(caller: Caller, job: Job) -> TakenIn:
            caller.check_may_write()
            if text is not None and paths is None:
                return ingesting.take_text(
                    job, caller, text, source=source, title=title, collection=collection
                )
            if paths is not None and text is None:
                return ingesting.take_paths(
                    job, caller, paths, collection=collection, prune_all=prune_all
                )
            raise ConfigError("give either text or paths")

        with tool_errors():
            taken = await self._service.run(ctx, work)
        value = IngestResult(
            collection=taken.collection,
            sources=taken.sources,
            unchanged=taken.unchanged,
            removed=taken.removed,
            passages=taken.passages,
            failures=list(taken.failures),
            seconds=round(taken.seconds, 3),
        )
        counts = (
            f"{value.sources} documents ingested, {value.unchanged} unchanged, {value.removed} "
            f"removed; {value.passages} passages written in {value.collection!r}."
        )
        problems = [f"not done: {failure}" for failure in value.failures]
        return result(value, "\n".join([counts, *problems]))

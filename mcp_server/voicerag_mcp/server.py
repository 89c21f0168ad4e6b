"""One server object for every transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version

from mcp.server.mcpserver import MCPServer

from voicerag_core import Settings
from voicerag_mcp.clips import ClipStore
from voicerag_mcp.ingest import WritingTools
from voicerag_mcp.knowledge import Knowledge, open_knowledge
from voicerag_mcp.paths import AllowedPaths
from voicerag_mcp.resources import Resources
from voicerag_mcp.service import Service
from voicerag_mcp.settings import ServerSettings
from voicerag_mcp.tools import ReadingTools
from voicerag_mcp.work import Workers

__all__ = ["build_server", "open_service"]

INSTRUCTIONS = (
    "Answers questions from the user's own documents. voice_ask answers, with sources and in "
    "speech; voice_search gives the passages themselves. A question is text, or sound by the id "
    "of an uploaded clip. Cite the sources you use. When an answer says that the documents do not "
    "answer, say so."
)


@contextmanager
def open_service(
    settings: Settings, server_settings: ServerSettings, *, knowledge: Knowledge | None = None
) -> Iterator[Service]:
    """Put the parts of a server together; nothing is loaded or connected before its first use.

    Args:
        settings: Of the engine.
        server_settings: Of the server.
        knowledge: Models and stores of your own; None opens what the settings name.

    Raises:
        ConfigError: The settings contradict each other, or an allowed path is no folder.
    """
    with ExitStack() as stack:
        paths = AllowedPaths.of(server_settings.allowed_paths)
        if knowledge is None:
            knowledge = stack.enter_context(
                open_knowledge(
                    settings,
                    most_open=server_settings.open_stores,
                    read_only=server_settings.read_only,
                )
            )
        workers = Workers(server_settings.workers, server_settings.max_waiting)
        stack.callback(workers.close)
        clips = ClipStore(server_settings.clip_minutes * 60, server_settings.clip_bytes)
        yield Service(knowledge, server_settings, clips, paths, workers)


def build_server(service: Service) -> MCPServer[None]:
    """Make the server of a service: tools, resources, completion and prompt.

    The service outlives the server's lifespan; whoever opened it closes it. When a lifespan ends,
    jobs that still run are stopped.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
        try:
            yield None
        finally:
            service.workers.stop_all()

    server: MCPServer[None] = MCPServer(
        "voicerag",
        title="voicerag: ask your documents by voice",
        version=version("voicerag-core"),
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        log_level="WARNING",
    )
    ReadingTools(service).register(server)
    if not service.knowledge.read_only:
        WritingTools(service).register(server)
    Resources(service).register(server)
    return server

"""One server object for every transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version

from mcp.server.mcpserver import MCPServer

from voicerag_core import Settings
from voicerag_core.serving import Tenants, open_serving
from voicerag_mcp.arguments import CheckingServer
from voicerag_mcp.resources import Resources
from voicerag_mcp.service import Service
from voicerag_mcp.settings import ServerSettings
from voicerag_mcp.tools import ReadingTools
from voicerag_mcp.writing import WritingTools

__all__ = ["build_server", "open_service"]

INSTRUCTIONS = (
    "Answers questions from the user's own documents. voice_ask answers, with sources and in "
    "speech; voice_search returns the passages themselves. A question is text, or sound by the id "
    "of an uploaded clip. Cite the sources you use. When an answer says that the documents do not "
    "answer, say so."
)


@contextmanager
def open_service(
    settings: Settings, server_settings: ServerSettings, *, knowledge: Tenants | None = None
) -> Iterator[Service]:
    """Assemble the parts of a server; nothing is loaded or connected before its first use.

    Args:
        settings: Settings of models and database.
        server_settings: Settings of the server.
        knowledge: Models and collections that are already open; None opens those of the settings.

    Raises:
        ConfigError: The settings contradict each other, or an allowed path is no folder.
    """
    with open_serving(
        settings,
        server_settings.limits(),
        tenants=knowledge,
        how_to_ingest="voice_ingest, or `voicerag index` on the server",
    ) as serving:
        yield Service(serving, server_settings)


def build_server(service: Service) -> MCPServer[None]:
    """Create the server of a service: tools, resources, completion and prompt.

    The service outlives the server's lifespan and is closed by its opener. At the end of a
    lifespan, running jobs are stopped.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
        try:
            yield None
        finally:
            service.serving.workers.stop_all()

    tools = ReadingTools(service).tools()
    if not service.serving.tenants.read_only:
        tools += WritingTools(service).tools()
    server = CheckingServer(
        "voicerag",
        tools,
        {
            "title": "voicerag: ask your documents by voice",
            "version": version("voicerag-core"),
            "instructions": INSTRUCTIONS,
            "lifespan": lifespan,
            "log_level": "WARNING",
        },
    )
    Resources(service).register(server)
    return server

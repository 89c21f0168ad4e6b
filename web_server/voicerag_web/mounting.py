"""The MCP server in the same process, on the same models, workers and queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.types import ASGIApp

from voicerag_core import MissingExtraError
from voicerag_web.service import WebService

if TYPE_CHECKING:
    from voicerag_mcp.settings import ServerSettings

__all__ = ["MCP_PATHS", "mcp_app"]

MCP_PATHS = ("/mcp", "/clips")


def mcp_app(service: WebService) -> tuple[Starlette, ASGIApp]:
    """Create what serves `MCP_PATHS` behind the guard of the web server.

    Returns:
        The application whose lifespan has to be entered, and what serves requests.

    Raises:
        MissingExtraError: The extra ``mcp`` is not installed.
    """
    try:
        from voicerag_mcp.http import guarded_app
        from voicerag_mcp.server import build_server
        from voicerag_mcp.service import Service
    except ModuleNotFoundError as error:
        raise MissingExtraError("mcp", "the MCP server") from error
    mcp = Service(service.serving, _settings(service))
    return guarded_app(mcp, build_server(mcp))


def _settings(service: WebService) -> ServerSettings:
    """Return the settings of the MCP server that those of the web server stand for."""
    from voicerag_mcp.settings import load_server_settings

    own = service.settings
    return load_server_settings(
        read_only=not own.allow_ingest,
        max_audio_bytes=own.max_audio_bytes,
        max_body_bytes=own.max_body_bytes,
        host=own.host,
        port=own.port,
        public_url=own.public_url,
        token_file=own.token_file,
        issuer=own.issuer,
        tenant_claim=own.tenant_claim,
        clip_minutes=own.clip_minutes,
    )

"""A Model Context Protocol server for voicerag.

`open_service` assembles models, stores and limits, `build_server` creates the server object of the
official SDK for every transport, and `http_app` the ASGI application around it::

    with open_service(load_settings(), load_server_settings()) as service:
        build_server(service).run("stdio")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicerag_core.lazy import Needs, lazy_names

if TYPE_CHECKING:
    from voicerag_mcp.http import http_app
    from voicerag_mcp.server import build_server, open_service
    from voicerag_mcp.settings import ServerSettings, load_server_settings

_LAZY = {
    "ServerSettings": "voicerag_mcp.settings",
    "build_server": "voicerag_mcp.server",
    "http_app": "voicerag_mcp.http",
    "load_server_settings": "voicerag_mcp.settings",
    "open_service": "voicerag_mcp.server",
}

__all__ = ["ServerSettings", "build_server", "http_app", "load_server_settings", "open_service"]

_NEEDS = Needs("mcp", {"mcp", "mcp_types", "starlette", "uvicorn"}, "the MCP server")

__getattr__, __dir__ = lazy_names(__name__, _LAZY, _NEEDS)

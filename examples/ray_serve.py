"""The MCP server as a deployment of Ray Serve: serve run examples.ray_serve:app.

Every replica is a whole server with models of its own, over one database, which must be named:
VOICERAG_DATABASE_URL. Settings are those of voicerag-mcp, VOICERAG_MCP_TOKEN_FILE among them; set
VOICERAG_MCP_ALLOWED_HOSTS to the name under which callers reach the proxy. A clip is kept by the
replica that made it, so with several of them each needs an application of its own, behind a
balancer that sends a caller always to the same one: docs/scaling.md.
"""

from __future__ import annotations

import atexit
from contextlib import ExitStack

from ray import serve
from starlette.applications import Starlette

from voicerag_core import load_settings
from voicerag_mcp.http import http_app
from voicerag_mcp.server import build_server, open_service
from voicerag_mcp.settings import load_server_settings


def server() -> Starlette:
    """Assemble one replica; its models are loaded by its first question."""
    opened = ExitStack()
    atexit.register(opened.close)
    service = opened.enter_context(open_service(load_settings(), load_server_settings()))
    return http_app(service, build_server(service))


class VoiceRAG:
    """Answers at /mcp; uploads of clips go to /clips."""


deployment = serve.deployment(num_replicas=1, ray_actor_options={"num_cpus": 0.5})
app = deployment(serve.ingress(server)(VoiceRAG)).bind()

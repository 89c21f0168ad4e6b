"""A web server for voicerag: speak to your documents in a browser, or through OpenAI's protocols.

`open_web_service` assembles models, stores and limits, and `web_app` the ASGI application::

    with open_web_service(load_settings(), load_web_settings()) as service:
        app = web_app(service)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicerag_core.lazy import Needs, lazy_names

if TYPE_CHECKING:
    from voicerag_web.app import web_app
    from voicerag_web.command import run
    from voicerag_web.service import WebService, open_web_service
    from voicerag_web.settings import WebSettings, load_web_settings

_LAZY = {
    "WebService": "voicerag_web.service",
    "WebSettings": "voicerag_web.settings",
    "load_web_settings": "voicerag_web.settings",
    "open_web_service": "voicerag_web.service",
    "run": "voicerag_web.command",
    "web_app": "voicerag_web.app",
}

__all__ = ["WebService", "WebSettings", "load_web_settings", "open_web_service", "run", "web_app"]

_NEEDS = Needs(
    "serve",
    {"fastapi", "starlette", "uvicorn", "websockets", "multipart", "python_multipart"},
    "the web server",
)

__getattr__, __dir__ = lazy_names(__name__, _LAZY, _NEEDS)

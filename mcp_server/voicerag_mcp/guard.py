"""What stands around the shared `Guard` over HTTP: paths, liveness, methods, whole bodies.

Each class is one ASGI middleware. Their order, outermost first: `TrailingSlashes`, `Health`, the
`Guard` of `voicerag_core.serving` (host, origin, token, rate), `Methods`, `WholeBodies`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voicerag_mcp.verifiers import TENANT

__all__ = ["EXPOSED", "Health", "Methods", "TrailingSlashes", "WholeBodies"]

EXPOSED = ("Mcp-Session-Id", "Mcp-Protocol-Version", "WWW-Authenticate", "Retry-After")
"""Headers of answers that pages of other origins may read."""


class TrailingSlashes:
    """Serves ``/mcp/`` as ``/mcp``: no redirect, whose address a TLS proxy would have to mend."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        if scope["type"] in ("http", "websocket") and path.endswith("/"):
            scope = {**scope, "path": path.rstrip("/") or "/"}
            if raw := scope.get("raw_path"):
                scope["raw_path"] = raw.rstrip(b"/") or b"/"
        await self._app(scope, receive, send)


class Health:
    """Answers ``GET /health`` for load balancers and supervisors: whoever asks, by any host name.

    It says that the process takes requests, and nothing else: models and the database are opened
    by the first call that needs them, and ``voice_status`` tells their state.
    """

    def __init__(self, app: ASGIApp, path: str = "/health") -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        response: Response
        if scope["method"] in ("GET", "HEAD"):
            response = JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})
        else:
            response = _not_allowed(("GET", "HEAD"))
        await response(scope, receive, send)


class Methods:
    """Answers 405 to methods that a path does not have, before a session or a stream is opened.

    Args:
        app: The application.
        allowed: Methods by path; other paths are passed on.
    """

    def __init__(self, app: ASGIApp, allowed: Mapping[str, Sequence[str]]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        allowed = self._allowed.get(scope["path"]) if scope["type"] == "http" else None
        if allowed is not None and scope["method"] not in allowed:
            await _not_allowed(allowed)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class WholeBodies:
    """Reads the body of a request before the application sees it.

    A body that is too large is refused with 413, and one beyond the sender's share of memory with
    503. The application never runs for a client that leaves in the middle of its body.

    Args:
        app: The application.
        most: Largest body in bytes, by path; bodies to other paths are passed on unread.
        at_once: Largest bodies that one tenant may be sending at the same time.
    """

    def __init__(self, app: ASGIApp, most: Mapping[str, int], at_once: int = 8) -> None:
        self._app = app
        self._most = most
        self._share = at_once * max(most.values())
        self._held: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        most = self._most.get(scope["path"]) if scope["type"] == "http" else None
        if most is None:
            await self._app(scope, receive, send)
            return
        sharer, body = _sharer(scope), bytearray()
        try:
            refused = await self._read(scope, receive, body, most, sharer)
            whole: list[Message] = [{"type": "http.request", "body": bytes(body)}]
        except _ClientLeftError:
            return
        finally:
            self._held[sharer] -= len(body)
            if self._held[sharer] <= 0:
                del self._held[sharer]
        if refused is not None:
            await refused(scope, receive, send)
            return

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)

    async def _read(
        self, scope: Scope, receive: Receive, body: bytearray, most: int, sharer: str
    ) -> Response | None:
        """Read a body; return why it is refused, or None."""
        announced = Headers(scope=scope).get("content-length", "")
        too_large = JSONResponse({"error": f"a body has at most {most} bytes"}, 413)
        if announced.isdecimal() and int(announced) > most:
            return too_large
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise _ClientLeftError
            part = message.get("body", b"")
            body += part
            self._held[sharer] += len(part)
            if len(body) > most:
                return too_large
            if self._held[sharer] > self._share:
                return JSONResponse(
                    {"error": "too many bodies are being sent at once; repeat this one later"},
                    503,
                    {"Retry-After": "5"},
                )
            if not message.get("more_body", False):
                return None


class _ClientLeftError(Exception):
    """The client left before its body was whole."""


def _sharer(scope: Scope) -> str:
    """Return who shares a bound with the sender: its tenant, or without a token its address."""
    user = scope.get("user")
    if isinstance(user, AuthenticatedUser):
        return f"tenant {(user.access_token.claims or {}).get(TENANT)}"
    address = scope.get("client")
    return str(address[0]) if address else ""


def _not_allowed(allowed: Sequence[str]) -> Response:
    names = ", ".join(allowed)
    return JSONResponse({"error": f"this address takes {names}"}, 405, {"Allow": names})

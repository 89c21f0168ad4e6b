"""What stands before the application over HTTP: paths, liveness, hosts and origins, methods, rates.

Each class is one ASGI middleware. Their order, outermost first: `TrailingSlashes`, `Health`,
`HostCheck`, `cors`, the tokens, `RateLimit`, `Methods`, `WholeBodies`.
"""

from __future__ import annotations

import re
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voicerag_mcp.verifiers import TENANT

__all__ = [
    "Health",
    "HostCheck",
    "Methods",
    "RateLimit",
    "TrailingSlashes",
    "WholeBodies",
    "any_of",
    "cors",
]

_MOST_CLIENTS = 10_000
_PREFLIGHT_SECONDS = 600
_EXPOSED = ("Mcp-Session-Id", "Mcp-Protocol-Version", "WWW-Authenticate", "Retry-After")


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


class HostCheck:
    """Rejects requests for other hosts or from foreign origins (DNS rebinding).

    Args:
        app: The application.
        hosts: Accepted Host headers, or patterns that end in ``:*`` for any port.
        origins: Accepted origins of web pages, or such patterns; a request without is accepted.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], origins: Sequence[str]) -> None:
        self._app = app
        self._hosts = re.compile(any_of(hosts), re.IGNORECASE)
        self._origins = re.compile(any_of(origins))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and (refused := self.refusal(Headers(scope=scope))) is not None:
            code, why = refused
            await JSONResponse({"error": why}, code)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def refusal(self, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Return the status and the reason for which a request is refused, or None."""
        if not self._hosts.fullmatch(headers.get("host", "")):
            return 421, "this server does not go by that host name"
        origin = headers.get("origin")
        if origin and not self._origins.fullmatch(origin):
            return 403, "pages of this origin may not call this server"
        return None


def cors(origins: Sequence[str]) -> list[Middleware]:
    """Return what lets web pages of these origins call the server and read its answers.

    Only origins that were named are let in; those of this machine, whose requests are accepted
    without being named, are not: their pages could read the documents of a server without tokens.
    No credentials of the browser (cookies) are involved; a page passes its token as a header.

    Args:
        origins: Origins, or patterns that end in ``:*`` for any port.
    """
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origin_regex=any_of(origins),
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),
            expose_headers=_EXPOSED,
            allow_private_network=True,
            max_age=_PREFLIGHT_SECONDS,
        )
    ]


def any_of(names: Sequence[str]) -> str:
    """Return a regular expression that matches these hosts or origins; ``:*`` is any port."""
    each = (
        re.escape(name[:-2]) + r":\d{1,5}" if name.endswith(":*") else re.escape(name)
        for name in names
    )
    return "|".join(each) or r"(?!)"


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


class RateLimit:
    """Limits requests per minute (token buckets): of a client, and of all clients of a tenant.

    A client is its token, and without a token its address.

    Args:
        app: The application.
        calls_per_minute: Of each client.
        tenant_calls_per_minute: Of all tokens of a tenant together.
    """

    def __init__(
        self, app: ASGIApp, calls_per_minute: int, tenant_calls_per_minute: int | None = None
    ) -> None:
        self._app = app
        self._clients = _Buckets(calls_per_minute)
        self._tenants = (
            None if tenant_calls_per_minute is None else _Buckets(tenant_calls_per_minute)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and (wait := self._wait(scope)) > 0:
            refused = JSONResponse(
                {"error": "too many requests; slow down"}, 429, {"Retry-After": str(int(wait) + 1)}
            )
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _wait(self, scope: Scope) -> float:
        """Take one request; return the seconds to wait if there is none left."""
        user = scope.get("user")
        if not isinstance(user, AuthenticatedUser):
            return self._clients.take(_sharer(scope))
        token = user.access_token
        wait = self._clients.take(f"{token.client_id} {token.subject}")
        if wait > 0 or self._tenants is None:
            return wait
        return self._tenants.take(_sharer(scope))


class _Buckets:
    """A token bucket for each name; those that were used least recently are forgotten."""

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """Take one from a bucket; return the seconds to wait if it is empty."""
        now = time.monotonic()
        left, when = self._left.pop(name, (self._most, now))
        left = min(self._most, left + (now - when) * self._most / 60)
        wait = 0.0 if left >= 1 else (1 - left) * 60 / self._most
        self._left[name] = (left - 1 if left >= 1 else left, now)
        while len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        return wait


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

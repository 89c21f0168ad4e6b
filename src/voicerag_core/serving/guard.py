"""The guard before every door of a server, for requests and for sockets alike.

It depends on no web framework: it is an ASGI application around another one. A request or a socket
that is refused never reaches the application; a socket is refused before it is accepted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from voicerag_core.serving.auth import WRITE, Caller, Grant, TokenTable
from voicerag_core.serving.rates import CallRate
from voicerag_core.serving.tickets import TICKET_PREFIX, Tickets

__all__ = ["SUBPROTOCOL", "TOKEN_SUBPROTOCOL", "Guard", "Visitor", "visitor_of"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

SUBPROTOCOL: Final = "realtime"
"""Subprotocol that OpenAI's clients in browsers offer."""
TOKEN_SUBPROTOCOL: Final = "openai-insecure-api-key."  # noqa: S105 - a prefix
"""A page cannot set headers of a WebSocket, so its token comes as a subprotocol of this prefix."""

_VISITOR: Final = "voicerag.visitor"
_MOST_TOKEN_CHARS: Final = 8192
_CORS_SECONDS: Final = "600"
_POLICY_CLOSE: Final = 1008
"""Close code of WebSockets for what a policy forbids (RFC 6455, 7.4.1)."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who makes a request or opens a socket.

    Args:
        caller: Tenant and permissions.
        client: Name that limits count by: the token's client and user, or the address.
        origin: Origin of the page that calls; "" if none was sent.
        named: Whether it came with a token of its own.
        grant: What the token allows, if it came with one.
    """

    caller: Caller
    client: str
    origin: str = ""
    named: bool = False
    grant: Grant | None = None


def visitor_of(scope: Mapping[str, Any]) -> Visitor:
    """Return who was let in with a scope.

    Raises:
        LookupError: The scope did not pass a guard.
    """
    visitor = scope[_VISITOR]
    assert isinstance(visitor, Visitor)
    return visitor


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    code: str
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Guard:
    """Checks Host, Origin, token and rate of requests and sockets, and their bodies' size.

    A Host that is not listed is refused (DNS rebinding), and so is an Origin that is neither the
    server's own nor listed: browsers ask no permission before they open a WebSocket. Pages of
    readable origins get the headers that let them read answers (CORS); no credentials of the
    browser (cookies) are involved.

    Args:
        app: What it guards.
        hosts: Accepted Host headers; a port of ``*`` is any.
        prefix: Prefix of the variables that list hosts and origins; refusals name them.
        origins: Accepted origins besides the server's own; a port of ``*`` is any.
        readable: Origins whose pages may read answers, too; these are accepted.
        exposed: Headers of answers that those pages may read.
        owner: Who calls, if no token is needed.
        tokens: Accepted tokens; None: no token is needed.
        tickets: Secrets that open one socket each.
        rate: Calls of each client.
        tenant_rate: Calls of all tokens of a tenant together.
        open_paths: Paths that need no token.
        most_bytes: Largest body of a request.
        challenge: What ``WWW-Authenticate`` says where a token is missing.
        error: Makes the body of a refusal from status, code and message.
    """

    def __init__(
        self,
        app: App,
        *,
        hosts: Collection[str],
        prefix: str,
        origins: Collection[str] = (),
        readable: Collection[str] = (),
        exposed: Collection[str] = ("Retry-After", "WWW-Authenticate"),
        owner: Caller,
        tokens: TokenTable | None = None,
        tickets: Tickets | None = None,
        rate: CallRate | None = None,
        tenant_rate: CallRate | None = None,
        open_paths: Collection[str] = (),
        most_bytes: int = 12_000_000,
        challenge: str = "Bearer",
        error: Callable[[int, str, str], Mapping[str, object]] | None = None,
    ) -> None:
        self._app = app
        self._prefix = prefix
        self._hosts = tuple(host.lower() for host in hosts)
        self._readable = tuple(origin.lower().rstrip("/") for origin in readable)
        accepted = (origin.lower().rstrip("/") for origin in origins)
        self._origins = (*self._readable, *accepted)
        self._exposed = ", ".join(exposed).encode()
        self._owner = owner
        self._tokens = tokens
        self._tickets = tickets
        self._rate, self._tenant_rate = rate, tenant_rate
        self._challenge = ((b"www-authenticate", challenge.encode()),)
        self._open_paths = frozenset(open_paths)
        self._most_bytes = most_bytes
        self._error = error or (lambda _status, _code, message: {"error": message})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a scope through, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        refusal = self._misdirected(headers)
        if refusal is None and self._is_preflight(scope, headers):
            await self._preflight(headers, send)
            return
        visitor: Visitor | None = None
        if refusal is None:
            visitor, refusal = await self._entering(scope, headers)
        sending = self._allowing(headers, send) if scope["type"] == "http" else send
        if refusal is not None:
            await self._refuse(scope, refusal, sending)
            return
        scope[_VISITOR] = visitor
        if scope["type"] == "http":
            receive, sending = self._bounded(scope, receive, sending)
        await self._app(scope, receive, sending)

    def _misdirected(self, headers: Mapping[str, str]) -> _Refusal | None:
        host = headers.get("host", "").lower()
        if not _listed(host, self._hosts):
            message = (
                "this server does not answer for that host; whoever runs it lists the names under "
                f"which it is reached in {self._prefix}ALLOWED_HOSTS (kb.example.com:*)"
            )
            return _Refusal(421, "host_not_allowed", message)
        origin = headers.get("origin")
        if not origin or self._is_own(origin, host) or _listed(_plain(origin), self._origins):
            return None
        message = (
            "pages of that origin may not use this server; whoever runs it lists those that may in "
            f"{self._prefix}ALLOWED_ORIGINS (https://app.example.com)"
        )
        return _Refusal(403, "origin_not_allowed", message)

    def _is_own(self, origin: str, host: str) -> bool:
        return _plain(origin) in {f"http://{host}", f"https://{host}"}

    def _may_read(self, origin: str | None) -> bool:
        return origin is not None and _listed(_plain(origin), self._readable)

    def _is_preflight(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        return (
            scope["type"] == "http"
            and scope["method"] == "OPTIONS"
            and "access-control-request-method" in headers
            and self._may_read(headers.get("origin"))
        )

    async def _entering(
        self, scope: Scope, headers: Mapping[str, str]
    ) -> tuple[Visitor | None, _Refusal | None]:
        """Return who comes in, or why nobody does."""
        origin = headers.get("origin", "")
        address = scope.get("client")
        client = str(address[0]) if address else ""
        visitor = await self._visitor(scope, headers, client, origin)
        if self._rate is not None:
            wait = self._rate.take(client if visitor is None else visitor.client)
            if wait == 0 and self._tenant_rate is not None and visitor is not None:
                wait = self._tenant_rate.take(visitor.caller.tenant) if visitor.named else 0
            if wait > 0:
                after = ((b"retry-after", str(int(wait) + 1).encode()),)
                message = "too many requests; slow down"
                return None, _Refusal(429, "rate_limit_exceeded", message, after)
        if visitor is None:
            message = "give a valid token: Authorization: Bearer TOKEN"
            return None, _Refusal(401, "invalid_api_key", message, self._challenge)
        too_long = headers.get("content-length", "0")
        if too_long.isdecimal() and int(too_long) > self._most_bytes:
            return None, self._too_large()
        return visitor, None

    async def _visitor(
        self, scope: Scope, headers: Mapping[str, str], client: str, origin: str
    ) -> Visitor | None:
        given = _token(scope, headers)
        if given.startswith(TICKET_PREFIX) and self._tickets is not None:
            is_socket = scope["type"] == "websocket"
            ticket = self._tickets.use(given, origin) if is_socket else None
            if ticket is not None:
                return Visitor(ticket.caller, ticket.client, origin, named=True)
        if self._tokens is None:
            return Visitor(self._owner, client, origin)
        if given:
            grant = await asyncio.to_thread(self._tokens.grant, given)
            if grant is not None:
                caller = Caller(grant.tenant, WRITE in grant.scopes)
                name = f"{grant.client} {grant.subject}"
                return Visitor(caller, name, origin, named=True, grant=grant)
        if scope["type"] == "http" and scope["path"] in self._open_paths:
            return Visitor(Caller("", may_write=False), client, origin)
        return None

    def _too_large(self) -> _Refusal:
        return _Refusal(
            413, "request_too_large", f"a request may have {self._most_bytes} bytes; send less"
        )

    def _bounded(self, scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
        """Count a body's bytes, whatever its header says.

        The application sees a body that is too large as a client that left; what it answers to
        that is dropped, since the refusal was sent already.
        """
        seen = 0
        begun = refused = False

        async def counted() -> MutableMapping[str, Any]:
            nonlocal seen, refused
            message = await receive()
            if message["type"] == "http.request" and not refused:
                seen += len(message.get("body", b""))
                if seen > self._most_bytes:
                    refused = True
                    if not begun:
                        await self._refuse(scope, self._too_large(), send)
            return {"type": "http.disconnect"} if refused else message

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            if not refused:
                await send(message)

        return counted, sending

    def _allowing(self, headers: Mapping[str, str], send: Send) -> Send:
        """Add to a response what lets a page of a listed origin read it."""
        origin = headers.get("origin")
        if origin is None or not self._may_read(origin):
            return send

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"access-control-allow-origin", origin.encode()),
                    (b"access-control-expose-headers", self._exposed),
                    (b"vary", b"Origin"),
                ]
            await send(message)

        return sending

    async def _preflight(self, headers: Mapping[str, str], send: Send) -> None:
        allowed = (
            (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
            (
                b"access-control-allow-headers",
                headers.get("access-control-request-headers", "").encode(),
            ),
            (b"access-control-max-age", _CORS_SECONDS.encode()),
            (b"access-control-allow-private-network", b"true"),
        )
        await self._allowing(headers, send)(
            {"type": "http.response.start", "status": 200, "headers": list(allowed)}
        )
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(self, scope: Scope, refusal: _Refusal, send: Send) -> None:
        """Answer a request with an error, and a socket before it is accepted."""
        kind = "http"
        if scope["type"] == "websocket":
            if "websocket.http.response" not in scope.get("extensions", {}):
                await send({"type": "websocket.close", "code": _POLICY_CLOSE})
                return
            kind = "websocket.http"
        body = json.dumps(self._error(refusal.status, refusal.code, refusal.message)).encode()
        fields = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *refusal.headers,
        ]
        await send({"type": f"{kind}.response.start", "status": refusal.status, "headers": fields})
        await send({"type": f"{kind}.response.body", "body": body})


def _headers(scope: Scope) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }


def _plain(origin: str) -> str:
    return origin.lower().rstrip("/")


def _listed(value: str, patterns: Collection[str]) -> bool:
    """Return whether a host or an origin is listed, by its name or with any port."""
    if value in patterns:
        return True
    name, _, port = value.rpartition(":")
    return port.isdecimal() and f"{name}:*" in patterns


def _token(scope: Scope, headers: Mapping[str, str]) -> str:
    """Return the token of a header or, for a socket, of a subprotocol; "" if there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()[: _MOST_TOKEN_CHARS + 1]
    if scope["type"] == "websocket":
        for protocol in scope.get("subprotocols", ()):
            if protocol.startswith(TOKEN_SUBPROTOCOL):
                return str(protocol.removeprefix(TOKEN_SUBPROTOCOL))[: _MOST_TOKEN_CHARS + 1]
    return ""

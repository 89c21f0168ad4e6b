"""Who was let in, in the types of the SDK."""

from __future__ import annotations

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.types import ASGIApp, Receive, Scope, Send

from voicerag_core.serving import Visitor, visitor_of

__all__ = ["TENANT", "SdkUser"]

TENANT = "voicerag_tenant"
"""Claim that holds the tenant of a token."""


class SdkUser:
    """Tells the SDK and the tools who calls: the visitor whom the guard let in.

    Args:
        app: The application of the SDK.
        resource: URL of this server, if the tokens are issued for it.
    """

    def __init__(self, app: ASGIApp, resource: str | None = None) -> None:
        self._app = AuthContextMiddleware(app)
        self._resource = resource

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and (token := self._token(visitor_of(scope))) is not None:
            scope["user"] = AuthenticatedUser(token)
        await self._app(scope, receive, send)

    def _token(self, visitor: Visitor) -> AccessToken | None:
        grant = visitor.grant
        if grant is None:
            return None
        return AccessToken(
            token="",  # not needed any more
            client_id=grant.client,
            subject=grant.subject,
            scopes=list(grant.scopes),
            expires_at=grant.expires_at,
            resource=self._resource,
            claims={TENANT: grant.tenant},
        )

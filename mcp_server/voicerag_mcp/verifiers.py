"""Tokens in the types of the SDK."""

from __future__ import annotations

import asyncio

from mcp.server.auth.provider import AccessToken

from voicerag_core.serving import TokenTable

__all__ = ["TENANT", "GrantVerifier"]

TENANT = "voicerag_tenant"
"""Claim that holds the tenant of a token."""


class GrantVerifier:
    """Accepts the tokens of a table; a `TokenVerifier` of the SDK.

    Args:
        tokens: Looks up what a token allows.
        resource: URL of this server, if the tokens are issued for it.
    """

    def __init__(self, tokens: TokenTable, *, resource: str | None = None) -> None:
        self._tokens = tokens
        self._resource = resource

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return what a token allows, or None."""
        grant = await asyncio.to_thread(self._tokens.grant, token)
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

"""Tokens in the types of the SDK: who makes the running call."""

from __future__ import annotations

import asyncio

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken

from voicerag_core import ForbiddenError
from voicerag_core.serving import WRITE, Caller, TokenTable

__all__ = ["GrantVerifier", "running_caller"]

TENANT = "voicerag_tenant"
"""Claim in which a verifier notes whose rows a token may see."""


class GrantVerifier:
    """Accepts the tokens that a table knows; a `TokenVerifier` of the SDK.

    Args:
        tokens: Tells what a token allows.
        resource: URL of this server, where the tokens are issued for it.
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
            token="",  # nothing needs it any more
            client_id=grant.client,
            subject=grant.subject,
            scopes=list(grant.scopes),
            expires_at=grant.expires_at,
            resource=self._resource,
            claims={TENANT: grant.tenant},
        )


def running_caller(*, default: str, needs_token: bool) -> Caller:
    """Return who makes the running call, by its token.

    Args:
        default: The tenant where no tokens are asked for.
        needs_token: Whether they are; then a call without one is nobody's.

    Raises:
        ForbiddenError: A token is needed, and there is none.
    """
    token = get_access_token()
    if token is not None:
        return Caller(str((token.claims or {})[TENANT]), WRITE in token.scopes)
    if needs_token:
        raise ForbiddenError("this call came without a token")
    return Caller(default, may_write=True)

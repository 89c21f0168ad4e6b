"""The application as tools and resources use it, with the caller of each request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import TypeVar

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context
from starlette.requests import Request

from voicerag_core import ForbiddenError, Hit
from voicerag_core.serving import WRITE, Caller, Job, Serving
from voicerag_mcp.settings import ServerSettings
from voicerag_mcp.verifiers import TENANT

__all__ = ["Service"]

_MOST_RECENT = 256

_T = TypeVar("_T")


@dataclass(slots=True)
class Service:
    """A running MCP server.

    Args:
        serving: The application.
        settings: Settings of the server.
    """

    serving: Serving
    settings: ServerSettings
    _needs_token: bool = field(init=False)
    _recent: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """Determine once whether calls need a token."""
        self._needs_token = self.settings.authenticates

    @property
    def caller(self) -> Caller:
        """The caller of the running request, by its token.

        Raises:
            ForbiddenError: The call needs a token and has none.
        """
        token = get_access_token()
        if token is not None:
            return Caller(str((token.claims or {})[TENANT]), WRITE in token.scopes)
        if self._needs_token:
            raise ForbiddenError("this call came without a token")
        return Caller(self.serving.tenants.settings.tenant, may_write=True)

    async def run(self, ctx: Context[None, object], work: Callable[[Caller, Job], _T]) -> _T:
        """Run a call's work on a thread for as long as its caller waits."""
        request = ctx.request_context.request
        disconnected = request.is_disconnected if isinstance(request, Request) else None
        caller = self.caller
        return await self.serving.workers.run(
            partial(work, caller), ctx.report_progress, disconnected, tenant=caller.tenant
        )

    def other_collection(self, collection: str) -> str | None:
        """Return the name of a collection, or None for the default one."""
        return None if collection == self.serving.tenants.settings.collection else collection

    def remember(self, hits: Sequence[Hit]) -> None:
        """Record passages that the running call shows, for the completion of their ids."""
        tenant = self.caller.tenant
        with self._lock:
            for hit in hits:
                key = (tenant, hit.passage.id)
                self._recent[key] = None
                self._recent.move_to_end(key)
            while len(self._recent) > _MOST_RECENT:
                self._recent.popitem(last=False)

    def recent(self, tenant: str) -> list[str]:
        """Return the ids of recently shown passages, newest first."""
        with self._lock:
            return [key for owner, key in reversed(self._recent) if owner == tenant]

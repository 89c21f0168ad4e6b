"""Short-lived secrets that let a web page open one socket without holding a token."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from voicerag_core.serving.auth import Caller

__all__ = ["TICKET_PREFIX", "Ticket", "Tickets"]

TICKET_PREFIX: Final = "ek_"
"""How OpenAI's client secrets begin; clients tell them from long-lived keys by it."""

_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a secret lets in.

    Args:
        caller: In whose name.
        client: Whose sessions and calls it counts among.
        origin: Origin of the page that asked for it; "" if it was no page.
        expires_at: On the clock of the table, in seconds.
    """

    caller: Caller
    client: str
    origin: str
    expires_at: float


class Tickets:
    """Secrets that are used once, within their lifetime and by their origin. Thread-safe.

    Args:
        lifetime: Seconds.
        clock: Returns seconds since the epoch.
    """

    def __init__(self, lifetime: float = 60.0, *, clock: Callable[[], float] = time.time) -> None:
        self.lifetime = lifetime
        self._clock = clock
        self._lock = threading.Lock()
        self._tickets: OrderedDict[str, Ticket] = OrderedDict()

    def issue(self, caller: Caller, client: str, origin: str) -> tuple[str, float]:
        """Return a new secret, and when it expires, in seconds since the epoch."""
        secret = TICKET_PREFIX + secrets.token_urlsafe(32)
        expires = self._clock() + self.lifetime
        with self._lock:
            self._tickets[secret] = Ticket(caller, client, origin, expires)
            while len(self._tickets) > _MOST:
                self._tickets.popitem(last=False)
        return secret, expires

    def use(self, secret: str, origin: str) -> Ticket | None:
        """Return what a secret lets in, once; None if it is unknown, late or of another origin."""
        with self._lock:
            ticket = self._tickets.pop(secret, None)
        if ticket is None or ticket.expires_at <= self._clock() or ticket.origin != origin:
            return None
        return ticket

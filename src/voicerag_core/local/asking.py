"""How English questions begin."""

from __future__ import annotations

import re

__all__ = ["asks"]

_ASKING = re.compile(
    r"(?:what|which|who|whom|whose|when|where|why|how|until when|is|are|was|were|am|do|does|did|can"
    r"|could|may|might|must|shall|should|will|would|has|have|had)\b"
    r"|(?:by|in|on|at|for|from|to|since|until|within|after|before) "
    r"(?:what|which|whom|when|where|how)\b",
    re.IGNORECASE,
)


def asks(text: str) -> bool:
    """Return whether a text begins as an English question does."""
    return _ASKING.match(text.strip()) is not None

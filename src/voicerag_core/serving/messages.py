"""Error messages for callers."""

from __future__ import annotations

import logging

from voicerag_core.errors import (
    CancelledError,
    EndpointError,
    SchemaError,
    StoreError,
    VoiceRAGError,
)

__all__ = ["message_for_caller"]

_logger = logging.getLogger(__name__)


def message_for_caller(error: VoiceRAGError) -> str:
    """Return the message of an error for the caller; details of the server only go to its log."""
    if isinstance(error, CancelledError):
        return "the call was stopped"
    if isinstance(error, SchemaError) or (
        isinstance(error, StoreError) and error.__cause__ is not None
    ):
        _logger.error("the database failed: %s", error)
        return (
            "the database cannot be used at the moment; repeat the call later "
            "(the server's log says what is wrong)"
        )
    if isinstance(error, EndpointError):
        _logger.error("an endpoint failed: %s", error)
        return (
            "a model that this server asks over the network cannot be used at the moment; repeat "
            "the call later (the server's log says what is wrong)"
        )
    return str(error)

"""Server events, built in one place; the tests validate each against the types of OpenAI's SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import uuid4

__all__ = ["USAGE", "error_event", "event", "new_id"]

USAGE: Final[Mapping[str, object]] = {
    "total_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "input_token_details": {
        "text_tokens": 0,
        "audio_tokens": 0,
        "image_tokens": 0,
        "cached_tokens": 0,
        "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 0, "audio_tokens": 0},
}
"""Tokens are not counted; clients read the fields unchecked, so all of them are there."""


def new_id(kind: str) -> str:
    """Return a new id, such as ``item_…``; ids have at most 32 characters."""
    return f"{kind}_{uuid4().hex[:24]}"


def event(name: str, **fields: object) -> dict[str, object]:
    """Return an event with an id of its own."""
    return {"type": name, "event_id": new_id("event"), **fields}


def error_event(
    message: str,
    *,
    code: str,
    kind: str = "invalid_request_error",
    param: str | None = None,
    caused_by: str | None = None,
) -> dict[str, object]:
    """Return an error; the session goes on after it.

    Args:
        message: What was given, what is expected, and what to do.
        code: Short name of the problem.
        kind: Whose fault it is.
        param: The field that is wrong.
        caused_by: Id of the client's event.
    """
    error = {
        "type": kind, "code": code, "message": message, "param": param, "event_id": caused_by,
    }  # fmt: skip
    return event("error", error=error)

"""Answers that are sent while they are made."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from voicerag_core import VoiceRAGError
from voicerag_core.serving import message_for_caller
from voicerag_web.errors import error_body, error_code, error_status

__all__ = ["begun", "events"]

_logger = logging.getLogger(__name__)

_T = TypeVar("_T")


async def begun(stream: AsyncGenerator[_T, None]) -> AsyncGenerator[_T, None]:
    """Wait for the first item of a stream, so that an error before it has a status of its own.

    Returns:
        The whole stream; closing it closes the given one.
    """
    try:
        first = await anext(stream)
    except StopAsyncIteration:
        return _chained(None, stream)
    except BaseException:
        await stream.aclose()
        raise
    return _chained(first, stream)


async def _chained(first: _T | None, rest: AsyncGenerator[_T, None]) -> AsyncGenerator[_T, None]:
    async with aclosing(rest):
        if first is not None:
            yield first
        async for item in rest:
            yield item


async def events(lines: AsyncGenerator[str, None]) -> AsyncGenerator[bytes, None]:
    """Write each line as a server-sent event; an error becomes the last one."""
    async with aclosing(lines):
        try:
            async for line in lines:
                yield f"data: {line}\n\n".encode()
        except VoiceRAGError as error:
            _logger.info("a stream ended early: %s", type(error).__name__)
            body = error_body(error_status(error), error_code(error), message_for_caller(error))
            yield f"data: {json.dumps(body)}\n\n".encode()

"""Map the errors of the application to those of the SDK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError

from voicerag_core import ConfigError, NotFoundError, VoiceRAGError
from voicerag_core.serving import message_for_caller

__all__ = ["resource_errors", "tool_errors"]


@contextmanager
def tool_errors() -> Iterator[None]:
    """Turn errors of the application into tool errors that the assistant reads.

    Raises:
        ToolError: The block raised one of them.
    """
    try:
        yield
    except VoiceRAGError as error:
        raise ToolError(message_for_caller(error)) from error


@contextmanager
def resource_errors() -> Iterator[None]:
    """Turn errors of the application into resource errors.

    Raises:
        ResourceNotFoundError: The named resource does not exist, or its name is not valid.
        ResourceError: The block raised another error of the application.
    """
    try:
        yield
    except (NotFoundError, ConfigError) as error:
        raise ResourceNotFoundError(message_for_caller(error)) from error
    except VoiceRAGError as error:
        raise ResourceError(message_for_caller(error)) from error

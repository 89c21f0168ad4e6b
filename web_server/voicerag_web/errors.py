"""Errors in OpenAI's shape."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from voicerag_core import (
    BusyError,
    CancelledError,
    ConfigError,
    EmbeddingMismatchError,
    EmptyCollectionError,
    EndpointError,
    ForbiddenError,
    MissingExtraError,
    ModelError,
    NotFoundError,
    SchemaError,
    StoreError,
    StoreUnavailableError,
    VoiceRAGError,
)
from voicerag_core.serving import message_for_caller

__all__ = ["RequestError", "add_error_handlers", "error_body", "error_code", "error_status"]

_logger = logging.getLogger(__name__)

_STATUS: Final[tuple[tuple[type[VoiceRAGError], int, str], ...]] = (
    (BusyError, 503, "server_busy"),
    (CancelledError, 503, "cancelled"),
    (ForbiddenError, 403, "forbidden"),
    (NotFoundError, 404, "not_found"),
    (MissingExtraError, 501, "not_installed"),
    (StoreUnavailableError, 503, "database_unavailable"),
    (SchemaError, 503, "database_unavailable"),
    (EmbeddingMismatchError, 503, "wrong_embeddings"),
    (EmptyCollectionError, 400, "empty_collection"),
    (EndpointError, 502, "model_unavailable"),
    (ModelError, 500, "model_failed"),
)
"""Status and code of each kind of error, the first that fits; any other one is the caller's."""

_RETRY_SECONDS: Final = "5"
_FROM = 500


class RequestError(ConfigError):
    """A request that cannot be served as it is.

    Args:
        message: What was given, what is expected, and what to do.
        param: The field that is wrong.
        code: Short name of the problem.
    """

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def error_status(error: VoiceRAGError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, StoreError) and error.__cause__ is not None:
        return 503  # the driver's error is the cause; a store's own refusal has none
    return next((status for kind, status, _ in _STATUS if isinstance(error, kind)), 400)


def error_code(error: VoiceRAGError) -> str:
    """Return the short name of an error."""
    if isinstance(error, RequestError):
        return error.code
    if isinstance(error, StoreError) and error.__cause__ is not None:
        return "database_unavailable"
    known = (code for kind, _, code in _STATUS if isinstance(error, kind))
    return next(known, "invalid_value")


def error_body(
    status: int, code: str, message: str, param: str | None = None
) -> Mapping[str, object]:
    """Return the body of an error."""
    kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(
        status, "server_error" if status >= _FROM else "invalid_request_error"
    )
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def response_of(error: VoiceRAGError) -> JSONResponse:
    """Return the response to an error of the application."""
    status = error_status(error)
    param = error.param if isinstance(error, RequestError) else None
    headers = {"Retry-After": _retry_seconds(error)} if status == 503 else None  # noqa: PLR2004
    body = error_body(status, error_code(error), message_for_caller(error), param)
    return JSONResponse(body, status, headers)


def _retry_seconds(error: VoiceRAGError) -> str:
    """Return the seconds after which a call may succeed."""
    known = error.retry_after if isinstance(error, BusyError) else None
    return _RETRY_SECONDS if known is None else str(max(1, math.ceil(known)))


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error in OpenAI's shape."""

    @app.exception_handler(VoiceRAGError)
    async def _ours(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, VoiceRAGError)
        return response_of(error)

    @app.exception_handler(RequestValidationError)
    async def _unfit(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            message = f"the body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}"
            return JSONResponse(error_body(400, "invalid_json", message), 400)
        place = ".".join(str(part) for part in first["loc"] if part != "body") or None
        message = f"{place or 'the body'}: {first['msg']}"
        return JSONResponse(error_body(400, "invalid_value", message, place), 400)

    @app.exception_handler(HTTPException)
    async def _plain(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid")
        body = error_body(error.status_code, code, str(error.detail))
        return JSONResponse(body, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def _unexpected(_: Request, error: Exception) -> JSONResponse:
        _logger.error("a request failed", exc_info=error)
        message = "the server failed; its log says why"
        return JSONResponse(error_body(500, "server_error", message), 500)

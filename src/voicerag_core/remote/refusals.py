"""What went wrong with a call, in words: what was asked, what came back, and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import httpx

from voicerag_core.errors import EndpointError
from voicerag_core.remote.endpoint import Endpoint, shown

__all__ = ["Refusal", "retry_after"]

MOST_SHOWN = 300
"""Characters of a server's own message that are passed on."""
MODELS_SHOWN = 8


class Refusal:
    """Words errors for one endpoint.

    Args:
        endpoint: Named in each message, without secrets.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def said(self, path: str, what: str) -> str:
        """Begin a message: which model, where, and what it did."""
        endpoint = self._endpoint
        model = f" {endpoint.model!r}" if endpoint.model else ""
        return f"{endpoint.what}{model} at {shown(endpoint.address(path))} {what}"

    def unreachable(self, path: str, error: Exception) -> EndpointError:
        """Explain that no connection came about."""
        reason = self._public(str(error)) or type(error).__name__
        return EndpointError(
            f"{self.said(path, 'cannot be reached')}: {reason}; start the server, or correct "
            f"{self._endpoint.setting}_URL"
        )

    def broken(self, path: str, error: Exception) -> EndpointError:
        """Explain that a connection ended early."""
        reason = self._public(str(error)) or type(error).__name__
        return EndpointError(
            f"{self.said(path, 'broke off its response')}: {reason}; repeat the call, or look "
            "into the log of that server"
        )

    def late(self, path: str) -> EndpointError:
        """Explain that the deadline passed."""
        waited = f"gave nothing for {self._endpoint.timeout:g} s"
        return EndpointError(
            f"{self.said(path, waited)}; raise {self._endpoint.setting}_TIMEOUT, or use a faster "
            "model"
        )

    def endless(self, path: str, seconds: float) -> EndpointError:
        """Explain that a response went on for too long."""
        return EndpointError(
            f"{self.said(path, f'did not come to an end within {seconds:g} s')}; raise "
            f"{self._endpoint.setting}_TIMEOUT, or use another model"
        )

    def failed(self, path: str, error: object) -> EndpointError:
        """Explain an error that arrived inside a stream."""
        told = error.get("message") if isinstance(error, dict) else error
        return EndpointError(
            f"{self.said(path, 'failed while it answered')}: {self._public(str(told))}"
        )

    def unusable(self, path: str, what: str, sent: str = "") -> EndpointError:
        """Explain that the response is not what the interface says."""
        example = f": {self._public(sent)!r}" if sent else ""
        return EndpointError(
            f"{self.said(path, what)}{example}; check that {self._endpoint.setting}_URL is the "
            "address of such an interface"
        )

    def refused(
        self, path: str, response: httpx.Response, text: str, models: list[str] | None
    ) -> EndpointError:
        """Explain an HTTP status that is no success.

        Args:
            path: The call.
            response: What came back.
            text: The beginning of its body.
            models: The models that the server has, if it says.
        """
        return EndpointError(self._why(path, response, text, models), response.status_code)

    def _why(self, path: str, response: httpx.Response, text: str, models: list[str] | None) -> str:
        endpoint, code = self._endpoint, response.status_code
        told = self._public(_message(text))
        tail = f" ({told})" if told else ""
        if code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            given = "the key that was given" if endpoint.key else "the call, which has no key"
            return (
                f"{self.said(path, f'refused {given}')} (HTTP {code}); set {endpoint.setting}_KEY "
                f"or {endpoint.setting}_KEY_FILE"
            )
        if response.is_redirect:
            place = shown(response.headers.get("location", "")) or "an unknown place"
            return (
                f"{self.said(path, 'redirects to')} {place}, which is not followed, since the key "
                f"and the data would go there; if that is right, set {endpoint.setting}_URL to it"
            )
        if code in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            return f"{self.said(path, f'is too busy (HTTP {code})')}{tail}; repeat the call later"
        if unknown := self._unknown_model(code, told, models):
            return f"{self.said(path, f'is not there (HTTP {code})')}{tail}{unknown}"
        if code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
            return (
                f"{self.said(path, f'is not there (HTTP {code})')}{tail}; "
                f"{endpoint.setting}_URL is the base of the interface, often ending in /v1"
            )
        hint = " and its settings" if code < HTTPStatus.INTERNAL_SERVER_ERROR else "'s log"
        return (
            f"{self.said(path, f'refused the call with HTTP {code}')}{tail}; check the server{hint}"
        )

    def parsed(self, raw: bytes, path: str) -> Any:  # noqa: ANN401 - JSON
        """Parse a response as JSON.

        Raises:
            EndpointError: It is none.
        """
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            sent = raw[:MOST_SHOWN].decode("utf-8", "replace")
            raise self.unusable(path, "sent something that is no JSON", sent) from error

    def models(self, text: str) -> list[str] | None:
        """Return the names in a list of models; None if it is none."""
        try:
            return [str(one["id"]) for one in json.loads(text)["data"]]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def _unknown_model(self, code: int, told: str, models: list[str] | None) -> str:
        """Return what to do about a model that does not exist; "" if that is not the fault."""
        named = self._endpoint.model
        if not named or code not in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
            return ""
        if models is not None and named in models:
            return ""
        if models is None and (code != HTTPStatus.NOT_FOUND or "model" not in told.lower()):
            return ""
        if code == HTTPStatus.BAD_REQUEST and "model" not in told.lower():
            return ""
        there = ", ".join((models or [])[:MODELS_SHOWN])
        has = f"; the server has: {self._public(there)}" if there else ""
        return f"{has}; correct {self._endpoint.setting}_MODEL"

    def _public(self, text: str) -> str:
        """Shorten a text of the other side to one line, without the key."""
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        if self._endpoint.key:
            line = line.replace(self._endpoint.key, "…")
        return line if len(line) <= MOST_SHOWN else line[: MOST_SHOWN - 1] + "…"


def retry_after(headers: Mapping[str, str], otherwise: float) -> float:
    """Return the seconds that a server asks to wait, or another number if it does not say."""
    value = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return otherwise
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _message(text: str) -> str:
    """Return the message in the body of an error."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return "" if "<html" in text.lower() else text
    if isinstance(body, dict):
        for name in ("error", "message", "detail"):
            found = body.get(name)
            if isinstance(found, dict):
                found = found.get("message")
            if isinstance(found, str):
                return found
    return ""

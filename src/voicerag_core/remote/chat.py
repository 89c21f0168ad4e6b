"""Chat models behind ``/chat/completions``, streamed."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, Protocol

from voicerag_core.closing import Closing
from voicerag_core.remote.client import Client
from voicerag_core.remote.endpoint import Endpoint
from voicerag_core.remote.lines import TooLongError, lines_of
from voicerag_core.remote.thoughts import without_thoughts
from voicerag_core.types import Sampling

__all__ = ["ChatEndpoint", "Message"]

PATH = "/chat/completions"
MOST_AT_ONCE = 16
"""Answers that are written at the same time; others wait, and count as late in the end."""
_FIELDS = frozenset({"", "data", "event", "id", "retry"})
"""What a line of an event stream begins with, before its colon."""
MOST_TIMEOUTS = 5
"""A whole answer may take this many times the timeout, waiting for its pieces."""


class Message(Protocol):
    """One message of a conversation."""

    @property
    def role(self) -> str:
        """Role of the author: system, user or assistant."""
        ...

    @property
    def content(self) -> str:
        """The text."""
        ...


class ChatEndpoint(Closing):
    """A chat model of an OpenAI-compatible server, as a function from messages to streamed text.

    What a model thinks between ``<think>`` and ``</think>`` is left out. Thread-safe.

    Args:
        endpoint: Where the model is.
        temperature: Of sampling; None leaves it to the server.
        seconds: Longest time that one answer may take, waiting; None is five times the timeout.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        temperature: float | None = 0.0,
        seconds: float | None = None,
    ) -> None:
        self._client = Client(endpoint, most_at_once=MOST_AT_ONCE)
        self._temperature = temperature
        self._top_p: float | None = None
        self._max_tokens: int | None = None
        self._seconds = endpoint.timeout * MOST_TIMEOUTS if seconds is None else seconds

    def sampled(self, sampling: Sampling) -> ChatEndpoint:
        """Return the same model with another sampling; what is the default of `Sampling` stays."""
        usual = Sampling()
        made = copy.copy(self)
        if sampling.temperature != usual.temperature:
            made._temperature = sampling.temperature
        if sampling.top_p != usual.top_p:
            made._top_p = sampling.top_p
        if sampling.max_new_tokens != usual.max_new_tokens:
            made._max_tokens = sampling.max_new_tokens
        return made

    def __call__(self, messages: Sequence[Message]) -> Generator[str, None, None]:
        """Stream the reply's text; closing the generator closes the connection.

        Raises:
            EndpointError: The model cannot be reached, refused, was late, or broke off.
        """
        body: dict[str, object] = {
            "messages": [{"role": one.role, "content": one.content} for one in messages],
            "stream": True,
        }
        if self._client.endpoint.model:
            body["model"] = self._client.endpoint.model
        if self._temperature is not None:
            body["temperature"] = self._temperature
        if self._top_p is not None:
            body["top_p"] = self._top_p
        if self._max_tokens is not None:
            body["max_tokens"] = self._max_tokens
        pieces = self._within_time(self._pieces(body))
        with closing(pieces):
            yield from without_thoughts(pieces)

    def models(self) -> list[str]:
        """Return the names of the models that the server has.

        Raises:
            EndpointError: It does not say.
        """
        listed = self._client.call("/models")
        try:
            return [str(one["id"]) for one in listed["data"]]
        except (TypeError, KeyError) as error:
            raise self._client.refusal.unusable("/models", "sent no list of models") from error

    def close(self) -> None:
        """Close the connections; what is being answered ends with an error."""
        self._client.close()

    def _within_time(self, pieces: Generator[str, None, None]) -> Generator[str, None, None]:
        """Pass on what has text, while the first comes in time and the whole does not take long."""
        refusal, endpoint = self._client.refusal, self._client.endpoint
        waited = 0.0
        begun = False
        with closing(pieces):
            since = time.monotonic()
            for piece in pieces:
                waited += time.monotonic() - since
                begun = begun or bool(piece.strip())
                if not begun and waited > endpoint.timeout:
                    raise refusal.late(PATH)
                if waited > self._seconds:
                    raise refusal.endless(PATH, self._seconds)
                if piece:
                    yield piece
                since = time.monotonic()

    def _pieces(self, body: dict[str, object]) -> Generator[str, None, None]:
        """Yield the text of each event, and "" for what has none."""
        refusal = self._client.refusal
        plain: list[str] = []
        strange, ended = "", False
        lines = lines_of(self._client.stream(PATH, body))
        with closing(lines):
            try:
                for line in lines:
                    name, _, data = line.partition(":")
                    if name != "data":
                        if line.startswith("{") or plain:
                            plain.append(line)
                        elif name not in _FIELDS:
                            strange = strange or line
                        yield ""
                        continue
                    if data.strip() == "[DONE]":
                        ended = True
                        break
                    text, last = self._event(data)
                    ended = ended or last
                    yield text
            except TooLongError as error:
                raise refusal.unusable(PATH, f"sent {error}") from error
        if plain and not ended:  # a server that knows no streams answers at once
            text, ended = self._event("\n".join(plain))
            yield text
        if strange and not ended:
            raise refusal.unusable(PATH, "sent no events", strange[:300])
        if not ended:
            raise refusal.broken(PATH, ConnectionError("the stream stopped before its end"))

    def _event(self, data: str) -> tuple[str, bool]:
        """Return the text of an event, and whether it is the last one."""
        refusal = self._client.refusal
        try:
            event: Any = json.loads(data)
            if isinstance(event, dict) and event.get("error"):
                raise refusal.failed(PATH, event["error"])
            # Some servers begin or end with an event that has no choices: filters, usage.
            choices = event.get("choices") or [{}]
            words = choices[0].get("delta") or choices[0].get("message") or {}
            text = words.get("content") or ""
            reason = choices[0].get("finish_reason")
        except (ValueError, RecursionError, AttributeError, TypeError, LookupError) as error:
            raise refusal.unusable(PATH, "sent something that is no event", data[:300]) from error
        if not isinstance(text, str):
            raise refusal.unusable(PATH, "sent content that is no text", data[:300])
        if reason == "length" and self._max_tokens is None:
            raise refusal.unusable(
                PATH, "stopped at its most tokens of an answer, which is cut there; allow it more"
            )
        return text, reason is not None

"""``POST /completions`` with token ids: what is sent, and how the stream is read."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from voicerag_core.remote.client import Client
from voicerag_core.remote.lines import TooLongError, lines_of

__all__ = ["PATH", "Served", "completed", "streamed"]

PATH = "/completions"


@dataclass(frozen=True, slots=True)
class Served:
    """Some ids that a server sent.

    Args:
        ids: In the order in which they were drawn.
        prompt: The ids of the prompt, if the server sent them along.
        ended: Whether no more follow.
    """

    ids: tuple[int, ...] = ()
    prompt: tuple[int, ...] | None = None
    ended: bool = False


def streamed(
    client: Client, body: Mapping[str, object], table_size: int
) -> Generator[Served, None, None]:
    """Yield the ids of a reply as they arrive; closing the generator closes the connection.

    Args:
        client: Of the server.
        body: Of the request, without the fields that choose the form of the response.
        table_size: Ids are below it.

    Raises:
        EndpointError: The server refused, failed, was late, broke off, or sent something else.
        CancelledError: The running call was cancelled.
    """
    refusal = client.refusal
    body = {**body, "stream": True, "return_token_ids": True}
    with closing(lines_of(client.stream(PATH, body))) as lines:
        try:
            for line in lines:
                name, _, data = line.partition(":")
                if name != "data":
                    if line.startswith("{"):
                        raise refusal.unusable(PATH, "sent no stream", line[:300])
                    continue
                if data.strip() == "[DONE]":
                    return
                piece = _served(client, _parsed(client, data), table_size)
                yield piece
                if piece.ended:
                    return
        except TooLongError as error:
            raise refusal.unusable(PATH, f"sent {error}") from error
    raise refusal.broken(PATH, ConnectionError("the stream stopped before its end"))


def completed(client: Client, body: Mapping[str, object], table_size: int) -> Served:
    """Return a whole reply, read at once.

    Raises:
        EndpointError: There is no usable response in time.
        CancelledError: The running call was cancelled.
    """
    return _served(client, client.call(PATH, {**body, "return_token_ids": True}), table_size)


def _parsed(client: Client, data: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        sent = "sent something that is no event"
        raise client.refusal.unusable(PATH, sent, data[:300]) from error


def _served(client: Client, event: Any, table_size: int) -> Served:  # noqa: ANN401 - JSON
    """Return what an event holds; some begin or end a stream and hold no choices."""
    refusal = client.refusal
    try:
        if event.get("error"):
            raise refusal.failed(PATH, event["error"])
        choices = event.get("choices") or [{}]
        choice = choices[0]
        ids, prompt, reason = (
            choice.get(name) for name in ("token_ids", "prompt_token_ids", "finish_reason")
        )
        text = choice.get("text")
    except (AttributeError, TypeError, LookupError) as error:
        sent = "sent something that is no completion"
        raise refusal.unusable(PATH, sent, str(event)[:300]) from error
    if ids is None and text:
        raise refusal.unusable(
            PATH, "sent text without token_ids, which vLLM sends for return_token_ids"
        )
    if reason not in (None, "stop", "length"):
        raise refusal.broken(PATH, ConnectionError(f"it ended the reply by {str(reason)[:40]!r}"))
    return Served(
        _checked(client, ids or (), table_size),
        None if prompt is None else _checked(client, prompt, table_size),
        reason is not None,
    )


def _checked(client: Client, ids: Any, table_size: int) -> tuple[int, ...]:  # noqa: ANN401 - JSON
    """Return ids of which each is a number of a row of the table."""
    if not isinstance(ids, list | tuple) or not all(
        type(token) is int and 0 <= token < table_size for token in ids
    ):
        raise client.refusal.unusable(
            PATH, f"sent ids that are not numbers from 0 to {table_size - 1}", str(ids)[:300]
        )
    return tuple(ids)

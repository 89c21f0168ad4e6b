"""Embedding models behind ``/embeddings``."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from voicerag_core.cancellation import check_cancelled
from voicerag_core.closing import Closing
from voicerag_core.errors import ConfigError, EndpointError
from voicerag_core.remote.client import Client
from voicerag_core.remote.endpoint import Endpoint
from voicerag_core.types import Embeddings

__all__ = ["EmbeddingEndpoint"]

PATH = "/embeddings"
MOST_TEXTS = 64
AT_ONCE = 4
"""Batches that are on their way at the same time."""
SHORTEST_CUT = 256
"""Characters; a shorter text that is refused is not refused for its length."""
_TOO_MUCH = (400, 413, 422)
"""What servers answer to more texts, or longer ones, than they take."""


class EmbeddingEndpoint(Closing):
    """A `TextEmbedder` of an OpenAI-compatible server. Thread-safe.

    More texts than the server takes at once are sent in smaller batches from then on; a single text
    that it refuses is cut, as models do by themselves.

    Args:
        endpoint: Where the model is; its name is required, since it names the vector space.
        dim: Width of the vectors to ask for; None takes the model's.
        query_prefix: Put before questions; part of the id.
        passage_prefix: Put before texts of documents; part of the id.
        most_texts: Texts of one call.

    Raises:
        ConfigError: The model has no name.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        dim: int | None = None,
        query_prefix: str = "",
        passage_prefix: str = "",
        most_texts: int = MOST_TEXTS,
    ) -> None:
        if not endpoint.model:
            raise ConfigError(
                f"{endpoint.setting}_MODEL is missing: it is sent to the server, and written down "
                "with the vectors, so that they are never compared with those of another model"
            )
        width = f"/{dim}" if dim else ""
        prefixes = f"+{query_prefix!r}+{passage_prefix!r}" if query_prefix or passage_prefix else ""
        self.model_id = f"{endpoint.model}{width}{prefixes}"
        self._client = Client(endpoint, most_at_once=AT_ONCE)
        self._asked_dim = dim
        self._query_prefix = query_prefix
        self._passage_prefix = passage_prefix
        self._lock = threading.Lock()
        self._dim = dim
        self._most_texts = most_texts

    @property
    def dim(self) -> int:
        """Width of the vectors; unless it was given, the first look at it embeds a word.

        Raises:
            EndpointError: The model cannot be asked.
        """
        with self._lock:
            known = self._dim
        return self._rows(["width"]).shape[1] if known is None else known

    def warm(self) -> None:
        """Ask for the vector of a word, so that what is wrong shows now.

        Raises:
            EndpointError: The model cannot be asked.
        """
        self._rows(["width"])

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """Embed N texts of documents as [N, D], L2-normalised.

        Raises:
            EndpointError: The server cannot be reached, refused, or sent other vectors.
        """
        return self._rows([self._passage_prefix + text for text in texts])

    def embed_questions(self, texts: Sequence[str]) -> Embeddings:
        """Embed N questions as [N, D], L2-normalised.

        Raises:
            EndpointError: The server cannot be reached, refused, or sent other vectors.
        """
        return self._rows([self._query_prefix + text for text in texts])

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _rows(self, texts: Sequence[str]) -> Embeddings:
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        done: list[Embeddings] = []
        at = 0
        while at < len(texts):
            check_cancelled()
            size = self._most_texts
            ends = range(at + size, at + size * AT_ONCE + 1, size)
            batches = [texts[end - size : end] for end in ends if end - size < len(texts)]
            try:
                done += self._embedded(batches)
            except EndpointError as error:
                if error.status not in _TOO_MUCH:
                    raise
                done += [self._in_parts(batch) for batch in batches]
            at += sum(map(len, batches))
        return np.concatenate(done)

    def _in_parts(self, texts: Sequence[str]) -> Embeddings:
        """Embed a batch that may be too much for the server: by halves, or cut."""
        check_cancelled()
        if len(texts) == 1:
            return self._alone(texts[0])
        half = (len(texts) + 1) // 2
        halves = (texts[:half], texts[half:])
        try:
            rows = np.concatenate(self._embedded(halves))
        except EndpointError as error:
            if error.status not in _TOO_MUCH:
                raise
            return np.concatenate([self._in_parts(one) for one in halves])
        with self._lock:  # it was their number, not their length
            self._most_texts = min(self._most_texts, half)
        return rows

    def _alone(self, text: str) -> Embeddings:
        """Embed one text, or its beginning, if the server refuses it."""
        while True:
            try:
                return self._embedded([[text]])[0]
            except EndpointError as error:
                if error.status not in _TOO_MUCH or len(text) <= SHORTEST_CUT:
                    raise
                text = text[: len(text) // 2]

    def _embedded(self, batches: Sequence[Sequence[str]]) -> list[Embeddings]:
        """Embed batches at the same time."""
        bodies = []
        for batch in batches:
            body: dict[str, object] = {
                "model": self._client.endpoint.model,
                "input": [text or " " for text in batch],
                "encoding_format": "float",
            }
            if self._asked_dim is not None:
                body["dimensions"] = self._asked_dim
            bodies.append(body)
        responses = self._client.calls(PATH, bodies)
        return [self._checked(*one) for one in zip(responses, map(len, batches), strict=True)]

    def _checked(self, response: Any, count: int) -> Embeddings:  # noqa: ANN401 - JSON
        """Return the vectors of a response in the order of the texts."""
        refusal = self._client.refusal
        try:
            found = {int(one["index"]): _vector(one["embedding"]) for one in response["data"]}
            rows = np.stack([found[index] for index in range(count)])
            if len(response["data"]) != count or not np.isfinite(rows).all():
                raise ValueError(f"{len(response['data'])} vectors of {count} texts")
        except (ValueError, TypeError, KeyError, OverflowError, binascii.Error) as error:
            raise refusal.unusable(PATH, "sent something that are no vectors") from error
        with self._lock:
            if self._dim is None:
                self._dim = rows.shape[1]
            wanted = self._dim
        if rows.shape[1] != wanted:
            setting = self._client.endpoint.setting
            raise EndpointError(
                f"{refusal.said(PATH, f'sent vectors of width {rows.shape[1]}')}, and {wanted} is "
                f"expected; correct {setting}_DIM, or leave it out to take the model's width"
            )
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        unit: Embeddings = (rows / np.maximum(norms, 1e-12)).astype(np.float32)
        return unit


def _vector(sent: object) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Read a vector from numbers, or from base64 of little-endian float32."""
    if isinstance(sent, str):
        return np.frombuffer(base64.b64decode(sent, validate=True), dtype="<f4").astype(np.float32)
    vector = np.asarray(sent, np.float32)
    if vector.ndim != 1 or not len(vector):
        raise ValueError("no vector")
    return vector

"""Rerankers behind ``/rerank``, in the form of text-embeddings-inference and that of Jina."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicerag_core.closing import Closing
from voicerag_core.errors import EndpointError
from voicerag_core.remote.client import Client
from voicerag_core.remote.endpoint import Endpoint

__all__ = ["RerankEndpoint"]

PATH = "/rerank"
_OTHER_FORM = (400, 422)
"""What servers answer when a field is missing."""


class RerankEndpoint(Closing):
    """A `Reranker` behind a URL: TEI, vLLM, Jina, Cohere and what resembles them. Thread-safe.

    The form with ``documents`` is tried first where a model is named, else that with ``texts``;
    the other one follows when the server does not know the first.

    Args:
        endpoint: Where the model is.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._client = Client(endpoint)
        self._field = "documents" if endpoint.model else "texts"
        self._sure = False

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return for each of N texts how well it answers the question, [N]; more is better.

        Raises:
            EndpointError: The server cannot be reached, refused, or sent no scores.
        """
        if not texts:
            return np.zeros(0, np.float32)
        try:
            scores = self._scored(self._field, question, texts)
        except EndpointError as error:
            if self._sure or error.status not in _OTHER_FORM:
                raise
            other = "texts" if self._field == "documents" else "documents"
            try:
                scores = self._scored(other, question, texts)
            except EndpointError:
                raise error from None
            self._field = other
        self._sure = True
        return scores

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _scored(self, field: str, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        body: dict[str, object] = {"query": question, field: [text or " " for text in texts]}
        if field == "texts":
            body["truncate"] = True
        else:
            body["top_n"] = len(texts)
        if self._client.endpoint.model:
            body["model"] = self._client.endpoint.model
        response = self._client.call(PATH, body)
        try:
            return _scores(response, len(texts))
        except (TypeError, KeyError, ValueError, IndexError) as error:
            raise self._client.refusal.unusable(
                PATH, "sent no scores", str(response)[:300]
            ) from error


def _scores(response: Any, count: int) -> NDArray[np.float32]:  # noqa: ANN401 - JSON
    """Read the scores in the order of the texts; one that is left out counts as the worst."""
    found = response
    if isinstance(response, dict):
        found = response["results"] if "results" in response else response["data"]
    scores = np.full(count, np.nan, np.float32)
    for one in found:
        index = int(one["index"])
        if not 0 <= index < count:
            raise IndexError(index)
        scores[index] = float(one["relevance_score"] if "relevance_score" in one else one["score"])
    known = np.isfinite(scores)
    if not known.any():
        raise ValueError("no scores")
    scores[~known] = scores[known].min() - 1.0
    return scores

"""Embedding models behind a URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.remote import wire as faults
from tests.remote.conftest import endpoint_of
from tests.remote.wire import DIM, Handler, Wire, vector_of
from voicerag_core import ConfigError, EndpointError
from voicerag_core.remote.embedder import EmbeddingEndpoint

TEXTS = [f"the {number} towers of the town {'x' * (number % 7)}" for number in range(150)]


def embedder(wire: Wire, **values: Any) -> EmbeddingEndpoint:
    return EmbeddingEndpoint(endpoint_of(wire), **values)


def unit(text: str) -> np.ndarray[Any, Any]:
    row = vector_of(text)
    normed: np.ndarray[Any, Any] = row / np.linalg.norm(row)
    return normed


@pytest.mark.parametrize("most", [1, 3, 32, 1000])
def test_rows_are_in_the_order_of_the_texts(wire: Wire, most: int) -> None:
    wire.most_texts = most
    with embedder(wire) as one:
        rows = one.embed_passages(TEXTS)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [unit(text) for text in TEXTS], atol=1e-6)


def test_a_smaller_batch_is_learnt(wire: Wire) -> None:
    wire.most_texts = 32
    with embedder(wire) as one:
        one.embed_passages(TEXTS)
        before = len(wire.requests)
        one.embed_passages(TEXTS)
    sizes = [len(request.json["input"]) for request in wire.requests[before:]]
    assert max(sizes) <= 32
    assert sum(sizes) == len(TEXTS)


def refuse_long(handler: Handler) -> None:
    """Take no text of more than 300 characters."""
    if any(len(text) > 300 for text in handler.request_seen.json["input"]):
        handler.send_json(413, {"error": {"message": "must have less than 512 tokens"}})
    else:
        handler.answer()


def test_a_text_that_is_too_long_is_cut(wire: Wire) -> None:
    wire.always = refuse_long
    texts = ["short", "long " * 400, "other"]
    with embedder(wire) as one:
        rows = one.embed_passages(texts)
    np.testing.assert_allclose(rows[0], unit("short"), atol=1e-6)
    np.testing.assert_allclose(rows[2], unit("other"), atol=1e-6)
    assert rows[1] @ unit("long") > 0.99


def test_numbers_and_base64_are_the_same(wire: Wire) -> None:
    def packed(handler: Handler) -> None:
        handler.request_seen.body = handler.request_seen.body.replace(b'"float"', b'"base64"')
        handler.answer()

    with embedder(wire) as one:
        plain = one.embed_questions(TEXTS[:5])
        wire.always = packed
        np.testing.assert_array_equal(one.embed_questions(TEXTS[:5]), plain)


def test_prefixes_differ_by_side_and_are_part_of_the_id(wire: Wire) -> None:
    with embedder(wire, query_prefix="query: ", passage_prefix="passage: ") as one:
        one.embed_questions(["tall"])
        one.embed_passages(["tower"])
        ids = {one.model_id}
    assert [request.json["input"] for request in wire.requests] == [
        ["query: tall"],
        ["passage: tower"],
    ]
    for values in ({}, {"query_prefix": "query: "}, {"passage_prefix": "query: "}, {"dim": 8}):
        with embedder(wire, **values) as other:
            ids.add(other.model_id)
    assert len(ids) == 5


def test_the_width_is_the_models_or_the_one_asked_for(wire: Wire) -> None:
    with embedder(wire) as one:
        assert one.dim == DIM
        assert one.embed_passages([]).shape == (0, DIM)
    with embedder(wire, dim=8) as one:
        assert one.dim == 8
        assert one.embed_passages(["a"]).shape == (1, 8)
        assert wire.requests[-1].json["dimensions"] == 8


def test_another_width_than_asked_is_refused(wire: Wire) -> None:
    def ignoring(handler: Handler) -> None:
        handler.request_seen.body = handler.request_seen.body.replace(b',"dimensions":8', b"")
        handler.answer()

    wire.always = ignoring
    with (
        embedder(wire, dim=8) as one,
        pytest.raises(EndpointError, match=f"width {DIM}, and 8 is expected"),
    ):
        one.embed_passages(["a"])


def answering(change: Callable[[list[dict[str, Any]]], object]) -> faults.Fault:
    def fault(handler: Handler) -> None:
        count = len(handler.request_seen.json["input"])
        data = [{"index": i, "embedding": [1.0, 0.0]} for i in range(count)]
        handler.send_json(200, change(data))

    return fault


@pytest.mark.parametrize(
    "change",
    [
        lambda data: {"data": data[:-1]},
        lambda data: {"data": [*data, *data]},
        lambda data: {"data": [{**one, "index": 0} for one in data]},
        lambda data: {"data": [{**one, "embedding": [float("nan"), 1.0]} for one in data]},
        lambda data: {"data": [{**one, "embedding": "no base64!"} for one in data]},
        lambda data: {"data": [{**one, "embedding": []} for one in data]},
        lambda data: {"data": [{**one, "embedding": [[1.0]]} for one in data]},
        lambda data: {"data": [{"index": 0, "embedding": [1.0] * (i + 1)} for i in (0, 1)]},
        lambda data: {"data": None},
        lambda data: [],
        lambda data: "no",
    ],
)
def test_what_are_no_vectors_is_refused(wire: Wire, change: Callable[[Any], object]) -> None:
    wire.always = answering(change)
    with embedder(wire) as one, pytest.raises(EndpointError, match="no vectors"):
        one.embed_passages(["a", "b"])


def test_odd_texts_are_sent(wire: Wire) -> None:
    with embedder(wire) as one:
        rows = one.embed_passages(["", " ", "\ud800 lone", "塔有多高？", "\x00"])
    assert rows.shape == (5, DIM)
    assert np.isfinite(rows).all()


def test_a_model_without_a_name_is_refused(wire: Wire) -> None:
    with pytest.raises(ConfigError, match="VOICERAG_CHAT_MODEL is missing"):
        EmbeddingEndpoint(endpoint_of(wire, model=""))

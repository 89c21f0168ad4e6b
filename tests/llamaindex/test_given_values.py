"""What applications and models hand over: ids, numbers of numpy, edges, nulls, copies."""

from __future__ import annotations

import copy
import datetime
import decimal
import json
import pickle
import uuid
from typing import Any

import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import IndexNode, TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from voicerag_core import Audio, StoreError, VoiceRAG
from voicerag_core.testing import InMemoryStore
from voicerag_integrations.llamaindex import (
    SpeechQueryEngine,
    SpeechRetriever,
    VoiceRAGVectorStore,
    speech_query_tool,
)


@pytest.fixture(params=["memory", "postgres"])
def vectors(request: pytest.FixtureRequest) -> VoiceRAGVectorStore:
    """Four nodes n0 to n3, in memory and in Postgres."""
    if request.param == "memory":
        store = VoiceRAGVectorStore(InMemoryStore(64))
    else:
        rag: VoiceRAG = request.getfixturevalue("rag")
        rag.store.delete(["rhine", "oxygen", "tower"])
        store = VoiceRAGVectorStore(rag.store)
    rows = np.eye(4, 64)
    store.add(
        [
            TextNode(id_=f"n{i}", text=f"node {i}", embedding=rows[i].tolist(), metadata={"i": i})
            for i in range(4)
        ]
    )
    return store


def ids(store: VoiceRAGVectorStore, **query: Any) -> list[str]:
    given = {"query_embedding": [1.0, 0.1, *[0.0] * 62], "similarity_top_k": 4, **query}
    return store.query(VectorStoreQuery(**given)).ids or []


def test_only_the_nodes_asked_for_are_found(vectors: VoiceRAGVectorStore) -> None:
    assert ids(vectors, node_ids=["n2"]) == ["n2"]
    assert set(ids(vectors, node_ids=["n3", "n1", "absent"])) == {"n3", "n1"}
    assert ids(vectors, node_ids=["absent"]) == []
    assert ids(vectors, node_ids=[]) == ids(vectors) == ["n0", "n1", "n2", "n3"]
    for mode in (VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.MMR):
        found = ids(vectors, node_ids=["n2", "n1"], mode=mode, query_str="node")
        assert set(found) == {"n1", "n2"}
    words = VectorStoreQueryMode.TEXT_SEARCH
    assert ids(vectors, node_ids=["n2"], mode=words, query_str="node") == ["n2"]
    below = MetadataFilters(filters=[MetadataFilter(key="i", value=2, operator=FilterOperator.LT)])
    assert ids(vectors, node_ids=["n1", "n2"], filters=below) == ["n1"]
    assert ids(vectors, node_ids=[*map(str, range(5_000)), "n1"]) == ["n1"]


def test_the_nodes_that_an_index_keeps_itself_hide_no_others(
    vectors: VoiceRAGVectorStore,
) -> None:
    """An index passes the ids of its index and image nodes with every query."""
    context = StorageContext.from_defaults(vector_store=vectors)
    embedder = MockEmbedding(64)
    nodes = [
        IndexNode(id_="pointer", text="pointer", index_id="sub"),
        TextNode(id_="own", text="o"),
    ]
    index = VectorStoreIndex(nodes, storage_context=context, embed_model=embedder)
    retriever = index.as_retriever(similarity_top_k=9)
    assert getattr(retriever, "_node_ids") == ["pointer"]  # noqa: B009 - of a base class
    assert {one.node_id for one in retriever.retrieve("node")} >= {"own", "n0", "n3"}
    assert set(ids(vectors, node_ids=["pointer", "n1"])) == {"pointer", "n1"}


def test_vectors_and_metadata_of_numpy_are_taken(vectors: VoiceRAGVectorStore) -> None:
    assert ids(vectors, query_embedding=np.eye(4, 64)[2])[0] == "n2"
    assert ids(vectors, query_embedding=np.eye(4, 64)[2], mode=VectorStoreQueryMode.MMR)[0] == "n2"
    node = TextNode(id_="numpy", text="x", metadata={"n": np.int64(3), "rows": np.array([1.5])})
    node.embedding = np.eye(1, 64)[0]
    vectors.add([node])
    (back,) = vectors.get_nodes(["numpy"])
    assert back.metadata == {"n": 3, "rows": [1.5]}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (uuid.UUID(int=7), str(uuid.UUID(int=7))),
        (decimal.Decimal("1.5"), "1.5"),
        ("C:\\u0000dir", "C:\\u0000dir"),
    ],
)
def test_metadata_of_readers_is_kept(
    vectors: VoiceRAGVectorStore, value: object, kept: object
) -> None:
    vectors.add([TextNode(id_="m", text="x", metadata={"k": value}, embedding=[1.0] * 64)])
    assert vectors.get_nodes(["m"])[0].metadata == {"k": kept}


def test_edges_of_limits(vectors: VoiceRAGVectorStore) -> None:
    assert ids(vectors, similarity_top_k=0) == []
    assert ids(vectors, similarity_top_k=np.int64(1)) == ["n0"]
    with pytest.raises(StoreError, match="limit is -1"):
        ids(vectors, similarity_top_k=-1)
    result = vectors.query(VectorStoreQuery(query_embedding=[1.0, *[0.0] * 63], similarity_top_k=1))
    assert result.similarities == [1.0]


def test_a_bound_of_exactly_one(rag: VoiceRAG) -> None:
    text = "Oxygen is a gas without colour."
    retriever = SpeechRetriever(rag, min_score=1.0, strategy="e2e")
    embedded = rag.embedder.embed_passages([text])[0]
    found = rag.store.search(embedded, limit=3, min_score=1.0)
    assert [hit.passage.id for hit in found] == ["oxygen"]
    assert retriever.retrieve("a question about something else") == []


def test_null_arguments_of_the_tool_count_as_not_given(
    rag: VoiceRAG, clip: Audio, question: str
) -> None:
    engine: BaseQueryEngine = SpeechQueryEngine(rag)
    tool = speech_query_tool(engine, clips={"c": clip})
    for arguments in (
        {"question": None, "clip_id": "c"}, {"question": "", "clip_id": "c"},
        {"question": question, "clip_id": None}, {"question": question, "clip_id": ""},
    ):  # fmt: skip
        assert "Rhine" in tool.call(**arguments).content


def test_values_pass_the_serializers(vectors: VoiceRAGVectorStore, rag: VoiceRAG) -> None:
    found = SpeechRetriever(rag).retrieve("oxygen")
    for node in [*(one.node for one in found), *vectors.get_nodes(["n1"])]:
        again = type(node).from_dict(json.loads(json.dumps(node.to_dict())))
        assert again.to_dict() == node.to_dict()
        assert pickle.loads(pickle.dumps(node)) == copy.deepcopy(node) == node
    assert VoiceRAGVectorStore.from_dict(vectors.to_dict()).stores_text
    assert "dsn" not in json.dumps(vectors.to_dict())

"""What applications and models hand over: keys, dates, nulls, numbers of numpy, copies."""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import pickle
import uuid
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.load import dumps, loads
from langchain_core.messages import HumanMessage, ToolMessage

from voicerag_core import Answer, Audio, ConfigError, StoreError, VoiceRAG
from voicerag_integrations.langchain import (
    SpeechRetriever,
    VoiceAskTool,
    VoiceRAGVectorStore,
    VoiceSearchTool,
)

KEY = uuid.UUID(int=7)


class Colour(enum.Enum):
    RED = "red"


@pytest.fixture
def vectors(stored: VoiceRAG) -> VoiceRAGVectorStore:
    return VoiceRAGVectorStore(stored)


@pytest.mark.parametrize("key", [7, 0, -1, KEY, np.int64(7), np.str_("s")])
async def test_a_primary_key_is_an_id_everywhere(vectors: VoiceRAGVectorStore, key: Any) -> None:
    before = vectors.store.count()
    assert vectors.add_texts(["one"], ids=[key]) == [str(key)]
    assert vectors.add_documents([Document("two")], ids=[str(key)]) == [str(key)]
    assert await vectors.aadd_texts(["three"], ids=[key]) == [str(key)]
    row = vectors.embeddings.embed_query("four")
    assert vectors.add_embeddings(["four"], [row], ids=[key]) == [str(key)]
    (found,) = vectors.get_by_ids([key])
    assert (found.id, found.page_content) == (str(key), "four")
    assert await vectors.aget_by_ids([key]) == [found]
    assert vectors.store.count() == before + 1
    assert vectors.delete([key])
    assert vectors.get_by_ids([key]) == []
    vectors.add_texts(["again"], ids=np.array([str(key)]))  # type: ignore[arg-type]
    assert await vectors.adelete([key])
    assert vectors.store.count() == before


@pytest.mark.parametrize("key", [1.5, True, b"a", ("a",)])
def test_any_other_id_is_refused_everywhere(vectors: VoiceRAGVectorStore, key: Any) -> None:
    before = vectors.store.count()
    for call in (
        lambda: vectors.add_texts(["beside", "x"], ids=["a", key]),
        lambda: vectors.get_by_ids([key]),
        lambda: vectors.delete([key]),
    ):
        with pytest.raises(ConfigError, match="an id is a str, an int or a UUID, not"):
            call()
    assert vectors.store.count() == before


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC), "2024-05-01T12:00:00Z"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (datetime.time(12, 30), "12:30:00"),
        (KEY, str(KEY)),
        (decimal.Decimal("1.50"), "1.50"),
        (Colour.RED, "red"),
        (PurePosixPath("a/b"), "a/b"),
        (np.int64(3), 3),
        (np.array([1.5, 2]), [1.5, 2.0]),
        ((1, "a"), [1, "a"]),
        ({"deep": [datetime.date(2024, 5, 1)]}, {"deep": ["2024-05-01"]}),
        ("2024-05-01", "2024-05-01"),
        (2**70, 2**70),
    ],
)
def test_metadata_of_loaders_is_kept(
    vectors: VoiceRAGVectorStore, value: object, kept: object
) -> None:
    vectors.add_documents([Document("x", metadata={"k": value, 7: "number"})], ids=["m"])
    (back,) = vectors.get_by_ids(["m"])
    assert back.metadata == {"k": kept, "7": "number"}
    if isinstance(value, datetime.date | datetime.time | uuid.UUID | decimal.Decimal | str | int):
        for condition in ({"k": value}, {"k": {"$in": [value, "other"]}}, {"k": {"$gte": value}}):
            found = vectors.similarity_search("x", filter=condition)
            assert [one.id for one in found] == ["m"]


@pytest.mark.parametrize("value", [object(), float("nan"), "\ud83d", lambda: None])
def test_a_document_that_json_cannot_hold_is_named(
    vectors: VoiceRAGVectorStore, value: object
) -> None:
    before = vectors.store.count()
    with pytest.raises(StoreError, match="'bad'"):
        vectors.add_documents(
            [Document("x", id="good"), Document("x", id="bad", metadata={"k": value})]
        )
    assert vectors.store.count() == before
    assert vectors.add_texts(["x"], [None]), "no metadata is none"  # type: ignore[list-item]


def test_limits_and_bounds_at_their_edges(vectors: VoiceRAGVectorStore) -> None:
    text = "The Rhine rises in the Swiss Alps. It flows into the North Sea."
    assert vectors.similarity_search(text, k=0) == []
    assert vectors.similarity_search_with_score(text, k=0) == []
    assert vectors.max_marginal_relevance_search(text, k=0) == []
    assert len(vectors.max_marginal_relevance_search(text, k=2, fetch_k=0)) == 2
    with pytest.raises(StoreError, match="limit is -1"):
        vectors.similarity_search(text, k=-1)
    exact = vectors.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 1.0}
    )
    assert [one.page_content for one in exact.invoke(text)] == [text]
    many = {"kind": {"$in": ["rhine", *map(str, range(5_000))]}}
    assert [one.metadata["kind"] for one in vectors.similarity_search(text, filter=many)] == [
        "rhine"
    ]


@pytest.mark.parametrize("kind", [VoiceSearchTool, VoiceAskTool])
async def test_null_and_empty_arguments_count_as_not_given(
    rag: VoiceRAG, spoken: Audio, kind: Any
) -> None:
    tool = kind(rag=rag, clips={"c": spoken}.__getitem__)
    asked = "Where does the Rhine rise?"
    given: list[dict[str, str | None]] = [
        {"question": None, "clip_id": "c"}, {"question": asked, "clip_id": None},
        {"question": "", "clip_id": "c"}, {"question": asked, "clip_id": ""}, {"clip_id": "c"},
    ]  # fmt: skip
    for arguments in given:
        assert "Rhine" in tool.invoke(arguments)
        assert "Rhine" in await tool.ainvoke(arguments)
    nothing: list[dict[str, str | None]] = [
        {"question": None, "clip_id": None}, {"question": None}, {}, {"clip_id": ""},
    ]  # fmt: skip
    for arguments in nothing:
        assert "give either a question or a clip_id" in tool.invoke(arguments)
    typed = kind(rag=rag)
    assert "give either" in typed.invoke({"question": None})
    assert "Rhine" in typed.invoke({"question": asked, "clip_id": None})
    assert tool.args["question"]["type"] == tool.args["clip_id"]["type"] == "string"


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_values_pass_the_serializer_of_the_framework(
    rag: VoiceRAG, vectors: VoiceRAGVectorStore
) -> None:
    retriever = SpeechRetriever(rag=rag)
    documents = retriever.invoke("Where does the Rhine rise?")
    assert loads(dumps(documents), allowed_objects=[Document]) == documents
    tool = VoiceAskTool(rag=rag)
    call = {"name": "voice_ask", "args": {"question": "Where?"}, "id": "1", "type": "tool_call"}
    message = tool.invoke(call)
    assert isinstance(message, ToolMessage)
    assert isinstance(message.artifact, Answer)
    assert pickle.loads(pickle.dumps(message)) == message
    assert copy.deepcopy(message) == message
    history = [HumanMessage("Where?"), message]
    _, back = loads(dumps(history), allowed_objects=[HumanMessage, ToolMessage])
    assert type(back) is ToolMessage
    assert (back.content, back.tool_call_id) == (message.content, "1")
    assert back.artifact["text"] == message.artifact.text
    assert back.artifact["audio"] is None
    assert back.artifact["hits"][0]["passage"]["text"]
    for component in (retriever, tool, vectors.as_retriever()):
        assert "dsn" not in dumps(component)
    with pytest.raises(StoreError, match="cannot be copied or pickled; open another"):
        copy.deepcopy(vectors)

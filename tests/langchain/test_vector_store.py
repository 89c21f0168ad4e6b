"""The vector store beyond the standard suite: scores, filters, variety, and bad input."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.indexing import InMemoryRecordManager, index

from voicerag_core import (
    Audio,
    AudioError,
    ConfigError,
    EmbeddingMismatchError,
    FilterError,
    PgVectorStore,
    StoreError,
    VoiceRAG,
    to_wav_bytes,
)
from voicerag_core.testing import FakeEmbedder
from voicerag_integrations.langchain import VoiceRAGEmbeddings, VoiceRAGVectorStore


@pytest.fixture
def vectors(stored: VoiceRAG) -> VoiceRAGVectorStore:
    return VoiceRAGVectorStore(stored)


def ids(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


async def test_scores_are_cosines_best_first(vectors: VoiceRAGVectorStore) -> None:
    text = "The Rhine rises in the Swiss Alps. It flows into the North Sea."
    found = vectors.similarity_search_with_score(text, k=4)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1.0, abs=1e-3)
    assert await vectors.asimilarity_search_with_score(text, k=4) == found
    relevant = vectors.similarity_search_with_relevance_scores(text, k=4, score_threshold=0.9)
    assert ids([document for document, _ in relevant]) == [found[0][0].id]
    assert all(0 <= score <= 1 for _, score in vectors.similarity_search_with_relevance_scores("x"))


async def test_stock_retrievers_work(vectors: VoiceRAGVectorStore) -> None:
    question = "Is oxygen a gas?"
    expected = vectors.similarity_search(question, k=2)
    plain = vectors.as_retriever(search_kwargs={"k": 2})
    assert plain.invoke(question) == await plain.ainvoke(question) == expected
    threshold = vectors.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.95}
    )
    assert threshold.invoke(question) == []
    various = vectors.as_retriever(
        search_type="mmr", search_kwargs={"k": 2, "filter": {"kind": {"$ne": "oxygen"}}}
    )
    assert {d.metadata["kind"] for d in various.invoke(question)} <= {"rhine", "bakery", "tower"}


async def test_variety_leaves_out_the_twin(vectors: VoiceRAGVectorStore) -> None:
    vectors.add_texts(["red apple pie", "red apple pie now", "red car"], ids=["a", "b", "c"])
    near = vectors.similarity_search("red apple pie", k=2)
    assert ids(near) == ["a", "b"]
    various = vectors.max_marginal_relevance_search("red apple pie", k=2, lambda_mult=0.2)
    assert ids(various)[0] == "a"
    assert ids(various)[1] != "b"
    assert ids(vectors.max_marginal_relevance_search("red apple pie", k=2, lambda_mult=1)) == [
        "a",
        "b",
    ]
    row = vectors.embeddings.embed_query("red apple pie")
    by_vector = vectors.max_marginal_relevance_search_by_vector(row, k=2, lambda_mult=0.2)
    assert by_vector == various
    assert (
        await vectors.amax_marginal_relevance_search("red apple pie", k=2, lambda_mult=0.2)
        == various
    )
    assert (
        await vectors.amax_marginal_relevance_search_by_vector(row, k=2, lambda_mult=0.2) == various
    )
    with pytest.raises(ConfigError, match=r"0\.\.1"):
        vectors.max_marginal_relevance_search("red", lambda_mult=3)


async def test_a_spoken_question_searches_by_vector(
    vectors: VoiceRAGVectorStore, spoken: Audio
) -> None:
    embeddings = vectors.embeddings
    assert isinstance(embeddings, VoiceRAGEmbeddings)
    row = embeddings.embed_audio(spoken)
    assert row == await embeddings.aembed_audio(spoken)
    (found,) = vectors.similarity_search_by_vector(row, k=1)
    assert found.metadata["kind"] == "rhine"
    assert await vectors.asimilarity_search_by_vector(row, k=1) == [found]
    with pytest.raises(ConfigError, match="embed_query"):
        embeddings.embed_audio("question.wav")
    with pytest.raises(AudioError, match="cannot be read"):
        embeddings.embed_audio(b"noise")
    assert len(embeddings.embed_audio(to_wav_bytes(Audio(spoken.samples, 8_000)))) == 256


def test_metadata_survives_postgres(vectors: VoiceRAGVectorStore) -> None:
    metadata = {"n": 1, "x": 1.5, "ok": True, "none": None, "list": [1, "a"], "deep": {"ä": ["ß"]}}
    vectors.add_documents([Document(id="m", page_content="naïve 漢字", metadata=metadata)])
    (back,) = vectors.get_by_ids(["m"])
    assert (back.metadata, back.page_content) == (metadata, "naïve 漢字")


def test_equal_texts_without_ids_both_live(vectors: VoiceRAGVectorStore) -> None:
    first, second = vectors.add_texts(["a rare zebra", "a rare zebra"])
    assert set(ids(vectors.similarity_search("a rare zebra", k=2))) == {first, second}


async def test_deleting(vectors: VoiceRAGVectorStore) -> None:
    vectors.add_texts(["one", "two", "three"], [{"n": 1}, {"n": 2}, {"n": 3}], ids=["1", "2", "3"])
    assert vectors.delete(["1"], filter={"n": 2})
    assert ids(vectors.get_by_ids(["3", "2", "1"])) == ["3", "2", "1"]
    assert await vectors.adelete(filter={"n": {"$gte": 2}})
    assert ids(vectors.get_by_ids(["1", "2", "3"])) == ["1"]
    assert vectors.delete([])
    with pytest.raises(StoreError, match="needs ids or a filter"):
        vectors.delete()
    assert vectors.store.count() == 5
    vectors.delete(filter={})
    assert vectors.store.count() == 0


def test_langchains_indexing_keeps_it_in_step(vectors: VoiceRAGVectorStore) -> None:
    records = InMemoryRecordManager("test")
    records.create_schema()
    page = [Document(page_content=f"page {i}", metadata={"source": "s"}) for i in range(5)]
    options: Any = {"cleanup": "incremental", "source_id_key": "source", "key_encoder": "sha256"}
    assert index(page, records, vectors, **options)["num_added"] == 5
    assert index(page, records, vectors, **options)["num_skipped"] == 5
    changed = index([*page[:4], Document(page_content="new", metadata={"source": "s"})],
                    records, vectors, **options)  # fmt: skip
    assert (changed["num_added"], changed["num_deleted"]) == (1, 1)
    assert vectors.store.count() == 4 + 5


async def test_made_from_texts_by_dsn(dsn: str, tenant: str) -> None:
    model = DeterministicFakeEmbedding(size=12)
    options: Any = {"dsn": dsn, "tenant": tenant, "collection": "made"}
    with VoiceRAGVectorStore.from_texts(["a", "b"], model, model_id="m", **options) as made:
        assert [d.page_content for d in made.similarity_search("a", k=1)] == ["a"]
    documents = [Document(page_content="c", id="c"), Document(page_content="d")]
    with await VoiceRAGVectorStore.afrom_documents(
        documents, model, model_id="m", **options
    ) as made:
        assert made.store.count() == 4
        assert ids(made.get_by_ids(["c"])) == ["c"]
        again = VoiceRAGVectorStore.from_texts(["e"], model, store=made.store)
        assert again.store.count() == 5
    with pytest.raises(StoreError, match="closed"):
        made.similarity_search("a")
    with pytest.raises(StoreError, match="closed"):
        await made.asimilarity_search("a")
    with pytest.raises(EmbeddingMismatchError, match="'m'"):
        VoiceRAGVectorStore.from_texts(["a"], VoiceRAGEmbeddings(FakeEmbedder(12)), **options)
    with pytest.raises(ConfigError, match="name the embedding model"):
        VoiceRAGVectorStore.from_texts(["a"], model, **options)
    with pytest.raises(ConfigError, match="give either"):
        VoiceRAGVectorStore.from_texts(["a"], model)


def test_made_without_hybrid_search(dsn: str, tenant: str) -> None:
    model = DeterministicFakeEmbedding(size=12)
    options: Any = {"dsn": dsn, "tenant": tenant, "collection": "bare", "model_id": "m"}
    made = VoiceRAGVectorStore.from_texts(["a", "b"], model, hybrid_search=False, **options)
    with made:
        assert [d.page_content for d in made.similarity_search("a", k=1)] == ["a"]
        with pytest.raises(StoreError, match="made without a search by words"):
            made.store.search(None, text="a", limit=1)
    with pytest.raises(StoreError, match="made without a search by words"):
        VoiceRAGVectorStore.from_texts(["c"], model, hybrid_search=True, **options)
    with VoiceRAGVectorStore.from_texts(["c"], model, **options) as again:
        assert again.store.count() == 3


class Served(Embeddings):
    """Embeddings that wait for a server, as most in LangChain do; not of length 1."""

    def __init__(self) -> None:
        self.awaited = 0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[len(text), 3.0, 4.0] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self.awaited += 1
        return self.embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        self.awaited += 1
        return self.embed_query(text)


async def test_embeddings_of_a_server_are_awaited(dsn: str, tenant: str) -> None:
    model = Served()
    with PgVectorStore.open(dsn, tenant=tenant, model_id="served", dim=3) as store:
        vectors = VoiceRAGVectorStore(store, model)
        await vectors.aadd_texts(["a", "a" * 9], ids=["1", "2"])
        ((document, score),) = await vectors.asimilarity_search_with_score("b", k=1)
        assert (document.id, round(score, 2)) == ("1", 1.0)
        await vectors.amax_marginal_relevance_search("b", k=1)
        assert model.awaited == 3


def test_ready_vectors_are_stored_and_checked(vectors: VoiceRAGVectorStore) -> None:
    row = [3.0, 4.0] + [0.0] * 254
    assert vectors.add_embeddings(["x"], [row], [{"a": 1}], ids=["x"]) == ["x"]
    assert ids(vectors.similarity_search_by_vector(row, k=1)) == ["x"]
    bad: list[tuple[Any, type[Exception], str]] = [
        ([[1.0, 2.0]], EmbeddingMismatchError, "256"),
        ([row, row], ConfigError, "1 texts came with 2"),
        ([[0.0] * 256], StoreError, "points nowhere"),
        ([[float("nan")] * 256], StoreError, "points nowhere"),
    ]
    for rows, error, message in bad:
        with pytest.raises(error, match=message):
            vectors.add_embeddings(["y"], rows)
    with pytest.raises(EmbeddingMismatchError, match="one width"):
        vectors.add_embeddings(["y", "z"], [row, [1.0]])
    with pytest.raises(EmbeddingMismatchError, match="256"):
        vectors.similarity_search_by_vector([1.0, 2.0])


async def test_what_is_unknown_is_refused(vectors: VoiceRAGVectorStore) -> None:
    with pytest.raises(ConfigError, match=r"'filters'.*filter="):
        vectors.similarity_search("x", filters={"a": 1})
    with pytest.raises(ConfigError, match="'where'"):
        await vectors.asimilarity_search("x", where={"a": 1})
    with pytest.raises(FilterError, match="regex"):
        vectors.similarity_search("x", filter={"a": {"$regex": "b"}})
    with pytest.raises(FilterError, match="regex"):
        await vectors.asimilarity_search("x", filter={"a": {"$regex": "b"}})
    with pytest.raises(ConfigError, match="2 texts came with 1 metadatas"):
        vectors.add_texts(["a", "b"], [{}])
    with pytest.raises(ConfigError, match="needs embeddings"):
        VoiceRAGVectorStore(vectors.store)
    with pytest.raises(StoreError, match="at least 1"):
        vectors.similarity_search("x", k=-1)
    with pytest.raises(StoreError, match="JSON cannot"):
        vectors.add_texts(["a"], [{"when": object()}])
    assert vectors.add_texts([]) == []


def test_it_is_not_in_the_way_of_json(vectors: VoiceRAGVectorStore) -> None:
    assert json.dumps(vectors.similarity_search("Rhine")[0].metadata)

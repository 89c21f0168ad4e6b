"""Nodes, embeddings and an existing index on our store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.llms.types import AudioBlock, TextBlock
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    Document,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    QueryBundle,
    TextNode,
)
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from tests.waiting import PATIENCE
from voicerag_core import (
    Audio,
    ConfigError,
    EmbeddingMismatchError,
    Embeddings,
    FilterError,
    StoreError,
    VoiceRAG,
    to_wav_bytes,
)
from voicerag_core.store import PgVectorStore
from voicerag_core.testing import FakeEmbedder
from voicerag_integrations.llamaindex import (
    SpeechRetriever,
    VoiceRAGEmbedding,
    VoiceRAGVectorStore,
    audio_node,
    to_filter,
)
from voicerag_integrations.llamaindex.testing import recorded_events

DIM = 32


@pytest.fixture
def embedding(clip: Audio, question: str) -> VoiceRAGEmbedding:
    return VoiceRAGEmbedding(FakeEmbedder(DIM, transcripts={clip: question}))


@pytest.fixture
def vector_store(dsn: str, tenant: str) -> Iterator[VoiceRAGVectorStore]:
    store = VoiceRAGVectorStore.from_dsn(dsn, model_id="fake-words", dim=DIM, tenant=tenant)
    yield store
    store.close()


def index_of(store: VoiceRAGVectorStore, embedding: VoiceRAGEmbedding) -> VectorStoreIndex:
    return VectorStoreIndex.from_vector_store(store, embedding)


def only(key: str, value: str) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value)])


def test_an_existing_app_runs_unchanged_on_our_store(
    vector_store: VoiceRAGVectorStore, embedding: VoiceRAGEmbedding
) -> None:
    documents = [
        Document(id_="d1", text="The Rhine rises in the Alps.", metadata={"kind": "river"}),
        Document(id_="d2", text="Oxygen has no colour.", metadata={"kind": "gas"}),
    ]
    VectorStoreIndex.from_documents(
        documents,
        storage_context=StorageContext.from_defaults(vector_store=vector_store),
        embed_model=embedding,
        transformations=[SentenceSplitter(chunk_size=64, chunk_overlap=0)],
    )
    index = index_of(vector_store, embedding)
    nodes = index.as_retriever(similarity_top_k=1).retrieve("where does the Rhine rise")
    assert nodes[0].text == "The Rhine rises in the Alps."
    assert nodes[0].node.ref_doc_id == "d1"
    assert nodes[0].metadata == {"kind": "river"}
    gas = index.as_retriever(filters=only("kind", "gas")).retrieve("the Rhine")
    assert [node.node.ref_doc_id for node in gas] == ["d2"]
    hybrid = index.as_retriever(vector_store_query_mode="hybrid", similarity_top_k=1)
    assert hybrid.retrieve("oxygen")[0].node.ref_doc_id == "d2"
    index.delete_ref_doc("d1")
    assert [n.node.ref_doc_id for n in index.as_retriever().retrieve("Rhine")] == ["d2"]


def test_our_retriever_finds_nodes_that_an_index_put_in(
    dsn: str, tenant: str, embedding: VoiceRAGEmbedding
) -> None:
    from voicerag_core.testing import FakeVoiceModel

    with PgVectorStore.open(dsn, tenant=tenant, model_id="fake-words", dim=DIM) as store:
        index = index_of(VoiceRAGVectorStore(store), embedding)
        index.insert_nodes([TextNode(id_="n", text="The Rhine rises here.", metadata={"page": 7})])
        rag = VoiceRAG(embedding.embedder, store, FakeVoiceModel())
        (found,) = SpeechRetriever(rag).retrieve("where does the Rhine rise")
    assert found.metadata == {"page": 7, "passage_id": "n"}
    assert "passage_id" not in found.get_content("llm")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [TextNode, Node, IndexNode, Document])
def test_every_kind_of_node_survives_postgres(
    vector_store: VoiceRAGVectorStore, kind: type[TextNode]
) -> None:
    more = {"index_id": "other"} if kind is IndexNode else {}
    node = kind.from_dict({"id_": "n", "metadata": {
        "s": "O'Brien", "f": 1.5, "b": True, "z": None, "l": [1, "a"], "d": {"k": "v"}, "é": "ß",
    }, **more})  # fmt: skip
    node.set_content("text of the node")
    node.embedding = [1.0] * DIM
    node.relationships = {NodeRelationship.NEXT: TextNode(id_="next").as_related_node_info()}
    vector_store.add([node])
    (found,) = vector_store.get_nodes(["n"])
    assert type(found) is kind
    assert found.to_dict() == {**node.to_dict(), "embedding": None}


def test_an_audio_node_keeps_its_address_and_is_not_skipped_by_an_index(
    vector_store: VoiceRAGVectorStore, embedding: VoiceRAGEmbedding, clip: Audio
) -> None:
    vector = embedding.get_audio_embedding(clip)
    node = audio_node("https://example.org/a.wav", embedding=vector, metadata={"start_s": 1.5})
    index = index_of(vector_store, embedding)
    index.insert_nodes([node])
    found = index.as_retriever().retrieve(QueryBundle("", embedding=vector))[0].node
    assert isinstance(found, Node)
    assert found.audio_resource is not None
    assert str(found.audio_resource.url) == "https://example.org/a.wav"
    assert found.audio_resource.mimetype == "audio/wav"
    assert found.metadata["start_s"] == 1.5
    assert found.get_content() == "[audio]"
    sound = found.get_content_blocks()[-1]
    assert isinstance(sound, AudioBlock)
    assert sound.format == "wav"


def test_sound_that_would_vanish_is_refused(vector_store: VoiceRAGVectorStore) -> None:
    node = Node(
        text_resource=MediaResource(text="x"),
        audio_resource=MediaResource(data=b"RIFF"),
        embedding=[1.0] * DIM,
    )
    with pytest.raises(StoreError, match="audio_node"):
        vector_store.add([node])


def test_metadata_that_json_cannot_hold_is_refused(vector_store: VoiceRAGVectorStore) -> None:
    for value in (float("nan"), object()):
        node = TextNode(text="x", embedding=[1.0] * DIM, metadata={"bad": value})
        with pytest.raises(StoreError):
            vector_store.add([node])


def test_nodes_by_kind_for_those_who_read_text_and_those_who_hear(rag: VoiceRAG) -> None:
    text = SpeechRetriever(rag).retrieve("the Rhine")[0]
    assert text.text.startswith("The Rhine")
    assert text.metadata["source"] == "rhine.txt"
    sounding = SpeechRetriever(rag, node_class="multimodal").retrieve("the Rhine")[0].node
    assert isinstance(sounding, Node)
    assert [type(block) for block in sounding.get_content_blocks()] == [TextBlock, AudioBlock]
    assert sounding.get_content().startswith("The Rhine")


HOSTILE = ["x' OR '1'='1", "O'Brien", '"', "\\", "%s", "%(f0)s", "'; DROP TABLE x; --", "{}", "$1"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_filter_is_ever_sql(vector_store: VoiceRAGVectorStore, text: str) -> None:
    nodes = [
        TextNode(id_="honest", text="a", embedding=[1.0] * DIM, metadata={text: text, "l": [text]}),
        TextNode(id_="other", text="b", embedding=[1.0] * DIM, metadata={"owner": "x", "l": ["x"]}),
    ]
    vector_store.add(nodes)
    for key, value, operator in (
        (text, text, FilterOperator.EQ),
        (text, [text], FilterOperator.IN),
        (text, text, FilterOperator.TEXT_MATCH),
        ("l", [text], FilterOperator.ANY),
        ("l", text, FilterOperator.CONTAINS),
    ):
        one = MetadataFilter(key=key, value=value, operator=operator)
        found = vector_store.query(
            VectorStoreQuery([1.0] * DIM, 9, filters=MetadataFilters(filters=[one]))
        )
        assert found.ids == ["honest"], operator
    assert not vector_store.query(VectorStoreQuery([1.0] * DIM, 9, filters=only("owner", text))).ids


def test_numbers_are_not_strings(vector_store: VoiceRAGVectorStore) -> None:
    vector_store.add([TextNode(id_="a", text="a", embedding=[1.0] * DIM, metadata={"n": "007"})])
    for value in ("7", "007.0"):
        query = VectorStoreQuery([1.0] * DIM, 9, filters=only("n", value))
        assert not vector_store.query(query).ids


def test_filters_without_meaning_are_refused() -> None:
    def one(**fields: object) -> MetadataFilters:
        broken = MetadataFilter.model_construct(**fields)  # type: ignore[arg-type]
        return MetadataFilters.model_construct(filters=[broken], condition="and")

    with pytest.raises(FilterError, match="unknown filter operator"):
        to_filter(one(key="k", value="v", operator="~"))
    for operator, value in (
        (FilterOperator.IN, "v"), (FilterOperator.EQ, ["v"]), (FilterOperator.GT, None),
        (FilterOperator.TEXT_MATCH, 1),
    ):  # fmt: skip
        with pytest.raises(FilterError, match="takes"):
            to_filter(one(key="k", value=value, operator=operator))
    for key in ("", "a\0b"):
        with pytest.raises(FilterError):
            to_filter(one(key=key, value=1, operator=FilterOperator.EQ))
    with pytest.raises(FilterError, match="condition"):
        to_filter(MetadataFilters.model_construct(filters=[], condition="xor"))
    assert to_filter(None) is None


def test_another_model_or_width_is_refused(dsn: str, tenant: str) -> None:
    VoiceRAGVectorStore.from_dsn(dsn, model_id="one", dim=4, tenant=tenant).close()
    with pytest.raises(EmbeddingMismatchError):
        VoiceRAGVectorStore.from_dsn(dsn, model_id="two", dim=4, tenant=tenant)
    store = VoiceRAGVectorStore.from_dsn(dsn, model_id="one", dim=4, tenant=tenant)
    with pytest.raises(EmbeddingMismatchError, match="width"):
        store.query(VectorStoreQuery([1.0] * 5, 1))
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.query(VectorStoreQuery([1.0] * 4, 1))


def test_without_hybrid_search_nodes_are_found_by_their_vectors_alone(
    dsn: str, tenant: str
) -> None:
    options: dict[str, Any] = {"model_id": "m", "dim": 2, "tenant": tenant}
    store = VoiceRAGVectorStore.from_dsn(dsn, hybrid_search=False, **options)
    store.add([
        TextNode(id_="far", text="herons", embedding=[0.0, 1.0]),
        TextNode(id_="near", text="owls", embedding=[1.0, 0.0]),
    ])  # fmt: skip
    for mode in ("default", "hybrid", "semantic_hybrid"):
        found = store.query(
            VectorStoreQuery([1.0, 0.0], 2, query_str="herons", mode=VectorStoreQueryMode(mode))
        )
        assert (found.ids, found.similarities) == (["near", "far"], [1.0, 0.0])
    with pytest.raises(StoreError, match="made without a search by words"):
        store.query(VectorStoreQuery(None, 2, query_str="herons", mode=VectorStoreQueryMode.SPARSE))
    store.close()
    with pytest.raises(StoreError, match="made without a search by words"):
        VoiceRAGVectorStore.from_dsn(dsn, hybrid_search=True, **options)
    VoiceRAGVectorStore.from_dsn(dsn, **options).close()


def test_options_that_nobody_knows_are_refused(vector_store: VoiceRAGVectorStore) -> None:
    with pytest.raises(ConfigError, match="no option nonsense"):
        vector_store.query(VectorStoreQuery([1.0] * DIM, 1), nonsense=1)
    with pytest.raises(StoreError, match="node_ids"):
        vector_store.get_nodes()


def test_the_embedding_model_works_where_llamaindex_expects_one(
    embedding: VoiceRAGEmbedding, clip: Audio, question: str
) -> None:
    text = embedding.get_query_embedding(question)
    assert embedding.get_text_embedding(question) == text
    assert embedding.get_audio_embedding(to_wav_bytes(clip)) == text
    many = embedding.get_text_embedding_batch([question] * 40)
    assert many == [text] * 40
    pipeline = IngestionPipeline(transformations=[embedding], disable_cache=True)
    assert pipeline.run(nodes=[TextNode(text=question)])[0].embedding is not None
    with pytest.raises(ConfigError, match="empty"):
        embedding.get_query_embedding(" ")


async def test_the_embedding_model_works_in_an_event_loop(
    embedding: VoiceRAGEmbedding, clip: Audio, question: str
) -> None:
    text = embedding.get_query_embedding(question)
    assert await embedding.aget_query_embedding(question) == text
    assert await embedding.aget_text_embedding(question) == text
    assert await embedding.aget_text_embedding_batch([question] * 3) == [text] * 3
    assert await embedding.aget_audio_embedding(clip) == text
    assert await embedding.aget_audio_embedding_batch([clip, clip]) == [text, text]
    assert await asyncio.wait_for(embedding.aget_agg_embedding_from_queries([question]), PATIENCE)


def test_clips_are_embedded_by_batches_and_the_events_hold_no_sound(clip: Audio) -> None:
    calls: list[int] = []

    class Counting(FakeEmbedder):
        def embed_speech(self, clips: Sequence[Audio]) -> Embeddings:
            calls.append(len(clips))
            return super().embed_speech(clips)

    embedding = VoiceRAGEmbedding(Counting(4), embed_batch_size=2)
    with recorded_events() as events:
        assert len(embedding.get_audio_embedding_batch([clip] * 5)) == 5
    assert calls == [2, 2, 1]
    assert [event.class_name() for event in events] == ["EmbeddingStartEvent", "EmbeddingEndEvent"]
    assert events[1].chunks == ["[audio, 0.50 s]"] * 5  # type: ignore[attr-defined]


def test_the_settings_of_an_embedding_make_a_round_trip(embedding: VoiceRAGEmbedding) -> None:
    data = json.loads(json.dumps(embedding.to_dict()))
    assert data["class_name"] == "VoiceRAGEmbedding"
    assert data["model_name"] == "fake-words"
    again = VoiceRAGEmbedding.from_dict(data, embedder=embedding.embedder)
    assert again.to_dict() == data
    assert again.get_query_embedding("q") == embedding.get_query_embedding("q")
    with pytest.raises(ConfigError, match="embedder="):
        VoiceRAGEmbedding.from_dict(data).get_query_embedding("q")
    with pytest.raises(ConfigError, match="other"):
        VoiceRAGEmbedding.from_dict(data, embedder=FakeEmbedder(4, model_id="other"))


def test_vectors_are_cached_where_a_cache_is_given() -> None:
    embedder = FakeEmbedder(4)
    embedding = VoiceRAGEmbedding(embedder, embeddings_cache=SimpleKVStore())
    assert embedding.get_text_embedding("q") == embedding.get_text_embedding("q")

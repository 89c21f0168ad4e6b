"""Ears and a voice for what an app has: its indexes, retrievers, query engines and models."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import CustomQueryEngine, RetrieverQueryEngine
from llama_index.core.query_engine.router_query_engine import RouterQueryEngine
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import QueryEngineTool

from tests.hearing import ears_that_know
from tests.llamaindex.conftest import PASSAGES, QUESTION, tone
from voicerag_core import (
    Audio,
    AudioError,
    ConfigError,
    Ears,
    VoiceRAG,
    load_settings,
    open_voicerag,
)
from voicerag_core.testing import FakeEmbedder, FakeSpeaker, FakeTranscriber, InMemoryStore
from voicerag_integrations.llamaindex import (
    AsyncStreamingSpeechResponse,
    LlamaIndexChat,
    LlamaIndexEmbedder,
    SpeechQueryBundle,
    SpeechQueryEngine,
    SpeechResponse,
    SpeechRetriever,
    StreamingSpeechResponse,
    VoiceRAGEmbedding,
)


class AppModel(BaseEmbedding):
    """An embedding model of an app, with another side for questions."""

    model_name: str = "app-words"

    def _get_text_embedding(self, text: str) -> list[float]:
        row: list[float] = FakeEmbedder(64).embed_passages([text.lower()])[0].tolist()
        return row

    def _get_query_embedding(self, query: str) -> list[float]:
        row = FakeEmbedder(64).embed_passages([query.lower().strip("?")])[0]
        row[0] += 0.2
        return [float(7 * value) for value in row]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


@pytest.fixture
def ears(clip: Audio) -> Ears:
    return ears_that_know({clip: (QUESTION, "Where does the wine rise?")})


@pytest.fixture
def index() -> VectorStoreIndex:
    nodes = [TextNode(id_=passage.id, text=passage.text) for passage in PASSAGES]
    return VectorStoreIndex(nodes, embed_model=AppModel())


async def test_an_index_is_searched_by_the_sound_itself(
    index: VectorStoreIndex, ears: Ears, clip: Audio
) -> None:
    for target in (index, index.as_retriever(similarity_top_k=1)):
        top = 1 if isinstance(target, VectorStoreIndex) else None
        retriever = SpeechRetriever.over(target, hear=ears, similarity_top_k=top)
        assert retriever.by_sound
        for found in (retriever.retrieve(clip), await retriever.aretrieve(clip)):
            assert [node.node.node_id for node in found] == ["rhine"]
    assert retriever.retrieve("oxygen is a gas")[0].node.node_id == "oxygen"
    assert isinstance(ears.transcriber, FakeTranscriber)
    assert ears.transcriber.calls == 0
    bundle = SpeechQueryBundle(audio=clip)
    retriever.retrieve(bundle)
    assert bundle.query_str == QUESTION, "for the components that follow"


class ByWords(BaseRetriever):
    """A retriever that knows only words."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.asked.append(query_bundle.query_str)
        return [NodeWithScore(node=TextNode(text="found", id_="found"), score=None)]


async def test_a_retriever_of_words_gets_the_transcript(ears: Ears, clip: Audio) -> None:
    own = ByWords()
    retriever = SpeechRetriever.over(own, hear=ears)
    assert not retriever.by_sound
    retriever.retrieve(clip)
    await retriever.aretrieve(clip)
    retriever.retrieve("typed")
    assert own.asked == [QUESTION, QUESTION, "typed"]


def test_it_stands_in_fusion_routers_and_query_engines(
    index: VectorStoreIndex, ears: Ears, clip: Audio
) -> None:
    retriever = SpeechRetriever.over(index, hear=ears, similarity_top_k=1)
    fusion = QueryFusionRetriever([retriever], num_queries=1, use_async=False, llm=MockLLM())
    synthesizer = get_response_synthesizer(llm=MockLLM(), response_mode=ResponseMode.COMPACT)
    engine = RetrieverQueryEngine(retriever, response_synthesizer=synthesizer)
    assert QUESTION in str(engine.query(SpeechQueryBundle(audio=clip)))
    assert SpeechRetriever.over(fusion, hear=ears).retrieve(clip)[0].node.node_id == "rhine"
    tool = QueryEngineTool.from_defaults(engine, description=QUESTION)
    other = QueryEngineTool.from_defaults(engine, description="gas")
    selector = EmbeddingSingleSelector.from_defaults(embed_model=AppModel())
    router = RouterQueryEngine(selector, [tool, other], llm=MockLLM())
    response = SpeechQueryEngine.over(router, hear=ears).query(clip)
    assert response.source_nodes[0].node.node_id == "rhine"


async def test_a_query_engine_is_asked_by_sound_and_answers_in_speech(
    index: VectorStoreIndex, ears: Ears, clip: Audio
) -> None:
    engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=1)
    spoken = SpeechQueryEngine.over(engine, hear=ears, speak=FakeSpeaker())
    for response in (spoken.query(clip), await spoken.aquery(clip)):
        assert isinstance(response, SpeechResponse)
        assert QUESTION in str(response), "the words reach the app's prompt"
        assert response.audio is not None
        assert response.source_nodes[0].node.node_id == "rhine"
        assert response.metadata is not None
        assert response.metadata["voicerag"]["transcript"] == QUESTION
    typed = spoken.query("Is oxygen a gas?")
    assert typed.metadata is not None
    assert typed.metadata["voicerag"]["transcript"] is None


async def test_a_streaming_query_engine_is_streamed(
    index: VectorStoreIndex, ears: Ears, clip: Audio
) -> None:
    engine = index.as_query_engine(llm=MockLLM(), streaming=True, similarity_top_k=1)
    spoken = SpeechQueryEngine.over(engine, hear=ears, speak=FakeSpeaker(), streaming=True)
    response = spoken.query(clip)
    assert isinstance(response, StreamingSpeechResponse)
    assert QUESTION in "".join(response.response_gen)
    later = await spoken.aquery(clip)
    assert isinstance(later, AsyncStreamingSpeechResponse)
    assert QUESTION in "".join([text async for text in later.async_response_gen()])


class Fixed(CustomQueryEngine):
    """An engine without a retriever."""

    def custom_query(self, query_str: str) -> str:
        return f"You asked: {query_str}"


def test_an_engine_without_a_retriever_gets_the_words(ears: Ears, clip: Audio) -> None:
    assert str(SpeechQueryEngine.over(Fixed(), hear=ears).query(clip)) == f"You asked: {QUESTION}"


@pytest.mark.parametrize("own", ["an index of an app", "an index of our embedder", "words"])
async def test_an_apps_retriever_in_our_engine_hears_first(
    index: VectorStoreIndex, rag: VoiceRAG, clip: Audio, own: str
) -> None:
    if own == "an index of our embedder":
        nodes = [TextNode(id_=passage.id, text=passage.text) for passage in PASSAGES]
        index = VectorStoreIndex(nodes, embed_model=VoiceRAGEmbedding(rag.embedder))
    retriever = ByWords() if own == "words" else index.as_retriever(similarity_top_k=1)
    engine = SpeechQueryEngine(rag, retriever=retriever)
    for response in (engine.query(clip), await engine.aquery(clip)):
        expected = "found" if own == "words" else "rhine"
        assert response.source_nodes[0].node.node_id == expected
        assert isinstance(response, SpeechResponse)
        assert response.audio is not None
    if isinstance(retriever, ByWords):
        assert retriever.asked == [QUESTION] * 2


def test_a_bundle_for_stock_parts_touches_no_database(clip: Audio, tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, strategy="adaptive")
    transcriber = FakeTranscriber({clip: QUESTION})
    embedder = FakeEmbedder(64, transcripts={clip: QUESTION})
    with open_voicerag(settings, embedder=embedder, transcriber=transcriber) as rag:
        bundle = SpeechRetriever(rag).to_bundle(clip, words=False)
        assert bundle.query_str == ""
        assert transcriber.calls == 0
        assert bundle.embedding is not None
        assert np.allclose(bundle.embedding, embedder.embed_speech([clip])[0])
        assert SpeechRetriever(rag).to_bundle(clip).query_str == QUESTION
        by_words = SpeechRetriever(rag, strategy="asr").to_bundle(clip, words=False)
        assert by_words.embedding is not None
        assert np.allclose(by_words.embedding, embedder.embed_passages([QUESTION])[0])
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_heard_or_is_nothing_of_the_kind_is_told(
    index: VectorStoreIndex, ears: Ears
) -> None:
    with pytest.raises(AudioError, match="no speech was heard"):
        SpeechRetriever.over(index, hear=ears).retrieve(tone(880))
    with pytest.raises(ConfigError, match=r"SpeechQueryEngine\.over\(query_engine\)"):
        SpeechRetriever.over(index.as_query_engine(llm=MockLLM()), hear=ears)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"index\.as_query_engine\(\)"):
        SpeechQueryEngine.over(index.as_retriever(), hear=ears)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"SpeechRetriever\.over\(retriever\)"):
        SpeechRetriever(index.as_retriever())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"SpeechQueryEngine\.over\(query_engine\)"):
        SpeechQueryEngine(index.as_query_engine(llm=MockLLM()))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="set it there"):
        SpeechRetriever.over(index.as_retriever(), hear=ears, similarity_top_k=2)


def test_models_of_an_app_are_parts_of_a_pipeline(clip: Audio, tmp_path: Path) -> None:
    embedder = LlamaIndexEmbedder(AppModel())
    assert (embedder.model_id, embedder.dim) == ("app-words", 64)
    own = np.array(AppModel().get_query_embedding("bread"))
    assert np.allclose(embedder.embed_questions(["bread"])[0], own / np.linalg.norm(own))

    class Told(MockLLM):
        def stream_chat(self, messages: Any, **kwargs: Any) -> Generator[Any, None, None]:
            told.extend(str(message.role.value) for message in messages)
            yield from super().stream_chat(messages, **kwargs)

    told: list[str] = []
    with open_voicerag(
        load_settings(data_dir=tmp_path, speak=False),
        embedder=embedder,
        store=InMemoryStore(64),
        transcriber=FakeTranscriber({clip: QUESTION}),
        chat=LlamaIndexChat(Told(max_tokens=20)),
    ) as rag:
        rag.index(PASSAGES)
        assert rag.ask("Where does the Rhine rise?").hits[0].passage.id == "rhine"
    assert told[0] == "system"
    with pytest.raises(ConfigError, match=r"SpeechQueryEngine\.over"):
        LlamaIndexChat(Fixed())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="takes an embedding model of LlamaIndex"):
        LlamaIndexEmbedder(rag.embedder)  # type: ignore[arg-type]

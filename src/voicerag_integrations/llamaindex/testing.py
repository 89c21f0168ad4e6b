"""Contract suites for the LlamaIndex parts: run them on a stack, a store or your own parts.

Needs pytest. Subclass a suite under a name that starts with ``Test`` and define the fixtures that
its docstring lists. LlamaIndex itself has no standard suite.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ToolCallBlock
from llama_index.core.indices.query.query_transform.base import IdentityQueryTransform
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.base import BaseEvent
from llama_index.core.llms import MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.query_engine import (
    RetrieverQueryEngine,
    RouterQueryEngine,
    TransformQueryEngine,
)
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import QueryFusionRetriever, RouterRetriever, TransformRetriever
from llama_index.core.schema import Document, NodeWithScore, QueryBundle, TextNode
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import QueryEngineTool, RetrieverTool
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from voicerag_core import Audio, ConfigError, Passage, StoreError, VoiceRAG, to_wav_bytes
from voicerag_integrations.llamaindex.bundle import SpeechQueryBundle
from voicerag_integrations.llamaindex.embedding import VoiceRAGEmbedding
from voicerag_integrations.llamaindex.query_engine import SpeechQueryEngine
from voicerag_integrations.llamaindex.response import (
    AsyncStreamingSpeechResponse,
    SpeechResponse,
    StreamingSpeechResponse,
)
from voicerag_integrations.llamaindex.retriever import SpeechRetriever
from voicerag_integrations.llamaindex.tool import speech_query_tool
from voicerag_integrations.llamaindex.vector_store import VoiceRAGVectorStore

__all__ = ["SpeechRetrieverContract", "VectorStoreContract", "recorded_events", "scripted_agent"]

_T = TypeVar("_T")
Route: TypeAlias = Callable[[VoiceRAG, QueryBundle], "tuple[Any, Any]"]

KINDS = ("text", "audio", "embedding")
WAYS = ("sync", "async")


class EventRecorder(BaseEventHandler):
    """Records every instrumentation event."""

    events: list[BaseEvent] = []  # noqa: RUF012 - a pydantic field, copied for each instance

    @classmethod
    def class_name(cls) -> str:
        """Return the name in traces."""
        return "EventRecorder"

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:  # noqa: ANN401
        """Record an event."""
        self.events.append(event)


@contextlib.contextmanager
def recorded_events() -> Iterator[list[BaseEvent]]:
    """Collect the instrumentation events of a block."""
    recorder = EventRecorder()
    root = get_dispatcher()
    root.add_event_handler(recorder)
    try:
        yield recorder.events
    finally:
        root.event_handlers.remove(recorder)


def scripted_agent(tool: Any, arguments: dict[str, Any]) -> FunctionAgent:  # noqa: ANN401
    """Create an agent whose model calls one tool once and then repeats its output."""

    def reply(messages: Sequence[ChatMessage], **_: Any) -> ChatMessage:  # noqa: ANN401
        heard = [one for one in messages if one.role == MessageRole.TOOL]
        if heard:
            return ChatMessage(role=MessageRole.ASSISTANT, content=heard[-1].content)
        call = ToolCallBlock(
            tool_call_id="1", tool_name=tool.metadata.get_name(), tool_kwargs=arguments
        )
        return ChatMessage(role=MessageRole.ASSISTANT, blocks=[call])

    return FunctionAgent(
        tools=[tool], llm=MockFunctionCallingLLM(response_generator=reply, is_chat_model=True)
    )


def _in_loop(work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    return asyncio.run(work())


def _retrievers(rag: VoiceRAG) -> dict[str, BaseRetriever]:
    ours = SpeechRetriever(rag)
    llm = MockLLM()
    tools = [
        RetrieverTool.from_defaults(ours, description="knowledge"),
        RetrieverTool.from_defaults(ours, description="something else"),
    ]
    return {
        "direct": ours,
        "fusion of one": QueryFusionRetriever([ours], llm=llm, num_queries=1),
        "fusion of three": QueryFusionRetriever([ours], llm=llm, num_queries=3),
        "router": RouterRetriever(_selector(rag), tools, llm=llm),
        "transform": TransformRetriever(ours, IdentityQueryTransform()),
    }


def _selector(rag: VoiceRAG) -> EmbeddingSingleSelector:
    return EmbeddingSingleSelector.from_defaults(embed_model=VoiceRAGEmbedding(rag.embedder))


def _engines(rag: VoiceRAG) -> dict[str, BaseQueryEngine]:
    ours = SpeechQueryEngine(rag)
    stock = RetrieverQueryEngine(
        SpeechRetriever(rag), response_synthesizer=get_response_synthesizer(llm=MockLLM())
    )
    tools = [
        QueryEngineTool.from_defaults(ours, description="knowledge"),
        QueryEngineTool.from_defaults(ours, description="something else"),
    ]
    return {
        "ours": ours,
        "stock": stock,
        "router": RouterQueryEngine(_selector(rag), tools, llm=MockLLM(), summarizer=None),
        "transform": TransformQueryEngine(ours, IdentityQueryTransform()),
    }


RETRIEVERS = ("direct", "fusion of one", "fusion of three", "router", "transform")
ENGINES = ("ours", "stock", "router", "transform")


class SpeechRetrieverContract:
    """The rules of `SpeechRetriever`, `SpeechQueryEngine` and `speech_query_tool` on a stack.

    Fixtures to define: ``rag``, a `VoiceRAG` that may be written to; ``clip``, an `Audio` question;
    ``question``, its words; and ``expected``, the id of the passage that answers both.
    """

    @pytest.fixture(autouse=True)
    def loop_of_synchronous_calls(self) -> Iterator[None]:
        """Provide an event loop for LlamaIndex, which would create one and never close it."""
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        yield
        asyncio.set_event_loop(None)
        loop.close()

    @staticmethod
    def bundle(kind: str, rag: VoiceRAG, clip: Audio, question: str) -> QueryBundle:
        """Create a query of one of the `KINDS`; routers need text in addition to the sound."""
        if kind == "text":
            return QueryBundle(question)
        if kind == "audio":
            return SpeechQueryBundle(question, audio=to_wav_bytes(clip))
        return QueryBundle(question, embedding=rag.embedder.embed_questions([question])[0].tolist())

    def test_the_classes_are_what_llamaindex_looks_for(self) -> None:
        for kind, base in (
            (SpeechRetriever, BaseRetriever),
            (SpeechQueryEngine, BaseQueryEngine),
            (VoiceRAGEmbedding, BaseEmbedding),
            (VoiceRAGVectorStore, BasePydanticVectorStore),
        ):
            assert base.__name__ in [one.__name__ for one in kind.__mro__]
        parameters = inspect.signature(SpeechRetriever._aretrieve).parameters
        assert "query_bundle" in parameters, "LlamaIndex calls it by keyword"

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("route", RETRIEVERS)
    def test_every_question_finds_its_passage_through_every_retriever(
        self, way: str, kind: str, route: str, rag: VoiceRAG, clip: Audio, question: str,
        expected: str,
    ) -> None:  # fmt: skip
        bundle = self.bundle(kind, rag, clip, question)

        async def work() -> list[NodeWithScore]:
            return await _retrievers(rag)[route].aretrieve(bundle)

        nodes = _in_loop(work) if way == "async" else _retrievers(rag)[route].retrieve(bundle)
        assert nodes[0].node.node_id == expected
        assert nodes[0].node.metadata["passage_id"] == expected
        assert nodes[0].score is not None
        assert nodes[0].text

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("route", ENGINES)
    def test_every_question_is_answered_by_every_query_engine(
        self, way: str, kind: str, route: str, rag: VoiceRAG, clip: Audio, question: str,
        expected: str,
    ) -> None:  # fmt: skip
        bundle = self.bundle(kind, rag, clip, question)

        async def work() -> Any:  # noqa: ANN401
            return await _engines(rag)[route].aquery(bundle)

        response = _in_loop(work) if way == "async" else _engines(rag)[route].query(bundle)
        assert response.source_nodes[0].node.node_id == expected
        assert str(response)
        if route != "stock":
            assert isinstance(response, SpeechResponse)
            assert response.metadata is not None
            assert response.metadata["voicerag"]["answered"] is response.answered
            assert response.metadata["voicerag"]["complete"] is True

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("kind", ["text", "audio"])
    def test_a_tool_answers_words_and_clip_ids(
        self, way: str, kind: str, rag: VoiceRAG, clip: Audio, question: str, expected: str
    ) -> None:
        tool = speech_query_tool(SpeechQueryEngine(rag), clips={"clip-1": clip})
        arguments = {"question": question} if kind == "text" else {"clip_id": "clip-1"}

        async def work() -> Any:  # noqa: ANN401
            return await tool.acall(**arguments)

        output = _in_loop(work) if way == "async" else tool.call(**arguments)
        assert output.raw_output.source_nodes[0].node.node_id == expected
        assert output.content == str(output.raw_output)

    @pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")  # theirs
    @pytest.mark.parametrize("kind", ["text", "audio"])
    def test_an_agent_answers_with_the_tool(
        self, kind: str, rag: VoiceRAG, clip: Audio, question: str
    ) -> None:
        tool = speech_query_tool(SpeechQueryEngine(rag), clips={"clip-1": clip})
        arguments = {"question": question} if kind == "text" else {"clip_id": "clip-1"}

        async def work() -> Any:  # noqa: ANN401
            return await scripted_agent(tool, arguments).run(user_msg="answer it")

        assert str(_in_loop(work)) == str(tool.call(**arguments))

    def test_sound_is_taken_as_it_is(self, rag: VoiceRAG, clip: Audio, expected: str) -> None:
        retriever = SpeechRetriever(rag)
        for sound in (clip, to_wav_bytes(clip)):
            assert retriever.retrieve(sound)[0].node.node_id == expected

    def test_a_bundle_for_stock_parts_carries_the_vector(
        self, rag: VoiceRAG, clip: Audio, expected: str
    ) -> None:
        bundle = SpeechRetriever(rag).to_bundle(clip)
        assert bundle.embedding is not None
        assert len(bundle.embedding) == rag.embedder.dim
        plain = QueryBundle("", embedding=bundle.embedding)
        assert SpeechRetriever(rag).retrieve(plain)[0].node.node_id == expected
        if rag.transcriber is not None:
            assert bundle.transcription is not None
            assert bundle.query_str == bundle.transcription.text != ""

    def test_equal_texts_both_come_back(self, rag: VoiceRAG) -> None:
        text = "A sentence that stands in two documents, letter by letter."
        rag.index([Passage("twin-1", text), Passage("twin-2", text)])
        try:
            for route in ("direct", "fusion of one"):
                found = {node.node.node_id for node in _retrievers(rag)[route].retrieve(text)[:2]}
                assert found == {"twin-1", "twin-2"}, route
        finally:
            rag.store.delete(["twin-1", "twin-2"])

    def test_filters_narrow_a_search(self, rag: VoiceRAG, question: str, expected: str) -> None:
        rag.index([Passage("by-the-way", question, {"kind": "O'Brien's"})])
        try:
            only = MetadataFilters(filters=[MetadataFilter(key="kind", value="O'Brien's")])
            none = MetadataFilters(filters=[MetadataFilter(key="kind", value="x' OR '1'='1")])
            found = SpeechRetriever(rag, filters=only).retrieve(question)
            assert [node.node.node_id for node in found] == ["by-the-way"]
            assert SpeechRetriever(rag, filters=none).retrieve(question) == []
        finally:
            rag.store.delete(["by-the-way"])
        assert SpeechRetriever(rag).retrieve(question)[0].node.node_id == expected

    def test_as_many_nodes_as_asked_for_and_there_are(self, rag: VoiceRAG, question: str) -> None:
        everything = rag.store.count()
        assert SpeechRetriever(rag, similarity_top_k=0).retrieve(question) == []
        assert len(SpeechRetriever(rag, similarity_top_k=1).retrieve(question)) == 1
        more = SpeechRetriever(rag, similarity_top_k=everything + 5).retrieve(question)
        assert len(more) == everything
        scores = [node.score or 0 for node in more]
        assert scores == sorted(scores, reverse=True)

    def test_a_stream_adds_up_to_the_answer(
        self, rag: VoiceRAG, clip: Audio, question: str
    ) -> None:
        bundle = SpeechQueryBundle(question, audio=clip)
        whole = SpeechQueryEngine(rag).query(bundle)
        engine = SpeechQueryEngine(rag, streaming=True)
        stream = engine.query(bundle)
        assert isinstance(stream, StreamingSpeechResponse)
        assert "".join(stream.response_gen) == str(whole)
        assert isinstance(whole, SpeechResponse)
        _same_sound(list(stream.audio_stream()), whole.audio)

        async def work() -> tuple[str, list[Audio]]:
            response = await engine.aquery(bundle)
            assert isinstance(response, AsyncStreamingSpeechResponse)
            text = "".join([piece async for piece in response.response_gen])
            return text, [piece async for piece in response.audio_stream()]

        text, sounds = _in_loop(work)
        assert text == str(whole)
        _same_sound(sounds, whole.audio)

    def test_no_event_holds_sound(self, rag: VoiceRAG, clip: Audio, question: str) -> None:
        data = to_wav_bytes(clip)
        bundle = SpeechQueryBundle(question, audio=data)
        with recorded_events() as events:
            SpeechQueryEngine(rag).query(bundle)
            _in_loop(lambda: SpeechQueryEngine(rag).aquery(bundle))
            VoiceRAGEmbedding(rag.embedder).get_query_embedding(question)
        kinds = {event.class_name() for event in events}
        assert kinds >= {
            "QueryStartEvent", "QueryEndEvent", "RetrievalStartEvent", "RetrievalEndEvent",
            "SynthesizeStartEvent", "SynthesizeEndEvent", "SpeechRetrievalEvent",
            "SpeechAnswerEvent",
        }  # fmt: skip
        middle = len(data) // 2 // 3 * 3
        told = base64.b64encode(data[middle : middle + 60]).decode()
        for event in events:
            written = event.model_dump_json()
            assert told not in written, event.class_name()
            assert len(written) < 100_000, event.class_name()

    def test_an_empty_question_is_refused_before_anything_is_searched(self, rag: VoiceRAG) -> None:
        for ask in (SpeechRetriever(rag).retrieve, SpeechQueryEngine(rag).query):
            with pytest.raises(ConfigError, match="empty"):
                ask("  ")


class VectorStoreContract:
    """The rules of `VoiceRAGVectorStore` on a passage store.

    Fixture to define: ``vector_store``, an empty one for vectors of width 4.
    """

    def nodes(self) -> list[TextNode]:
        """Create three nodes of two documents."""
        rows = [
            ("a", "the river ends in the sea", [1.0, 0.0, 0.0, 0.0], 1),
            ("b", "a gas without colour", [0.0, 1.0, 0.0, 0.0], 2),
            ("c", "the tower is tall", [0.6, 0.8, 0.0, 0.0], 3),
        ]
        return [
            TextNode(
                id_=key,
                text=text,
                embedding=vector,
                metadata={"n": n, "tags": [key, "all"], "name": "n_b" if key == "b" else f"n{key}"},
            )
            for key, text, vector, n in rows
        ]

    def ids(self, store: VoiceRAGVectorStore, **query: Any) -> list[str]:  # noqa: ANN401
        """Search by the vector of node a unless `query` overrides it."""
        chosen: dict[str, Any] = {
            "query_embedding": [1.0, 0.0, 0.0, 0.0], "similarity_top_k": 5, **query,
        }  # fmt: skip
        return list(store.query(VectorStoreQuery(**chosen)).ids or [])

    def test_nodes_come_back_as_they_were(self, vector_store: VoiceRAGVectorStore) -> None:
        source = Document(id_="doc-1", text="x")
        node = self.nodes()[0]
        node.relationships = {"1": source.as_related_node_info()}  # type: ignore[dict-item]
        node.metadata["doc_id"] = "the user's own"
        node.excluded_llm_metadata_keys = ["n"]
        assert vector_store.add([node]) == ["a"]
        (found,) = (
            vector_store.query(
                VectorStoreQuery(query_embedding=[2.0, 0, 0, 0], similarity_top_k=1)
            ).nodes
            or []
        )
        assert found.to_dict() == {**node.to_dict(), "embedding": None}
        assert vector_store.get_nodes(["a"]) == [found]

    def test_adding_a_node_again_replaces_it(self, vector_store: VoiceRAGVectorStore) -> None:
        vector_store.add(self.nodes())
        changed = self.nodes()[0]
        changed.set_content("the river was moved")
        vector_store.add([changed])
        assert self.ids(vector_store) == ["a", "c", "b"]
        assert vector_store.get_nodes(["a"])[0].get_content() == "the river was moved"

    def test_every_mode_finds_what_it_should(self, vector_store: VoiceRAGVectorStore) -> None:
        vector_store.add(self.nodes())
        mode = VectorStoreQueryMode
        assert self.ids(vector_store) == ["a", "c", "b"]
        assert self.ids(vector_store, mode=mode.TEXT_SEARCH, query_str="gas") == ["b"]
        assert self.ids(vector_store, mode=mode.SPARSE, query_str="tower") == ["c"]
        assert set(self.ids(vector_store, mode=mode.HYBRID, query_str="gas")) == {"a", "b", "c"}
        assert self.ids(vector_store, mode=mode.HYBRID, query_str="gas", alpha=0) == ["b"]
        assert self.ids(vector_store, mode=mode.HYBRID, query_str="gas", alpha=1)[0] == "a"
        assert self.ids(vector_store, mode=mode.MMR, mmr_threshold=1.0) == ["a", "c", "b"]
        assert self.ids(vector_store, mode=mode.MMR, mmr_threshold=0.0)[:2] == ["a", "b"]
        assert self.ids(vector_store, similarity_top_k=0) == []

    def test_modes_that_there_are_not_are_refused(self, vector_store: VoiceRAGVectorStore) -> None:
        for query in (
            {"mode": VectorStoreQueryMode.SVM},
            {"mode": VectorStoreQueryMode.HYBRID, "query_str": "gas", "alpha": 0.3},
            {"mode": VectorStoreQueryMode.HYBRID},
            {"query_embedding": None},
            {"query_embedding": [0.0, 0.0, 0.0, 0.0]},
        ):
            with pytest.raises(ConfigError):
                self.ids(vector_store, **query)

    @pytest.mark.parametrize(
        ("operator", "key", "value", "expected"),
        [
            (FilterOperator.EQ, "n", 2, "b"),
            (FilterOperator.NE, "n", 2, "ac"),
            (FilterOperator.GT, "n", 1, "bc"),
            (FilterOperator.GTE, "n", 2, "bc"),
            (FilterOperator.LT, "n", 2, "a"),
            (FilterOperator.LTE, "n", 2, "ab"),
            (FilterOperator.IN, "n", [1, 3], "ac"),
            (FilterOperator.NIN, "n", [1, 3], "b"),
            (FilterOperator.ANY, "tags", ["a", "b"], "ab"),
            (FilterOperator.ALL, "tags", ["a", "all"], "a"),
            (FilterOperator.CONTAINS, "tags", "c", "c"),
            (FilterOperator.TEXT_MATCH, "name", "n_", "b"),
            (FilterOperator.TEXT_MATCH_INSENSITIVE, "name", "N_B", "b"),
            (FilterOperator.TEXT_MATCH, "name", "%", ""),
            (FilterOperator.IS_EMPTY, "absent", None, "abc"),
            (FilterOperator.IS_EMPTY, "n", None, ""),
            (FilterOperator.EQ, "absent", 1, ""),
        ],
    )
    def test_every_operator_filters(
        self, vector_store: VoiceRAGVectorStore, operator: FilterOperator, key: str,
        value: Any, expected: str,  # noqa: ANN401
    ) -> None:  # fmt: skip
        vector_store.add(self.nodes())
        one = MetadataFilter(key=key, value=value, operator=operator)
        found = self.ids(vector_store, filters=MetadataFilters(filters=[one]))
        assert "".join(sorted(found)) == expected

    def test_filters_combine(self, vector_store: VoiceRAGVectorStore) -> None:
        vector_store.add(self.nodes())
        parts = [MetadataFilter(key="n", value=1), MetadataFilter(key="n", value=2)]
        for condition, expected in (
            (FilterCondition.AND, ""),
            (FilterCondition.OR, "ab"),
            (FilterCondition.NOT, "c"),
        ):
            nested = MetadataFilters(
                filters=[MetadataFilters(filters=list(parts), condition=condition)]
            )
            assert "".join(sorted(self.ids(vector_store, filters=nested))) == expected

    def test_documents_and_nodes_are_deleted(self, vector_store: VoiceRAGVectorStore) -> None:
        nodes = self.nodes()
        nodes[0].relationships = {"1": Document(id_="doc-1", text="").as_related_node_info()}  # type: ignore[dict-item]
        vector_store.add(nodes)
        assert self.ids(vector_store, doc_ids=["doc-1"]) == ["a"]
        vector_store.delete("doc-1")
        assert self.ids(vector_store) == ["c", "b"]
        vector_store.delete_nodes()
        assert self.ids(vector_store) == ["c", "b"]
        vector_store.delete_nodes(["b"])
        assert self.ids(vector_store) == ["c"]
        vector_store.clear()
        assert self.ids(vector_store) == []

    def test_the_async_methods_do_the_same(self, vector_store: VoiceRAGVectorStore) -> None:
        async def work() -> list[str]:
            await vector_store.async_add(self.nodes())
            await vector_store.adelete_nodes(["c"])
            await vector_store.adelete("no such document")
            found = await vector_store.aquery(
                VectorStoreQuery(query_embedding=[1.0, 0, 0, 0], similarity_top_k=5)
            )
            assert await vector_store.aget_nodes(["b"])
            await vector_store.aclear()
            return list(found.ids or [])

        assert _in_loop(work) == ["a", "b"]
        assert self.ids(vector_store) == []

    def test_nodes_without_a_usable_vector_are_refused_and_nothing_is_added(
        self, vector_store: VoiceRAGVectorStore
    ) -> None:
        for vector in (None, [0.0] * 4, [float("nan")] * 4, [1.0] * 5):
            bad = TextNode(id_="bad", text="bad", embedding=vector)
            with pytest.raises(StoreError):
                vector_store.add([self.nodes()[0], bad])
            assert self.ids(vector_store) == []

    def test_settings_make_a_round_trip(self, vector_store: VoiceRAGVectorStore) -> None:
        data = vector_store.to_dict()
        assert data["class_name"] == "VoiceRAGVectorStore"
        again = VoiceRAGVectorStore.from_dict(data, store=vector_store.client)
        assert again.to_dict() == data
        assert self.ids(again) == []
        with pytest.raises(ConfigError, match="store"):
            self.ids(VoiceRAGVectorStore.from_dict(data))


def _same_sound(pieces: Sequence[Audio], whole: Audio | None) -> None:
    joined: Audio | None = None
    for piece in pieces:
        joined = piece if joined is None else joined + piece
    assert joined == whole

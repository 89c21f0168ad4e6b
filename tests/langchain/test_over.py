"""Ears and a voice for what an app has: its stores, retrievers, chains, graphs and models."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda, RunnableParallel
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import ValidationError

from tests.hearing import ears_that_know
from tests.langchain.test_retriever import Seen
from voicerag_core import (
    Answer,
    Audio,
    AudioError,
    ConfigError,
    Ears,
    ModelError,
    VoiceRAG,
    open_voicerag,
    to_wav_bytes,
)
from voicerag_core.testing import FakeEmbedder, FakeSpeaker, FakeTranscriber, InMemoryStore
from voicerag_integrations.langchain import (
    HearingRetriever,
    LangChainChat,
    LangChainEmbedder,
    SpeechRetriever,
    SpeechRunnable,
    SpeechToQuestion,
)

WORDS = "where does the rhine rise"
TEXTS = ["The Rhine rises in the Alps.", "The bakery opens at seven.", "Oxygen is a gas."]


class AppEmbeddings(Embeddings):
    """Embeddings of an app: their questions lie on another side than their documents."""

    model = "app-words"

    def __init__(self, shift: float = 0.2) -> None:
        self.calls: list[tuple[str, int]] = []
        self._words, self._shift = FakeEmbedder(64), shift

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(("documents", len(texts)))
        rows = self._words.embed_passages([text.lower().strip(".") for text in texts])
        vectors: list[list[float]] = rows.tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        self.calls.append(("query", 1))
        (row,) = self._words.embed_passages([text.lower()])
        row[0] += self._shift
        return [float(7 * value) for value in row]


@pytest.fixture
def ears(spoken: Audio) -> Ears:
    return ears_that_know({spoken: (WORDS, "where does the wine rise")})


@pytest.fixture
def store() -> InMemoryVectorStore:
    return InMemoryVectorStore.from_texts(TEXTS, AppEmbeddings())


async def test_a_vector_store_is_searched_by_the_sound_itself(
    store: InMemoryVectorStore, ears: Ears, spoken: Audio
) -> None:
    retriever = SpeechRetriever.over(store, hear=ears, search_kwargs={"k": 1})
    assert retriever.by_sound
    for found in (retriever.invoke(spoken), await retriever.ainvoke(spoken)):
        assert [document.page_content for document in found] == TEXTS[:1]
        assert found[0].metadata["question"] == WORDS
    assert ears.transcriber is not None
    assert isinstance(ears.transcriber, FakeTranscriber)
    assert ears.transcriber.calls == 0
    typed = retriever.invoke("the bakery opens")
    assert typed[0].page_content == TEXTS[1]
    assert "question" not in typed[0].metadata
    assert all("question" not in kept["metadata"] for kept in store.store.values())


def test_the_settings_of_its_retriever_are_kept(
    store: InMemoryVectorStore, ears: Ears, spoken: Audio
) -> None:
    varied = store.as_retriever(search_type="mmr", search_kwargs={"k": 2, "fetch_k": 3})
    assert len(SpeechRetriever.over(varied, hear=ears).invoke(spoken)) == 2
    only = store.as_retriever(
        search_kwargs={"k": 3, "filter": lambda document: "gas" in document.page_content}
    )
    assert len(SpeechRetriever.over(only, hear=ears).invoke(spoken)) == 1
    scored = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.1}
    )
    assert not SpeechRetriever.over(scored, hear=ears).by_sound


class ByWords(BaseRetriever):
    """A retriever that knows only words."""

    asked: list[str] = []  # noqa: RUF012 - pydantic copies it

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        self.asked.append(query)
        return [Document("found")]


async def test_a_retriever_of_words_gets_the_transcript(ears: Ears, spoken: Audio) -> None:
    own = ByWords()
    retriever = SpeechRetriever.over(own, hear=ears)
    assert not retriever.by_sound
    assert retriever.invoke(spoken)[0].metadata == {"question": WORDS}
    assert (await retriever.ainvoke(spoken))[0].metadata == {"question": WORDS}
    assert retriever.invoke("typed")[0].metadata == {}
    assert own.asked == [WORDS, WORDS, "typed"]


def test_a_pipeline_lends_its_ears_and_its_database_stays_asleep(
    store: InMemoryVectorStore, spoken: Audio, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICERAG_DATA_DIR", str(tmp_path))
    with open_voicerag(transcriber=FakeTranscriber({spoken: WORDS})) as rag:
        assert rag.ears is not None
        rag.ears.recognizer = ears_that_know({spoken: [WORDS]}).recognizer
        retriever = SpeechRetriever.over(store, hear=rag)
        assert retriever.invoke(spoken)[0].page_content == TEXTS[0]
        assert SpeechToQuestion(hear=rag).invoke(spoken) == WORDS
    assert list(tmp_path.iterdir()) == []
    words = SpeechRetriever.over(store, hear=VoiceRAG(
        FakeEmbedder(64), InMemoryStore(64), rag.model, FakeTranscriber({spoken: WORDS})
    ))  # fmt: skip
    assert not words.by_sound
    assert words.invoke(spoken)[0].page_content == TEXTS[0]


def test_what_cannot_be_heard_or_is_no_retriever_is_told(
    store: InMemoryVectorStore, ears: Ears
) -> None:
    other = Audio(np.sin(np.arange(16_000, dtype=np.float32) / 5), 16_000)
    with pytest.raises(AudioError, match="no speech was heard"):
        SpeechRetriever.over(store, hear=ears).invoke(other)
    with pytest.raises(ConfigError, match=r"SpeechRunnable\.over\(chain\)"):
        SpeechRetriever.over(RunnableLambda(str), hear=ears)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=r"SpeechRetriever\.over\(retriever\)"):
        SpeechRetriever(retriever=ByWords())  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match=r"SpeechRetriever\.over\(ByWords"):
        SpeechRetriever(rag=ByWords())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="hear takes the ears"):
        SpeechRetriever.over(store, hear="me")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="strategy is for a voicerag pipeline"):
        SpeechRetriever.over(store, hear=ears).invoke({"question": "x", "strategy": "asr"})


def test_tracers_see_no_sound(store: InMemoryVectorStore, ears: Ears, spoken: Audio) -> None:
    seen = Seen()
    config: Any = {"callbacks": [seen]}
    SpeechRetriever.over(store, hear=ears).invoke(spoken, config)
    SpeechToQuestion(hear=ears).invoke(to_wav_bytes(spoken), config)
    runnable = SpeechRunnable.over(str.upper, hear=ears, speak=FakeSpeaker())
    assert runnable.invoke(spoken, config).audio is not None
    told = "".join(seen.told)
    assert "Audio(1.00 s at 16000 Hz)" in told
    assert "array(" not in told
    assert "RIFF" not in told


class TestOverVectorStore(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> Any:
        def over(k: int = 2) -> HearingRetriever:
            store = InMemoryVectorStore.from_texts(TEXTS * 2, AppEmbeddings())
            ears = ears_that_know({})
            return SpeechRetriever.over(store, hear=ears, search_kwargs={"k": k})

        return over

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {}

    @property
    def retriever_query_example(self) -> str:
        return WORDS


def chat(*texts: str) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(text) for text in texts]))


def test_the_question_reaches_the_prompt(
    store: InMemoryVectorStore, ears: Ears, spoken: Audio
) -> None:
    prompt = ChatPromptTemplate.from_template("{context}|{question}")
    chain: Runnable[Any, Any] = RunnableParallel(
        context=SpeechRetriever.over(store, hear=ears) | (lambda found: found[0].page_content),
        question=SpeechToQuestion(hear=ears),
    )
    assert (chain | prompt).invoke(spoken).to_string() == f"Human: {TEXTS[0]}|{WORDS}"
    assert SpeechToQuestion(hear=ears).invoke("typed") == "typed"


async def test_a_chain_is_asked_by_sound_and_spoken_sentence_by_sentence(
    ears: Ears, spoken: Audio
) -> None:
    asked: list[Any] = []

    def write(question: Any) -> Iterator[str]:
        asked.append(question)
        yield "It rises in the "
        yield "Alps. It ends in the sea."

    speaker = FakeSpeaker()
    runnable = SpeechRunnable.over(RunnableLambda(write), hear=ears, speak=speaker)
    pieces = list(runnable.stream(spoken))
    whole = sum(pieces, Answer())
    assert asked == [WORDS]
    assert whole.transcript == WORDS
    assert whole.text == "It rises in the Alps. It ends in the sea."
    assert sum(piece.audio is not None for piece in pieces) == 2
    assert runnable.invoke(spoken) == whole
    assert await runnable.ainvoke(spoken) == whole
    assert sum([piece async for piece in runnable.astream(spoken)], Answer()) == whole
    keyed = SpeechRunnable.over(RunnableLambda(lambda given: {"answer": given["input"]}),
                                hear=ears, key="input", output="message")  # fmt: skip
    assert keyed.invoke("typed").text == "typed"


def test_closing_the_stream_closes_the_chain(ears: Ears, spoken: Audio) -> None:
    closed: list[bool] = []

    def write(_: object) -> Iterator[str]:
        try:
            while True:
                yield "On and on. "
        finally:
            closed.append(True)

    runnable = SpeechRunnable.over(RunnableLambda(write), hear=ears, speak=FakeSpeaker())
    stream: Any = runnable.stream(spoken)
    for piece in stream:
        if piece.text:
            break
    stream.close()
    assert closed == [True]


def test_an_agent_and_a_graph_are_asked_by_sound(ears: Ears, spoken: Audio) -> None:
    agent = create_agent(chat("It rises in the Alps."), [])
    answer = SpeechRunnable.over(agent, hear=ears, speak=FakeSpeaker()).invoke(spoken)
    assert (answer.transcript, answer.text) == (WORDS, "It rises in the Alps.")
    assert answer.audio is not None

    seen: list[Any] = []

    def reply(state: MessagesState) -> dict[str, Any]:
        seen.append([message.text for message in state["messages"]])
        return {"messages": [AIMessage("From the graph.")]}

    graph = StateGraph(MessagesState)
    graph.add_node("reply", reply)
    graph.add_edge(START, "reply")
    graph.add_edge("reply", END)
    runnable = SpeechRunnable.over(graph.compile(), hear=ears)
    talk = [HumanMessage("Hello."), AIMessage("Hi."), HumanMessage("typed")]
    assert runnable.invoke(talk).text == "From the graph."
    assert runnable.invoke({"question": spoken}).text == "From the graph."
    assert seen == [["Hello.", "Hi.", "typed"], [WORDS]]


def test_chains_that_are_none_or_say_nothing_are_told(ears: Ears) -> None:
    with pytest.raises(ConfigError, match=r"SpeechRetriever\.over"):
        SpeechRunnable.over(7, hear=ears)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="gave no text"):
        SpeechRunnable.over(lambda _: {"odd": 1}, hear=ears).invoke("typed")
    with pytest.raises(ConfigError, match="the question is empty"):
        SpeechRunnable.over(str.upper, hear=ears).invoke("  ")


def test_embeddings_of_an_app_are_asked_on_the_right_side() -> None:
    own = AppEmbeddings()
    embedder = LangChainEmbedder(own)
    assert (embedder.model_id, embedder.dim) == ("app-words", 64)
    own.calls.clear()
    passages = embedder.embed_passages(TEXTS)
    questions = embedder.embed_questions([WORDS, "bread"])
    assert np.allclose(np.linalg.norm(np.vstack([passages, questions]), axis=1), 1, atol=1e-5)
    assert own.calls[0] == ("documents", 3)
    assert ("query", 1) in own.calls
    row = np.array(own.embed_query("bread"))
    assert np.allclose(questions[1], row / np.linalg.norm(row), atol=1e-6)
    assert embedder.embed_questions([]).shape == (0, 64)


def test_where_both_sides_are_one_all_wordings_go_in_one_call() -> None:
    own = AppEmbeddings(shift=0)
    embedder = LangChainEmbedder(own)
    embedder.embed_questions(["a", "b"])
    own.calls.clear()
    embedder.embed_questions(["a", "b", "c"])
    assert own.calls == [("documents", 3)]


def test_prefixes_are_put_before_and_belong_to_the_model() -> None:
    embedder = LangChainEmbedder(
        AppEmbeddings(shift=0), model_id="e5", query_prefix="query: ", passage_prefix="passage: "
    )
    plain = LangChainEmbedder(AppEmbeddings(shift=0), model_id="e5")
    assert embedder.model_id != plain.model_id
    assert np.array_equal(embedder.embed_passages(["x"]), plain.embed_passages(["passage: x"]))
    assert np.allclose(
        embedder.embed_questions(["x"]), plain.embed_passages(["query: x"]), atol=1e-6
    )


class Failing(DeterministicFakeEmbedding):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise RuntimeError("quota")


class Broken(DeterministicFakeEmbedding):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[math.nan] * 4 for _ in texts]


@pytest.mark.parametrize(("kind", "said"), [(Failing, "quota"), (Broken, "not finite")])
def test_failing_embeddings_are_an_error_of_ours(kind: type[Embeddings], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        LangChainEmbedder(kind(size=4), model_id="m").embed_passages(["x"])  # type: ignore[call-arg]


def test_a_chat_model_words_the_answers(rag: VoiceRAG, tmp_path: Any) -> None:
    with open_voicerag(
        chat=LangChainChat(chat("In the Alps [1].")),
        embedder=rag.embedder,
        store=rag.store,
        transcriber=FakeTranscriber(),
    ) as own:
        answer = own.ask("Where does the Rhine rise?")
    assert answer.text == "In the Alps."
    assert answer.citations
    with pytest.raises(ConfigError, match=r"SpeechRunnable\.over"):
        LangChainChat(RunnableLambda(str))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="takes LangChain's Embeddings"):
        LangChainEmbedder(rag.embedder)  # type: ignore[arg-type]

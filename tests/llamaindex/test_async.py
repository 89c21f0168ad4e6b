"""Event loops: one hop a call, callers released at once, streams that leave nothing behind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any

import numpy as np
import psycopg
import pytest
from llama_index.core.schema import QueryBundle
from llama_index.core.vector_stores.types import VectorStoreQuery

from tests.waiting import PATIENCE, Gate, reached, wait_until
from voicerag_core import (
    Answer,
    Audio,
    Embeddings,
    GenerationError,
    Passage,
    Question,
    Sampling,
    StoreError,
    Transcription,
    Turn,
    VoiceRAG,
)
from voicerag_core.aio import run_in_thread
from voicerag_core.store import PgVectorStore
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore
from voicerag_integrations.llamaindex import (
    AsyncStreamingSpeechResponse,
    SpeechQueryEngine,
    SpeechResponse,
    SpeechRetriever,
    StreamingSpeechResponse,
    VoiceRAGVectorStore,
)
from voicerag_integrations.llamaindex.response import METADATA_KEY, AnswerFeed
from voicerag_integrations.llamaindex.testing import recorded_events


class GatedEmbedder(FakeEmbedder):
    """Embeds when its gate is opened, and cannot be interrupted before."""

    def __init__(self) -> None:
        super().__init__(16)
        self.gate = Gate()

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        self.gate.wait()
        return super().embed_passages(texts)


class CountingStore(InMemoryStore):
    """Counts searches."""

    searches = 0

    def search(self, *args: Any, **kwargs: Any) -> Any:
        self.searches += 1
        return super().search(*args, **kwargs)


class EndlessModel:
    """Speaks until it is closed, or for so long that a test has failed.

    Args:
        gate: What every piece waits for.
    """

    def __init__(self, gate: Gate | None = None) -> None:
        self.gate = gate
        self.pieces = 0
        self.closed = threading.Event()

    def respond(
        self, question: Question, passages: Sequence[Passage], *, sampling: Sampling,
        transcript: Transcription | None = None, history: Sequence[Turn] = (),
    ) -> Iterator[Answer]:  # fmt: skip
        try:
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                self.pieces += 1
                if self.gate is not None:
                    self.gate.wait()
                yield Answer("more ", audio=Audio(np.full(80, 0.1, np.float32), 8000))
        finally:
            self.closed.set()


def rag_of(model: Any, embedder: FakeEmbedder | None = None) -> tuple[VoiceRAG, CountingStore]:
    store = CountingStore(16)
    store.add([Passage("a", "The river ends here.")], FakeEmbedder(16).embed_passages(["river"]))
    return VoiceRAG(embedder or FakeEmbedder(16), store, model), store


async def cancelled(work: Callable[[], Any], begun: Callable[[], bool]) -> None:
    """Cancel a call as soon as it is in the middle, and wait until its caller is free."""
    task = asyncio.ensure_future(work())
    await reached(begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "call",
    [
        lambda rag: SpeechRetriever(rag).aretrieve("river"),
        lambda rag: SpeechQueryEngine(rag).aquery("river"),
    ],
    ids=["retriever", "query engine"],
)
async def test_a_cancelled_caller_is_free_at_once_and_nothing_more_starts(
    call: Callable[[VoiceRAG], Any],
) -> None:
    embedder = GatedEmbedder()
    rag, store = rag_of(FakeVoiceModel(), embedder)
    await cancelled(lambda: call(rag), embedder.gate.entered.is_set)
    assert not embedder.gate.passed.is_set(), "the caller did not wait for it"
    embedder.gate.open.set()
    await asyncio.get_running_loop().shutdown_default_executor()  # what ran there has ended
    assert embedder.gate.passed.is_set()
    assert store.searches == 0


async def test_a_cancelled_answer_stops_the_model() -> None:
    model = EndlessModel()
    rag, _ = rag_of(model)
    await cancelled(lambda: SpeechQueryEngine(rag).aquery("river"), lambda: model.pieces > 1)
    await reached(model.closed.is_set, "the model still speaks")


async def test_a_cancelled_search_is_cancelled_on_the_server(dsn: str, tenant: str) -> None:
    with PgVectorStore.open(dsn, tenant=tenant, model_id="m", dim=2) as store:
        sleep = f"SELECT pg_sleep({2 * PATIENCE})"

        def slow() -> None:
            store._database.write(lambda connection: connection.execute(sleep.encode()))

        with psycopg.connect(dsn, autocommit=True) as connection:

            def asleep() -> bool:
                query = "SELECT FROM pg_stat_activity WHERE query = %s AND state = 'active'"
                return connection.execute(query, (sleep,)).rowcount == 1

            await cancelled(lambda: run_in_thread(slow), asleep)
            await reached(lambda: not asleep(), "the statement still runs")
        assert store.count() == 0, "the connection went back to the pool in order"


async def test_one_call_makes_one_hop(
    rag: VoiceRAG, clip: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    hops = 0
    to_thread = asyncio.to_thread

    async def counted(work: Any) -> Any:
        nonlocal hops
        hops += 1
        return await to_thread(work)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    vector_store = VoiceRAGVectorStore(rag.store)
    vector = rag.embedder.embed_passages(["Rhine"])[0].tolist()
    for call in (
        lambda: SpeechRetriever(rag).aretrieve(clip),
        lambda: SpeechRetriever(rag).ato_bundle(clip),
        lambda: vector_store.aquery(VectorStoreQuery(vector, 1)),
        lambda: vector_store.adelete_nodes(["none"]),
    ):
        hops = 0
        await call()
        assert hops == 1
    hops = 0
    await SpeechQueryEngine(rag).aquery(clip)
    assert hops == 1, "retrieval and answer share one"


async def test_the_loop_goes_on_while_a_call_waits() -> None:
    embedder = GatedEmbedder()
    rag, _ = rag_of(FakeVoiceModel(), embedder)
    asking = asyncio.ensure_future(SpeechQueryEngine(rag).aquery("river"))
    while not embedder.gate.entered.is_set():
        await asyncio.sleep(0.01)  # the loop goes on, or the gate stays shut
    embedder.gate.open.set()
    await asking


async def test_synchronous_calls_work_while_a_loop_runs(rag: VoiceRAG, clip: Audio) -> None:
    assert SpeechRetriever(rag).retrieve(clip)[0].node.node_id == "rhine"
    assert "Alps" in str(SpeechQueryEngine(rag).query(clip))


async def test_many_calls_share_few_connections(dsn: str, tenant: str) -> None:
    embedder = FakeEmbedder(256)
    with PgVectorStore.open(dsn, tenant=tenant, model_id="m", dim=256, pool_size=4) as store:
        rag = VoiceRAG(embedder, store, FakeVoiceModel(), limit=1)
        rag.index(Passage(f"p{i}", f"word{i} stands alone") for i in range(64))
        retriever = SpeechRetriever(rag)
        found = await asyncio.gather(*(retriever.aretrieve(f"word{i} alone") for i in range(64)))
    assert [nodes[0].node.node_id for nodes in found] == [f"p{i}" for i in range(64)]


async def test_a_closed_store_is_told_from_an_empty_one(dsn: str, tenant: str) -> None:
    embedder = FakeEmbedder(16)
    with PgVectorStore.open(dsn, tenant=tenant, model_id="m", dim=16) as store:
        rag = VoiceRAG(embedder, store, FakeVoiceModel())
        retriever = SpeechRetriever(rag)
        assert await retriever.aretrieve("river") == []
    for call in (
        lambda: retriever.aretrieve("river"),
        lambda: SpeechQueryEngine(rag).aquery("river"),
        lambda: VoiceRAGVectorStore(store).aquery(VectorStoreQuery([1.0] * 16, 1)),
    ):
        with pytest.raises(StoreError, match="closed"):
            await call()


def stream_of(model: Any) -> StreamingSpeechResponse:
    rag, _ = rag_of(model)
    response = SpeechQueryEngine(rag, streaming=True).query("river")
    assert isinstance(response, StreamingSpeechResponse)
    return response


async def astream_of(model: Any) -> AsyncStreamingSpeechResponse:
    rag, _ = rag_of(model)
    response = await SpeechQueryEngine(rag, streaming=True).aquery("river")
    assert isinstance(response, AsyncStreamingSpeechResponse)
    return response


@pytest.mark.parametrize("closing", ["words", "speech", "response"])
def test_a_stream_that_is_closed_early_stops_the_model(closing: str) -> None:
    model = EndlessModel()
    with recorded_events() as events:
        response = stream_of(model)
        speech = response.audio_stream()
        assert next(response.response_gen) == "more "
        assert next(speech).sample_rate == 8000
        {"words": response.response_gen.close, "speech": speech.close,
         "response": response.close}[closing]()  # fmt: skip
    assert model.closed.is_set()
    assert model.pieces == 1
    assert list(response.response_gen) == list(speech) == []
    assert response.metadata is not None
    assert response.metadata["voicerag"]["complete"] is False
    (told,) = [one for one in events if one.class_name() == "SpeechAnswerEvent"]
    assert told.complete is False  # type: ignore[attr-defined]


@pytest.mark.parametrize("closing", ["words", "wrapped words", "speech", "response"])
async def test_an_async_stream_that_is_closed_early_stops_the_model(closing: str) -> None:
    model = EndlessModel()
    threads = threading.active_count()
    response = await astream_of(model)
    words: AsyncGenerator[str, None] = (
        response.async_response_gen() if closing == "wrapped words" else response.response_gen
    )
    speech = response.audio_stream()
    assert await anext(words) == "more "
    assert (await anext(speech)).sample_rate == 8000
    await {"words": words.aclose, "wrapped words": words.aclose, "speech": speech.aclose,
           "response": response.aclose}[closing]()  # fmt: skip
    assert model.closed.is_set()
    assert threading.active_count() <= threads + 6, "the loop's own pool and nothing else"


async def test_a_reader_that_is_cancelled_is_free_at_once_and_the_model_stops() -> None:
    gate = Gate()
    model = EndlessModel(gate)
    response = await astream_of(model)
    await cancelled(lambda: anext(response.response_gen), gate.entered.is_set)
    assert not gate.passed.is_set(), "the reader did not wait for the piece"
    gate.open.set()
    await reached(model.closed.is_set, "the model still speaks")
    assert model.pieces == 1


def test_the_end_of_one_reader_is_not_the_end_of_the_other(rag: VoiceRAG, clip: Audio) -> None:
    response = SpeechQueryEngine(rag, streaming=True).query(clip)
    assert isinstance(response, StreamingSpeechResponse)
    sounds = list(response.audio_stream())
    text = "".join(response.response_gen)
    whole = response.get_response()
    assert isinstance(whole, SpeechResponse)
    assert (text, sum(map(len, (s.samples for s in sounds)))) == (
        str(whole), len(whole.audio.samples) if whole.audio else 0,
    )  # fmt: skip
    assert str(response) == text
    assert whole.metadata is not None
    assert whole.metadata["voicerag"] == {
        **whole.metadata["voicerag"], "answered": True, "complete": True, "transcript": None,
    }  # fmt: skip
    assert whole.metadata["voicerag"]["citations"][0]["passage_id"] == "rhine"
    assert whole.metadata["rhine"]["source"] == "rhine.txt"


async def test_an_async_stream_is_read_whole(rag: VoiceRAG, clip: Audio) -> None:
    response = await SpeechQueryEngine(rag, streaming=True).aquery(clip)
    assert isinstance(response, AsyncStreamingSpeechResponse)
    whole = await response.get_response()
    assert whole.audio is not None
    assert whole.response == response.response_txt
    again = await SpeechQueryEngine(rag, streaming=True).aquery(clip)
    assert isinstance(again, AsyncStreamingSpeechResponse)
    assert "".join([text async for text in again.async_response_gen()]) == whole.response


def test_two_threads_read_words_and_speech(rag: VoiceRAG, clip: Audio) -> None:
    response = SpeechQueryEngine(rag, streaming=True).query(clip)
    assert isinstance(response, StreamingSpeechResponse)
    sounds: list[Audio] = []
    reader = threading.Thread(target=lambda: sounds.extend(response.audio_stream()))
    reader.start()
    text = "".join(response.response_gen)
    reader.join()
    whole = SpeechQueryEngine(rag).query(clip)
    assert isinstance(whole, SpeechResponse)
    assert text == str(whole)
    assert whole.audio == sum(sounds[1:], sounds[0])


def test_a_stream_closed_while_another_thread_waits_is_closed_by_that_thread() -> None:
    gate = Gate()
    model = EndlessModel(gate)
    response = stream_of(model)
    reader = threading.Thread(target=lambda: list(response.response_gen))
    reader.start()
    wait_until(gate.entered.is_set)
    response.close()
    assert not gate.passed.is_set(), "closing does not wait for the piece"
    gate.open.set()
    reader.join(PATIENCE)
    assert not reader.is_alive()
    assert model.closed.is_set()
    assert model.pieces == 1


def test_a_model_that_fails_says_so_and_is_closed() -> None:
    class Failing(EndlessModel):
        def respond(self, *args: Any, **kwargs: Any) -> Iterator[Answer]:
            yield Answer("half an ")
            raise GenerationError("the model broke")

    with pytest.raises(GenerationError, match="broke"):
        SpeechQueryEngine(rag_of(Failing())[0]).query("river")
    response = stream_of(Failing())
    assert next(response.response_gen) == "half an "
    with pytest.raises(GenerationError, match="broke"):
        next(response.response_gen)
    assert response.metadata is not None
    assert response.metadata["voicerag"]["complete"] is False


def test_documents_that_do_not_answer_are_told_honestly() -> None:
    class Declining(FakeVoiceModel):
        def respond(self, *args: Any, **kwargs: Any) -> Iterator[Answer]:
            yield Answer("That is not in the documents.", answered=False)

    response = SpeechQueryEngine(rag_of(Declining())[0]).query(QueryBundle("river"))
    assert isinstance(response, SpeechResponse)
    assert response.answered is False
    assert response.audio is None
    assert response.metadata is not None
    assert response.metadata["voicerag"]["answered"] is False


def test_a_close_in_the_last_moment_of_a_read_is_not_lost() -> None:
    model = EndlessModel()

    class Closing(dict[str, Any]):
        def update(self, *args: Any, **kwargs: Any) -> None:
            feed.close()  # the piece has been taken, and the read still holds the source

    pieces = model.respond("river", [], sampling=Sampling())
    feed = AnswerFeed(pieces, {METADATA_KEY: Closing()})
    assert feed.next_text() == "more "
    assert model.closed.is_set()

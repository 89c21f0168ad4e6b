"""A caller who goes away is let go at once, and nothing new is begun for it."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.waiting import PATIENCE, Gate, reached
from voicerag_core import Answer, Embeddings, Passage, PgVectorStore, Question, VoiceRAG
from voicerag_core.aio import run_in_thread, stream_in_thread
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel
from voicerag_integrations.langchain import (
    SpeechRetriever,
    VoiceAskTool,
    VoiceRAGEmbeddings,
    VoiceRAGRunnable,
    VoiceRAGVectorStore,
    VoiceSearchTool,
)


class SlowEmbedder(FakeEmbedder):
    def __init__(self, gate: Gate) -> None:
        super().__init__(256)
        self.gate = gate
        self.texts = 0

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        self.texts += len(texts)
        self.gate.wait()
        return super().embed_passages(texts)


class Watched:
    """Counts the searches of a store."""

    def __init__(self, store: PgVectorStore) -> None:
        self.store = store
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.store, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            return value(*args, **kwargs)

        return call


class LongAnswer(FakeVoiceModel):
    """Gives a hundred pieces, and notes when its iterator was closed.

    Args:
        gate: What the second piece waits for.
    """

    def __init__(self, gate: Gate | None = None) -> None:
        super().__init__()
        self.gate = gate
        self.given = 0
        self.closed = threading.Event()

    def respond(
        self, question: Question, passages: Sequence[Passage], **_: Any
    ) -> Iterator[Answer]:
        try:
            for number in range(100):
                self.given += 1
                yield Answer(f"{number} ")
                if self.gate is not None and number == 0:
                    self.gate.wait()
        finally:
            self.closed.set()


def calls() -> dict[str, Callable[[VoiceRAG], Any]]:
    return {
        "retriever": lambda rag: SpeechRetriever(rag=rag).ainvoke("Rhine?"),
        "runnable": lambda rag: VoiceRAGRunnable(rag=rag).ainvoke("Rhine?"),
        "stream": lambda rag: anext(VoiceRAGRunnable(rag=rag).astream("Rhine?")),
        "search tool": lambda rag: VoiceSearchTool(rag=rag).ainvoke({"question": "Rhine?"}),
        "ask tool": lambda rag: VoiceAskTool(rag=rag).ainvoke({"question": "Rhine?"}),
        "vector store": lambda rag: VoiceRAGVectorStore(rag).asimilarity_search("Rhine?"),
        "scores": lambda rag: VoiceRAGVectorStore(rag).asimilarity_search_with_score("Rhine?"),
        "variety": lambda rag: VoiceRAGVectorStore(rag).amax_marginal_relevance_search("Rhine?"),
        "adding": lambda rag: VoiceRAGVectorStore(rag).aadd_texts(["Rhine?"]),
        "events": lambda rag: _drain(VoiceRAGRunnable(rag=rag).astream_events("Rhine?")),
        "chained": lambda rag: (VoiceRAGRunnable(rag=rag) | str).ainvoke("Rhine?"),
    }


async def _drain(stream: Any) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("name", list(calls()))
async def test_a_cancelled_caller_is_released_and_no_stage_begins(
    store: PgVectorStore, name: str
) -> None:
    gate, model, watched = Gate(), LongAnswer(), Watched(store)
    rag = VoiceRAG(SlowEmbedder(gate), watched, model)
    task = asyncio.ensure_future(calls()[name](rag))
    await reached(gate.entered.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not gate.passed.is_set(), "the caller did not wait for it"
    gate.open.set()
    await _threads_end()
    assert gate.passed.is_set()
    assert watched.calls == []
    assert model.given == 0


async def _threads_end() -> None:
    """Wait until nothing of ours runs: the loop's pool and the threads of streams have ended."""
    await reached(
        lambda: not any(thread.name == "voicerag-stream" for thread in threading.enumerate()),
        "a stream's thread is left behind",
    )
    await asyncio.get_running_loop().shutdown_default_executor()


async def test_a_timeout_releases_the_caller(rag: VoiceRAG) -> None:
    gate = Gate()
    model = LongAnswer(gate)
    rag.model = model

    async def timed_out() -> None:
        async with asyncio.timeout(None) as limit:
            answer = asyncio.ensure_future(VoiceRAGRunnable(rag=rag).ainvoke("Rhine?"))
            await reached(gate.entered.is_set)
            limit.reschedule(asyncio.get_running_loop().time())
            await answer

    with pytest.raises(TimeoutError):
        await timed_out()
    assert not gate.passed.is_set(), "the caller did not wait for the model"
    gate.open.set()
    await _threads_end()
    assert model.closed.is_set()
    assert model.given <= 2


async def test_an_async_stream_closed_early_frees_everything(rag: VoiceRAG) -> None:
    gate = Gate()
    model = LongAnswer(gate)
    rag.model = model
    stream: Any = VoiceRAGRunnable(rag=rag).astream("Rhine?")
    async for piece in stream:
        if piece.text:
            break
    await reached(gate.entered.is_set)
    await stream.aclose()
    assert not gate.passed.is_set(), "closing does not wait for the next piece"
    gate.open.set()
    await _threads_end()
    assert model.closed.is_set()
    assert model.given <= 2


async def test_a_reader_that_just_stops_frees_everything_too(rag: VoiceRAG) -> None:
    model = LongAnswer()
    rag.model = model
    chain = VoiceRAGRunnable(rag=rag) | (lambda answer: answer)

    async def look() -> None:
        async for _ in chain.astream("Rhine?"):
            return

    await look()
    async for _ in VoiceRAGRunnable(rag=rag).astream("Rhine?"):
        break
    gc.collect()
    await _threads_end()
    assert model.closed.is_set()


def test_a_sync_stream_closed_early_frees_everything(rag: VoiceRAG) -> None:
    model = LongAnswer()
    rag.model = model
    before = set(threading.enumerate())
    for output in ("answer", "message"):
        model.closed.clear()
        stream: Any = VoiceRAGRunnable(rag=rag, output=output).stream("Rhine?")
        next(stream)
        next(stream)
        stream.close()
        assert model.closed.is_set()
    assert model.given <= 4
    assert set(threading.enumerate()) <= before


async def test_a_slow_reader_keeps_the_model_back(rag: VoiceRAG) -> None:
    model = LongAnswer()
    rag.model = model
    stream: Any = VoiceRAGRunnable(rag=rag).astream("Rhine?")
    await anext(stream)
    await asyncio.sleep(0.2)
    assert model.given < 15
    text = "".join([piece.text async for piece in stream])
    assert text.split() == [str(number) for number in range(100)]


async def test_many_slow_streams_leave_the_loop_its_threads(rag: VoiceRAG) -> None:
    rag.model = LongAnswer()
    streams: list[Any] = [VoiceRAGRunnable(rag=rag).astream("Rhine?") for _ in range(40)]
    for stream in streams:
        await anext(stream)
    documents = await asyncio.wait_for(SpeechRetriever(rag=rag, k=1).ainvoke("Rhine?"), PATIENCE)
    assert len(documents) == 1
    for stream in streams:
        await stream.aclose()
    await _threads_end()


async def test_embedding_stops_between_batches() -> None:
    gate = Gate()
    embedder = SlowEmbedder(gate)
    task = asyncio.create_task(VoiceRAGEmbeddings(embedder).aembed_documents(["text"] * 100))
    await reached(gate.entered.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open.set()
    await _threads_end()
    assert embedder.texts == 16


async def test_one_async_call_is_one_hop(rag: VoiceRAG, monkeypatch: pytest.MonkeyPatch) -> None:
    hops = []
    loop = asyncio.get_running_loop()
    run = loop.run_in_executor

    def counted(executor: Any, work: Any, *args: Any) -> Any:
        hops.append(work)
        return run(executor, work, *args)

    monkeypatch.setattr(loop, "run_in_executor", counted)
    vectors = VoiceRAGVectorStore(rag)
    for call in (
        SpeechRetriever(rag=rag).ainvoke("Rhine?"),
        VoiceRAGRunnable(rag=rag).ainvoke("Rhine?"),
        VoiceSearchTool(rag=rag).ainvoke({"question": "Rhine?"}),
        VoiceRAGEmbeddings(rag).aembed_query("Rhine?"),
        vectors.asimilarity_search("Rhine?"),
        vectors.asimilarity_search_with_relevance_scores("Rhine?"),
        vectors.amax_marginal_relevance_search("Rhine?"),
        vectors.aadd_texts(["Rhine?"]),
        vectors.aget_by_ids(["x"]),
        vectors.adelete(["x"]),
    ):
        hops.clear()
        await call
        assert len(hops) == 1


async def test_work_that_waits_for_a_thread_is_never_begun() -> None:
    begun: list[int] = []
    gate = Gate()
    busy = [asyncio.create_task(run_in_thread(gate.wait)) for _ in range(64)]
    while not gate.entered.is_set():
        await asyncio.sleep(0.01)
    waiting = asyncio.create_task(run_in_thread(begun.append, 1))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.open.set()
    await asyncio.gather(*busy)
    assert begun == []


def test_a_loop_that_is_closed_in_the_middle_leaves_nothing_behind() -> None:
    closed = threading.Event()

    def numbers() -> Any:
        try:
            yield from range(1000)
        finally:
            closed.set()

    loop = asyncio.new_event_loop()
    stream = stream_in_thread(numbers)

    async def first() -> int:
        return int(await anext(stream))

    assert loop.run_until_complete(first()) == 0
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert closed.wait(PATIENCE)

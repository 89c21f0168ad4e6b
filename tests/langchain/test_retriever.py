"""The retriever: every way to call it, what it returns, and what tracers see of it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps
from langchain_core.messages import HumanMessage
from langchain_core.messages.content import create_audio_block
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnablePassthrough
from pydantic import ValidationError

from voicerag_core import (
    Audio,
    AudioError,
    ConfigError,
    EmbeddingMismatchError,
    FilterError,
    Passage,
    PgVectorStore,
    StoreError,
    VoiceRAG,
    to_wav_bytes,
)
from voicerag_core.filters import Eq
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel
from voicerag_integrations.langchain import SpeechRetriever


@pytest.fixture
def retriever(stored: VoiceRAG) -> SpeechRetriever:
    return SpeechRetriever(rag=stored, k=1)


class Seen(BaseCallbackHandler):
    """Keeps everything that LangChain tells a callback handler."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda *args, **kwargs: self.told.append(repr((name, args, kwargs)))
        return super().__getattribute__(name)


async def test_speech_finds_sync_async_in_batch_and_streamed(retriever: Any, spoken: Audio) -> None:
    expected = retriever.invoke(spoken)
    assert [document.metadata["kind"] for document in expected] == ["rhine"]
    assert await retriever.ainvoke(spoken) == expected
    assert retriever.batch([spoken, "Is oxygen a gas?"])[0] == expected
    assert (await retriever.abatch([spoken]))[0] == expected
    assert list(retriever.stream(spoken)) == [expected]
    assert [one async for one in retriever.astream(spoken)] == [expected]


def test_a_document_says_what_was_found_and_how_well(retriever: SpeechRetriever) -> None:
    (document,) = retriever.invoke("Is oxygen a gas?")
    (hit,) = retriever.rag.retrieve("Is oxygen a gas?", limit=1).hits
    assert document.id == document.metadata["passage_id"] == hit.passage.id
    assert document.metadata["score"] == hit.score
    assert document.metadata["source"] == "oxygen"
    assert document.page_content == hit.passage.text


def test_equal_texts_both_come_back(stored: VoiceRAG) -> None:
    twins = [Passage("t1", "A rare zebra."), Passage("t2", "A rare zebra.")]
    stored.index(twins)
    found = SpeechRetriever(rag=stored, k=2).invoke("A rare zebra.")
    assert {document.id for document in found} == {"t1", "t2"}


async def test_options_of_a_call_win_on_both_paths(retriever: SpeechRetriever) -> None:
    assert len(retriever.invoke("Rhine", k=3)) == 3
    assert len(await retriever.ainvoke("Rhine", k=3)) == 3
    (found,) = retriever.invoke("Rhine", filter={"kind": {"$in": ["bakery"]}})
    assert found.metadata["kind"] == "bakery"
    assert retriever.invoke("Rhine", k=4, min_score=0.99) == []
    assert retriever.invoke({"question": "Rhine", "k": 2, "filter": Eq("kind", "none")}) == []
    assert len(retriever.invoke("Rhine")) == 1


async def test_an_option_that_is_unknown_is_refused(retriever: SpeechRetriever) -> None:
    with pytest.raises(ConfigError, match=r"'top_k'.*choose of k, filter"):
        retriever.invoke("Rhine", top_k=3)
    with pytest.raises(ConfigError, match="'top_k'"):
        await retriever.ainvoke("Rhine", top_k=3)


def test_settings_out_of_range_are_refused(rag: VoiceRAG) -> None:
    with pytest.raises(ValidationError):
        SpeechRetriever(rag=rag, k=0)
    with pytest.raises(ConfigError, match="at least 1"):
        SpeechRetriever(rag=rag).invoke("Rhine", k=0)
    with pytest.raises(FilterError, match="regex"):
        SpeechRetriever(rag=rag, filter={"a": {"$regex": "b"}}).invoke("Rhine")
    with pytest.raises(ConfigError, match="the question is empty"):
        SpeechRetriever(rag=rag).invoke("  ")


def kinds(both: dict[str, Any]) -> list[str]:
    return [document.metadata["kind"] for document in both["documents"]]


def test_a_chain_and_a_configured_field_reach_it(retriever: SpeechRetriever, spoken: Audio) -> None:
    chain: Any = {"documents": retriever, "asked": RunnablePassthrough()} | RunnableLambda(kinds)
    assert chain.invoke(spoken) == ["rhine"]
    tunable = retriever.configurable_fields(k=ConfigurableField(id="k"))
    assert len(tunable.invoke("Rhine", config={"configurable": {"k": 2}})) == 2


def audio_forms(spoken: Audio) -> Iterator[Any]:
    data = to_wav_bytes(spoken)
    encoded = base64.b64encode(data).decode()
    block: Any = create_audio_block(base64=encoded, mime_type="audio/wav")
    yield from (spoken, data, block, HumanMessage([block]), {"question": data})
    yield from (
        [HumanMessage([block])],
        {"type": "audio", "url": f"data:audio/wav;base64,{encoded}"},
    )


async def test_tracers_never_see_the_sound(retriever: SpeechRetriever, spoken: Audio) -> None:
    needle = base64.b64encode(to_wav_bytes(spoken)).decode()[2000:2040]
    raw = repr(to_wav_bytes(spoken))[4000:4040]
    for form in audio_forms(spoken):
        seen = Seen()
        retriever.invoke(form, config={"callbacks": [seen]})
        await retriever.ainvoke(form, config={"callbacks": [seen]})
        events = [repr(event) async for event in retriever.astream_events({"question": "Rhine"})]
        assert [told.split("'")[1] for told in seen.told].count("on_retriever_start") == 2
        for told in seen.told + events:
            assert needle not in told
            assert raw not in told
            assert len(told) < 5000


def test_errors_are_told_to_callbacks(retriever: SpeechRetriever) -> None:
    seen = Seen()
    with pytest.raises(AudioError):
        retriever.invoke(b"no sound", config={"callbacks": [seen]})
    assert any("on_retriever_error" in told for told in seen.told)


def test_dumps_writes_settings_and_not_the_pipeline(retriever: SpeechRetriever) -> None:
    written = json.loads(dumps(retriever))
    assert written["kwargs"] == {"k": 1}
    again = SpeechRetriever(rag=retriever.rag, **written["kwargs"])
    assert again == retriever
    assert "FakeEmbedder" not in repr(retriever)


def test_the_tracing_metadata_names_the_parts(retriever: SpeechRetriever) -> None:
    assert retriever._get_ls_params() == {
        "ls_retriever_name": "voicerag",
        "ls_vector_store_provider": "PgVectorStore",
        "ls_embedding_provider": "FakeEmbedder",
        "ls_embedding_model": "fake-words",
    }


def test_the_schema_names_audio(retriever: SpeechRetriever) -> None:
    assert "AudioBlock" in json.dumps(retriever.get_input_jsonschema())


async def test_it_works_inside_a_running_loop(retriever: SpeechRetriever, spoken: Audio) -> None:
    assert asyncio.get_running_loop().is_running()
    assert retriever.invoke(spoken)[0].metadata["kind"] == "rhine"


async def test_64_questions_at_once_share_a_pool_of_4(
    dsn: str, tenant: str, embedder: FakeEmbedder
) -> None:
    with PgVectorStore.open(
        dsn, tenant=tenant, model_id="fake-words", dim=256, pool_size=4
    ) as store:
        rag = VoiceRAG(embedder, store, FakeVoiceModel())
        rag.index([Passage(f"p{i}", f"number{i} thing{i} item{i}") for i in range(64)])
        retriever = SpeechRetriever(rag=rag, k=1)
        asked = [retriever.ainvoke(f"number{i} thing{i}") for i in range(64)]
        found = await asyncio.gather(*asked)
        assert [documents[0].id for documents in found] == [f"p{i}" for i in range(64)]
        together = retriever.batch([f"number{i} thing{i}" for i in range(64)],
                                   config={"max_concurrency": 64})  # fmt: skip
        assert [documents[0].id for documents in together] == [f"p{i}" for i in range(64)]


async def test_a_closed_store_says_so(dsn: str, tenant: str, embedder: FakeEmbedder) -> None:
    with PgVectorStore.open(dsn, tenant=tenant, model_id="fake-words", dim=256) as store:
        retriever = SpeechRetriever(rag=VoiceRAG(embedder, store, FakeVoiceModel()))
    with pytest.raises(StoreError, match="closed"):
        retriever.invoke("Rhine")
    with pytest.raises(StoreError, match="closed"):
        await retriever.ainvoke("Rhine")


def test_an_embedder_of_another_width_is_refused(store: PgVectorStore) -> None:
    retriever = SpeechRetriever(rag=VoiceRAG(FakeEmbedder(32), store, FakeVoiceModel()))
    with pytest.raises(EmbeddingMismatchError, match=r"width 256.*32"):
        retriever.invoke("Rhine")
    with pytest.raises(ConfigError, match="not a question"):
        retriever.invoke(3)  # type: ignore[arg-type]

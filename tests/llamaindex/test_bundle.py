"""Queries that carry sound, and what may not be seen of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import QueryBundle

from voicerag_core import (
    Audio,
    AudioError,
    ConfigError,
    Hit,
    Transcription,
    VoiceRAG,
    to_wav_bytes,
    write_wav,
)
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore
from voicerag_integrations.llamaindex import (
    SpeechQueryBundle,
    SpeechQueryEngine,
    SpeechRetriever,
    VoiceRAGEmbedding,
    VoiceRAGVectorStore,
)

QUESTION = "Where does the Rhine rise?"


def long(seconds: float) -> Audio:
    return Audio(np.full(round(16_000 * seconds), 0.5, np.float32), 16_000)


def test_bytes_are_kept_out_of_logs(clip: Audio) -> None:
    bundle = SpeechQueryBundle(audio=to_wav_bytes(clip), embedding=[0.5] * 99)
    assert repr(bundle) == "SpeechQueryBundle('', audio=16044 bytes, embedding=[99])"
    assert repr(SpeechQueryBundle("q", audio=clip)) == (
        "SpeechQueryBundle('q', audio=Audio(0.50 s at 16000 Hz))"
    )
    assert str(SpeechQueryBundle("q", audio=clip)) == "q"


def test_a_path_is_sound_and_a_str_is_text(rag: VoiceRAG, clip: Audio, tmp_path: Path) -> None:
    path = tmp_path / "question.wav"
    write_wav(path, clip)
    retriever = SpeechRetriever(rag)
    assert retriever.retrieve(path)[0].node.node_id == "rhine"
    assert retriever.retrieve("What colour has oxygen?")[0].node.node_id == "oxygen"


def test_what_was_heard_is_noted_for_those_who_come_after(rag: VoiceRAG, clip: Audio) -> None:
    bundle = SpeechQueryBundle(audio=clip)
    SpeechRetriever(rag, strategy="e2e").retrieve(bundle)
    assert (bundle.query_str, bundle.transcription) == ("", None)
    SpeechRetriever(rag, strategy="asr").retrieve(bundle)
    assert (bundle.query_str, bundle.transcription) == (QUESTION, Transcription(QUESTION))
    labelled = SpeechQueryBundle("my words", audio=clip)
    SpeechRetriever(rag, strategy="asr").retrieve(labelled)
    assert (labelled.query_str, labelled.transcription) == ("my words", Transcription(QUESTION))


def test_nothing_is_transcribed_twice(rag: VoiceRAG, clip: Audio) -> None:
    rag.strategy = "asr"
    SpeechQueryEngine(rag).query(clip)
    assert rag.transcriber.calls == 1  # type: ignore[union-attr]


def test_a_ready_vector_is_searched_as_it_is(rag: VoiceRAG) -> None:
    vector = rag.embedder.embed_passages(["gas without colour"])[0] * 7
    nodes = SpeechRetriever(rag).retrieve(QueryBundle("", embedding=vector.tolist()))
    assert nodes[0].node.node_id == "oxygen"
    assert 0 < (nodes[0].score or 0) <= 1


def test_sound_with_a_vector_still_brings_its_words_to_a_fused_search(
    rag: VoiceRAG, clip: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = SpeechRetriever(rag, strategy="hybrid")
    bundle = retriever.to_bundle(clip)
    assert bundle.embedding is not None
    searched: list[object] = []
    search = rag.store.search

    def watched(*given: Any, text: str | None = None, **options: Any) -> tuple[Hit, ...]:
        searched.append(text)
        return search(*given, text=text, **options)

    monkeypatch.setattr(rag.store, "search", watched)
    fused = retriever.retrieve(bundle)
    assert searched == [QUESTION]
    assert fused[0].node.node_id == "rhine"


def test_hypothetical_texts_are_embedded_in_place_of_the_question(rag: VoiceRAG) -> None:
    bundle = QueryBundle(QUESTION, custom_embedding_strs=["The tower is 300 metres tall."])
    assert SpeechRetriever(rag).retrieve(bundle)[0].node.node_id == "tower"


def test_a_stock_index_is_asked_by_sound(rag: VoiceRAG, clip: Audio) -> None:
    index = VectorStoreIndex.from_vector_store(
        VoiceRAGVectorStore(rag.store), VoiceRAGEmbedding(rag.embedder)
    )
    bundle = SpeechRetriever(rag).to_bundle(clip)
    nodes = index.as_retriever(similarity_top_k=1).retrieve(bundle)
    assert [node.node.node_id for node in nodes] == ["rhine"]


async def test_a_bundle_is_made_in_an_event_loop(rag: VoiceRAG, clip: Audio) -> None:
    bundle = await SpeechRetriever(rag).ato_bundle(clip)
    assert bundle.query_str == QUESTION
    assert (await SpeechRetriever(rag).ato_bundle(clip, words=False)).query_str == ""


def test_an_unreadable_clip_is_refused_as_such(rag: VoiceRAG) -> None:
    retriever = SpeechRetriever(rag)
    for sound in (b"not audio", b"", Path("no-such-file.wav"), long(0.001), long(31)):
        with pytest.raises(AudioError):
            retriever.retrieve(sound)
        with pytest.raises(AudioError):
            SpeechQueryEngine(rag).query(SpeechQueryBundle("words", audio=sound))


def test_a_vector_of_another_width_or_of_nothing_is_refused(rag: VoiceRAG) -> None:
    for vector in ([1.0] * 5, [0.0] * 64, [float("nan")] * 64):
        with pytest.raises(ConfigError, match="vector"):
            SpeechRetriever(rag).retrieve(QueryBundle("", embedding=vector))
    with pytest.raises(ConfigError, match="vector alone"):
        SpeechQueryEngine(rag).query(QueryBundle("", embedding=[1.0] * 64))


def test_impossible_options_are_refused(rag: VoiceRAG) -> None:
    with pytest.raises(ConfigError, match="node_class"):
        SpeechRetriever(rag, node_class="audio")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="similarity_top_k"):
        SpeechRetriever(rag, similarity_top_k=-1)
    with pytest.raises(ConfigError, match="strategy"):
        SpeechRetriever(rag, strategy="guess").retrieve("q")  # type: ignore[arg-type]


def test_a_question_to_an_empty_knowledge_base_says_so() -> None:
    embedder = FakeEmbedder(8)
    rag = VoiceRAG(embedder, InMemoryStore(8), FakeVoiceModel())
    with pytest.raises(Exception, match="nothing has been indexed"):
        SpeechQueryEngine(rag).query("anything")

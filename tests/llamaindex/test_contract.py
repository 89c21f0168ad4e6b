"""The adapter's own suites, on Postgres and in memory, and on the real local stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from voicerag_core import Passage, StoreError, load_settings, open_voicerag, read_audio
from voicerag_core.store import PgVectorStore
from voicerag_core.testing import InMemoryStore
from voicerag_integrations.llamaindex import (
    SpeechQueryEngine,
    SpeechResponse,
    SpeechRetriever,
    VoiceRAGVectorStore,
)
from voicerag_integrations.llamaindex.testing import SpeechRetrieverContract, VectorStoreContract

SAMPLE = Path(__file__).parents[2] / "examples/sample"


class TestSpeechOnPostgres(SpeechRetrieverContract):
    """Fakes for models, Postgres for passages."""


class TestVectorStoreOnPostgres(VectorStoreContract):
    @pytest.fixture
    def vector_store(self, dsn: str, tenant: str) -> Iterator[VoiceRAGVectorStore]:
        with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=4) as store:
            yield VoiceRAGVectorStore(store)


class TestVectorStoreInMemory(VectorStoreContract):
    @pytest.fixture
    def vector_store(self) -> VoiceRAGVectorStore:
        return VoiceRAGVectorStore(InMemoryStore(4))


def test_the_local_stack_answers_a_recording_through_llamaindex(dsn: str, tenant: str) -> None:
    settings = load_settings(database_url=dsn, tenant=tenant, strategy="hybrid")
    lines = (SAMPLE / "passages.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    near = [row for row in rows if row["id"].startswith(("Scottish_Parliament", "Super_Bowl"))]
    with open_voicerag(settings) as rag:
        rag.index(Passage(row["id"], row["text"], {"title": row["title"]}) for row in near)
        clip = read_audio(SAMPLE / "audio/report-16.flac")
        response = SpeechQueryEngine(rag).query(clip)
        assert isinstance(response, SpeechResponse)
        assert response.audio is not None
        assert response.audio.seconds > 0.5
        assert response.metadata is not None
        assert "Pittsburgh Steelers" in str(response)
        assert "divisional" in response.metadata["voicerag"]["transcript"].lower()
        nodes = SpeechRetriever(rag, strategy="hybrid").retrieve(clip)
        assert "Super_Bowl_50-2" in [node.node.node_id for node in nodes]
        retriever = SpeechRetriever(rag)
    with pytest.raises(StoreError, match="closed"):
        retriever.retrieve("used after close")

"""The thresholds that a collection keeps, and who uses them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.test_calibrated import SureReader
from voicerag_core import Passage, StoreError, Thresholds, VoiceRAG
from voicerag_core.local.model import LocalVoiceModel
from voicerag_core.ports import CalibratedStore
from voicerag_core.store import PgVectorStore
from voicerag_core.testing import FakeEmbedder, FakeTranscriber
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Audio


def test_they_stay_with_the_collection_of_their_tenant(dsn: str, tenant: str) -> None:
    chosen = Thresholds(confidence=0.5, gap=0.01, answered=0.7)
    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH) as store:
        assert isinstance(store, CalibratedStore)
        assert store.thresholds() == Thresholds()
        store.set_thresholds(chosen)
        assert store.thresholds() == chosen
    with PgVectorStore.open(dsn, tenant=f"{tenant}-2", model_id="test", dim=WIDTH) as other:
        assert other.thresholds() == Thresholds()
    with PgVectorStore.open(
        dsn, tenant=tenant, model_id="test", dim=WIDTH, read_only=True
    ) as again:
        assert again.thresholds() == chosen
        with pytest.raises(StoreError):
            again.set_thresholds(Thresholds())


def test_a_search_and_a_reader_obey_them(dsn: str, tenant: str) -> None:
    clip = Audio(np.full(16_000, 0.1, np.float32), 16_000)
    embedder = FakeEmbedder(transcripts={clip: "where is the bakery"})
    transcriber = FakeTranscriber({clip: "where is the bakery"})
    with PgVectorStore.open(
        dsn, tenant=tenant, collection="rag", model_id=embedder.model_id, dim=embedder.dim
    ) as store:
        model = LocalVoiceModel(SureReader(0.6))
        rag = VoiceRAG(embedder, store, model, transcriber, strategy="adaptive")
        rag.index([Passage("a", "The bakery is in Torvik."), Passage("b", "It rains.")])
        assert rag.retrieve(clip).transcription is None, "the lead of the best passage is enough"
        assert rag.ask("where is the bakery").answered
        store.set_thresholds(Thresholds(gap=1.5, answered=0.9))
        assert rag.retrieve(clip).transcription is not None
        assert not rag.ask("where is the bakery").answered

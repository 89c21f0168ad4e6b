"""One embedded server and one local stack for all tests of the LangChain adapter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import new_database
from voicerag_core import (
    Audio,
    Document,
    Passage,
    PgVectorStore,
    VoiceRAG,
    chunk_document,
    load_settings,
    open_voicerag,
)
from voicerag_core.store import migrate
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore

SAMPLE = Path(__file__).parents[2] / "examples/sample"
TEXTS = {
    "rhine": "The Rhine rises in the Swiss Alps. It flows into the North Sea.",
    "oxygen": "Oxygen is a gas without colour. Carl Scheele was the first to make it.",
    "bakery": "The bakery opens on Monday at seven. It sells bread and rolls.",
    "tower": "The tower was built of granite. It has two hundred steps.",
}


@pytest.fixture(scope="session")
def spoken() -> Audio:
    """A clip in which the fake embedder hears "Where does the Rhine rise?"."""
    return Audio(np.sin(np.arange(16_000, dtype=np.float32) / 9), 16_000)


@pytest.fixture
def embedder(spoken: Audio) -> FakeEmbedder:
    return FakeEmbedder(256, transcripts={spoken: "Where does the Rhine rise?"})


@pytest.fixture
def rag(embedder: FakeEmbedder) -> VoiceRAG:
    """The pipeline on fakes, with four passages in memory."""
    pipeline = VoiceRAG(embedder, InMemoryStore(embedder.dim), FakeVoiceModel())
    for source, text in TEXTS.items():
        pipeline.index(chunk_document(Document(source, text, metadata={"kind": source})))
    return pipeline


@pytest.fixture
def store(dsn: str, tenant: str) -> Iterator[PgVectorStore]:
    """An empty store on the real server for vectors of the fake embedder."""
    with PgVectorStore.open(dsn, tenant=tenant, model_id="fake-words", dim=256) as opened:
        yield opened


@pytest.fixture
def stored(store: PgVectorStore, embedder: FakeEmbedder) -> VoiceRAG:
    """The pipeline on fakes, with four passages on the real server."""
    pipeline = VoiceRAG(embedder, store, FakeVoiceModel())
    for source, text in TEXTS.items():
        pipeline.index(chunk_document(Document(source, text, metadata={"kind": source})))
    return pipeline


@pytest.fixture(scope="session")
def local(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VoiceRAG]:
    """The real local stack on the real server, with the passages of some recorded questions."""
    dsn = new_database(server)
    migrate(dsn)
    settings = load_settings(
        database_url=dsn, tenant="local", data_dir=tmp_path_factory.mktemp("local")
    )
    asked = [json.loads(line) for line in (SAMPLE / "questions.jsonl").read_text().splitlines()]
    wanted = {one["passage"] for one in asked[:16]}
    rows = [json.loads(line) for line in (SAMPLE / "passages.jsonl").read_text().splitlines()]
    passages = [
        Passage(row["id"], row["text"], {"title": row["title"]})
        for row in rows
        if row["id"] in wanted
    ]
    with open_voicerag(settings) as opened:
        opened.index(passages)
        yield opened

"""One embedded server for the tests of the adapter, and a stack on it whose models are fakes."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator

import numpy as np
import pytest

from voicerag_core import Audio, Passage, VoiceRAG
from voicerag_core.store import PgVectorStore
from voicerag_core.testing import FakeEmbedder, FakeTranscriber, FakeVoiceModel

QUESTION = "Where does the Rhine rise?"
PASSAGES = [
    Passage("rhine", "The Rhine rises in the Alps. Where does the Rhine end? In the sea.",
            {"source": "rhine.txt", "title": "Rhine", "audio_uri": "https://example.org/r.wav"}),
    Passage("oxygen", "Oxygen is a gas without colour.", {"source": "oxygen.txt", "n": 2}),
    Passage("tower", "The tower is 300 metres tall.", {"source": "tower.txt", "n": 3}),
]  # fmt: skip


def tone(pitch: float, seconds: float = 0.5) -> Audio:
    """Make a clip that no other pitch makes; on 16-bit steps, so that WAV keeps it exactly."""
    time = np.arange(round(16_000 * seconds)) / 16_000
    wave = np.round(0.5 * np.sin(2 * np.pi * pitch * time) * 2**15) / 2**15
    return Audio(wave.astype(np.float32), 16_000)


@pytest.fixture
def clip() -> Audio:
    """The question as sound."""
    return tone(440)


@pytest.fixture
def question() -> str:
    """The question in words."""
    return QUESTION


@pytest.fixture
def expected() -> str:
    """The id of the passage that answers it."""
    return "rhine"


@pytest.fixture
def rag(dsn: str, tenant: str, clip: Audio) -> Iterator[VoiceRAG]:
    """Three passages in Postgres; the models are fakes that know the clip."""
    embedder = FakeEmbedder(64, transcripts={clip: QUESTION})
    with PgVectorStore.open(dsn, tenant=tenant, model_id="fake", dim=embedder.dim) as store:
        made = VoiceRAG(
            embedder, store, FakeVoiceModel(), FakeTranscriber({clip: QUESTION}), limit=3
        )
        made.index(PASSAGES)
        yield made


@pytest.fixture(autouse=True)
def loop_of_synchronous_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """Yield LlamaIndex an event loop for its own use, which it would make and never close."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()

"""The reader's network as a reranker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voicerag_core import Passage, load_settings, open_voicerag
from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import CancelledError
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.reranker import ReaderReranker
from voicerag_core.testing import FakeEmbedder, InMemoryStore

TEXTS = [
    "The Rhine flows through Cologne. Cologne has a cathedral.",
    "The Rhine is a river. It rises in the Swiss Alps, at Lake Toma.",
    "",
    "Bread is baked for forty minutes.",
]


@pytest.fixture(scope="module")
def reranker() -> ReaderReranker:
    return ReaderReranker(AnswerScorer(1))


def test_the_passage_that_answers_comes_first(reranker: ReaderReranker) -> None:
    scores = reranker.score("Where does the Rhine rise?", TEXTS)
    assert scores.shape == (4,)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert list(np.argsort(-scores)) == [1, 0, 3, 2]
    assert reranker.score("Where?", []).shape == (0,)


def test_a_score_does_not_depend_on_the_other_texts(reranker: ReaderReranker) -> None:
    alone = reranker.score("Where does the Rhine rise?", [TEXTS[1]])
    assert alone[0] == reranker.score("Where does the Rhine rise?", TEXTS)[1]


def test_it_stops_between_two_texts(reranker: ReaderReranker) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with cancellation.active(), pytest.raises(CancelledError):
        reranker.score("Where does the Rhine rise?", TEXTS)


def test_it_is_chosen_by_a_setting(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, reranker="local", speak=False, limit=1)
    store = InMemoryStore(FakeEmbedder().dim)
    with open_voicerag(settings, embedder=FakeEmbedder(), store=store) as rag:
        rag.index(Passage(str(n), text) for n, text in enumerate(TEXTS) if text)
        found = rag.retrieve("Where does the Rhine rise?")
        assert [hit.passage.id for hit in found.hits] == ["1"]
        assert "rerank" in found.timings

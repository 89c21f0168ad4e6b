"""A reranker sorts what was found by words, and nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from voicerag_core import Answer, CheckpointError, ModelError, Passage, VoiceRAG
from voicerag_core.passages import searched_text
from voicerag_core.retrieval.search import NOT_RERANKED
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore

PASSAGES = [Passage(f"p{n}", f"The tower number {n} is tall.", {"title": "T"}) for n in range(40)]


class Reversing:
    """Finds the passages with the highest numbers best."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.append((question, list(texts)))
        return np.array([int(text.split()[4]) for text in texts], np.float32)


class Failing:
    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        raise ModelError("no memory")


class Unloadable:
    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        raise CheckpointError("no weights")


def pipeline(reranker: object, most: int = 10, *, fallback: bool = False) -> VoiceRAG:
    embedder = FakeEmbedder()
    rag = VoiceRAG(
        embedder,
        InMemoryStore(embedder.dim),
        FakeVoiceModel(),
        reranker=reranker,  # type: ignore[arg-type]
        reranked=most,
        rerank_fallback=fallback,
    )
    rag.index(PASSAGES)
    return rag


def ids(rag: VoiceRAG, question: str, **values: float) -> list[str]:
    return [hit.passage.id for hit in rag.retrieve(question, limit=3, **values).hits]  # type: ignore[arg-type]


def test_the_first_passages_are_sorted_anew() -> None:
    reranker = Reversing()
    found = pipeline(None).retrieve("How tall is tower 7?", limit=10).hits
    best = sorted((hit.passage.id for hit in found), key=lambda name: -int(name[1:]))[:3]
    rag = pipeline(reranker)
    assert ids(rag, "How tall is tower 7?") == best
    ((question, texts),) = reranker.asked
    assert question == "How tall is tower 7?"
    assert len(texts) == 10
    kept = {hit.passage.id: (hit.score, hit.rank) for hit in found}
    again = rag.retrieve("How tall is tower 7?", limit=3)
    assert all(kept[hit.passage.id] == (hit.score, hit.rank) for hit in again.hits)
    assert "rerank" in again.timings
    assert len(again.more) == 0


def test_a_vector_and_variety_are_not_sorted() -> None:
    reranker = Reversing()
    rag = pipeline(reranker)
    vector = rag.embedder.embed_passages(["The tower number 7 is tall."])[0]
    assert rag.retrieve(vector, limit=3).hits[0].passage.id == "p7"
    ids(rag, "How tall is tower 7?", diversity=0.5)
    assert reranker.asked == []


def test_an_error_of_the_reranker_is_passed_on() -> None:
    with pytest.raises(ModelError, match="no memory"):
        ids(pipeline(Failing()), "How tall is tower 7?")


def test_the_order_found_stays_where_the_reranker_may_fail(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = "How tall is tower 7?"
    found = pipeline(None).retrieve(asked, limit=5)
    rag = pipeline(Failing(), fallback=True)
    kept = rag.retrieve(asked, limit=5)
    assert [hit.passage.id for hit in kept.hits] == [hit.passage.id for hit in found.hits]
    assert kept.notes == (NOT_RERANKED,)
    assert found.notes == ()
    assert "no memory" in caplog.text
    assert rag.ask(asked).notes == (NOT_RERANKED,)
    assert pipeline(Reversing(), fallback=True).ask(asked).notes == ()


def test_a_reranker_that_cannot_be_loaded_is_an_error() -> None:
    with pytest.raises(CheckpointError, match="no weights"):
        pipeline(Unloadable(), fallback=True).retrieve("How tall is tower 7?")


class KnowingPlaces(Reversing):
    """Minds headings and places, as a `PassageReranker` does."""

    def score_passages(self, question: str, passages: Sequence[Passage]) -> NDArray[np.float32]:
        return self.score(question, [searched_text(passage) for passage in passages])


class ReadingOn(FakeVoiceModel):
    """Reads more passages than are shown, and notes them."""

    most_passages = 12

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def _read(self, passages: Sequence[Passage]) -> Answer:
        self.read = [passage.id for passage in passages]
        return super()._read(passages)


def test_a_model_that_reads_on_gets_the_order_of_the_search() -> None:
    embedder, model, asked = FakeEmbedder(), ReadingOn(), "How tall is tower 7?"
    store = InMemoryStore(embedder.dim)
    plain = VoiceRAG(embedder, store, model)
    plain.index(PASSAGES)
    found = [hit.passage.id for hit in plain.retrieve(asked, limit=12).hits]

    knowing = VoiceRAG(embedder, store, model, reranker=KnowingPlaces(), reranked=4)
    answer = knowing.ask(asked, limit=3)
    assert [hit.passage.id for hit in answer.hits[:3]] != found[:3]
    assert {hit.passage.id for hit in answer.hits} <= set(found[:4])
    assert model.read == found

    varied = knowing.retrieve(asked, limit=8, diversity=0.9)
    ranks = [hit.rank for hit in varied.hits]
    assert ranks != sorted(ranks)
    list(knowing.respond(asked, varied))
    assert model.read == [hit.passage.id for hit in varied.hits]

    another = VoiceRAG(embedder, store, model, reranker=Reversing(), reranked=4)
    another.ask(asked, limit=3)
    assert model.read != found
    assert model.read[4:] == found[4:]

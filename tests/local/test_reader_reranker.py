"""The reader's network as a reranker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voicerag_core import Passage, load_settings, open_voicerag
from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import CancelledError
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.reader import Reader
from voicerag_core.local.reading.reranker import ORDER_WEIGHT, UNREAD, ReaderReranker
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


def passages(*texts: str) -> list[Passage]:
    return [Passage(str(number), text) for number, text in enumerate(texts)]


def test_a_passage_has_to_be_better_than_those_found_before_it(reranker: ReaderReranker) -> None:
    question = "Where does the Rhine rise?"
    flows, rises, _, bread = TEXTS
    scores = reranker.score_passages(question, passages(flows, rises, bread))
    assert scores.dtype == np.float32
    assert list(np.argsort(-scores)) == [1, 0, 2]
    twice = reranker.score_passages(question, passages(rises, rises, rises))
    assert twice[0] - twice[1] == pytest.approx(ORDER_WEIGHT * np.log(2), abs=1e-5)
    assert twice[0] - twice[2] == pytest.approx(ORDER_WEIGHT * np.log(3), abs=1e-5)
    assert twice[0] == pytest.approx(reranker.score(question, [rises])[0], abs=1e-5)


def test_passages_without_room_or_sentence_keep_their_place(reranker: ReaderReranker) -> None:
    scores = reranker.score_passages("Where does the Rhine rise?", passages("", "", *TEXTS[1:2]))
    assert scores[:2] == pytest.approx([UNREAD, UNREAD - ORDER_WEIGHT * np.log(2)])
    assert scores.argmax() == 2
    assert reranker.score_passages("Where?", []).shape == (0,)


def test_many_passages_are_all_read(reranker: ReaderReranker) -> None:
    filler = "The Rhine has bridges. " * 90
    scores = reranker.score_passages(
        "Where does the Rhine rise?", passages(*[filler] * 6, TEXTS[1])
    )
    assert scores.argmax() == 6


def test_the_reader_reads_nothing_again_that_was_sorted() -> None:
    scorer = CountingScorer(1)
    found = passages(*TEXTS)
    ReaderReranker(scorer).score_passages("Where does the Rhine rise?", found)
    assert scorer.runs == 3
    assert "Swiss Alps" in Reader(scorer).read("Where does the Rhine rise?", found).text
    assert scorer.runs == 3


class CountingScorer(AnswerScorer):
    """Counts what the network runs on."""

    runs = 0

    def warm(self) -> None:
        super().warm()
        assert self._loaded is not None
        if not isinstance(self._loaded, Counted):
            self._loaded = Counted(self._loaded, self)  # type: ignore[assignment]


class Counted:
    def __init__(self, loaded: object, counts: CountingScorer) -> None:
        self._loaded, self._counts = loaded, counts

    def __getattr__(self, name: str) -> object:
        return getattr(self._loaded, name)

    def read(self, head: list[int], body: list[int]) -> object:
        self._counts.runs += 1
        return self._loaded.read(head, body)  # type: ignore[attr-defined]


def test_it_sorts_unless_something_else_answers(tmp_path: Path) -> None:
    def chosen(**values: object) -> ReaderReranker | None:
        store = InMemoryStore(FakeEmbedder().dim)
        settings = load_settings(data_dir=tmp_path, speak=False, **values)
        with open_voicerag(settings, embedder=FakeEmbedder(), store=store) as rag:
            return rag.reranker  # type: ignore[return-value]

    assert isinstance(chosen(), ReaderReranker)
    assert chosen(reranker="none") is None
    assert chosen(language="auto") is None
    assert chosen(chat="http", chat_url="http://127.0.0.1:9/v1", chat_model="m") is None
    with_chat = load_settings(data_dir=tmp_path, speak=False)
    store = InMemoryStore(FakeEmbedder().dim)
    with open_voicerag(with_chat, embedder=FakeEmbedder(), store=store, chat=lambda _: "no") as rag:
        assert rag.reranker is None


def test_it_shares_the_network_of_the_reader(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, speak=False)
    store = InMemoryStore(FakeEmbedder().dim)
    with open_voicerag(settings, embedder=FakeEmbedder(), store=store) as rag:
        rag.index(passages(*(text for text in TEXTS if text)))
        answer = rag.ask("Where does the Rhine rise?")
    assert "Swiss Alps" in answer.text
    assert answer.hits[0].passage.text == TEXTS[1]
    assert rag.reranked == 4
    assert "rerank" in answer.timings

"""A question that goes on from an earlier turn is searched together with it, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from voicerag_core import Answer, Audio, Passage, Strategy, Turn, VoiceRAG
from voicerag_core.retrieval.fusion import fused
from voicerag_core.testing import FakeEmbedder, FakeTranscriber, FakeVoiceModel, InMemoryStore
from voicerag_core.types import Hit

PASSAGES = [
    Passage("rhine", "The Rhine does rise in the Alps, where it is 1233 kilometres long."),
    Passage("snake", "How long is a python?"),
    Passage("rope", "How long is a rope?"),
    Passage("tower", "The red tower was built by Anna Beck."),
    Passage("bakery", "A bakery opened on Monday."),
]
BEFORE = Turn("Where does the Rhine rise?", Answer("In the Swiss Alps."))
LEANING = "And how long is it?"


def clip(seed: int = 0) -> Audio:
    draw = np.random.default_rng(seed)
    return Audio((0.1 * draw.standard_normal(16_000)).astype(np.float32), 16_000)


def opened(words: dict[Audio, str] | None = None, **options: Any) -> VoiceRAG:
    embedder = FakeEmbedder(transcripts=words)
    transcriber = FakeTranscriber(words)
    rag = VoiceRAG(embedder, InMemoryStore(embedder.dim), FakeVoiceModel(), transcriber, **options)
    rag.index(PASSAGES)
    return rag


def ids(found: Any) -> list[str]:
    return [hit.passage.id for hit in found.hits]


def test_a_follow_up_finds_what_the_turn_before_spoke_of() -> None:
    rag = opened()
    assert "rhine" not in ids(rag.retrieve(LEANING, limit=2))
    found = rag.retrieve(LEANING, history=[BEFORE], limit=2)
    assert ids(found) == ["rhine", ids(rag.retrieve(LEANING))[0]]
    assert [hit.rank for hit in found.hits] == [1, 2]
    assert rag.ask(LEANING, history=[BEFORE]).text.startswith("The Rhine")
    chain = [Turn("What is the Rhine?", Answer("A river.")), Turn("Where does it rise?", Answer())]
    assert "rhine" in ids(rag.retrieve(LEANING, history=chain, limit=2))


@pytest.mark.parametrize("question", ["Who built the red tower?", "When did a bakery open?"])
def test_a_question_that_stands_alone_finds_what_it_found(question: str) -> None:
    rag = opened()
    alone = ids(rag.retrieve(question))
    assert ids(rag.retrieve(question, history=[BEFORE]))[0] == alone[0]


@pytest.mark.parametrize("strategy", ["asr", "hybrid", "adaptive"])
def test_a_spoken_follow_up_is_told_by_its_words(strategy: Strategy) -> None:
    spoken = clip()
    rag = opened({spoken: LEANING})
    found = rag.retrieve(spoken, history=[BEFORE], strategy=strategy)
    assert ids(found)[0] == "rhine"
    assert found.transcription is not None, "only words show whether a question leans"


def test_by_sound_alone_the_vectors_are_searched_together() -> None:
    spoken, earlier = clip(), clip(1)
    rag = opened({spoken: "how long is it", earlier: "where does the rhine rise"}, strategy="e2e")
    assert "rhine" not in ids(rag.retrieve(spoken, limit=2))
    assert isinstance(rag.transcriber, FakeTranscriber)
    for turn in (BEFORE, Turn(earlier, Answer("In the Alps."))):
        found = rag.retrieve(spoken, history=[turn], limit=2)
        assert "rhine" in ids(found)
        assert found.transcription is None
    assert rag.transcriber.calls == 0
    assert ids(rag.retrieve(spoken, history=[Turn("?", Answer())]))


def test_the_words_of_a_spoken_turn_are_its_transcript() -> None:
    earlier = Turn(clip(1), Answer("In the Alps.", transcript="where does the rhine rise"))
    assert earlier.words == "where does the rhine rise"
    assert ids(opened().retrieve(LEANING, history=[earlier]))[0] == "rhine"


class Noting:
    """A reranker that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.append(question)
        return np.arange(len(texts), 0, -1, dtype=np.float32)


def test_a_reranker_is_asked_with_the_turn_before_where_the_question_leans_on_it() -> None:
    reranker = Noting()
    rag = opened(reranker=reranker)
    rag.retrieve(LEANING, history=[BEFORE])
    rag.retrieve("Who built the red tower?", history=[BEFORE])
    assert reranker.asked == [f"{BEFORE.question} {LEANING}", "Who built the red tower?"]


def test_two_rankings_are_fused_by_reciprocal_ranks() -> None:
    def ranking(*names: str) -> list[Hit]:
        return [Hit(Passage(name, name), 0.5, place) for place, name in enumerate(names, 1)]

    both = fused(ranking("a", "b", "c"), ranking("c", "d"), 2.0)
    assert [hit.passage.id for hit in both] == ["c", "d", "a", "b"]
    assert [hit.rank for hit in both] == [1, 2, 3, 4]
    assert [hit.passage.id for hit in fused(ranking("a", "b"), ranking("c"), 0.5)] == [
        "a",
        "b",
        "c",
    ]
    assert fused([], [], 1.0) == ()


def test_a_variety_of_passages_is_picked_from_both_searches() -> None:
    found = opened().retrieve(LEANING, history=[BEFORE], diversity=0.5, limit=2)
    assert "rhine" in ids(found)

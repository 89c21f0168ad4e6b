from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from voicerag_core.errors import ConfigError
from voicerag_core.local.reading import answer_scorer
from voicerag_core.local.reading.answer_scorer import MOST_TOKENS, SCORES, AnswerScorer
from voicerag_core.local.reading.features import candidates
from voicerag_core.local.weights.files import weight_path
from voicerag_core.types import Passage

TOWER = Passage(
    "tower",
    "The old tower stands by the harbour. It was built in 1642 by the architect Anna Beck. "
    "It is 48 metres tall.",
)
BREAD = Passage("bread", "Rye bread needs a long rise. The dough is left overnight to rest.")
FILLER = " ".join(f"The clerk of ward {i} wrote down who had paid for lamp oil." for i in range(90))


@pytest.fixture(scope="module")
def scorer() -> AnswerScorer:
    return AnswerScorer(threads=2)


def scored(
    scorer: AnswerScorer, question: str, *passages: Passage, prefer: str = ""
) -> tuple[list[str], NDArray[np.float64]]:
    sentences = candidates(passages)
    preview = np.array([float(bool(prefer) and prefer in one.text) for one in sentences])
    table = scorer.score(question, passages, sentences, preview)
    assert table.shape == (len(sentences), len(SCORES))
    return [one.text for one in sentences], table


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who was the architect of the tower?", "Anna Beck"),
        ("what is the hight of the tower", "48 metres"),
        ("What is left overnight?", "dough"),
    ],
)
def test_the_answering_sentence_has_the_highest_scores(
    scorer: AnswerScorer, question: str, answer: str
) -> None:
    texts, table = scored(scorer, question, BREAD, TOWER)
    for column in range(len(SCORES)):
        assert answer in texts[table[:, column].argmax()]
        assert table[:, column].max() > -2


def test_without_an_answer_every_score_is_low(scorer: AnswerScorer) -> None:
    _, table = scored(scorer, "Which club won the football cup in 1998?", TOWER, BREAD)
    assert table.max() < -3


def test_a_passage_is_scored_as_if_it_were_alone(scorer: AnswerScorer) -> None:
    question = "How tall is the tower?"
    together = scored(scorer, question, BREAD, TOWER)[1]
    alone = [scored(scorer, question, one)[1] for one in (BREAD, TOWER)]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


class Counting:
    """A network that counts how often it runs."""

    def __init__(self, network: Any) -> None:
        self._network, self.runs = network, 0

    def run(self, *given: Any) -> Any:
        self.runs += 1
        return self._network.run(*given)


def test_what_was_read_lately_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_scorer, "RECENT_WINDOWS", 2)
    scorer = AnswerScorer(threads=2)
    scorer.warm()
    assert scorer._loaded is not None
    network = Counting(scorer._loaded.session)
    monkeypatch.setattr(
        scorer, "_loaded", dataclasses.replace(scorer._loaded, session=cast(Any, network))
    )
    runs, tables = [], []
    for question, passage in (
        ("Who built it?", TOWER),
        ("Who built it?", BREAD),
        ("Who built it?", TOWER),
        ("Who baked it?", TOWER),  # one more than are kept: the bread is forgotten
        ("Who built it?", TOWER),
        ("Who built it?", BREAD),
    ):
        tables.append(scored(scorer, question, passage)[1])
        runs.append(network.runs)
    assert runs == [1, 2, 2, 3, 3, 4]
    np.testing.assert_array_equal(tables[0], tables[2])
    assert not np.array_equal(tables[0], tables[3])


def test_of_long_passages_the_likely_windows_are_read(scorer: AnswerScorer) -> None:
    middle = FILLER.index("The clerk of ward 60 ")
    fact = "The bell of the town hall weighs nine tonnes. "
    long = Passage("long", FILLER[:middle] + fact + FILLER[middle:])
    passages = [Passage("other", FILLER), long, Passage("third", FILLER)]
    texts, table = scored(scorer, "How heavy is the bell?", *passages, prefer="bell")
    assert texts[np.nanargmax(table[:, 0])] == fact.strip()
    read = ~np.isnan(table[:, 0])
    assert 0 < read.sum() < len(texts) / 2
    assert (np.isnan(table[:, 1]) == ~read).all()


@pytest.mark.parametrize("text", ["word " * 2000, "x" * 5000, "塔高48米。" * 300])
def test_no_text_is_too_odd(scorer: AnswerScorer, text: str) -> None:
    for question in ("How tall is the tower?", text, "", "\ud800 tall?"):
        _, table = scored(scorer, question, Passage("odd", text), TOWER)
        assert np.isfinite(table).any()
        assert not np.isinf(table).any()


class Recorder:
    """Stands for the session: keeps what it is fed."""

    def __init__(self) -> None:
        self.fed: list[NDArray[np.float32]] = []

    def run(self, _: list[str], feed: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        self.fed.append(feed["embedded"])
        return [np.zeros((len(feed["embedded"]), 3), np.float32)]


def test_the_network_is_fed_the_packaged_embeddings() -> None:
    """Words, places and kinds of `[CLS] how tall ? [SEP] it is high . [SEP]`, by onnx itself."""
    scorer, recorder = AnswerScorer(threads=1), Recorder()
    scorer.warm()
    assert scorer._loaded is not None
    scorer._loaded = dataclasses.replace(scorer._loaded, session=recorder)
    passages = [Passage("one", "It is high.")]
    scorer.score("How tall?", passages, candidates(passages), np.zeros(1))
    graph = onnx.load(weight_path("minilm-int8/model.onnx")).graph
    held = {
        one.name.removeprefix("inner.embeddings."): numpy_helper.to_array(one)
        for one in graph.initializer
        if "embeddings" in one.name
    }
    ids = [101, 2129, 4206, 1029, 102, 2009, 2003, 2152, 1012, 102]
    words = held["word_embeddings.weight_q"][ids] * held["word_embeddings.weight_scale"][ids]
    places = (held["position_embeddings.weight_q"] * held["position_embeddings.weight_scale"])[:10]
    kinds = held["token_type_embeddings.weight"][[0] * 5 + [1] * 5]
    np.testing.assert_allclose(recorder.fed, [words + places + kinds], atol=1e-6)


def test_scores_are_those_of_the_trained_network(scorer: AnswerScorer) -> None:
    """Beside float32 in torch; 8-bit layers may move a log odds by about half."""
    trained = [[-5.3, -4.72], [4.01, 4.13], [-6.7, -5.97]]
    table = scored(scorer, "When was the tower built?", TOWER)[1]
    np.testing.assert_allclose(table, trained, atol=0.8)


def test_without_sentences_nothing_is_scored(scorer: AnswerScorer) -> None:
    assert scored(scorer, "How tall is the tower?", Passage("blank", " \n "))[1].size == 0


def test_a_long_question_leaves_room_for_the_passage(scorer: AnswerScorer) -> None:
    question = "How tall is the tower? " + "Please answer. " * MOST_TOKENS
    texts, table = scored(scorer, question, TOWER)
    assert not np.isnan(table).any()
    assert "48 metres" in texts[table[:, 0].argmax()]


def test_threads_are_at_least_one() -> None:
    with pytest.raises(ConfigError, match="threads"):
        AnswerScorer(threads=0)

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from voicerag_core.errors import ConfigError
from voicerag_core.local.answer_scorer import MOST_TOKENS, SCORES, AnswerScorer
from voicerag_core.local.evidence import candidates
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
        assert table[:, column].max() > -1


def test_without_an_answer_every_score_is_low(scorer: AnswerScorer) -> None:
    _, table = scored(scorer, "Which club won the football cup in 1998?", TOWER, BREAD)
    assert table.max() < -3


def test_a_passage_is_scored_as_if_it_were_alone(scorer: AnswerScorer) -> None:
    question = "How tall is the tower?"
    together = scored(scorer, question, BREAD, TOWER)[1]
    alone = [scored(scorer, question, one)[1] for one in (BREAD, TOWER)]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


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

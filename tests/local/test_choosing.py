"""Which of the likeliest sentences is the answer, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.local.test_quoting import passage_of
from voicerag_core.documents.elements import Heading, Table
from voicerag_core.local.reading.agreement import AGREEMENT, agreement
from voicerag_core.local.reading.features import (
    MEASURES,
    Candidate,
    candidates,
    measure,
    title_shares,
)
from voicerag_core.local.reading.reader import Reader
from voicerag_core.types import Passage


class ScorerOfTexts:
    """Scores sentences by a table, another one where a sentence is all that is read.

    Args:
        near: Scores of sentences among others, by a word in them; 0 of others.
        alone: The same of sentences that are read alone.
    """

    def __init__(self, near: dict[str, float], alone: dict[str, float]) -> None:
        self._near, self._alone = near, alone
        self.read_alone: list[str] = []

    def score(
        self,
        question: str,
        passages: Sequence[Passage],
        sentences: Sequence[Candidate],
        preview: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        scores = []
        for one in sentences:
            whole = passages[one.passage].text == one.text
            if whole:
                self.read_alone.append(one.text)
            table = self._alone if whole else self._near
            known = [score for word, score in table.items() if word in one.text]
            scores.append([known[0] if known else 0.0] * 2)
        return np.array(scores)


KEYS = Passage("keys", "The brass key opens the shed. The steel key opens the shed.")


@pytest.mark.parametrize(
    ("question", "steel", "text"),
    [
        ("What opens the shed?", 1.8, "The steel key opens the shed."),
        # Clearly less likely, and where a list or a yes is asked for, nothing is read again.
        ("What opens the shed?", -4.0, "The brass key opens the shed."),
        ("Does a key open the shed?", 1.8, "The brass key opens the shed."),
        ("Which keys open the shed?", 1.8, "The brass key opens the shed."),
    ],
)
def test_of_two_that_are_about_as_likely_the_one_that_reads_better_alone_is_quoted(
    question: str, steel: float, text: str
) -> None:
    scorer = ScorerOfTexts({"brass": 2.0, "steel": steel}, {"brass": -3.0, "steel": 3.0})
    assert Reader(scorer).read(question, [KEYS]).text == text
    assert bool(scorer.read_alone) == ("steel" in text)


@pytest.mark.parametrize(("least", "first"), [(0.5, "brass"), (0.1, "steel")])
def test_what_would_no_longer_answer_does_not_go_first(least: float, first: str) -> None:
    texts = "It is the brass key. It is long.", "The steel shed opens towards the boat. It is long."
    passages = [Passage(text[:12], text) for text in texts]
    near = {"long": -9.0, "brass": 4.5, "steel": -5.0}
    reader = Reader(ScorerOfTexts(near, {"brass": -9.0, "steel": 9.0}), least_probability=least)
    assert first in reader.read("What opens the shed of the boat?", passages).text


@pytest.mark.parametrize(
    ("question", "counts"),
    [("What opens the shed?", True), ("What opens the garage of my neighbour?", False)],
)
def test_a_sentence_that_stands_out_is_likelier_to_answer(question: str, counts: bool) -> None:
    near, far = (
        Reader(ScorerOfTexts({"brass": 1.0, "steel": steel}, {})).answer_probability(
            question, [KEYS]
        )
        for steel in (0.9, -9.0)
    )
    assert (near < far) == counts


SIZES = Table(
    [["Model", "Weight (kg)", "Price EUR"], ["Rill 20", "3", "64"], ["Rill 40", "4", "89"],
     ["Rill 90", "9", "179"]],
    header=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("question", "score", "answered"),
    [
        ("What is the price of the Rill 40?", -4.5, True),
        ("What is the weight of the Rill 40?", -4.5, True),
        ("What is the size of the Rill 40?", -4.5, True),
        ("What is the guarantee on the Rill 40?", -4.5, False),
        ("What colour is the Rill 40?", -4.5, False),
        ("What is the guarantee on the Rill 40?", 3.0, True),
    ],
)
def test_a_table_without_a_word_for_what_is_asked_of_a_row_does_not_answer(
    question: str, score: float, answered: bool
) -> None:
    passage = passage_of(Heading("Pumps", 1), SIZES)
    reader = Reader(ScorerOfTexts({"40": score, "20": -9, "90": -9}, {"40": score}))
    assert reader.read(question, [passage]).answered is answered


def test_the_row_with_the_extreme_is_sure_where_the_table_has_all_other_words() -> None:
    table = passage_of(SIZES)
    passage = Passage("pumps", table.text, {**table.metadata, "title": "Pumps"})
    others = [Passage(str(n), f"Pump {n} needs care. It hums.") for n in range(3)]
    scorer = ScorerOfTexts({"Rill": -9.0, "hums": -9.0, "care": -9.0}, {"Rill": -9.0})
    reading = Reader(scorer).read("What is the cheapest pump?", [*others, passage])
    assert reading.text.startswith("Model: Rill 20;")


def test_another_cell_of_a_row_may_be_in_another_unit() -> None:
    table = Table([["Model", "Flow (l/h)", "Hose"], ["Rill 40", "4000", "1 inch"]], header=1)
    passage = passage_of(table)
    (row,) = candidates([passage])
    question = "How many litres an hour does the Rill 40 do?"
    measured = agreement(question, [passage], [row], [0])[0]
    assert measured[AGREEMENT.index("contradicts")] == 0


def test_the_document_that_the_question_names_goes_first() -> None:
    texts = {
        "Clinic": "Wear a white coat. It is clean.",
        "Lab rules": "Wear a green coat. It is clean.",
    }
    passages = [Passage(title, text, {"title": title}) for title, text in texts.items()]
    reader = Reader(ScorerOfTexts({"white": 1.0}, {}))
    assert "green" in reader.read("What coat do I wear in the lab?", passages).text
    assert "white" in reader.read("What coat do I wear in the hall?", passages).text
    # Where all of them have it, the title tells nothing.
    shares = title_shares("Is the lab open?", passages[1:] * 2, candidates(passages[1:] * 2))
    assert shares.tolist() == [0] * len(shares)


@pytest.mark.parametrize(
    ("question", "text", "lacks"),
    [
        ("On what day is the yard shut?", "In May and June the yard is shut.", 1),
        ("On what day is the yard shut?", "The yard is shut on Mondays.", 0),
        ("Which day does it open?", "It opens on 3 May.", 0),
        ("In which month is the yard shut?", "In May the yard is shut.", 0),
    ],
)
def test_a_month_is_no_day(question: str, text: str, lacks: float) -> None:
    passages = [Passage("yard", text)]
    table = agreement(question, passages, candidates(passages), [0])
    assert table[0, AGREEMENT.index("unkind")] == lacks


def test_until_of_an_answer_is_no_word_of_the_question() -> None:
    passages = [Passage("a", "Rents stay until May."), Passage("b", "The hall is open.")]
    table = measure("Until when is the hall open?", passages, candidates(passages))
    assert table[:, MEASURES.index("overlap")].tolist() == [0, pytest.approx(1)]

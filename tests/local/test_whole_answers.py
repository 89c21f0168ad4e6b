"""Answers that go on behind the chosen sentence, and what is said of another case or name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.local.test_quoting import passage_of, quoted
from voicerag_core.documents.elements import Code, Element, Heading, Item, Paragraph
from voicerag_core.local.reading.agreement import AGREEMENT, agreement
from voicerag_core.local.reading.features import MEASURES, Candidate, candidates, measure
from voicerag_core.local.reading.forms import has_other_condition
from voicerag_core.local.reading.near_misses import misses_abbreviation
from voicerag_core.local.reading.questions import asked_for
from voicerag_core.local.reading.reader import Reader
from voicerag_core.local.reading.relations import unsaid_relation
from voicerag_core.types import Passage

LIMITS = [
    Paragraph("A transfer moves money between two accounts. It takes a day."),
    Paragraph("Transfers have some limitations:"),
    Item("all in one currency"),
    Item("they cannot be split"),
]


@pytest.mark.parametrize(
    ("question", "elements", "chosen", "text"),
    [
        ("How do I update by hand?",
         [Paragraph("You may want to update by hand. You can do this by pressing Update now. It is "
                    "slow.")],
         "You may", "You may want to update by hand. You can do this by pressing Update now."),
        ("How is the alarm switched off?",
         [Paragraph("The alarm can be off at night. This can be done with the red key.")],
         "The alarm",
         "The alarm can be off at night. This can be done with the red key."),
        ("Is the alarm off at night?",
         [Paragraph("The alarm is off at night. This can be done with the red key.")],
         "The alarm", "The alarm is off at night."),
        ("Where does the boat get its fuel?",
         [Paragraph("It gets fuel from depots. Namely, it uses those of Bergen and Oslo. It is "
                    "slow.")],
         "It gets", "It gets fuel from depots. Namely, it uses those of Bergen and Oslo."),
        ("Are copies kept?",
         [Paragraph("Keep the copies after the trip. By default these are shredded.")],
         "Keep", "Keep the copies after the trip. By default these are shredded."),
        ("How does the ferry differ from the launch?",
         [Paragraph("Ferry and launch are two boats. The ferry is bigger. It takes cars."),
          Paragraph("Both leave at nine.")],
         "Ferry",
         "Ferry and launch are two boats. The ferry is bigger. It takes cars. Both leave at nine."),
        ("How do I install it for all users?",
         [Paragraph("The easiest way is to install it for all users."),
          Paragraph("Run the following:"), Code("$ get it --all")],
         "The easiest",
         "The easiest way is to install it for all users. Run the following:\n\nget it --all"),
        ("How do I open the port?",
         [Paragraph("You need to open the port first."), Code("allow 192.168.1.0/24")],
         "You need", "You need to open the port first.\n\nallow 192.168.1.0/24"),
        ("How do I open the port?",
         [Paragraph("Use the option --open to open the port."), Code("allow 192.168.1.0/24")],
         "Use the", "Use the option --open to open the port."),
        ("How do I open the port?",
         [Heading("Opening the port", 1), Paragraph("The port is closed at first."),
          Code("allow 192.168.1.0/24")],
         "Opening", "The port is closed at first.\n\nallow 192.168.1.0/24"),
        ("What limits does a transfer have?", LIMITS, "A transfer",
         "Transfers have some limitations:\n\nall in one currency\n\nthey cannot be split"),
        ("How long does a transfer take?", LIMITS, "A transfer",
         "A transfer moves money between two accounts."),
    ],
)  # fmt: skip
def test_an_answer_goes_on_with_what_belongs_to_it(
    question: str, elements: list[Element], chosen: str, text: str
) -> None:
    assert quoted(question, passage_of(*elements), chosen) == text


@pytest.mark.parametrize(
    ("question", "contrast"),
    [
        ("How does the ferry differ from the launch?", True),
        ("What advantages has the ferry over the launch?", True),
        ("What is the time difference to Oslo?", True),
        ("Does the ferry take cars?", False),
        ("How do I compare two files?", False),
    ],
)
def test_a_contrast_is_asked_for(question: str, contrast: bool) -> None:
    asked = asked_for(question)
    assert (asked.contrast or bool(asked.sides)) == contrast


class EvenScorer:
    """Scores all sentences alike, but for those it knows."""

    def __init__(self, table: dict[str, float]) -> None:
        self._table = table

    def score(
        self,
        question: str,
        passages: Sequence[Passage],
        sentences: Sequence[Candidate],
        preview: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        return np.array([[self._table.get(one.text, 0.0)] * 2 for one in sentences])


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Which key opens the shed?", "Take the brass key of the shed."),
        ("Which key opens the shed in winter?", "For winter, take the iron key of the shed."),
    ],
)
def test_what_holds_for_a_case_nobody_asked_about_comes_second(question: str, text: str) -> None:
    special = "For winter, take the iron key of the shed."
    passage = Passage("keys", f"{special} Take the brass key of the shed.")
    reader = Reader(EvenScorer({special: 5.0, "Take the brass key of the shed.": 4.0}))
    assert reader.read(question, [passage]).text == text


def test_a_case_is_another_only_where_the_question_has_none_of_its_words() -> None:
    words = asked_for("Which plug-in is for React?").words
    assert not has_other_condition("For React snippets, take the blue one.", words)
    assert has_other_condition("For Vue snippets, take the blue one.", words)
    assert not has_other_condition("Take the blue one.", words)


@pytest.mark.parametrize(
    ("question", "text", "misses"),
    [
        ("Which port does NTS use?", "The clients use port 3493.", True),
        ("Which port does NTS use?", "NTS uses port 4460.", False),
        ("Which port does NTS use?", "Network time security uses port 4460.", False),
        ("Which port does NTS use?", "Not to say that none uses it.", True),
        ("How much PTO do I get?", "PTOs are ten days.", False),
        ("WHICH PORT DOES IT USE", "It has a socket.", False),
        ("Which port does it use?", "It has a socket.", False),
    ],
)
def test_an_abbreviation_is_written_as_it_is_or_in_full(
    question: str, text: str, misses: bool
) -> None:
    assert misses_abbreviation(question, text) is misses


def test_a_passage_that_never_heard_of_an_abbreviation_does_not_answer() -> None:
    text = "The port 3493 must be open for the clients."
    reader = Reader(EvenScorer({text: 5.0}))
    assert reader.read("Which port must be open for the clients?", [Passage("a", text)]).answered
    assert not reader.read("Which port must be open for NTS?", [Passage("a", text)]).answered


def against(column: str, question: str, text: str, source: str = "") -> float:
    passages = [Passage("one", text, {"source": source})]
    sentences = candidates(passages)
    table = agreement(question, passages, sentences, [len(sentences) - 1])
    return float(table[0, AGREEMENT.index(column)])


def test_a_definition_says_who_somebody_is() -> None:
    said = "The \u201clicensor\u201d is the entity that offers these terms."
    assert against("unkind", "Who is the licensor?", said) == 0
    assert against("unkind", "Who is the licensor?", "first the licensor was paid.") == 1


def test_a_figure_in_a_file_name_is_said() -> None:
    question, text = "May I copy n8n?", "You may copy the software."
    assert against("undated", question, text) == 1
    assert against("undated", question, text, "/docs/n8n/LICENSE.md") == 0


@pytest.mark.parametrize(
    ("question", "text", "unsaid"),
    [
        ("How do I open it in the hall?", "Press the key.", 0),
        ("I found a key, what now?", "Press the key.", 0),
        ("Who found the key?", "Press the key.", 1),
        ("Where do I write to?", "Mail the desk.", 0),
        ("Who wrote the book?", "Mail the desk.", 1),
    ],
)
def test_what_the_asker_does_is_no_relation(question: str, text: str, unsaid: float) -> None:
    assert unsaid_relation(question, text) == unsaid


def overlap(question: str, text: str) -> float:
    passages = [Passage("one", text)]
    table = measure(question, passages, candidates(passages))
    return float(table[0, MEASURES.index("overlap")])


def test_derived_words_are_shared() -> None:
    assert overlap("What limits it?", "It has limitations.") == 1
    assert overlap("Who approves it?", "It needs approval.") == 1
    assert overlap("Who owns the port?", "It is portable.") == 0


def cue(question: str, text: str) -> float:
    passages = [Passage("one", text)]
    table = measure(question, passages, candidates(passages))
    return float(table[0, MEASURES.index("cue")])


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("Where is the key when the desk is shut?", 1),
        ("When does the desk open?", -1),
        ("Until when is it open?", -1),
        ("What do I do when I lose the key?", 0),
    ],
)
def test_when_asks_for_a_date_only_where_it_asks(question: str, value: float) -> None:
    assert cue(question, "It lies with Ida Holm.") == value

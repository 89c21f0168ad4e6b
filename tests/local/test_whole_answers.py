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
from voicerag_core.local.reading.forms import has_other_condition, instructs
from voicerag_core.local.reading.near_misses import misses_abbreviation
from voicerag_core.local.reading.questions import asked_for
from voicerag_core.local.reading.reader import Reader
from voicerag_core.local.reading.recipes import recipes
from voicerag_core.local.reading.relations import unsaid_relation
from voicerag_core.types import JSONValue, Passage

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


def test_a_list_goes_on_in_a_passage_behind_those_that_are_read() -> None:
    def part(position: int, text: str, kinds: list[str], lead: str = "") -> Passage:
        ends = [0]
        for line in text.split("\n\n"):
            ends.append(ends[-1] + len(line) + 2)
        blocks: list[JSONValue] = [
            [start, end - 2, kind] for start, end, kind in zip(ends, ends[1:], kinds, strict=False)
        ]
        known: dict[str, JSONValue] = {"source": "list.md", "position": position, "blocks": blocks}
        return Passage(str(position), text, known | ({"lead": lead} if lead else {}))

    first = part(0, "Bring these things:\n\na rope", ["lead", "item"])
    rest = part(1, "a lamp\n\na map", ["item", "item"], "Bring these things:")
    others = [Passage(f"other {n}", f"The harbour has {n} boats.") for n in range(3)]
    scorer = EvenScorer({"Bring these things:": 5.0})
    reading = Reader(scorer).read("Which things do I bring?", [first, *others, rest])
    assert reading.text == "Bring these things:\n\na rope\n\na lamp\n\na map"
    assert [place.passage_id for place in reading.citations] == ["0", "0", "1", "1"]


def test_a_question_in_a_list_is_no_answer() -> None:
    contents = passage_of(Item("Does it float?"), Item("It floats in salt water."))
    assert quoted("Does it float?", contents, "Does it") is None
    assert quoted("Which questions are there?", contents, "Does it") is not None


RECIPES = passage_of(
    Heading("Setup", 1),
    Paragraph("On a Mac it comes with brew:"),
    Code("brew install relay"),
    Paragraph("You can install relay with pip, too:"),
    Code("pip install relay"),
    Heading("Starting", 1),
    Code("relay serve"),
    Paragraph("This will start the relay."),
)


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("How do I install relay with pip?",
         "You can install relay with pip, too:\n\npip install relay"),
        ("How do I start relay?", "Starting:\n\nrelay serve"),
    ],
)  # fmt: skip
def test_a_command_and_its_announcement_tell_how(question: str, text: str) -> None:
    scores = {"On a Mac it comes with brew:": 1.0, "brew install relay": 1.0}
    assert Reader(EvenScorer(scores)).read(question, [RECIPES]).text == text


@pytest.mark.parametrize(
    "question",
    ["How do I install relay on a boat?", "How do I remove relay?", "Does relay install with pip?"],
)
def test_a_command_for_something_else_tells_nothing(question: str) -> None:
    sentences = candidates([RECIPES])
    assert recipes(asked_for(question), [RECIPES], sentences) == set()


def test_a_sample_that_goes_wrong_is_no_way_to_do_something() -> None:
    passage = passage_of(
        Paragraph("Relay checks the key, and refuses a wrong one:"),
        Code("relay send x\nrelay.KeyError: no such key"),
        Paragraph("The check is turned off like this:"),
        Code("relay send x --no-check"),
    )
    sentences = candidates([passage])
    column = AGREEMENT.index("unkind")

    def against(question: str) -> list[float]:
        table = agreement(question, [passage], sentences, range(len(sentences)))
        return [float(row[column]) for row in table]

    assert against("How do I turn off the check of the key?") == [1, 1, 0, 0]
    assert against("How do I get the error of a wrong key?") == [0, 0, 0, 0]
    assert against("What checks the key?") == [0, 0, 0, 0]


def test_an_item_with_items_of_its_own_is_quoted_with_them() -> None:
    rules = passage_of(
        Item("Major trip"), Item("over the sea", depth=1), Item("by night", depth=1),
        Item("Minor trip."), Item("in the bay", depth=1),
    )  # fmt: skip
    question = "What makes a trip a major one?"
    assert quoted(question, rules, "Major") == "Major trip\n\nover the sea\n\nby night"
    assert quoted(question, rules, "Minor") == "Minor trip."


@pytest.mark.parametrize(
    ("question", "text", "unsaid"),
    [
        ("Who won the 2021 Fjord Tour?", "Moe won the final stage of the 2021 Fjord Tour.", 1),
        ("Who won the final stage of the Fjord Tour?", "Moe won the final stage of the Tour.", 0),
        ("Who won the regatta in 2021?", "As of 2021 the one with the most wins was Ida Holm.", 1),
        ("Who won the 2021 Fjord Tour?", "Moe won the 2021 Fjord Tour.", 0),
    ],
)
def test_a_part_and_a_tally_are_no_victory(question: str, text: str, unsaid: float) -> None:
    assert against("unsaid", question, text) == unsaid


def test_a_passage_far_down_counts_as_the_fourth() -> None:
    passages = [Passage(str(n), f"The ferry has {n} decks.") for n in range(6)]
    table = measure("How many decks has it?", passages, candidates(passages))
    assert table[:, MEASURES.index("rank")].tolist() == [0, 1, 2, 3, 3, 3]


def test_names_that_a_passage_does_not_know_count_against_it() -> None:
    text = "The mask of Bergen is 022."
    reader = Reader(EvenScorer({text: 0.0}))
    known, unknown = (
        reader.answer_probability(question, [Passage("a", text)])
        for question in ("Which mask does Bergen use?", "Which mask does Oslo use?")
    )
    assert unknown < known
    assert against("strange", "Which mask does Oslo use?", text) == 1
    assert against("strange", "Which mask do Oslo and Bergen use?", text) == 0


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Where is the wi-fi?", "The wifi is in the hall."),
        ("Which e-mail is it?", "It is the email of the desk."),
        ("Which backups are there?", "Back up all of it."),
    ],
)
def test_words_written_in_one_or_in_two_are_the_same(question: str, text: str) -> None:
    assert overlap(question, text) == pytest.approx(1)


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("What is the fine for the holiday?", "The penalty for vacation is 80 pounds."),
        ("Where is the bike?", "A bicycle stands in the yard."),
    ],
)
def test_everyday_synonyms_are_shared(question: str, text: str) -> None:
    passages = [Passage("one", text), Passage("two", "The ferry sails at noon.")]
    table = measure(question, passages, candidates(passages))
    assert table[0, MEASURES.index("overlap")] > 0.9
    assert table[1, MEASURES.index("overlap")] == 0


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("Promote a replica with the new key.", True),
        ("Ring the nurse in charge.", True),
        ("If frost threatens and it stands still, open valves 3 and 4.", True),
        ("Only the nurse in charge has it.", False),
        ("Holidays the board has approved are paid.", False),
        ("Despite the rain they went.", False),
        ("If frost threatens, the pipes burst.", False),
    ],
)
def test_an_instruction_is_known_by_its_form(text: str, tells: bool) -> None:
    assert instructs(text) is tells


def test_the_sentence_that_answers_goes_before_one_that_shares_words() -> None:
    class Scorer:
        def score(
            self,
            question: str,
            passages: Sequence[Passage],
            sentences: Sequence[Candidate],
            preview: NDArray[np.float64],
        ) -> NDArray[np.float64]:
            return np.array([[2.5, 2.5] if "banned" in s.text else [-2, -2] for s in sentences])

    text = (
        "Visitors may bring wrapped food to a patient. They stay short. It is a rule. "
        "Flowers are banned."
    )
    reading = Reader(Scorer()).read(
        "May visitors bring flowers to a patient?", [Passage("a", text)]
    )
    assert reading.text == "Flowers are banned."


def test_a_command_is_found_by_a_synonym_of_what_is_asked() -> None:
    passage = passage_of(
        Heading("Boat", 1), Paragraph("Fetch it first:"), Code("$ git clone boat && boat build")
    )
    question = "How do I compile the boat myself?"
    sentences = candidates([passage])
    found = recipes(asked_for(question), [passage], sentences)
    assert "boat build" in " ".join(sentences[i].text for i in found)

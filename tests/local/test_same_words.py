"""Which words of a question a text says: in another form, by a measure, or as a bound."""

from __future__ import annotations

import pytest

from voicerag_core.local.reading.agreement import AGREEMENT, agreement
from voicerag_core.local.reading.features import MEASURES, candidates, content_words, measure
from voicerag_core.local.reading.questions import asked_for, without_fillers
from voicerag_core.types import Passage

FERRY = "The ferry is white and blue."


def overlaps(question: str, *texts: str) -> list[float]:
    """Return for each text the share of the question's words that it says."""
    passages = [Passage(str(number), text) for number, text in enumerate(texts)]
    table = measure(question, passages, candidates(passages))
    return [float(value) for value in table[:, MEASURES.index("overlap")]]


def against(column: str, question: str, text: str) -> float:
    passages = [Passage("one", text)]
    table = agreement(question, passages, candidates(passages), [0])
    return float(table[0, AGREEMENT.index(column)])


@pytest.mark.parametrize(
    "forms",
    [
        "cancel cancels cancelled cancelling canceled",
        "company companies",
        "carry carries carried carrying",
        "lose loses lost losing",
        "pay pays paid paying",
        "use uses used using",
        "die died dying",
        "speed speeds",
        "exceed exceeds exceeded exceeding",
        "agree agrees agreed agreeing",
        "address addresses addressed",
        "colour color colours coloured",
        "organise organize organised",
        "metre meter metres",
        "tyre tire tyres tires",
    ],
)
def test_forms_of_one_word_have_one_stem(forms: str) -> None:
    assert len({content_words(form)[0] for form in forms.split()}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("four", "for all"), ("hour", "horde"), ("free", "three"), ("fee", "feed"),
        ("leave", "left"), ("leaf", "leave"), ("bus", "busy"), ("see", "saw"), ("need", "knee"),
    ],
)  # fmt: skip
def test_other_words_have_other_stems(one: str, other: str) -> None:
    assert set(content_words(one)).isdisjoint(content_words(other))


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("How long is the crossing?", "The crossing takes 40 minutes."),
        ("What does a crossing cost?", "A crossing is 12 euros."),
        ("How much do I pay for the crossing?", "The crossing is free."),
        ("How heavy is the anchor?", "The anchor has 80 kg."),
        ("How far is the quay?", "The quay is 300 metres away."),
        ("How often is the hull painted?", "The hull is painted once a year."),
    ],
)
def test_a_measure_says_the_word_that_asks_for_it(question: str, text: str) -> None:
    said, other = overlaps(question, text, FERRY)
    assert said == pytest.approx(1)
    assert other == 0


def test_the_unit_of_a_column_says_what_is_measured() -> None:
    row, other = overlaps("How long does Lantern keep?", "Lantern; Keep for (months): 6", FERRY)
    assert row == pytest.approx(1)
    assert other == 0


def test_a_figure_of_another_kind_says_no_such_word() -> None:
    said, _ = overlaps("How long is the crossing?", "The crossing has 3 stops.", FERRY)
    assert 0 < said < 1


def test_a_sum_of_money_says_what_is_to_be_paid() -> None:
    question = "What will a cabin cost from summer on?"
    assert against("unrelated", question, "A cabin rises from 30 to 40 euros.") == 0
    assert against("unrelated", question, "A cabin has 30 to 40 lamps.") == 1


@pytest.mark.parametrize(
    ("question", "text", "other"),
    [
        ("How far does the ferry go?", "The ferry goes for half an hour.", 1),
        ("How far does the ferry go?", "The ferry goes 30 km.", 0),
        ("How heavy is the anchor?", "The anchor is 2 m long.", 1),
        ("How far in advance do I book a cabin?", "Cabins are booked 3 weeks ahead.", 0),
        ("How long is the rope?", "The rope has 20 m.", 0),
        ("How long is the rope kept?", "The rope weighs 20 kg.", 1),
    ],
)
def test_a_measure_of_another_kind_contradicts(question: str, text: str, other: float) -> None:
    assert against("contradicts", question, text) == other


@pytest.mark.parametrize(
    ("question", "text", "other"),
    [
        ("How do I delete one cabin?", "Delete the cabins all together.", 1),
        ("How do I delete one cabin?", "Delete a single cabin, or all.", 0),
        ("How do I delete all cabins?", "Delete the cabins all together.", 0),
        ("How do I find out what one may take?", "Look at all signs.", 0),
    ],
)
def test_all_of_them_is_another_than_one(question: str, text: str, other: float) -> None:
    assert against("contradicts", question, text) == other


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("How many bikes at most?", "Up to 40 bikes."),
        ("What is the limit of bikes?", "The maximum is 40 bikes."),
        ("How many bikes at least?", "The minimum is four bikes."),
    ],
)
def test_a_bound_is_said_in_several_ways(question: str, text: str) -> None:
    said, _ = overlaps(question, text, FERRY)
    assert said == pytest.approx(1)


@pytest.mark.parametrize(
    ("question", "plain"),
    [
        ("Which boat was chosen in the end?", "Which boat was chosen?"),
        ("What happens in the end of May?", "What happens in the end of May?"),
        ("Do you take dogs at all?", "Do you take dogs?"),
        ("What comes after all guests have left?", "What comes after all guests have left?"),
    ],
)
def test_words_that_say_nothing_are_left_out(question: str, plain: str) -> None:
    assert without_fillers(question) == plain


def test_what_is_excluded_are_several_things() -> None:
    assert asked_for("What does the ticket exclude?").many

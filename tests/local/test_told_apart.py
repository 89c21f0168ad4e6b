"""What tells the thing that is asked about from its siblings: a kind, a date, a section, a cell."""

from __future__ import annotations

import pytest

from tests.local.test_choosing import ScorerOfTexts
from tests.local.test_near_misses import against
from tests.local.test_quoting import passage_of
from voicerag_core.documents.elements import Heading, Paragraph, Table
from voicerag_core.local.reading.agreement import AGREEMENT, agreement
from voicerag_core.local.reading.features import alike, candidates, content_words
from voicerag_core.local.reading.forms import instructs
from voicerag_core.local.reading.modified import phrases
from voicerag_core.local.reading.reader import Reader
from voicerag_core.local.reading.rows import only_sums
from voicerag_core.types import Passage


@pytest.mark.parametrize(
    ("question", "text", "value"),
    [
        ("What does a group card cost?", "A card costs 3 euros.", 1),
        ("What does a group card cost?", "A card for a group costs 3 euros.", 0),
        ("How many days of paternity leave are there?", "Everybody has 20 days of leave.", 1),
        ("What is the fee for the sauna pass?", "The pass for the pool has a fee of 4 euros.", 1),
        ("How long is the evening class?", "The class takes two hours.", 1),
        ("How long is the evening class?", "It takes two hours.", 0),
        ("How long is the longest class?", "The class takes two hours.", 0),
        ("How long is the new class?", "The class takes two hours.", 0),
        ("Where are the rail lines?", "Two tourist railways have lines.", 0),
        ("What is the range of the Kestrel Ultra?", "The Kestrel Mini has a range of 60 m.", 1),
        ("What is the range of the Kestrel Mini?", "The Kestrel Mini has a range of 60 m.", 0),
        ("Where does Mona Berg live?", "Berg lives in Oslo.", 0),
        ("What is the warranty on the charger?", "The charger is black. The warranty is long.", 0),
        (
            "What is the warranty on the charger?",
            "Chargers are black.\n\nHi.\n\nThe warranty is long.",
            1,
        ),
        (
            "What is the warranty on the tripod?",
            "Chargers are black.\n\nHi.\n\nThe warranty is long.",
            0,
        ),
        ("Can I join if I live outside the area?", "Who lives here joins for nothing.", 1),
        ("Can I join if I live outside the area?", "Others pay 18 euros.", 0),
        ("Do I need the holiday form?", "The form for vacation is on the desk.", 0),
    ],
)
def test_a_noun_without_the_word_that_tells_its_kind(
    question: str, text: str, value: float
) -> None:
    assert against("unmodified", question, text) == value


def test_words_of_the_name_of_a_thing_stand_behind_an_article_or_a_preposition() -> None:
    assert phrases("How much is the monthly fee for a group card?") == (
        ("month", "fee"),
        ("group", "card"),
    )
    assert phrases("Who wrote turnstile?") == ()
    assert phrases("What drove residents to the suburbs?") == ()
    assert phrases("What is the French colony established in 1564?") == (("french", "colony"),)
    assert phrases("What does the word prime generally suggest?") == ()


@pytest.mark.parametrize(
    ("question", "text", "value"),
    [
        ("What was the level on 3 July?", "On 9 August the level was 4 m.", 1),
        ("What was the level on 3 July?", "On 9 July the level was 4 m.", 1),
        ("What was the level on 3 July?", "On July 3rd the level was 4 m.", 0),
        ("What was the level in July?", "On 9 July the level was 4 m.", 0),
        ("What was the level in July?", "On 9 August the level was 4 m.", 1),
        ("What was the level on 3 July?", "From 1 June the level was 4 m.", 0),
        ("What was the level on 3 July?", "The level was 4 m.", 0),
        ("What was the level in May?", "In March the level was 4 m.", 1),
        ("What was the level in May?", "In May the level was 4 m.", 0),
        ("How many hours will the clerk work each week?", "It rises from 18 to 22 a week.", 0),
        ("Was the level 4 m on 3 July?", "On 9 August the level was 4 m.", 0),
        ("How many ducks may I keep?", "Rabbits may be kept, up to four.", 1),
        ("How many chickens may I keep?", "Hens may be kept, up to four.", 0),
    ],
)
def test_another_day_month_or_animal(question: str, text: str, value: float) -> None:
    assert against("contradicts", question, text) == value


FERRY = Passage("doc.md", "Adults pay 3 euros.", {"path": ["Ferry fares"], "title": "Fares"})


@pytest.mark.parametrize(
    ("question", "heading", "value"),
    [
        ("What is a family ticket for the ferry?", "Combined ticket", 1),
        ("What is a family ticket for the ferry?", "The ferry in winter", 0),
        ("What is a family ticket for the tram?", "Combined ticket", 0),
        ("What is a family ticket?", "Combined ticket", 0),
    ],
)
def test_a_sentence_under_another_heading_than_the_one_that_is_asked_about(
    question: str, heading: str, value: float
) -> None:
    passages = [
        FERRY,
        Passage("doc.md", "Families pay 9 euros.", {"path": [heading], "title": "Fares"}),
    ]
    sentences = candidates(passages)
    found = agreement(question, passages, sentences, [len(sentences) - 1])
    assert found[0, AGREEMENT.index("contradicts")] == value


HIRE = Table(
    [["Machine", "Day", "Notes"], ["Ladder", "£9", "collection only"],
     ["Tower", "£40", "deposit £150"], ["Mixer", "£18", "fuel extra"]],
    header=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("question", "answered"),
    [
        ("What is the deposit for the tower?", True),
        ("What is the deposit for the ladder?", False),
        ("Which deposit does the ladder need?", False),
        ("What is the price of the ladder?", True),
        ("How long may I keep the ladder?", False),
        ("How much is the ladder?", True),
    ],
)
def test_a_row_without_what_is_asked_of_it_does_not_answer(question: str, answered: bool) -> None:
    scores = {"Ladder": -9.0, "Tower": -9.0, "Mixer": -9.0, "Machines": -9.0}
    scores |= {"Tower" if "tower" in question else "Ladder": 2.0}
    passage = passage_of(Heading("Machines", 1), HIRE)
    assert Reader(ScorerOfTexts(scores, scores)).read(question, [passage]).answered is answered


@pytest.mark.parametrize(
    ("row", "sums"),
    [
        ("Machine: Sander 20; Day: £36; Deposit: £75", True),
        ("Machine: Sander; Day: 36 euros; Deposit: none", True),
        ("Machine: Sander; Day: £36; Weight: 12", False),
        ("Machine: Sander; Weight: heavy", False),
    ],
)
def test_all_figures_of_a_row_may_be_sums(row: str, sums: bool) -> None:
    assert only_sums(row) is sums


@pytest.mark.parametrize(
    ("question", "share"),
    [
        ("Which company sponsors the regatta?", 1),
        ("Who approved the regatta?", 1),
        ("Who audits the regatta?", 1),
        ("Who owns the regatta?", 1),
    ],
)
def test_another_relation_is_not_said(question: str, share: float) -> None:
    assert against("unrelated", question, "Ida Holm reports on the regatta.") == share


def test_a_kind_that_the_text_does_not_know_is_declined() -> None:
    passage = passage_of(
        Heading("Cards", 1), Paragraph("A lost card costs £2.50 for adults and £1 for children.")
    )
    reader = Reader(ScorerOfTexts({"lost": -2.0}, {"lost": -2.0})).declining_below(0.5)
    assert reader.read("How much does a lost card cost?", [passage]).answered
    assert not reader.read("How much does a lost press card cost?", [passage]).answered


@pytest.mark.parametrize(
    ("question", "text", "value"),
    [
        ("Who translated the guide?", "The guide was written by Ida Holm.", 1),
        ("Who translated the guide?", "The guide was chosen by Ida Holm.", 1),
        ("Who translated the guide?", "The translator of the guide is Ida Holm.", 0),
        ("Who translated the guide?", "Ida Holm has the guide.", 0),
        ("Who wrote the guide?", "The guide was approved by Ida Holm.", 1),
        ("Who wrote the guide?", "The author of the approved guide is Ida Holm.", 0),
        ("Who maintains the guide?", "The maintainer, who approved it, is Ida Holm.", 0),
        ("When was the guide written?", "The guide was approved on Monday.", 0),
        ("When may I enter without a pass?", "You may enter without notice at noon.", 1),
        ("When may I enter without a pass?", "You may enter without any pass at noon.", 0),
        ("When may I enter without a pass?", "You may enter at noon.", 0),
    ],
)
def test_another_act_or_another_lack(question: str, text: str, value: float) -> None:
    assert against("contradicts", question, text) == value


@pytest.mark.parametrize(
    ("question", "text", "value"),
    [
        ("How many books may a pupil borrow?", "The library lends 4,300 books.", 1),
        ("How many books may a pupil borrow?", "Pupils borrow up to 5 books.", 0),
        ("How many books does the library lend?", "The library lends 4,300 books.", 0),
    ],
)
def test_what_somebody_may_have_is_told_by_a_bound_or_a_permission(
    question: str, text: str, value: float
) -> None:
    assert against("unkind", question, text) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Rinse for at least ten minutes with water.", True),
        ("Wait for two minutes.", True),
        ("Call for papers.", False),
    ],
)
def test_an_instruction_may_say_for_how_long(text: str, told: bool) -> None:
    assert instructs(text) is told


@pytest.mark.parametrize(
    ("asked", "said"), [("chicken", "hen"), ("racquet", "racket"), ("spare", "replace")]
)
def test_everyday_words_that_say_the_same(asked: str, said: str) -> None:
    (one,), (other,) = content_words(asked), content_words(said)
    assert other in alike(one, {other})

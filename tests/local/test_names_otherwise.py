"""Names and numbers that a text writes in another way than the question."""

from __future__ import annotations

import pytest

from tests.local.test_near_misses import against
from voicerag_core.local.reading.dates import says_more_exactly
from voicerag_core.local.reading.hops import Described, described
from voicerag_core.local.reading.near_misses import (
    figures,
    misses_abbreviation,
    misses_figure,
    missing_names,
    said_in,
)
from voicerag_core.local.reading.readings import Reading
from voicerag_core.local.reading.several import by_two_hops


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Who was Jos\u00e9 Mar\u00edn?", "Jos\u00e9 Mar\u00edn kept the lighthouse."),
        ("Who was Jose Marin?", "Jos\u00e9 Mar\u00edn kept the lighthouse."),
        ("What does the HBA say?", "The Harbour Boatmen Association says nothing."),
        ("Who is an ally of the United States?", "The republic is a U.S. ally."),
        ("Who is an ally of the United States?", "The republic is a US ally."),
        ("Who followed Bismark?", "Bismarck was followed by a count."),
        ("Who followed Bresiford?", "Bresifodr was followed by a count."),
        ("Who followed Netonian?", "Newtonian was followed by a count."),
    ],
)
def test_a_name_in_another_spelling_is_said(question: str, text: str) -> None:
    assert missing_names(question, said_in(text)) == 0


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Who followed Moen?", "Moes was followed by a count."),
        ("Who followed Nordahl?", "Sandahl was followed by a count."),
        ("What does the HBA say?", "The Harbour Watch says nothing to us."),
        ("Who is an ally of the United States?", "The republic helps us."),
    ],
)
def test_another_name_is_not_said(question: str, text: str) -> None:
    assert missing_names(question, said_in(text)) == 1


def test_small_words_and_numbers_of_a_long_form_may_be_left_out() -> None:
    assert not misses_abbreviation("Who sits on the HPTA?", "The Harbour Panel on Tide Arrivals")
    assert not misses_abbreviation("What was lost in WWII?", "In World War II the mill was lost.")
    assert misses_abbreviation("What was lost in WWII?", "In World War I the mill was lost.")
    assert misses_abbreviation("Who sits on the HPTA?", "Harbour panel. Tide arrivals.")


@pytest.mark.parametrize(
    ("question", "text", "missed"),
    [
        ("What brings type 1 allergy on?", "Type I allergy is brought on by dust.", False),
        ("What brings type 1 allergy on?", "Type II allergy is brought on by dust.", True),
        ("What brings type 1 allergy on?", "What I know: dust.", True),
        ("When did world war 2 end?", "World War II ended in May.", False),
        ("What is in part 14?", "Part XIV has an index.", False),
    ],
)
def test_roman_numerals_are_figures(question: str, text: str, missed: bool) -> None:
    assert misses_figure(figures(question), said_in(text)) == missed


def test_type_two_contradicts_type_one_and_i_is_no_number() -> None:
    asked = "What brings type 1 allergy on?"
    assert against("contradicts", asked, "Type I allergy is brought on by dust.") == 0
    assert against("contradicts", asked, "Type II allergy is brought on by dust.") == 1
    assert against("contradicts", "Can I take part 2?", "Can I take it? Part 2 is short.") == 0


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("What did Anna Beck build?", "Anna Maria Beck built the tower."),
        ("Who applies European Law?", "European Union law is applied by courts."),
        ("When was Oslo's Harbour listed?", "Oslo's historic harbour was listed in 1980."),
    ],
)
def test_a_middle_name_is_no_other_thing(question: str, text: str) -> None:
    assert against("contradicts", question, text) == 0


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("When does the alarm ring?", "The alarm rings when smoke rises."),
        ("How much of a rise is there in leaks?", "There is a tenfold rise in leaks."),
        ("How many times stronger is it?", "It is some 1013 times stronger."),
        ("What type of wages does it lead to?", "It leads to stagnant wages."),
        ("What is the comparison in price between both?", "One is always dearer."),
    ],
)
def test_what_is_asked_for_may_be_told_in_other_words(question: str, text: str) -> None:
    assert against("unkind", question, text) == 0


def test_a_decade_is_left_for_an_exacter_date_of_it_alone() -> None:
    assert says_more_exactly("in 1974", "in the 1970s")
    assert not says_more_exactly("from the 1950s to 2011", "in the 1970s")


@pytest.mark.parametrize(
    "question",
    [
        "Who had the idea that the Tower leans?",
        "The usual builder hired how many masons?",
        "What is an example of a lamp that turns by Tidewater?",
        "What was the reason the Harbour Board gave that cost Anna Beck her claim?",
    ],
)
def test_what_is_thought_done_or_asked_for_itself_describes_nothing(question: str) -> None:
    assert described(question) is None


def test_a_question_in_full_is_read_where_its_last_part_finds_nothing() -> None:
    asked = "Much changed since the Long Storm, which was how many years ago?"
    hop = described(asked)
    assert hop == Described("", ("Long Storm was how many years ago",), "was how many years ago")

    def read(question: str, passages: object) -> Reading:
        text = "The Long Storm was 90 years ago." if question == asked else ""
        return Reading(text, (), 0.9, answered=bool(text), closest=None)

    assert by_two_hops(asked, hop, [], read).text == "The Long Storm was 90 years ago."

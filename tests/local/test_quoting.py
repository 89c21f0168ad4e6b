from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from voicerag_core.chunking import chunk_document
from voicerag_core.documents.elements import (
    Code,
    Element,
    Field,
    Heading,
    Item,
    Paragraph,
    Table,
    Term,
)
from voicerag_core.documents.layout import laid_out
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.features import Candidate, candidates, section_shares
from voicerag_core.local.reading.forms import fits
from voicerag_core.local.reading.near_misses import (
    figures,
    misses_figure,
    missing_names,
    said_around,
)
from voicerag_core.local.reading.questions import asked_for
from voicerag_core.local.reading.quoting.lists import MOST_ITEMS
from voicerag_core.local.reading.quoting.quoter import Quoter
from voicerag_core.local.reading.reader import Reader
from voicerag_core.local.reading.rows import (
    keyed_rows,
    lacks_column,
    matching_rows,
    named_rows,
    superlative_rows,
    tables,
)
from voicerag_core.local.reading.trimming import clause_spans
from voicerag_core.types import Document, JSONValue, Passage

STEPS = [Item(f"Do part {n}.", marker=f"{n}.") for n in range(1, 4)]
KINDS = [Item("apples"), Item("pears"), Item("plums")]


SAMPLE = (
    "listen: 0.0.0.0:7000\nworkers: 4\nlog_level: info\n# time until an idle client goes\n"
    "client_end: 300\nretry_limit: 5\nspool: /var/spool/relay"
)


def passage_of(*elements: Element) -> Passage:
    layout = laid_out(elements)
    document = Document("file.md", layout.text, "File", blocks=tuple(layout.blocks))
    (passage,) = chunk_document(document, size=5000)
    return passage


def quoted(question: str, passage: Passage, chosen: str) -> str | None:
    """Return what the sentence that begins like `chosen` leads to."""
    sentences = candidates([passage])
    (index,) = [i for i, one in enumerate(sentences) if one.text.startswith(chosen)]
    quote = Quoter([passage], sentences, asked_for(question)).quote(index)
    return None if quote is None else quote.text([passage])


SETTING = [Term("idle_time", [Field("default", "15m"), Paragraph("An idle one is closed.")])]
ON_SOME_DAYS = [
    Paragraph("At weekends a ticket is needed. From Monday to Friday you can just come.")
]


@pytest.mark.parametrize(
    ("question", "elements", "chosen", "text"),
    [
        ("How long?", [Heading("How long?", 1), Paragraph("Two years.")], "How", "Two years."),
        ("Fees?", [Heading("Fees", 1), Paragraph("It costs 5 euros.")], "Fees",
         "It costs 5 euros."),
        ("Fruit?", [Paragraph("We sell:"), *KINDS], "We sell",
         "We sell:\n\napples\n\npears\n\nplums"),
        ("Which fruits do you sell?", [Paragraph("We sell:"), *KINDS], "pears",
         "We sell:\n\napples\n\npears\n\nplums"),
        ("Is it green?", [Paragraph("Fruit:"), Item("The green pears are from the south.")],
         "The green", "The green pears are from the south."),
        ("How do I install it?", [Paragraph("To install, run:"), Code("$ pip install it")],
         "$ pip", "To install, run:\n\npip install it"),
        ("How do I clean it?", [Heading("Cleaning", 1), Paragraph("Clean it daily."), *STEPS],
         "Cleaning", "1. Do part 1.\n\n2. Do part 2.\n\n3. Do part 3."),
        ("When was 2.0 released?", [Heading("2.0 (2024-03-01)", 1), Paragraph("Fixes.")], "2.0",
         "2.0 (2024-03-01)"),
        ("When did it drop Python 2?", [Heading("2.0 (2024-03-01)", 1),
         Paragraph("It dropped Python 2.")], "It dropped",
         "2.0 (2024-03-01): It dropped Python 2."),
        ("Which parts are there?", [Heading("Parts", 1), Heading("Red", 2), Paragraph("A b."),
         Heading("Green", 2), Paragraph("C d."), Heading("Blue", 2), Paragraph("E f.")], "Parts",
         "Red\n\nGreen\n\nBlue"),
        ("Are there others?", [Paragraph("Two are red. Other ones are green.")], "Other",
         "Two are red. Other ones are green."),
        ("Who is in it?", [Paragraph("The team of Oslo is small. The team has three people.")],
         "The team has", "The team of Oslo is small. The team has three people."),
        ("May guests eat here?", [Paragraph("Guests may eat here. Except on Fridays.")],
         "Guests", "Guests may eat here. Except on Fridays."),
        ("Is it full on Fridays?", [Paragraph("Guests may eat here. Except on Fridays.")],
         "Except", "Guests may eat here. Except on Fridays."),
        ("When does the shop close?", [Heading("The shop closes at 19:30", 1),
         Paragraph("Please be out by then.")], "The shop",
         "The shop closes at 19:30: Please be out by then."),
        ("What does the shop cost?", [Heading("The shop and its costs", 1),
         Paragraph("It is 5 euros.")], "The shop", "It is 5 euros."),
        ("How do I set the retry limit?", [Paragraph("A sample:"), Code(SAMPLE)], "A sample",
         "A sample:\n\nretry_limit: 5"),
        ("How do I ask for leave?", [Paragraph("See the page on leave for more information.")],
         "See the", None),
        ("Where is leave explained?", [Paragraph("See the page on leave for more information.")],
         "See the", "See the page on leave for more information."),
        ("donor leave", [Paragraph("Sheets:"), Item("Donor Leave")], "Donor", None),
        ("Which leave is there?", [Item("Donor Leave"), Item("Sick Leave")], "Donor",
         "Donor Leave"),
        ("donor leave", [Item("Donor leave: three days.")], "Donor", "Donor leave: three days."),
        ("How do I set the idle time?", [Paragraph("A sample:"), Code(SAMPLE)], "A sample",
         "A sample:\n\n# time until an idle client goes\nclient_end: 300"),
        ("What does a sample look like?", [Paragraph("A sample:"), Code(SAMPLE)], "A sample",
         f"A sample:\n\n{SAMPLE}"),
        ("How do I upgrade it?", [Heading("Upgrade", 1), Item("Stop the daemon."),
         Item("Copy the folder."), Item("Start the daemon.")], "Copy",
         "Stop the daemon.\n\nCopy the folder.\n\nStart the daemon."),
        ("How do I print it all?", [Heading("Options", 1), Item("Set --quiet to hide all."),
         Item("Set --out to a file."), Item("Use --dry to print all."),
         Item("Add --all for more.")], "Use", "Use --dry to print all."),
        ("Is it paid?", [Paragraph("Is it paid? Yes, in full.")], "Is it", "Yes, in full."),
        ("idle timeout", SETTING, "idle_time", "idle_time: default: 15m\n\nAn idle one is closed."),
        ("idle timeout", SETTING, "default", "idle_time: default: 15m"),
        ("idle timeout", [Heading("Idle", 1), *[Field(f"name {n}", "15m") for n in range(5)]],
         "Idle", "\n\n".join(f"name {n}: 15m" for n in range(5))),
        ("How do I winterise it?",
         [Paragraph("If frost threatens, open valves 3 and 4. Leave them open. It stays dry.")],
         "Leave", "If frost threatens, open valves 3 and 4. Leave them open."),
        ("How long are they open?",
         [Paragraph("If frost threatens, open valves 3 and 4. Leave the valves open all night.")],
         "Leave", "Leave the valves open all night."),
        ("Do I need a ticket on Monday?", [Term("Do I need a ticket?", ON_SOME_DAYS)], "At",
         "At weekends a ticket is needed. From Monday to Friday you can just come."),
        ("When do I need a ticket?", [Term("Do I need a ticket?", ON_SOME_DAYS)], "At",
         "At weekends a ticket is needed."),
        ("May I work from Norway?",
         [Paragraph("Work from Denmark is possible. Outside the Union it is not possible.")],
         "Outside", "Work from Denmark is possible. Outside the Union it is not possible."),
    ],
)  # fmt: skip
def test_what_a_sentence_leads_to(
    question: str, elements: list[Element], chosen: str, text: str
) -> None:
    assert quoted(question, passage_of(*elements), chosen) == text


@pytest.mark.parametrize(
    ("elements", "chosen"),
    [
        ([Paragraph("All is well."), Heading("Contact", 1)], "Contact"),
        ([Code("run --all")], "run"),
        ([Paragraph("All is well. (#7205)")], "(#7205)"),
    ],
)
def test_what_leads_to_nothing_is_no_answer(elements: list[Element], chosen: str) -> None:
    assert quoted("What?", passage_of(*elements), chosen) is None


def test_a_list_is_bounded() -> None:
    passage = passage_of(Paragraph("We sell:"), *(Item(f"fruit number {n}") for n in range(30)))
    text = quoted("Which fruits do you sell?", passage, "We sell")
    assert text is not None
    assert text.count("fruit number") == MOST_ITEMS


class Knowing:
    """Scores by a table; what is not in it was not read."""

    def __init__(self, table: dict[str, float]) -> None:
        self._table = table

    def score(
        self,
        question: str,
        passages: Sequence[Passage],
        sentences: Sequence[Candidate],
        preview: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        return np.array([[self._table.get(one.text, np.nan)] * 2 for one in sentences])


def test_the_next_best_answers_where_the_best_leads_to_nothing() -> None:
    passage = passage_of(Paragraph("The fee is 5 euros."), Heading("The fee", 1))
    scorer = Knowing({"The fee": 9.0, "The fee is 5 euros.": 5.0})
    assert Reader(scorer).read("What is the fee?", [passage]).text == "The fee is 5 euros."


def test_another_year_is_declined_whatever_the_score() -> None:
    passage = passage_of(Paragraph("The fee of 2023 is 5 euros."))
    reader = Reader(Knowing({"The fee of 2023 is 5 euros.": 9.0}))
    assert reader.read("What is the fee of 2023?", [passage]).answered
    assert not reader.read("What is the fee of 2024?", [passage]).answered


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("What does fault E21 mean?", ("e21",)),
        ("When was Requests 4.0 released?", ("4.0",)),
        ("Who chaired it in June 2019?", ("2019",)),
        ("How much does the Barista 800 cost?", ("800",)),
        ("Which discount do I get for 20,000 euro?", ()),
        ("Which machines cost more than 8000?", ()),
        ("How much leave do I earn after five years?", ()),
    ],
)
def test_figures_that_name_what_is_asked_about(question: str, wanted: tuple[str, ...]) -> None:
    assert figures(question) == wanted


@pytest.mark.parametrize(
    ("figure", "text", "misses"),
    [
        ("e21", "Fault E21 is a leak.", False),
        ("e21", "Fault E2 is a leak.", True),
        ("2.32", "Version 2.32.5 is out.", False),
        ("4.0", "Version 4.1 is out.", True),
        ("1700s", "In the 18th century.", False),
        ("15th", "It was 1455.", False),
        ("15th", "It was 1655.", True),
        ("80s", "It was 1984.", False),
        ("2001-02", "The season of 2001.", False),
        ("3rd", "The third door.", False),
        ("20", "Model 200 of 2026.", True),
    ],
)
def test_figures_are_found_as_people_write_them(figure: str, text: str, misses: bool) -> None:
    assert misses_figure([figure], said_around(Passage("x", text))) is misses


def test_figures_and_names_are_looked_for_around_the_text() -> None:
    metadata: dict[str, JSONValue] = {
        "title": "Report",
        "source": "/docs/acme/plan-2024.md",
        "path": ["Oslo"],
    }
    said = said_around(Passage("x", "All is well.", metadata))
    assert not misses_figure(["2024"], said)
    assert missing_names("Is all well at Acme in Oslo?", said) == 0
    assert missing_names("Is all well in Bergen?", said) == 1
    assert missing_names("Is all well?", said) == 0


GRADES = Table(
    [["Trainer", "Grade", "Fee EUR"], ["Ada", "A", "900"], ["Ben", "B", "80"], ["Cleo", "A", "95"]],
    header=1,
)
LOADS = Table(
    [["Name", "Max. load", "Seats"], ["Bus", "3,500 kg", "40"], ["Press", "4,500 kg", "1"]],
    header=1,
)
DELAYS = Table(
    [["Late by", "Paid back"], ["30 to 59 minutes", "25 %"], ["60 to 119 minutes", "half"],
     ["120 minutes and more", "all"]],
    header=1,
)  # fmt: skip
SIGNED = Table(
    [["Order", "Released by"], ["up to \u00a3200", "clerk"],
     ["\u00a3200.01 to \u00a31,500", "manager"], ["above \u00a31,500", "board"]],
    header=1,
)  # fmt: skip
STOPS = Table(
    [["Stop", "Kiosk", "Speed km/h", "Step-free"], ["Arna", "Ida", "40", "yes"],
     ["Voss", "none", "60", "no"], ["Finse", "Ola", "50", "no"]],
    header=1,
)  # fmt: skip
ROOMS = Table([["Usual guests", "80"], ["Ceiling (fire brigade)", "120"]], header=0)
STEPPED = Table([["Order from EUR", "Discount"], ["100", "3 %"], ["500", "5 %"]], header=1)


@pytest.mark.parametrize(
    ("question", "table", "rows"),
    [
        ("Which trainers take more than 90 euro?", GRADES, ["Ada", "Cleo"]),
        ("Which trainers take less than 90 euro?", GRADES, ["Ben"]),
        ("Which discount do I get for 450 euro?", STEPPED, ["from EUR: 100"]),
        ("Which discount do I get for 800 euro?", STEPPED, ["from EUR: 500"]),
        ("Who has a fee of 80?", GRADES, ["Ben"]),
        ("Who is the cheapest trainer?", GRADES, ["Ben"]),
        ("Which trainer is the most expensive?", GRADES, ["Ada"]),
        ("Who is the heaviest trainer?", GRADES, []),
        ("Which trainer has the lowest fee?", GRADES, ["Ben"]),
        ("Which machine may carry the most?", LOADS, ["Press"]),
        ("Which machine has the most seats?", LOADS, ["Bus"]),
        ("How much do I get if I am 70 minutes late?", DELAYS, ["60 to 119"]),
        ("How much do I get if I am 119 minutes late?", DELAYS, ["60 to 119"]),
        ("How much do I get if I am 300 minutes late?", DELAYS, ["120 minutes and more"]),
        ("How much do I get if I am 5 minutes late?", DELAYS, []),
        ("My order comes to 900 pounds. Who releases it?", SIGNED, ["1,500; Released by: manager"]),
        ("Who releases an order of \u00a3150?", SIGNED, ["clerk"]),
        ("Who releases an order of 1,501 pounds?", SIGNED, ["board"]),
        ("Who releases an order of 900 euros?", SIGNED, []),
        ("Which stops have no step-free access?", STOPS, ["Voss", "Finse"]),
        ("Which stops have step-free access?", STOPS, []),
        ("Which stops have no kiosk?", STOPS, []),
        ("Which is the fastest stop?", STOPS, ["Voss"]),
        ("How many people fit in at most?", ROOMS, ["Ceiling"]),
        ("How many people fit in?", ROOMS, []),
    ],
)
def test_rows_are_picked_by_figures_and_extremes(
    question: str, table: Table, rows: list[str]
) -> None:
    passage = passage_of(table)
    sentences = candidates([passage])
    (near,) = tables(question, [passage], sentences)
    picked = sorted(keyed_rows(question, figures(question), near, sentences))
    assert [name in sentences[i].text for i, name in zip(picked, rows, strict=True)] == [
        True
    ] * len(rows)


def test_a_superlative_is_asked_of_a_table_that_has_its_words() -> None:
    passage = passage_of(STOPS)
    sentences = candidates([passage])
    for question, title, found in (
        ("Which is the fastest stop?", "", ["Voss"]),
        ("What is the fastest way to Bergen?", "", []),
        ("Which is the fastest stop of Bergen?", "Bergen", ["Voss"]),
    ):
        (near,) = tables(question, [passage], sentences)
        rows = superlative_rows(question, near, sentences, title)
        assert [name for row in rows for name in found if name in sentences[row].text] == found
        assert len(rows) == len(found)


def test_a_row_that_is_empty_where_the_question_asks_is_told() -> None:
    beers = Table(
        [["Beer", "Bottle EUR", "Keg EUR"], ["Lantern", "2.10", "94"], ["Keel", "5.90", ""]],
        header=1,
    )
    passage = passage_of(beers)
    sentences = candidates([passage])
    for question, name, lacks in (
        ("What does a keg of Keel cost?", "Keel", True),
        ("What does a keg of Lantern cost?", "Lantern", False),
        ("What does a bottle of Keel cost?", "Keel", False),
    ):
        (near,) = tables(question, [passage], sentences)
        (row,) = named_rows(question, near, sentences)
        assert name in sentences[row].text
        assert lacks_column(question, near, sentences, row) is lacks


def test_all_rows_with_the_value_match() -> None:
    passage = passage_of(GRADES)
    sentences = candidates([passage])
    question = "Which trainers have the grade A?"
    (near,) = tables(question, [passage], sentences)
    assert near[0].overlap > near[-1].overlap
    rows = matching_rows(question, near, sentences, near[0].sentence)
    assert [sentences[i].text.split(";")[0] for i in rows] == ["Trainer: Ada", "Trainer: Cleo"]


def test_headings_tell_sections_apart() -> None:
    passage = passage_of(
        Heading("Drivers", 1),
        Paragraph("Two weeks."),
        Heading("Office staff", 1),
        Paragraph("One."),
    )
    sentences = candidates([passage])
    shares = section_shares("When do office staff ask?", [passage], sentences)
    by_text = {one.text: share for one, share in zip(sentences, shares, strict=True)}
    assert by_text["One."] == 1
    assert by_text["Two weeks."] == 0


@pytest.mark.parametrize(
    ("question", "good", "bad"),
    [
        ("How do I clean it?", "Press the red key.", "By default it is clean."),
        ("How do I turn it off?", "You can turn it off at the wall.", "It turns off at night."),
        ("What is rooting?", "Rooting in this context means taking over.", "Avoid rooting."),
        ("What does VAT mean?", "VAT stands for value added tax.", "The price is without VAT."),
        ("How do I make it quiet?", "--quiet hides all but errors.", "It is quiet by default."),
        ("What may I buy?", "Coffee, tea, sugar and napkins.", "There is a budget for buying."),
        ("Why is it locked?", "It is locked because of the rain.", "It is locked."),
    ],
)
def test_the_form_that_is_asked_for(question: str, good: str, bad: str) -> None:
    sentences = candidates([Passage("x", f"{good}\n\n{bad}")])
    assert [fits(asked_for(question), one) for one in sentences] == [1, 0]


@pytest.mark.parametrize(
    ("question", "sides"),
    [
        ("What is the difference between an appeal and a reinstatement?",
         ("appeal", "reinstatement")),
        ("Are both Oslo and Bergen located in Norway?", ("Oslo", "Bergen")),
        ("Which is older, the tower or the bridge?", ("tower", "bridge")),
        ("Who signs and pays the bill?", ()),
    ],
)  # fmt: skip
def test_the_sides_of_a_comparison(question: str, sides: tuple[str, ...]) -> None:
    assert asked_for(question).sides == sides


LONG = (
    "The northern depot was built by the harbour company in the spring of 1931 after a long debate "
    "in the town council about its place and its cost, and the trains that serve it come from "
    "Hamburg twice a week with fruit, timber and machines for the whole of the region; it is "
    "closed on Sundays."
)


def test_a_long_sentence_is_cut_into_clauses() -> None:
    clauses = [LONG[start:end] for start, end in clause_spans(LONG)]
    assert [clause[:17] for clause in clauses] == ["The northern depo", "the trains that s"]
    assert clause_spans(LONG[:200]) == [(0, 200)]


def test_a_sentence_with_a_condition_stays_whole() -> None:
    text = LONG.replace("closed", "not closed")
    assert clause_spans(text) == [(0, len(text))]


def test_the_clause_that_answers_is_quoted_and_cited() -> None:
    passage = Passage("depot", f"All is well here. {LONG}", {"title": "Depot"})
    reading = Reader(AnswerScorer(threads=2)).read("Where do the trains come from?", [passage])
    assert "Hamburg" in reading.text
    assert "harbour company" not in reading.text
    (place,) = reading.citations
    assert passage.text[place.start : place.end] == reading.text


def test_an_item_that_announces_a_list_is_quoted_with_it() -> None:
    passage = passage_of(
        Paragraph("Before work:"),
        Item("Sign the permit:", 0, "1."),
        Item("hot work needs form K;", 1, "a)"),
        Item("work at height needs form L.", 1, "b)"),
        Item("Collect a radio.", 0, "2."),
    )
    assert quoted("When do I sign?", passage, "1. Sign") == (
        "1. Sign the permit:\n\na) hot work needs form K;\n\nb) work at height needs form L."
    )
    assert quoted("What does hot work need?", passage, "a) hot") == (
        "1. Sign the permit:\n\na) hot work needs form K;"
    )
    assert quoted("What is collected?", passage, "2. Collect") == (
        "Before work:\n\n2. Collect a radio."
    )


def test_what_to_do_is_the_whole_list_though_it_has_no_numbers() -> None:
    passage = passage_of(
        Paragraph("After an accident:"), Item("call the police"), Item("take photos")
    )
    whole = "After an accident:\n\ncall the police\n\ntake photos"
    assert quoted("What do I do after an accident?", passage, "take") == whole


def test_a_row_that_the_question_calls_by_name_is_picked() -> None:
    passage = passage_of(
        Table([["Part", "P-100"], ["Oil change", "every 500 hours"], ["Seal", "yearly"]], 1)
    )
    sentences = candidates([passage])
    question = "How often is the seal changed?"
    (rows,) = tables(question, [passage], sentences)
    picked = named_rows(question, rows, sentences)
    assert [sentences[row].text for row in picked] == ["Part: Seal; P-100: yearly"]
    assert not named_rows("How often is the filter changed?", rows, sentences)


def test_the_number_of_a_heading_is_no_word_of_it() -> None:
    """Rows are told apart by "table", though the heading above them begins with "Table K.1."."""
    passage = passage_of(
        Heading("Table K.1. Limits", 2),
        Table([["Item", "Limit"], ["columns per index", "32"], ["columns per table", "1600"]], 1),
    )
    sentences = candidates([passage])
    (rows,) = tables("How many columns can a table have?", [passage], sentences)
    assert sentences[rows[0].sentence].text == "Item: columns per table; Limit: 1600"
    assert rows[0].overlap > rows[1].overlap


DISHWASHER: list[Element] = [
    Heading("Care", 1),
    Paragraph("No. The chrome would peel off. Wash it by hand with mild soap."),
    Paragraph("Milk hardens soon. Wipe the wand with a cloth. It stays hot for a while."),
]


@pytest.mark.parametrize(
    ("question", "chosen", "text"),
    [
        ("Is it dishwasher safe?", "No.", "No. The chrome would peel off."),
        ("Is it dishwasher safe?", "The chrome", "No. The chrome would peel off."),
        ("Is it dishwasher safe?", "Wash it",
         "No. The chrome would peel off. Wash it by hand with mild soap."),
        ("What would peel off?", "The chrome", "The chrome would peel off."),
        ("Is the milk soft?", "Milk", "Milk hardens soon."),
        ("How do I clean the wand?", "Milk", "Milk hardens soon. Wipe the wand with a cloth."),
        ("How do I clean the wand?", "Wipe", "Wipe the wand with a cloth."),
        ("How soon does milk harden?", "Milk", "Milk hardens soon."),
    ],
)  # fmt: skip
def test_a_reply_goes_with_its_reason_and_a_reason_with_what_to_do(
    question: str, chosen: str, text: str
) -> None:
    assert quoted(question, passage_of(*DISHWASHER), chosen) == text

"""Titles, questions and samples of plain text, as its lines show them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.documents.making import kinds, only, paths
from voicerag_core.documents import FileContent

Read = Callable[..., FileContent]


def test_numbers_of_sections_make_titles_with_their_depth(read: Read) -> None:
    text = (
        "1. Access\n\n1.1. Who may enter the hall?\n\nMembers of staff.\n\n1.2 Keys\n\n"
        "1. Ask the desk.\n2. Sign.\n\n2. Leave\n\n2.1. Notice\n\nTwo weeks."
    )
    document = only(read("rules.txt", text))
    assert paths(document) == [
        ("1. Access > 1.1. Who may enter the hall?", "Members of staff."),
        ("1. Access > 1.2 Keys", "1. Ask the desk."),
        ("1. Access > 1.2 Keys", "2. Sign."),
        ("2. Leave > 2.1. Notice", "Two weeks."),
    ]


def test_a_section_title_right_behind_a_paragraph_is_parted_from_it(read: Read) -> None:
    text = "1.1. Keys\n\nAsk the desk\nfor the key.\n2. Leave\n\n2.1. Notice\n\nTwo weeks."
    assert paths(only(read("rules.txt", text))) == [
        ("1.1. Keys", "Ask the desk\nfor the key."),
        ("2. Leave > 2.1. Notice", "Two weeks."),
    ]


def test_lines_to_the_left_of_indented_text_are_titles(read: Read) -> None:
    text = (
        "Sending parcels\n\n  By post\n\n   Weigh the parcel first\n   and write the weight on it."
        "\n\n  By courier\n\n   The courier comes\n   at noon.\n\nGetting help\n\n   Ask\n   Ida."
    )
    assert paths(only(read("guide.txt", text))) == [
        ("Sending parcels > By post", "Weigh the parcel first\nand write the weight on it."),
        ("Sending parcels > By courier", "The courier comes\nat noon."),
        ("Getting help", "Ask\nIda."),
    ]


def test_short_lines_in_front_of_paragraphs_are_titles(read: Read) -> None:
    text = (
        "Opening hours\n\nThe hall is open every day from nine to five.\n\nDogs and bicycles\n\n"
        "Dogs are welcome if they are kept on a lead in the hall."
    )
    assert [kind for kind, _ in kinds(only(read("hall.txt", text)))] == [
        "heading", "text", "heading", "text",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "Ida Holm\n\nHarbour Road 3\n\nBergen",
        "Dear Ola,\n\nthe boat is in the harbour since Monday, and the mast is ready.\n\nIda",
        "The ferry is late\n\nand the boat that follows it will not go today either.",
    ],
)
def test_short_lines_of_an_address_or_a_letter_are_none(read: Read, text: str) -> None:
    assert {kind for kind, _ in kinds(only(read("a.txt", text)))} == {"text"}


def test_answers_marked_with_a_bracket_are_no_items(read: Read) -> None:
    text = (
        "Q) How long are the\nrecords kept?\n\nA) They are kept\n   for ten days.\n\n"
        "   Then they are shredded.\n\nQ) Who reads them?\n\nA) The desk."
    )
    assert paths(only(read("faq.txt", text))) == [
        ("How long are the records kept?", "They are kept\nfor ten days."),
        ("How long are the records kept?", "Then they are shredded."),
        ("Who reads them?", "The desk."),
    ]


def test_letters_with_a_bracket_stay_items_where_nothing_is_asked(read: Read) -> None:
    text = "Choose one:\n\nA) Tea.\nB) Milk."
    assert [kind for kind, _ in kinds(only(read("a.txt", text)))] == ["lead", "item", "item"]


def test_a_framed_line_is_a_title(read: Read) -> None:
    text = "=====  For guests  =====\n\nThe gate closes at ten."
    assert paths(only(read("a.txt", text))) == [("For guests", "The gate closes at ten.")]


@pytest.mark.parametrize(
    ("before", "sample"),
    [
        ("Convert it with", "   date -d '@1139'"),
        ("Add this to the file:", "    pool pool.example.net\n    makestep 1 3"),
        ("You need to open the port first.", "allow 192.168.1.0/24"),
    ],
)
def test_samples_are_code(read: Read, before: str, sample: str) -> None:
    document = only(read("a.txt", f"{before}\n\n{sample}\n\nThe rest is up to you."))
    lines = [line.strip() for line in sample.split("\n")]
    assert ("code", "\n".join(lines)) in kinds(document)


def test_an_indented_sentence_is_no_code(read: Read) -> None:
    text = "The rule says\n\n    that nobody may smoke in the hall.\n\nIt holds for all."
    assert {kind for kind, _ in kinds(only(read("a.txt", text)))} == {"text"}


def test_a_header_of_columns_over_a_line_is_no_title(read: Read) -> None:
    text = "See:\n\nName        Reach  Last\n======================\nalpha          77     3"
    assert [kind for kind, _ in kinds(only(read("a.txt", text)))] == ["lead", "code"]


def test_small_circles_of_indented_lists_are_bullets(read: Read) -> None:
    text = "It is better because\n\n  o the load is less\n\n  o nobody waits"
    assert kinds(only(read("a.txt", text)))[1:] == [
        ("item", "the load is less"), ("item", "nobody waits"),
    ]  # fmt: skip

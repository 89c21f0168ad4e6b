"""PDF: lines, columns, headings, lists, tables, page borders, and files that cannot be read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documents.making import kinds, only, paths, pdf, places, shown
from voicerag_core import DocumentError
from voicerag_core.documents import FileContent

Read = Callable[..., FileContent]
BOLD = {"F2": "Helvetica-Bold"}


def test_a_pdf_is_one_text_and_its_blocks_know_their_page(read: Read) -> None:
    content = read("b.pdf", pdf("First page.\nIt has hyphen-\nated words.", "", "Third page."))
    document = only(content)
    assert document.text == "First page. It has hyphenated words.\n\nThird page."
    assert places(document) == ["page=1", "page=3"]
    assert document.metadata == {"pages": 3}
    assert document.title == "b"
    assert content.notices[0].startswith("page 2 has no text")


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("The warranty lasts", "seven years.", "The warranty lasts seven years."),
        ("The ware-", "house is closed.", "The warehouse is closed."),
        ("The warranty for the big pump lasts", "7 years.",
         "The warranty for the big pump lasts 7 years."),
    ],
)  # fmt: skip
def test_a_sentence_over_a_page_border_is_whole(
    read: Read, first: str, second: str, joined: str
) -> None:
    assert only(read("a.pdf", pdf(first, second))).text == joined


def test_a_sentence_that_ends_at_a_page_border_stays_apart(read: Read) -> None:
    assert only(read("a.pdf", pdf("It is over.", "Next."))).text == "It is over.\n\nNext."


def page(number: int, text: str) -> str:
    return shown(
        (72, 760, 9, "Harbour rules"), (72, 700, 11, text), (300, 30, 9, f"Page {number} of 4")
    )


def test_running_headers_and_footers_are_gone(read: Read) -> None:
    texts = ["Bees fly at dawn.", "Wasps sleep late.", "Ants carry leaves.", "Moths like light."]
    data = pdf(*(page(number, text) for number, text in enumerate(texts, 1)))
    assert only(read("a.pdf", data)).text.split("\n\n") == texts


def test_pages_that_are_all_alike_keep_their_text(read: Read) -> None:
    assert only(read("a.pdf", pdf("Coupon 12", "Coupon 13"))).text == "Coupon 12\n\nCoupon 13"


def test_headings_by_size_and_by_weight(read: Read) -> None:
    stream = shown(
        (72, 740, 20, "Handbook"), (72, 700, 14, "1 Leave"), (72, 680, 10, "Leave is asked for."),
        (72, 650, 10, "F2:Drivers"), (72, 636, 10, "Two weeks ahead."),
        (72, 600, 14, "2 Pay"), (72, 580, 10, "Pay comes monthly and is never late."),
    )  # fmt: skip
    document = only(read("a.pdf", pdf(stream, fonts=BOLD)))
    assert paths(document) == [
        ("Handbook > 1 Leave", "Leave is asked for."),
        ("Handbook > 1 Leave > Drivers", "Two weeks ahead."),
        ("Handbook > 2 Pay", "Pay comes monthly and is never late."),
    ]
    assert document.title == "Handbook"


def test_lists_and_steps(read: Read) -> None:
    stream = shown(
        (72, 740, 10, "Do this:"), (72, 726, 10, "\\225"), (90, 726, 10, "Open the valve and wait"),
        (90, 714, 10, "for the light."), (72, 700, 10, "\\225"), (90, 700, 10, "Press start."),
        (72, 660, 10, "1"), (84, 660, 10, "Rinse."), (72, 646, 10, "2"), (84, 646, 10, "Dry."),
        (72, 610, 10, "a\\) Small"), (72, 596, 10, "b\\) Large"),
    )  # fmt: skip
    assert kinds(only(read("a.pdf", pdf(stream)))) == [
        ("lead", "Do this:"), ("item", "Open the valve and wait for the light."),
        ("item", "Press start."), ("item", "1. Rinse."), ("item", "2. Dry."), ("item", "a) Small"),
        ("item", "b) Large"),
    ]  # fmt: skip


def ruled(columns: list[float], rows: list[float]) -> str:
    lines = [f"{x} {rows[-1]} m {x} {rows[0]} l S" for x in columns]
    lines += [f"{columns[0]} {y} m {columns[-1]} {y} l S" for y in rows]
    return "0.5 w " + "\n".join(lines)


TABLE = (
    (74, 690, 10, "Part"), (154, 690, 10, "Price"), (234, 690, 10, "Stock"),
    (74, 670, 10, "Valve"), (154, 670, 10, "4 euros"), (234, 670, 10, "12"),
    (74, 650, 10, "Pump"), (154, 655, 10, "9 euros"), (154, 644, 10, "with tax"),
    (234, 650, 10, "3"),
)  # fmt: skip
ROWS = [("row", "Part: Valve; Price: 4 euros; Stock: 12"),
        ("row", "Part: Pump; Price: 9 euros with tax; Stock: 3")]  # fmt: skip


def test_a_table_with_rules(read: Read) -> None:
    stream = ruled([72, 150, 230, 300], [705, 684, 664, 640])
    stream += "\n" + shown((72, 730, 10, "Above it."), *TABLE, (72, 600, 10, "Below it."))
    assert kinds(only(read("a.pdf", pdf(stream)))) == [
        ("text", "Above it."), *ROWS, ("text", "Below it."),
    ]  # fmt: skip


def test_a_table_between_horizontal_rules(read: Read) -> None:
    stream = "0.5 w " + "\n".join(f"72 {y} m 300 {y} l S" for y in (705, 684, 640))
    stream += "\n" + shown((72, 730, 10, "Above it."), *TABLE, (72, 600, 10, "Below it."))
    assert kinds(only(read("a.pdf", pdf(stream)))) == [
        ("text", "Above it."), *ROWS, ("text", "Below it."),
    ]  # fmt: skip


def test_a_table_without_rules(read: Read) -> None:
    lines = [
        (x, y, 10, text)
        for y, row in zip(
            (700, 686, 672, 658),
            (("Part", "Price", "Stock"), ("Valve", "4 euros", "12"), ("Pump", "9 euros", "3"),
             ("Hose", "2 euros", "40")),
            strict=True,
        )
        for x, text in zip((72, 160, 250), row, strict=True)
    ]  # fmt: skip
    assert [text for _, text in kinds(only(read("a.pdf", pdf(shown(*lines)))))] == [
        "Part: Valve; Price: 4 euros; Stock: 12", "Part: Pump; Price: 9 euros; Stock: 3",
        "Part: Hose; Price: 2 euros; Stock: 40",
    ]  # fmt: skip


def test_code_keeps_its_lines(read: Read) -> None:
    stream = shown((72, 740, 10, "Run this in a shell of your choice, and wait:"))
    stream += "\n" + shown((72, 720, 10, "for x in y:"), (96, 708, 10, "go\\(x\\)"), font="F2")
    data = pdf(stream, fonts={"F2": "Courier"})
    assert kinds(only(read("a.pdf", data)))[-1] == ("code", "for x in y:\n    go(x)")


def test_a_table_of_contents_is_no_text(read: Read) -> None:
    stream = shown(
        (72, 740, 10, "Leave .............. 3"), (72, 726, 10, "Pay . . . . . . . . . 7"),
        (72, 690, 10, "Leave is asked for."),
    )  # fmt: skip
    assert only(read("a.pdf", pdf(stream))).text == "Leave is asked for."


def test_footnotes_are_notes(read: Read) -> None:
    stream = shown(
        (72, 740, 11, "Leave is asked for two weeks ahead."), (72, 726, 11, "It is then granted."),
        (72, 60, 7, "1 Not in August."),
    )  # fmt: skip
    assert kinds(only(read("a.pdf", pdf(stream))))[-1] == ("note", "1 Not in August.")


@pytest.mark.parametrize(
    ("stated", "title"),
    [("The  Title", "The Title"), ("Microsoft Word - a.doc", "c"), ("x.indd", "c"), ("", "c")],
)
def test_a_stated_title_is_taken_unless_a_program_made_it_up(
    read: Read, stated: str, title: str
) -> None:
    assert only(read("c.pdf", pdf("Words of it.", title=stated))).title == title


def test_a_locked_pdf_is_refused_and_a_restricted_one_read(read: Read) -> None:
    files = Path(__file__).parents[1] / "data/files"
    with pytest.raises(DocumentError, match="encrypted and needs a password"):
        read("locked.pdf", (files / "pdf_locked.pdf").read_bytes())
    assert only(read("a.pdf", (files / "pdf_restricted.pdf").read_bytes())).text == "Secret words."


def test_a_pdf_without_text_is_refused(read: Read) -> None:
    with pytest.raises(DocumentError, match="no text on its 2 pages; if they are scanned"):
        read("a.pdf", pdf("", ""))


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.4\n", pdf("hello")[:200]])
def test_a_damaged_pdf_is_refused(read: Read, data: bytes) -> None:
    with pytest.raises(DocumentError, match=r"a\.pdf cannot be read as PDF"):
        read("a.pdf", data)


def test_a_damaged_pdf_makes_no_noise(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom voicerag_core.documents import read_file\n"
        "try: read_file(sys.argv[1])\nexcept ValueError: sys.exit(3)"
    )
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF-1.4\n")
    run = subprocess.run([sys.executable, "-c", program, path], capture_output=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (3, b"", b"")

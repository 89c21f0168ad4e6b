"""Small files of each format, made by programs that people use, with questions that they answer.

Made by: LibreOffice 7.4 (kestrel, ferry, toolhire, warehouse.pdf, bakery.pdf, of texts written for
this), pandoc 2.17 (bakery, warehouse.pptx), docx 9 for Node (heron), PptxGenJS (survey), ExcelJS
(fleet), XlsxWriter (stock), odfpy (makerspace), Nodemailer (hours.eml), Python (crane, rooms),
Thunderbird's form (film), aspose-email-foss (hours.msg), msgforge (roof), Independentsoft
(tenants), epub-gen (allotment), Jupyter (pool), Jupytext (garden), ffmpeg (launch.srt, dairy.vtt,
dryer.srt), MkDocs (backups), Sphinx (loom); dairy.srt, dryer.vtt, launch.vtt and contracts.csv have
the form that Whisper, YouTube, Teams and a German Excel write.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.answers.formats import FOLDER, ask_format
from voicerag_core.documents import FileContent, read_file

QUESTIONS = [
    json.loads(line)
    for line in (FOLDER / "questions.jsonl").read_text(encoding="utf-8").splitlines()
]
FILES = sorted({entry["file"] for entry in QUESTIONS})
PLACES = {".pdf": "page", ".pptx": "slide", ".xlsx": "row", ".csv": "row", ".srt": "second",
          ".vtt": "second", ".epub": "anchor"}  # fmt: skip
VALUELESS = (
    "the sheet 'Fleet' has 1 formulas whose values are not in the file; open it in Excel or "
    "LibreOffice and save it"
)
NOTICES = {
    "toolhire.xlsx": ["the sheet 'Secret' is hidden and not read"],
    "fleet.xlsx": [VALUELESS],
    "contracts.csv": ["not UTF-8; read as windows-1252 (--encoding names another)"],
    "crane.eml": ["the attachment 'photo.png' is of a kind that is not read",
                  "the sheet 'Secret' is hidden and not read"],
}  # fmt: skip


def read(name: str) -> FileContent:
    return read_file(FOLDER / name)


def blocks_of(name: str) -> list[tuple[str, str, str]]:
    """Return kind, path and text of each block of all documents of a file."""
    return [
        (block.kind, " > ".join(block.path), document.text[block.start : block.end])
        for document in read(name).documents
        for block in document.blocks
    ]


@pytest.mark.parametrize("name", FILES)
def test_every_answer_stands_in_one_block_that_knows_its_place(name: str) -> None:
    content = read(name)
    assert list(content.notices) == NOTICES.get(name, [])
    for entry in (entry for entry in QUESTIONS if entry["file"] == name):
        holding = [
            block
            for document in content.documents
            for block in document.blocks
            if block.kind not in ("heading", "question")
            and re.search(entry["answer"], document.text[block.start : block.end])
        ]
        assert holding, entry
        unit = PLACES.get(Path(name).suffix)
        for block in holding if unit else ():
            assert block.place is not None and block.place.unit == unit, (entry, block)  # noqa: PT018


@pytest.mark.parametrize("name", ["kestrel.docx", "kestrel.odt", "kestrel.epub"])
def test_what_is_hidden_or_struck_is_no_text(name: str) -> None:
    text = " ".join(text for _, _, text in blocks_of(name))
    assert "9911" not in text
    assert "25 " not in text
    assert "internal" not in text  # the header
    assert ("note", "The north gate is closed on public holidays.") in [
        (kind, text) for kind, _, text in blocks_of(name)
    ]


@pytest.mark.parametrize("name", ["kestrel.docx", "kestrel.odt", "kestrel.pdf", "kestrel.html"])
def test_merged_cells_and_nested_lists_come_out_alike(name: str) -> None:
    blocks = [(kind, text) for kind, _, text in blocks_of(name)]
    assert ("row", "Area: Yard; Vehicle: Lorry; Limit (km/h): 15") in blocks
    assert ("lead", "Before work begins a contractor must:") in blocks
    items = [text for kind, text in blocks if kind == "item"]
    assert items[1] == "2. Sign the permit to work:"
    assert items[2].endswith("hot work needs form K-12;")
    assert items[2][:1] == "a"


def test_a_printed_page_keeps_no_struck_price_footer_or_footnote_in_its_text() -> None:
    blocks = [(kind, text) for kind, _, text in blocks_of("kestrel.pdf")]
    assert any("a parking card is 30 euros" in text for kind, text in blocks if kind == "text")
    assert not any("Page 1" in text for _, text in blocks)
    assert ("note", "1 The north gate is closed on public holidays.") in blocks


def test_an_answer_over_a_page_border_stays_with_its_question() -> None:
    assert (
        "text",
        "Complaints > Who keeps the complaints book?",
        "Ruben keeps it in the office behind the counter.",
    ) in blocks_of("bakery.pdf")


def test_slides_without_placeholders_have_titles() -> None:
    paths = {path for kind, path, _ in blocks_of("survey.pptx") if kind in ("row", "item")}
    assert paths == {"What guests liked", "Measures", "Nights sold"}


@pytest.mark.parametrize("name", ["dryer.vtt", "dryer.srt"])
def test_captions_that_roll_are_read_once(name: str) -> None:
    (block,) = blocks_of(name)
    assert block[2] == (
        "so today we change the belt of the dryer model T 40 the belt costs 23 euros you need a "
        "size 8 socket"
    )


def test_a_mail_with_tables_is_read_by_its_page() -> None:
    assert ("row", "Roof repair, hall 2", "Day: Tuesday; Crane: no; Supervisor: Anja Sommer") in (
        blocks_of("roof.msg")
    )


def test_a_data_frame_loses_the_column_that_counts_its_rows() -> None:
    rows = [text for kind, _, text in blocks_of("pool.ipynb") if kind == "row"]
    assert rows == ["Month: January; kWh: 18200", "Month: February; kWh: 16900"]


def test_pages_of_site_generators_keep_tabs_and_footnotes_apart() -> None:
    blocks = blocks_of("backups.html")
    assert (
        "code",
        "Backups > Restore a database > Linux",
        "ternctl restore --snapshot latest",
    ) in (blocks)
    assert ("note", "Enterprise plans keep them for 400 days.") in [(k, t) for k, _, t in blocks]
    assert not any("Skip to content" in text for _, _, text in blocks)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", sorted({Path(name).suffix for name in FILES}))
def test_four_of_five_questions_to_each_file_are_answered_with_their_place(suffix: str) -> None:
    questions = [entry for entry in QUESTIONS if Path(entry["file"]).suffix == suffix]
    asked = list(ask_format(FOLDER, suffix, questions))
    right = Counter(row.file for row in asked if row.right)
    placed = Counter(row.file for row in asked if row.place)
    assert all(right[entry["file"]] >= 4 for entry in questions), asked
    assert sum(placed.values()) >= 0.8 * len(asked), asked

"""Small files that are easy to read wrongly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from voicerag_core import DocumentError
from voicerag_core.documents import read_file

FILES = Path(__file__).parents[1] / "data/files"


@pytest.mark.parametrize(
    ("name", "wanted", "unwanted"),
    [
        ("pdf_ligatures_tex.pdf", ["office", "field", "flat", "efficient"], []),
        ("pdf_ligatures_tounicode.pdf", ["affiliate office", "offers to staff"], []),
        ("html_soft_hyphens.html", ["maintenance", "volunteer"], []),
        (
            "pdf_hyphens.pdf",
            [r"price-determining factors\. A", "well-known maker is", "Employee"],
            [],
        ),
        ("pdf_page_break.pdf", ["warranty for the pump lasts seven years"], []),
        ("pdf_headers.pdf", ["pump lasts seven years"], ["Confidential", "Page 1"]),
        (
            "pdf_columns.pdf",
            [r"before the tank is filled\. It opens by itself", "stays open at all times"],
            [],
        ),
        ("pdf_form.pdf", ["Policy number: PX-77213", "Insured person: Anna Example"], []),
        ("html_sup.html", [r"10\^6 cells", r"\b1990\."], [r"\b106\b"]),
        ("pdf_superscript.pdf", [r"10\^6 cells", r"\b1990\."], [r"\b106\b"]),
        ("html_teaser_article.html", ["opens at nine"], []),
        ("html_empty_main.html", ["opens at nine"], []),
        ("html_accordion.html", [r"warranty\?\n\nTwo years", r"shipping\?\n\nThe seller"], []),
        ("md_br.md", [r"Monday\s+Tuesday", r"Anna\s+Boris"], []),
        ("md_style.md", ["Bees fly"], ["color", "var x"]),
        ("csv_sep_line.csv", ["^Bees fly at dawn$"], []),
        ("csv_trailing_delimiter.csv", ["Wasps sleep late"], []),
        ("csv_invisible_header.csv", ["^Bees fly at dawn$"], []),
        ("jsonl_null_text.jsonl", [r"^Bees fly at dawn\.$"], []),
        ("rst_markup.rst", ["tank is full at 40 litres; see the manual"],
         ["``", r"\*\*", "example.org", "note"]),
        ("md_obsidian.md", ["Careful", "the policy", "deposit is 50 euros"],
         [r"\[!NOTE", r"\[\[", "==", "~~"]),
        ("guard_sup.html", ["10th", "25 m²"], []),
        ("guard_page.html", ["opens at nine"], ["Accept all", "Share", "Imprint"]),
    ],
)  # fmt: skip
def test_a_file_is_read_rightly(name: str, wanted: list[str], unwanted: list[str]) -> None:
    text = "\n".join(document.text for document in read_file(FILES / name).documents)
    for pattern in wanted:
        assert re.search(pattern, text), text
    for pattern in unwanted:
        assert not re.search(pattern, text), text


def test_a_font_without_meaning_is_refused() -> None:
    with pytest.raises(DocumentError, match="does not say which characters it shows"):
        read_file(FILES / "pdf_no_unicode_map.pdf")


def test_pages_without_text_are_named() -> None:
    content = read_file(FILES / "pdf_part_scanned.pdf")
    assert [notice.split(";")[0] for notice in content.notices] == ["page 2 has no text"]
    assert "wasps" in content.documents[0].text

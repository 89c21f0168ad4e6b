"""Word, PowerPoint and Excel files, OpenDocument texts and books."""

from __future__ import annotations

import datetime
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from tests.documents.making import kinds, only, paths, places, replaced, zipped
from voicerag_core import DocumentError
from voicerag_core.chunking import chunk_document
from voicerag_core.documents import FileContent, read_file
from voicerag_core.documents.cell_values import shown_value

Read = Callable[..., FileContent]
OFFICE = Path(__file__).parents[1] / "data/office"


def saved(document: Any) -> bytes:
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


# --- files that LibreOffice wrote ------------------------------------------------------------

HANDBOOK = [
    ("Harbour handbook",
     "This handbook is for the staff of the harbour. It was last changed on 4 March 2026."),
    ("Harbour handbook > Opening hours",
     ("The gate opens at six in the morning and closes at ten in the evening. "
      "On public holidays it stays closed.")),
    ("Harbour handbook > Entering the site", "To enter the site, do the following:"),
    ("Harbour handbook > Entering the site", "1. Show your badge at the gate."),
    ("Harbour handbook > Entering the site", "2. Put on a helmet."),
    ("Harbour handbook > Entering the site", "Yellow helmets are for guests."),
    ("Harbour handbook > Entering the site", "White helmets are for staff."),
    ("Harbour handbook > Entering the site", "3. Sign the visitors' book."),
    ("Harbour handbook > Fees", "Ship: Sailing boat; Fee per day: 12 euros; Longest stay: 14 days"),
    ("Harbour handbook > Fees", "Ship: Motor boat; Fee per day: 20 euros; Longest stay: 7 days"),
    ("Harbour handbook > Fees",
     "Ship: Barge; Fee per day: by agreement; Longest stay: by agreement"),
    ("Harbour handbook > Questions > Who pays for the crane?",
     "The owner of the ship pays for the crane."),
    ("Harbour handbook > Questions > May dogs come on board?",
     "Yes, on a leash. The quay holds 10^6 litres per m²."),
]  # fmt: skip


@pytest.mark.parametrize("suffix", ["odt", "docx", "pdf", "epub"])
def test_a_handbook_of_libreoffice(suffix: str) -> None:
    document = only(read_file(OFFICE / f"handbook.{suffix}"))
    assert document.title == "Harbour handbook"
    wanted = dict(HANDBOOK[i] for i in (1, 11, 12)) | {HANDBOOK[8][0]: HANDBOOK[8][1]}
    found = paths(document)
    if suffix in ("odt", "docx"):
        assert found == HANDBOOK
    elif suffix == "pdf":
        barge = (HANDBOOK[10][0], "Ship: Barge; Fee per day: by agreement")
        assert found == [*HANDBOOK[:10], barge, *HANDBOOK[11:]]
    for path, text in wanted.items():
        last = path.rpartition(" > ")[2]
        assert any(where.endswith(last) and said == text for where, said in found), path


def test_a_sheet_of_libreoffice() -> None:
    document = only(read_file(OFFICE / "stock.xlsx"))
    assert paths(document) == [
        ("stock", "Article: Anchor 20 kg; Price: 89.5; Stock: 12; Delivered: 2026-03-01"),
        ("stock", "Article: Rope 10 m; Price: 14; Stock: 140; Delivered: 2026-02-11"),
        ("stock", "Article: Buoy; Price: 33.25; Stock: 8; Delivered: 2025-12-24"),
    ]
    assert places(document)[1] == "sheet=stock&row=2"


# --- docx ------------------------------------------------------------------------------------


def add(document: Any, xml: str) -> None:
    document.element.body.insert(
        len(document.element.body) - 1, parse_xml(f"<w:p {nsdecls('w')}>{xml}</w:p>")
    )


def test_word_keeps_what_is_seen(read: Read) -> None:
    document = docx.Document()
    document.core_properties.title = "Fees"
    add(document, '<w:r><w:t xml:space="preserve">The fee is </w:t></w:r><w:del w:id="1">'
        '<w:r><w:delText>forty</w:delText></w:r></w:del><w:ins w:id="2"><w:r><w:t>fifty'
        '</w:t></w:r></w:ins><w:r><w:t xml:space="preserve"> euros.</w:t></w:r>')  # fmt: skip
    add(document, "<w:sdt><w:sdtContent><w:r><w:t>In a control.</w:t></w:r></w:sdtContent></w:sdt>"
        "<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent><w:r><w:t>Click here</w:t></w:r>"
        "</w:sdtContent></w:sdt>")  # fmt: skip
    add(document, "<w:r><w:pict><w:txbxContent><w:p><w:r><w:t>In a box.</w:t></w:r></w:p>"
        "</w:txbxContent></w:pict></w:r>")  # fmt: skip
    add(document, "<w:r><w:t>Seen.</w:t></w:r><w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t>"
        "</w:r><w:r><w:rPr><w:strike/></w:rPr><w:t>struck</w:t></w:r>")  # fmt: skip
    add(document, '<w:r><w:t>It holds 10</w:t></w:r><w:r><w:rPr><w:vertAlign w:val="superscript"/>'
        '</w:rPr><w:t>6</w:t></w:r><w:r><w:t xml:space="preserve"> cells.</w:t></w:r>')  # fmt: skip
    assert [text for _, text in kinds(only(read("a.docx", saved(document))))] == [
        "The fee is fifty euros.", "In a control.", "In a box.", "Seen.", "It holds 10^6 cells.",
    ]  # fmt: skip


def test_headings_lists_and_tables_of_word(read: Read) -> None:
    document = docx.Document()
    document.add_heading("Handbook", 0)
    document.add_heading("Steps", 1)
    document.add_paragraph("Do this:")
    for text in ("Open.", "Close."):
        document.add_paragraph(text, style="List Number")
    document.add_paragraph("Deeper.", style="List Bullet 2")
    document.add_paragraph().add_run("Pay").bold = True
    table = document.add_table(3, 3)
    for cell, text in zip(
        (cell for row in table.rows for cell in row.cells),
        ("Who", "May", "June", "Anna", "4", "5", "Bo", "6", "7"),
        strict=True,
    ):
        cell.text = text
    table.cell(1, 1).merge(table.cell(1, 2)).text = "4"
    table.cell(1, 0).merge(table.cell(2, 0)).text = "Anna"
    inner = table.cell(2, 2).add_table(2, 2)
    for i, text in enumerate(("Code", "Value", "x", "9")):
        inner.cell(i // 2, i % 2).text = text
    read_back = only(read("a.docx", saved(document)))
    assert read_back.title == "Handbook"
    assert paths(read_back) == [
        ("Handbook > Steps", "Do this:"), ("Handbook > Steps", "1. Open."),
        ("Handbook > Steps", "2. Close."), ("Handbook > Steps", "Deeper."),
        ("Handbook > Steps > Pay", "Who: Anna; May: 4; June: 4"),
        ("Handbook > Steps > Pay", "Who: Anna; May: 6; June: 7"),
        ("Handbook > Steps > Pay", "x: 9"),
    ]  # fmt: skip


def test_headings_are_known_by_their_outline_not_by_an_english_name(read: Read) -> None:
    document = docx.Document()
    document.add_heading("Urlaub", 1)
    document.add_paragraph("Zwei Wochen vorher.")
    data = replaced(saved(document), "word/styles.xml", 'w:val="heading 1"', 'w:val="Kapitel"')
    assert paths(only(read("a.docx", data))) == [("Urlaub", "Zwei Wochen vorher.")]


# --- pptx ------------------------------------------------------------------------------------


def test_slides_have_titles_items_tables_charts_and_notes(read: Read) -> None:
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "First week"
    frame = slide.placeholders[1].text_frame
    frame.text = "Monday: laptop"
    paragraph = frame.add_paragraph()
    paragraph.text, paragraph.level = "room 1.14", 1
    slide.notes_slide.notes_text_frame.text = "Bring the badge."
    second = deck.slides.add_slide(deck.slide_layouts[5])
    second.shapes.title.text = "Pay"
    table = second.shapes.add_table(2, 3, Inches(1), Inches(2), Inches(5), Inches(1)).table
    for cell, text in zip(
        table.iter_cells(), ("Who", "May", "June", "Anna", "4", "5"), strict=True
    ):
        cell.text = text
    data: Any = CategoryChartData()  # type: ignore[no-untyped-call]
    data.categories = ["Oslo", "Bergen"]
    data.add_series("Visits", (3, 4.5))
    second.shapes.add_chart(
        XL_CHART_TYPE.BAR_CLUSTERED, Inches(1), Inches(4), Inches(4), Inches(2), data
    )
    box = second.shapes.add_textbox(Inches(1), Inches(1), Inches(3), Inches(1))
    box.text_frame.text = "Pay comes monthly."
    hidden = deck.slides.add_slide(deck.slide_layouts[5])
    hidden.shapes.title.text = "Secret"
    hidden.element.set("show", "0")
    content = read("a.pptx", saved(deck))
    assert kinds(only(content)) == [
        ("heading", "First week"), ("item", "Monday: laptop"), ("item", "room 1.14"),
        ("note", "Bring the badge."), ("heading", "Pay"), ("text", "Pay comes monthly."),
        ("row", "Who: Anna; May: 4; June: 5"), ("row", "Oslo; Visits: 3"),
        ("row", "Bergen; Visits: 4.5"),
    ]  # fmt: skip
    assert places(only(content))[3:5] == ["slide=1", "slide=2"]
    assert content.notices == ("slide 3 is hidden and not read",)


# --- xlsx ------------------------------------------------------------------------------------


def test_sheets_are_tables_with_titles(read: Read) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Prices"
    sheet["A1"] = "Machines, net"
    sheet.merge_cells("A1:C1")
    rows = (["Product", "Price", "From"], ["Barista", 5980.5, datetime.date(2026, 3, 1)],
            ["Vendo", 12400, datetime.datetime(2026, 3, 1, 9, 29, 59, 999999)])  # fmt: skip
    for row in rows:
        sheet.append(row)
    sheet["B3"].number_format = '#,##0.00 "€"'
    sheet["B4"].number_format = "#,##0.00 [$€-407]"
    sheet["E3"], sheet["F3"], sheet["E4"], sheet["F4"] = "Code", "Value", "VAT", 0.25
    sheet["F4"].number_format = "0%"
    sheet["A8"] = "Only a remark."
    sheet["A10"], sheet["B10"], sheet["A11"], sheet["B11"] = "Item", "Sum", "All", "=1+1"
    hidden = book.create_sheet("Secret")
    hidden["A1"] = "secret"
    hidden.sheet_state = "hidden"
    book.create_sheet("Far")["XFD1048576"] = "far away"
    content = read("a.xlsx", saved(book))
    document = only(content)
    assert paths(document) == [
        ("Prices", "Machines, net"),
        ("Prices", "Product: Barista; Price: 5,980.50 €; From: 2026-03-01"),
        ("Prices", "Product: Vendo; Price: 12,400.00 €; From: 2026-03-01 9:30"),
        ("Prices", "VAT: 25%"), ("Prices", "Only a remark."), ("Prices", "Item: Sum"),
        ("Prices", "All"), ("Far", "far away"),
    ]  # fmt: skip
    assert content.notices == (
        (
            "the sheet 'Prices' has 1 formulas whose values are not in the file; open it in Excel "
            "or LibreOffice and save it"
        ),
        "the sheet 'Secret' is hidden and not read",
    )
    passages = chunk_document(document)
    assert [passage.metadata["sheet"] for passage in passages] == ["Prices", "Far"]
    assert passages[0].source.endswith("a.xlsx#sheet=Prices&row=1")
    assert passages[1].source.endswith("a.xlsx#sheet=Far&row=1")


def test_merged_cells_are_repeated(read: Read) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["Team", "Name", "Phone"], ["IT", "Anna", 12], [None, "Bo", 13]):
        sheet.append(row)
    sheet.merge_cells("A2:A3")
    assert [text for _, text in kinds(only(read("a.xlsx", saved(book))))] == [
        "Team: IT; Name: Anna; Phone: 12", "Team: IT; Name: Bo; Phone: 13",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "number_format", "wanted"),
    [
        (0.25, "0%", "25%"),
        (0.125, "0.0%", "12.5%"),
        (12.5, '0.00 "€"', "12.50 €"),
        (1234.5, "#,##0.00", "1,234.50"),
        (5, "[$$-409]#,##0.00", "$5.00"),
        (-3, "0;(0)", "(3)"),
        (3.0, "General", "3"),
        (0.1 + 0.2, "General", "0.3"),
        (1e20, "General", "1e+20"),
        (7, "0.##", "7"),
        (7.5, '"No. "0.0', "No. 7.5"),
        (True, None, "yes"),
        (datetime.datetime(2026, 3, 1), "d/m/yy", "2026-03-01"),
        (datetime.time(9, 30), "h:mm", "9:30"),
        (datetime.timedelta(hours=26, minutes=5), "[h]:mm", "26:05"),
        ("words", "@", "words"),
    ],
)  # fmt: skip
def test_values_are_shown_as_a_sheet_shows_them(
    value: object, number_format: str | None, wanted: str
) -> None:
    assert shown_value(value, number_format) == wanted


# --- odt and epub ----------------------------------------------------------------------------

ODT = """<office:document-content
 xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
 xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0"
 xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0">
<office:automatic-styles><style:style style:name="H"><style:text-properties text:display="none"/>
</style:style></office:automatic-styles><office:body><office:text>{}</office:text></office:body>
</office:document-content>"""


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (('<text:tracked-changes><text:p>gone</text:p></text:tracked-changes><text:p>A'
          '<text:s text:c="2"/>b<text:tab/>c<text:line-break/>d '
          '<text:span text:style-name="H">hidden</text:span></text:p>'),
         [("text", "A b c\nd")]),
        (("<text:p>Said.<text:note><text:note-citation>1</text:note-citation><text:note-body>"
          "<text:p>A note.</text:p></text:note-body></text:note></text:p>"),
         [("text", "Said."), ("note", "A note.")]),
        (("<text:table-of-content><text:p>Contents</text:p></text:table-of-content>"
          '<text:h text:outline-level="2">Head</text:h><text:section><text:p>In it.</text:p>'
          "</text:section>"),
         [("heading", "Head"), ("text", "In it.")]),
        (('<table:table><table:table-row><table:table-cell table:number-columns-repeated="16384"/>'
          '</table:table-row><table:table-row table:number-rows-repeated="1048576">'
          "<table:table-cell><text:p>a</text:p></table:table-cell><table:table-cell><text:p>b"
          "</text:p></table:table-cell></table:table-row></table:table>"),
         [("text", "a"), ("text", "b")]),
        (("<text:p><draw:frame><draw:text-box><text:p>In a box.</text:p></draw:text-box>"
          "</draw:frame>Around it.</text:p>"), [("text", "Around it."), ("text", "In a box.")]),
    ],
)  # fmt: skip
def test_opendocument_texts(read: Read, body: str, wanted: list[tuple[str, str]]) -> None:
    data = zipped({"content.xml": ODT.format(body)})
    assert kinds(only(read("a.odt", data))) == wanted


def epub(chapters: dict[str, str]) -> bytes:
    kinds_of = {"nav.xhtml": ' properties="nav"'}
    form = "application/xhtml+xml"
    items = "".join(
        f'<item id="c{i}" href="{name}" media-type="{form}"{kinds_of.get(name, "")}/>'
        for i, name in enumerate(chapters)
    )
    spine = "".join(f'<itemref idref="c{i}"/>' for i in range(len(chapters)))
    return zipped({
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": (
            '<container><rootfiles><rootfile full-path="b/p.opf"/></rootfiles></container>'
        ),
        "b/p.opf": (
            '<package><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The book'
            f"</dc:title><dc:creator>A. Writer</dc:creator></metadata><manifest>{items}"
            f"</manifest><spine>{spine}<itemref idref='none'/></spine></package>"
        ),
        **{f"b/{name}": page for name, page in chapters.items()},
    })  # fmt: skip


def test_a_book_is_read_by_its_spine(read: Read) -> None:
    data = epub({
        "nav.xhtml": "<html><body><h1>Contents</h1><ol><li>One</li></ol></body></html>",
        "1.xhtml": (
            "<html><head><title/><script src='x'/></head><body><h1>One</h1><p>Bees fly.</p>"
            "</body></html>"
        ),
        "2.xhtml": (
            "<html><head><title>Two</title></head><body><p>Wasps <a id='x'/>sleep.</p></html>"
        ),
    })  # fmt: skip
    document = only(read("a.epub", data))
    assert (document.title, document.metadata) == ("The book", {"author": "A. Writer"})
    assert paths(document) == [("One", "Bees fly."), ("Two", "Wasps sleep.")]


# --- files that are made to harm, and files of another kind ----------------------------------

OFFICE_KINDS = ("docx", "pptx", "xlsx", "odt", "epub")


def minimal(kind: str) -> bytes:
    if kind == "docx":
        return saved(docx.Document())
    if kind == "pptx":
        return saved(pptx.Presentation())
    if kind == "xlsx":
        return saved(openpyxl.Workbook())
    return zipped({"content.xml": ODT.format("<text:p>x</text:p>")}) if kind == "odt" else epub({})


@pytest.mark.parametrize("kind", OFFICE_KINDS)
def test_an_archive_that_would_unpack_to_too_much_is_refused(read: Read, kind: str) -> None:
    out = io.BytesIO(minimal(kind))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/media/zeros.bin", bytes(80 << 20))
    with pytest.raises(DocumentError, match=r"would unpack to \d+ MiB"):
        read(f"bomb.{kind}", out.getvalue())


@pytest.mark.parametrize("kind", ["docx", "pptx", "xlsx", "odt"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused(read: Read, kind: str, encoding: str) -> None:
    name = {"docx": "word/document.xml", "pptx": "ppt/presentation.xml", "xlsx": "xl/workbook.xml",
            "odt": "content.xml"}[kind]  # fmt: skip
    harm = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>'
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(minimal(kind))) as source, zipfile.ZipFile(out, "w") as target:
        for info in source.infolist():
            data = harm.encode(encoding) if info.filename == name else source.read(info)
            target.writestr(info.filename, data)
    with pytest.raises(DocumentError, match="declares a document type"):
        read(f"a.{kind}", out.getvalue())


def test_entities_of_a_book_are_not_resolved(read: Read, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    page = (
        f'<!DOCTYPE a [<!ENTITY e SYSTEM "file://{tmp_path}/secret.txt">]>'
        "<html><body><p>x &e; y</p></body></html>"
    )
    assert "secret" not in only(read("a.epub", epub({"1.xhtml": page}))).text.replace(
        "secret.txt", ""
    )


@pytest.mark.parametrize("kind", ["docx", "pptx", "xlsx"])
def test_encrypted_and_old_office_files_are_named(read: Read, kind: str) -> None:
    from tests.documents.making import compound_file

    locked = compound_file({"EncryptedPackage": bytes(5000), "EncryptionInfo": bytes(100)})
    with pytest.raises(DocumentError, match="encrypted and needs a password"):
        read(f"a.{kind}", locked)
    with pytest.raises(DocumentError, match=f"of the old kind in spite of its name.*as {kind}"):
        read(f"b.{kind}", compound_file({"WordDocument": bytes(5000)}))


def test_an_encrypted_opendocument_text_is_named(read: Read) -> None:
    manifest = "<manifest:manifest><manifest:encryption-data/></manifest:manifest>"
    data = zipped({"META-INF/manifest.xml": manifest, "content.xml": "x"})
    with pytest.raises(DocumentError, match="encrypted and needs a password"):
        read("a.odt", data)


@pytest.mark.parametrize("kind", OFFICE_KINDS)
@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04", zipped({"a.txt": "x"})])
def test_what_is_no_office_file_is_refused(read: Read, kind: str, data: bytes) -> None:
    with pytest.raises(DocumentError, match=rf"a\.{kind} cannot be read as {kind}"):
        read(f"a.{kind}", data)


def test_a_sheet_of_many_rows_is_read(read: Read) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Big")
    sheet.append(["Number", "Square"])
    for number in range(20_000):
        sheet.append([number, number * number])
    document = only(read("a.xlsx", saved(book)))
    assert len(document.blocks) == 20_001
    assert document.text.endswith("Number: 19999; Square: 399960001")


FORMATS_FOLDER = Path(__file__).parent / "formats"


@pytest.mark.parametrize(
    ("file", "suffix", "said"),
    [
        ("kestrel.pdf", ".docx", "is a PDF file by its content, not docx; name it .pdf"),
        ("kestrel.docx", ".pdf", "is a Word document by its content, not pdf; name it .docx"),
        ("fleet.xlsx", ".docx", "is an Excel workbook by its content, not docx; name it .xlsx"),
        ("ferry.pptx", ".xlsx", "is a presentation by its content, not xlsx; name it .pptx"),
        ("kestrel.epub", ".odt", "is a book by its content, not odt; name it .epub"),
        ("kestrel.html", ".docx", "is a web page by its content, not docx; name it .html"),
        ("roof.msg", ".docx", "is a mail of Outlook by its content, not docx; name it .msg"),
    ],
)
def test_a_misnamed_file_is_called_what_it_is(
    read: Read, file: str, suffix: str, said: str
) -> None:
    with pytest.raises(DocumentError, match=re.escape(said)):
        read(f"a{suffix}", (FORMATS_FOLDER / file).read_bytes())

"""Passages that know their structure."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicerag_core import Citation, Document, Passage, chunk_document, cited_place
from voicerag_core.blocks import Block, BlockKind, Place
from voicerag_core.passages import (
    passage_blocks,
    passage_sentences,
    searched_text,
    split_source,
)

Piece = tuple[BlockKind, str, tuple[str, ...]]


def document(
    *pieces: Piece, places: Sequence[Place | None] = (), levels: Sequence[int] = ()
) -> Document:
    """Make a document of kind, text and headings of each block."""
    blocks = []
    text = ""
    for number, (kind, words, path) in enumerate(pieces):
        start = len(text) + (2 if text else 0)
        text = f"{text}\n\n{words}" if text else words
        place = places[number] if places else None
        level = levels[number] if levels else 0
        blocks.append(Block(start, len(text), kind, path, level, place))
    return Document("kb/a.md", text, "Handbook", blocks=tuple(blocks))


LEAVE = document(
    ("heading", "Leave", ()), ("heading", "Drivers", ("Leave",)),
    ("text", "Two weeks ahead.", ("Leave", "Drivers")), ("heading", "Office", ("Leave",)),
    ("text", "Three days ahead.", ("Leave", "Office")),
)  # fmt: skip


def shown(passage: Passage) -> list[tuple[str, str, str]]:
    return [
        (block.kind, " > ".join(block.path), passage.text[block.start : block.end])
        for block in passage_blocks(passage)
    ]


def test_short_sections_share_a_passage_and_every_block_knows_its_headings() -> None:
    (passage,) = chunk_document(LEAVE)
    assert passage.text == LEAVE.text
    assert shown(passage) == [
        ("heading", "", "Leave"), ("heading", "Leave", "Drivers"),
        ("text", "Leave > Drivers", "Two weeks ahead."), ("heading", "Leave", "Office"),
        ("text", "Leave > Office", "Three days ahead."),
    ]  # fmt: skip
    assert "path" not in passage.metadata
    assert passage.metadata["kind"] == "text"


def test_a_section_that_fits_is_not_cut() -> None:
    first, second = chunk_document(LEAVE, size=50)
    assert [passage.text.split("\n\n")[0] for passage in (first, second)] == ["Leave", "Office"]
    assert second.metadata["path"] == ["Leave"]
    assert shown(second)[1] == ("text", "Leave > Office", "Three days ahead.")
    json.dumps(second.metadata)


def test_a_heading_stays_with_what_follows() -> None:
    texts = [passage.text for passage in chunk_document(LEAVE, size=26)]
    assert texts == ["Leave", "Drivers\n\nTwo weeks ahead.", "Office\n\nThree days ahead."]


STEPS = document(
    ("heading", "Start", ()), ("lead", "Do this:", ("Start",)),
    ("item", "1. Open the valve.", ("Start",)), ("item", "Slowly.", ("Start",)),
    ("item", "2. Press start.", ("Start",)), ("text", "Then wait.", ("Start",)),
    levels=(0, 0, 0, 1, 0, 0),
)  # fmt: skip


def test_a_list_that_is_cut_keeps_its_lead_in() -> None:
    first, second, last = chunk_document(STEPS, size=35)
    assert first.text == "Start\n\nDo this:\n\n1. Open the valve."
    assert "lead" not in first.metadata
    assert second.text == "Slowly.\n\n2. Press start."
    assert second.metadata["lead"] == "Do this: 1. Open the valve."
    (alone,) = (p for p in chunk_document(STEPS, size=20) if p.text == "2. Press start.")
    assert alone.metadata["lead"] == "Do this:"
    assert "lead" not in last.metadata
    assert passage_blocks(second)[0].level == 1
    assert (first.metadata["kind"], last.metadata["kind"]) == ("list", "text")


def test_the_explanation_of_a_term_ends_with_its_passage() -> None:
    made = document(
        ("heading", "port", ("Settings",)), ("text", "Where it listens.", ("Settings", "port")),
        ("text", "All can be changed.", ("Settings",)),
    )  # fmt: skip
    first, second = chunk_document(made)
    assert shown(second) == [("text", "Settings", "All can be changed.")]
    assert shown(first)[1] == ("text", "Settings > port", "Where it listens.")


def test_notes_are_passages_of_their_own() -> None:
    made = document(("text", "Said.", ()), ("note", "A note.", ()), ("text", "More.", ()))
    assert [(p.text, p.metadata["kind"]) for p in chunk_document(made)] == [
        ("Said.", "text"), ("A note.", "note"), ("More.", "text"),
    ]  # fmt: skip


def test_places_make_links_that_open_there() -> None:
    pages = [Place("page", n) for n in (1, 1, 2, 3)]
    made = document(*(("text", f"Text {n} of it.", ()) for n in range(4)), places=pages)
    first, second = chunk_document(made, size=45)
    assert first.source == "kb/a.md#page=1"
    assert (first.metadata["page"], first.metadata["page_end"]) == (1, 2)
    assert [block.source for block in passage_blocks(first)] == [
        "kb/a.md#page=1", "kb/a.md#page=1", "kb/a.md#page=2",
    ]  # fmt: skip
    assert second.source == "kb/a.md#page=3"
    assert "page_end" not in second.metadata


def test_sheets_do_not_share_a_passage_and_rows_have_links() -> None:
    places = [Place("row", 2, "A b"), Place("row", 3, "A b"), Place("row", 2, "C")]
    made = document(*(("row", f"x: {n}", ()) for n in range(3)), places=places)
    first, second = chunk_document(made)
    assert [block.source for block in passage_blocks(first)] == [
        "kb/a.md#sheet=A%20b&row=2", "kb/a.md#sheet=A%20b&row=3",
    ]  # fmt: skip
    assert (second.metadata["sheet"], second.metadata["row"]) == ("C", 2)
    assert first.metadata["kind"] == "table"


def test_anchors_are_links_and_no_numbers() -> None:
    places = [Place("anchor", "pay"), Place("anchor", "leave")]
    made = document(("text", "Pay.", ()), ("text", "Leave.", ()), places=places)
    (passage,) = chunk_document(made)
    assert passage.source == "kb/a.md#pay"
    assert passage.metadata["blocks"] == [[0, 4, "text"], [6, 12, "text"]]


def test_code_is_cut_between_lines_and_text_between_sentences() -> None:
    made = document(
        ("code", "one = 1\ntwo = 2\nthree = 3", ()), ("text", "First one. Then two.", ())
    )
    assert [p.text for p in chunk_document(made, size=18)] == [
        "one = 1\ntwo = 2", "three = 3", "First one.", "Then two.",
    ]  # fmt: skip


def test_a_plain_passage_has_a_block_a_paragraph() -> None:
    passage = Passage("1", "One. Two.\n\nThree.", {"source": "a", "path": ["P"]})
    assert shown(passage) == [("text", "P", "One. Two."), ("text", "P", "Three.")]
    assert [(s.start, s.end, s.block) for s in passage_sentences(passage)] == [
        (0, 4, 0), (5, 9, 0), (11, 17, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "blocks", [None, 3, [], [[]], [["a"]], [[0, 3]], [[0, 3, "nonsense"]], "text"]
)
def test_metadata_of_others_is_not_taken_for_structure(blocks: object) -> None:
    passage = Passage("1", "One. Two.", {"blocks": blocks})  # type: ignore[dict-item]
    assert all(block.kind == "text" for block in passage_blocks(passage))


def test_rows_items_and_headings_are_whole_sentences() -> None:
    path = ("Fees etc. Here",)
    made = document(
        ("heading", "Fees etc. Here", ()), ("row", "Part: Valve No. 4. Price: 5.", path),
        ("item", "1. Open. Close.", path), ("text", "One. Two.", path), ("code", "a. b. c", path),
    )  # fmt: skip
    (passage,) = chunk_document(made)
    assert [passage.text[s.start : s.end] for s in passage_sentences(passage)] == [
        "Fees etc. Here", "Part: Valve No. 4. Price: 5.", "1. Open. Close.", "One.", "Two.",
        "a. b. c",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        ({}, "Words."),
        ({"title": "T"}, "T\nWords."),
        ({"title": "T", "path": ["A", "B"], "lead": "Do:"}, "T > A > B\nDo:\nWords."),
        ({"title": "T", "path": ["T", "B"]}, "T > B\nWords."),
        ({"title": "Words."}, "Words."),
    ],
)
def test_what_is_searched_says_title_headings_and_lead_in(
    metadata: dict[str, str], wanted: str
) -> None:
    assert searched_text(Passage("1", "Words.", metadata)) == wanted


kinds = st.sampled_from(["heading", "question", "text", "lead", "item", "row", "code", "note"])
pieces = st.lists(
    st.tuples(
        kinds,
        st.text("ab. \n", min_size=1, max_size=60).filter(lambda text: bool(text.strip())),
        st.lists(st.sampled_from("PQR"), max_size=3).map(tuple),
    ),
    max_size=12,
)


@given(pieces, st.integers(1, 80), st.integers(0, 79))
def test_no_word_is_lost_and_no_passage_too_long(
    made: list[tuple[BlockKind, str, tuple[str, ...]]], size: int, overlap: int
) -> None:
    whole = document(*((kind, text.strip(), path) for kind, text, path in made))
    covered: set[int] = set()
    for position, passage in enumerate(
        chunk_document(whole, size=size, overlap=min(overlap, size - 1))
    ):
        start, end = passage.metadata["start"], passage.metadata["end"]
        assert isinstance(start, int)
        assert isinstance(end, int)
        assert passage.text == whole.text[start:end]
        assert 0 < len(passage.text) <= size
        assert passage.metadata["position"] == position
        covered |= set(range(start, end))
        inside = {i for block in passage_blocks(passage) for i in range(block.start, block.end)}
        assert all(passage.text[i].isspace() for i in range(len(passage.text)) if i not in inside)
    assert all(whole.text[i].isspace() for i in range(len(whole.text)) if i not in covered)


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("/x/a.pdf#page=3", ("/x/a.pdf", "page=3")),
        ("/x/C#/notes.md", ("/x/C#/notes.md", "")),
        ("/x/a#b.pdf#page=3", ("/x/a#b.pdf", "page=3")),
        ("/x/v1.2#b/n.md#intro", ("/x/v1.2#b/n.md", "intro")),
        ("/x/h.eml#attachment=a/b.csv&row=3", ("/x/h.eml", "attachment=a/b.csv&row=3")),
        ("/x/a.epub#epubcfi(/6/4)", ("/x/a.epub", "epubcfi(/6/4)")),
        ("/x/noext#row=3", ("/x/noext", "row=3")),
        ("C:/x/y.pdf#page=2", ("C:/x/y.pdf", "page=2")),
        ("https://e.com/h#o", ("https://e.com/h", "o")),
        ("lease", ("lease", "")),
    ],
)
def test_a_source_is_parted_from_its_fragment(source: str, parts: tuple[str, str]) -> None:
    assert split_source(source) == parts


def passage_of(source: str, *blocks: Block, text: str) -> Passage:
    return chunk_document(Document(source, text, blocks=blocks))[0]


def test_a_citation_opens_at_its_own_block_not_where_its_passage_begins() -> None:
    text = "First page.\n\nsecond, an item\n\nThird page."
    passage = passage_of(
        "/d/my file.pdf",
        Block(0, 11, "text", ("A",), 0, Place("page", 1)),
        Block(13, 28, "item", ("A",), 1, Place("page", 1)),
        Block(30, 41, "text", ("A",), 0, Place("page", 3)),
        text=text,
    )
    at = text.index("Third")
    cited = cited_place(passage, Citation(passage.id, at, at + 11))
    assert (cited.quote, cited.path) == ("Third page.", ("A",))
    assert cited.source == "/d/my file.pdf#page=3"
    assert cited.link == "file:///d/my%20file.pdf#page=3"
    item = cited_place(passage, Citation(passage.id, 13, 28))
    assert item.link == "file:///d/my%20file.pdf#page=1"


@pytest.mark.parametrize(
    ("source", "link"),
    [
        ("/d/p.html", "file:///d/p.html#:~:text=1%2C5%20kg%20%2D%20or%20more%20%26%20so%20on%2C"),
        ("C:/d/n.docx", "file:///C:/d/n.docx"),
        ("https://e.com/h", "https://e.com/h"),
        ("lease", ""),
        ("javascript://e.com/%0Aalert(1)", ""),
    ],
)
def test_a_link_opens_files_pages_and_urls(source: str, link: str) -> None:
    text = "1,5 kg - or more & so on, even then."
    passage = passage_of(source, Block(0, len(text), "text"), text=text)
    assert cited_place(passage, Citation(passage.id, 0, len(text))).link == link

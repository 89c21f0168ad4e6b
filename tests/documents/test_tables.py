"""Delimited text and JSON lines."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.documents.making import kinds, only, paths, places
from voicerag_core import DocumentError
from voicerag_core.documents import FileContent, read_file
from voicerag_core.documents.unicode import tidy_lines

Read = Callable[..., FileContent]


def test_jsonl_gives_a_document_a_line(read: Read) -> None:
    content = read(
        "a.jsonl",
        '{"text": "One\\u2028.", "id": 7, "title": "T\\n t", "source": "http://x", "year": null,'
        ' "metadata": {"k": [1, {"l": true}]}}\n\n{"text": "  "}\r\n{"text": "Two."}',
    )
    first, last = content.documents
    assert (first.source, first.text, first.title) == (f"{content.source}#line=1", "One\n.", "T t")
    assert first.metadata == {"id": 7, "origin": "http://x", "year": None, "k": [1, {"l": True}]}
    assert (last.source, last.text, last.title) == (f"{content.source}#line=4", "Two.", "")


BROKEN = [
    ('{"text": "x"', "line 2 is not JSON"),
    ('["text"]', "line 2 holds a list"),
    ('"text"', "line 2 holds a string"),
    ('{"content": "x"}', "line 2 has no key 'text', only 'content'"),
    ('{"text": 3}', "line 2 has in 'text' a number"),
    ('{"text": "x", "title": ["y"]}', "line 2 has in 'title' a list"),
    ('{"text": "x", "n": NaN}', "NaN is not a JSON number"),
    ('{"text": "x", "n": 1e999}', "a number that JSON cannot hold"),
    ('{"text": "x\\u0000"}', "has a zero character"),
    ('{"text": "x", "m": {"\\ud800": 1}}', "half of a surrogate pair"),
]


@pytest.mark.parametrize(("line", "words"), BROKEN)
def test_a_broken_line_costs_that_line_and_is_named(read: Read, line: str, words: str) -> None:
    content = read("a.jsonl", f'{{"text": "fine"}}\n{line}\n{{"text": "too"}}\n')
    assert [document.text for document in content.documents] == ["fine", "too"]
    (notice,) = content.notices
    assert words in notice
    assert notice.endswith("it is left out")


def test_a_file_of_broken_lines_is_refused(read: Read) -> None:
    with pytest.raises(DocumentError, match="no row that can be read: line 1 is not JSON"):
        read("a.jsonl", "nonsense\n{\n")


def test_many_broken_lines_are_counted(read: Read) -> None:
    content = read("a.jsonl", '{"text": "fine"}\n' + "nonsense\n" * 50)
    assert len(content.notices) == 21
    assert content.notices[-1] == "30 more rows are left out"


def test_objects_without_a_text_are_rows(read: Read) -> None:
    document = only(
        read(
            "a.jsonl",
            '{"part": "valve", "size": {"mm": 4}, "in": ["a", 2]}\n{"part": null, "n": 1}\n',
        )
    )
    assert kinds(document) == [("row", "part: valve; size mm: 4; in: a, 2"), ("row", "n: 1")]
    assert places(document) == ["line=1", "line=2"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_with_a_column_of_texts_gives_a_document_a_row(read: Read, delimiter: str) -> None:
    rows = [
        ["id", "Text", "Title", "source", "", "empty"],
        ["1", f'"One{delimiter}\ntwo ""three"""', "T", "here", "0", ""],
        [""] * 6,
        ["2", "Short row"],
    ]
    text = codecs.BOM_UTF8.decode() + "\r\n".join(delimiter.join(row) for row in rows)
    content = read("a.tsv" if delimiter == "\t" else "a.csv", text)
    first, last = content.documents
    shown = f"One{delimiter}".strip()
    assert kinds(first) == [("text", f'{shown}\ntwo "three"'), ("row", "id: 1; source: here")]
    assert (first.title, first.metadata) == ("T", {"id": "1", "origin": "here"})
    assert first.source == f"{content.source}#row=2"
    assert kinds(last) == [("text", "Short row"), ("row", "id: 2")]
    assert last.source == f"{content.source}#row=4"


def test_all_columns_of_a_table_are_rows(read: Read) -> None:
    table = "supplier;payment_terms;rating\nKaldi AS;30 days, net;A\n\nHydra;prepayment;\n"
    document = only(read("suppliers.csv", table))
    assert kinds(document) == [
        ("row", "supplier: Kaldi AS; payment terms: 30 days, net; rating: A"),
        ("row", "supplier: Hydra; payment terms: prepayment"),
    ]  # fmt: skip
    assert places(document) == ["row=2", "row=4"]
    assert document.title == "suppliers"


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        ("sep=;\na;b,c\n1,5;2\n3;4\n", ["a: 1,5; b,c: 2", "a: 3; b,c: 4"]),
        ("Price list 2026,,\n\npart,price,\nvalve,4,\npump,9,\n",
         ["Price list 2026", "part: valve; price: 4", "part: pump; price: 9"]),
        ("2024-01-02,4.5,Oslo\n2024-01-03,4.7,Bergen\n",
         ["2024-01-02; 4.5; Oslo", "2024-01-03; 4.7; Bergen"]),
        ("a,b,b\n1,2,3\n4,5,6\n", ["a: 1; b: 2; b (2): 3", "a: 4; b: 5; b (2): 6"]),
        (('name,said\nAnna,"He '
          'said ""no"", twice"\nBo,\n'), ['name: Anna; said: He said "no", twice', "name: Bo"]),
        ("\ufeffa\u200b , b\xa0\n1,2\n3,4\n", ["a: 1; b: 2", "a: 3; b: 4"]),
    ],
)  # fmt: skip
def test_tables_as_programs_write_them(read: Read, table: str, wanted: list[str]) -> None:
    assert [text for _, text in kinds(only(read("a.csv", table)))] == wanted


def test_columns_of_questions_and_answers_are_pairs(read: Read) -> None:
    table = "id,Question,Answer\n1,Who pays?,The seller.\n2,When?,\n3,Where?,In Oslo.\n"
    document = only(read("faq.csv", table))
    assert paths(document) == [
        ("Who pays?", "The seller."), ("Who pays?", "id: 1"), ("Where?", "In Oslo."),
        ("Where?", "id: 3"),
    ]  # fmt: skip
    assert places(document)[0] == "row=2"


def test_the_text_column_can_be_named(read: Read) -> None:
    document = only(read("a.csv", "id,body,text\n1,words,other\n", text_column="body"))
    assert (document.text, document.metadata) == (
        "words\n\nid: 1; text: other", {"id": "1", "text": "other"},
    )  # fmt: skip
    assert only(read("a.jsonl", '{"body": "words"}\n', text_column="body")).text == "words"
    with pytest.raises(DocumentError, match=r"no column 'body', only 'a', 'b'.*--text-column"):
        read("b.csv", "a,b\n1,2\n", text_column="body")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1,2,3", "row 3 has 3 cells, the header 2"),
        ('"never closed,2', "row 3 (line 3) has a quote that is never closed"),
    ],
)
def test_a_bad_row_costs_that_row_and_is_named(read: Read, row: str, words: str) -> None:
    content = read("a.csv", f"a,b\n1,2\n{row}\n5,6\n")
    assert [text for _, text in kinds(only(content))] == ["a: 1; b: 2", "a: 5; b: 6"]
    assert content.notices == (f"{words}; it is left out",)


def test_a_zero_character_is_left_out(read: Read) -> None:
    content = read("a.csv", "a,b\n1,2\0\n" + "3,4\n" * 100)
    assert "a: 1; b: 2" in only(content).text
    assert content.notices == ("zero characters were left out",)


def test_a_cell_may_be_longer_than_the_library_allows_by_default(read: Read) -> None:
    assert len(only(read("a.csv", f"text,b\n{'x' * 200_000},1\n")).text) == 200_006


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(
                lambda text: bool(tidy_lines(text))
            ),
            st.dictionaries(
                names.filter(lambda n: n not in {"text", "title", "source", "metadata"}),
                json_values,
                max_size=3,
            ),
        ),
        max_size=5,
    ),
    escaped=st.booleans(),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_jsonl_gives_back_what_was_written(
    tmp_path: Path, rows: list[tuple[str, dict[str, object]]], escaped: bool
) -> None:
    path = tmp_path / "rows.jsonl"
    lines = (json.dumps({"text": text, **more}, ensure_ascii=escaped) for text, more in rows)
    path.write_bytes("\n".join(lines).encode())
    documents = read_file(path).documents
    assert [document.metadata for document in documents] == [more for _, more in rows]
    assert [document.text.split() for document in documents] == [
        tidy_lines(text).split() for text, _ in rows
    ]

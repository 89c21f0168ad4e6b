"""Plain text, encodings, and reStructuredText."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documents.making import kinds, only, paths, pdf
from voicerag_core import ConfigError, DocumentError
from voicerag_core.documents import FileContent

Read = Callable[..., FileContent]
WORDS = "Käse, 你好, ½\nzweite Zeile"
GERMAN = "Das Büro in Köln öffnet um neun Uhr.\nDie Gebühr beträgt 40 €."


@pytest.mark.parametrize(
    "data",
    [
        WORDS.encode(),
        codecs.BOM_UTF8 + WORDS.encode(),
        codecs.BOM_UTF16_LE + WORDS.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + WORDS.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + WORDS.encode("utf-32-le"),
        WORDS.replace("\n", "\r\n").encode(),
        WORDS.replace("\n", "\r").encode(),
    ],
)
def test_text_is_read_by_its_byte_order_mark(read: Read, data: bytes) -> None:
    content = read("my notes.txt", data)
    assert only(content).text == WORDS
    assert only(content).title == "my notes"
    assert content.notices == ()


@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        (GERMAN, "cp1252"),
        ("Le café est ouvert à midi ; l'été aussi.", "latin-1"),
        ("Привет, мир. Гарантия на насос составляет два года.", "cp1251"),
        ("Гарантия на насос составляет два года со дня покупки.", "koi8_r"),
        ("Zażółć gęślą jaźń. Biuro jest otwarte od dziewiątej.", "cp1250"),
        ("水泵的保修期为自购买之日起两年。请联系服务台。", "gb18030"),
        ("保証期間は購入日から二年間です。詳しくはお問い合わせください。", "cp932"),
        ("保証期間は購入日から二年間です。詳しくはお問い合わせください。", "euc_jp"),
    ],
)
def test_other_encodings_are_detected_and_named(read: Read, words: str, encoding: str) -> None:
    content = read("a.txt", words.encode(encoding))
    assert only(content).text == words
    assert [notice.startswith("not UTF-8; read as ") for notice in content.notices] == [True]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_seen_by_its_zeros(read: Read, encoding: str) -> None:
    assert only(read("a.txt", "hello wörld".encode(encoding))).text == "hello wörld"


def test_a_named_encoding_is_taken(read: Read) -> None:
    data = "Köln".encode("cp437")
    assert only(read("a.txt", data, encoding="cp437")).text == "Köln"
    marked = codecs.BOM_UTF8 + "Köln".encode()
    assert only(read("b.txt", marked, encoding="cp437")).text == "Köln"
    with pytest.raises(ConfigError, match="no encoding 'klingon'"):
        read("c.txt", data, encoding="klingon")
    with pytest.raises(ConfigError, match="no encoding"):
        read("d.txt", data, encoding="rot13")


def test_a_bad_byte_costs_that_byte_alone(read: Read) -> None:
    data = "Käse, Büro und größer\n".encode() * 20 + b"bad \xff here\n" + "früh".encode()
    content = read("a.txt", data)
    assert "bad \ufffd here\nfrüh" in only(content).text
    assert content.notices == (
        "one place not UTF-8 (the first in line 21); the characters are lost",
    )


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", codecs.BOM_UTF8 + b"a\xff\xfe"])
def test_a_text_that_is_mostly_lost_is_refused(read: Read, data: bytes) -> None:
    with pytest.raises(DocumentError, match=r"a\.txt is no text in UTF-"):
        read("a.txt", data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((Path(__file__).parents[1] / "data/human/spk1_snt3.flac").read_bytes(), "audio"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt \xff\xfe", "audio"),
        (b"\xff\xfb\x90\x64\x00", "audio"),
        (b"PK\x03\x04\x14\x00\x00\x00", "office document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "old office document"),
        (b"\x89PNG\r\n\x1a\n\x00", "image"),
        (pdf("hello"), "PDF"),
        (bytes(range(256)) * 20, "no text|zero"),
    ],
)
def test_another_kind_of_file_named_txt_is_said_to_be_one(
    read: Read, data: bytes, words: str
) -> None:
    with pytest.raises(DocumentError, match=words):
        read("a.txt", data)


def test_lists_and_headings_of_plain_text(read: Read) -> None:
    text = (
        "OPENING HOURS\n\nThe desk is open:\n\n- on Mondays\n- on Tuesdays,\n  from nine\n\n"
        "Steps\n=====\n\n1. Open the valve.\n   a) Slowly.\n2. Wait.\n\nA line\nand its end."
    )
    document = only(read("a.txt", text))
    assert kinds(document) == [
        ("heading", "OPENING HOURS"), ("lead", "The desk is open:"), ("item", "on Mondays"),
        ("item", "on Tuesdays,\nfrom nine"), ("heading", "Steps"), ("item", "1. Open the valve."),
        ("item", "a) Slowly."), ("item", "2. Wait."), ("text", "A line\nand its end."),
    ]  # fmt: skip
    assert [block.level for block in document.blocks if block.kind == "item"] == [0, 0, 0, 1, 0]


def test_a_wrapped_line_is_no_item(read: Read) -> None:
    text = "The ferry takes at most\n12. cars and the seats\n- all of them - are free."
    assert kinds(only(read("a.txt", text))) == [("text", text)]


@pytest.mark.parametrize(
    "text",
    [
        "Q: Who pays?\nA: The seller.\n\nQ: When?\nA: At once.",
        "Q1. Who pays?\n\nA1. The seller.\n\nQ2. When?\n\nA2. At once.",
        "Who pays?\n\nThe seller.\n\nWhen?\n\nAt once.",
        "Question: Who pays?\nAnswer: The seller.\nQuestion: When?\nAnswer: At once.",
    ],
)
def test_questions_with_answers_are_pairs(read: Read, text: str) -> None:
    assert paths(only(read("faq.txt", text))) == [
        ("Who pays?", "The seller."),
        ("When?", "At once."),
    ]


def test_numbered_questions_of_a_plain_text_are_pairs(read: Read) -> None:
    text = (
        "Questions\n\n 1. Who pays?\n\n    The seller.\n\n 2. I lost my key.\n\n    Ring the desk."
        "\n\n 3. When is it open,\n    and for whom?\n\n    Always.\n\n    For all.\n\n"
        "4. Is it free?\n\n    No.\n"
    )
    assert paths(only(read("faq.txt", text)))[1:] == [
        ("Who pays?", "The seller."),
        ("I lost my key.", "Ring the desk."),
        ("When is it open, and for whom?", "Always."),
        ("When is it open, and for whom?", "For all."),
        ("Is it free?", "No."),
    ]


def test_names_and_values_in_two_columns_are_fields(read: Read) -> None:
    text = "EXIT STATUS\n  0      all went well\n  1      it failed\n  127    no such file\n"
    assert kinds(only(read("a.txt", text)))[1:] == [
        ("field", "0: all went well"), ("field", "1: it failed"), ("field", "127: no such file"),
    ]  # fmt: skip
    table = "Stop   Zone   Price\nArna   one    two\nVoss   one    four\n"
    assert "field" not in [kind for kind, _ in kinds(only(read("b.txt", table)))]
    ragged = "one   two words\nand another   one\nthen   a third\n"
    assert "field" not in [kind for kind, _ in kinds(only(read("c.txt", ragged)))]


def test_numbered_steps_are_no_questions(read: Read) -> None:
    text = "1. Is it on?\n\n   Look.\n\n2. Press it.\n\n   Hard.\n\n3. Go.\n\n   Soon.\n"
    assert "question" not in [kind for kind, _ in kinds(only(read("a.txt", text)))]


def test_options_of_a_setting_in_rst_are_fields(read: Read) -> None:
    text = (
        "A\n=\n\n.. confval:: idle_time\n   :default: 15 minutes\n   :noindex:\n   :type: time\n\n"
        "   An idle one is closed.\n\n.. versionadded:: 2.1 So it is.\n"
    )
    assert kinds(only(read("a.rst", text)))[1:] == [
        ("heading", "idle_time"), ("field", "default: 15 minutes"), ("field", "type: time"),
        ("text", "An idle one is closed."), ("text", "New in version 2.1: So it is."),
    ]  # fmt: skip


def test_a_class_of_a_program_in_rst_keeps_its_parameters(read: Read) -> None:
    text = (
        "A\n=\n\n.. class:: Gate(rate, burst=1.0)\n\n   :param str rate: The rate.\n"
        "   :param burst: A factor.\n   :raises RateError: Never.\n\n   It counts.\n\n"
        ".. class:: wide\n\n   So it is.\n"
    )
    assert kinds(only(read("a.rst", text)))[1:] == [
        ("heading", "Gate(rate, burst=1.0)"), ("field", "rate: The rate."),
        ("field", "burst: A factor."), ("field", "raises RateError: Never."),
        ("text", "It counts."), ("text", "So it is."),
    ]  # fmt: skip


def test_one_question_in_prose_takes_one_answer(read: Read) -> None:
    text = "We moved.\n\nWhy did we move?\n\nThe roof leaked.\n\nThe new house is dry."
    document = only(read("a.txt", text))
    assert paths(document) == [
        ("", "We moved."), ("Why did we move?", "The roof leaked."), ("", "The new house is dry."),
    ]  # fmt: skip


RST = """\
=====
Intro
=====

.. _label:

First ``words`` of :ref:`the guide <guide>` and :exc:`~requests.exceptions.Timeout` [1]_.
It holds 10\\ :sup:`6` cells.

.. contents::

More
----

.. versionadded:: 2.1
   It can fly.

.. code-block:: python

   x = 1

Steps:

#. One.
#. Two.

   - inner

Term
   Its meaning.

+-----+-------+
| Day | Hours |
+=====+=======+
| Mon | 9     |
+-----+-------+

.. raw:: html

   <b>raw</b>

.. include:: /etc/passwd

.. [1] A note.
"""


def test_rst_is_read_as_its_words(read: Read) -> None:
    document = only(read("a.rst", RST))
    assert document.title == "Intro"
    assert kinds(document) == [
        ("heading", "Intro"),
        ("text", "First words of the guide and Timeout. It holds 10^6 cells."),
        ("heading", "More"), ("text", "New in version 2.1: It can fly."),
        ("code", "x = 1"), ("lead", "Steps:"), ("item", "1. One."), ("item", "2. Two."),
        ("item", "inner"), ("heading", "Term"), ("text", "Its meaning."),
        ("row", "Day: Mon; Hours: 9"), ("note", "A note."),
    ]  # fmt: skip
    assert paths(document)[-3] == ("Intro > More > Term", "Its meaning.")


def test_rst_that_is_nested_too_deeply_is_read_as_plain_text(read: Read) -> None:
    lines = [f"{'  ' * depth}- item {depth}\n" for depth in range(400)]
    content = read("deep.rst", "\n".join(lines))
    assert "item 399" in only(content).text


@pytest.mark.parametrize("name", ["form.txt", "form.md"])
def test_lines_that_name_values_are_fields(read: Read, name: str) -> None:
    text = (
        "The form is short.\n\n"
        "Form: TR-2\nDeadline: 5th of the month\nApproved by: line manager\n\n"
        "Mind this: it is late.\nAnd then some more words of prose.\n"
    )
    document = only(read(name, text))
    assert [pair for pair in kinds(document) if pair[0] == "field"] == [
        ("field", "Form: TR-2"), ("field", "Deadline: 5th of the month"),
        ("field", "Approved by: line manager"),
    ]  # fmt: skip


def test_numbered_lines_with_text_between_are_titles(read: Read) -> None:
    text = (
        "MINUTES OF THE BOARD\nDate: 4 May\nPlace: Room 2\n\n"
        "1. Fire drill\n\nIt took six minutes.\n\n"
        "2. First aid\n\nTwo people are missing.\n"
    )
    assert paths(only(read("a.txt", text)))[-2:] == [
        ("MINUTES OF THE BOARD > 1. Fire drill", "It took six minutes."),
        ("MINUTES OF THE BOARD > 2. First aid", "Two people are missing."),
    ]
    listed = only(read("b.txt", "1. Milk\n\n2. Eggs\n\n3. Bread\n"))
    assert [kind for kind, _ in kinds(listed)] == ["item"] * 3


def test_words_of_files_and_conditions_in_rst(read: Read) -> None:
    text = "A\n=\n\nIt lies in :file:`~/.loom`.\n\n.. only:: html\n\n   Seen on the web.\n"
    assert [text for kind, text in kinds(only(read("a.rst", text))) if kind == "text"] == [
        "It lies in ~/.loom.", "Seen on the web.",
    ]  # fmt: skip


def test_rst_that_docutils_gives_nothing_of_keeps_its_words(read: Read) -> None:
    text = "".join("  " * depth + "* item\n\n" for depth in range(500))
    assert only(read("a.rst", text)).text.count("item") == 500


@pytest.mark.parametrize("letters", ["-a", ".a", "'a", "-.a"])
def test_a_long_line_without_a_value_is_read_soon(read: Read, letters: str) -> None:
    line = f"A{letters * 20_000}"
    assert kinds(only(read("a.txt", f"{line}\n{line}"))) == [("text", f"{line}\n{line}")]


def test_a_list_of_very_many_items_is_read_soon(read: Read) -> None:
    text = "What is sold?\n\n" + "1. A tile\n\n" * 60_000
    assert "A tile" in only(read("a.txt", text)).text

"""Whatever bytes a file has, it is read or refused with its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.documents.making import msg, pdf
from voicerag_core import Document, DocumentError
from voicerag_core.chunking import chunk_document
from voicerag_core.documents import SUFFIXES, read_file, source_of

DATA = Path(__file__).parents[1] / "data"
SEEDS = {
    ".pdf": pdf("Some words.", "More words."),
    ".docx": (DATA / "office/handbook.docx").read_bytes(),
    ".odt": (DATA / "office/handbook.odt").read_bytes(),
    ".epub": (DATA / "office/handbook.epub").read_bytes(),
    ".xlsx": (DATA / "office/stock.xlsx").read_bytes(),
    ".msg": msg({0x37: "Subject", 0x1000: "Words of it."}, attachments=[("a.csv", b"a,b\n1,2\n")]),
    ".eml": b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nWords.\n--b\n"
    b"Content-Type: text/html\nContent-Disposition: attachment; filename=a.html\n\n<p>x\n--b--\n",
    ".html": (DATA / "files/html_accordion.html").read_bytes(),
    ".md": (DATA / "files/md_obsidian.md").read_bytes() + b"\n| a | b |\n|--|--|\n| 1 | 2 |\n",
    ".rst": (DATA / "files/rst_markup.rst").read_bytes(),
    ".csv": (DATA / "files/csv_trailing_delimiter.csv").read_bytes(),
    ".ipynb": b'{"cells": [{"cell_type": "markdown", "source": ["# A\\n", "b"]}]}',
    ".srt": b"1\n00:00:01,000 --> 00:00:02,000\nWords.\n",
}


def check(path: Path) -> None:
    """Read a file; what is read can be kept, and what is refused is named."""
    documents: tuple[Document, ...] = ()
    refused = ""
    try:
        documents = read_file(path).documents
    except DocumentError as e:
        refused = str(e)
    assert not refused or str(path) in refused
    for document in documents:
        assert document.text.strip()
        assert "\0" not in document.text
        json.dumps([document.text, document.title, document.metadata], allow_nan=False).encode()
        document.text.encode()
        assert document.source.startswith(source_of(path))
        for passage in chunk_document(document):
            json.dumps(passage.metadata, allow_nan=False)


@given(data=st.binary(max_size=400), suffix=st.sampled_from(SUFFIXES))
@example(data=b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>", suffix=".pdf")
@example(data=b"[" * 100_000, suffix=".jsonl")
@example(data=b"[" * 100_000, suffix=".ipynb")
@example(data=b'{"text": "a", "n": ' + b"1" * 5000 + b"}", suffix=".jsonl")
@example(data=b"<div>" * 5000 + b"x", suffix=".html")
@example(data=b"> " * 3000 + b"x", suffix=".md")
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(data)
    check(path)


@pytest.mark.parametrize("suffix", SEEDS)
@given(data=st.data())
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_damaged_file_is_read_or_refused(
    tmp_path: Path, suffix: str, data: st.DataObject
) -> None:
    changed = bytearray(SEEDS[suffix])
    for _ in range(data.draw(st.integers(0, 5))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"changed{suffix}"
    path.write_bytes(changed[: data.draw(st.integers(0, len(changed)))])
    check(path)

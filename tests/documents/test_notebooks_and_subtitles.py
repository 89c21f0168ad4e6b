"""Jupyter notebooks, and what is said in recordings."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.documents.making import kinds, only, places
from voicerag_core import DocumentError
from voicerag_core.chunking import chunk_document
from voicerag_core.documents import FileContent

Read = Callable[..., FileContent]


def test_a_notebook_is_its_cells_and_what_they_printed(read: Read) -> None:
    table = "<table><tr><th>city<th>bees</tr><tr><td>Oslo<td>4</tr><tr><td>Bergen<td>6</tr></table>"
    cells = [
        {"cell_type": "markdown", "source": ["# Bees\n", "\n", "We count bees:"]},
        {"cell_type": "code", "source": "count()", "outputs": [
            {"output_type": "stream", "text": ["10 bees\n"]},
            {"output_type": "execute_result", "data": {"text/html": [table], "text/plain": "..."}},
            {"output_type": "display_data", "data": {"image/png": "AA", "text/plain": "<F>"}},
        ]},
        {"cell_type": "raw", "source": "Raw words."},
        "broken",
    ]  # fmt: skip
    content = read("a.ipynb", json.dumps({"cells": cells, "nbformat": 4}))
    assert kinds(only(content)) == [
        ("heading", "Bees"), ("lead", "We count bees:"), ("code", "count()"), ("code", "10 bees"),
        ("row", "city: Oslo; bees: 4"), ("row", "city: Bergen; bees: 6"), ("text", "Raw words."),
    ]  # fmt: skip
    assert only(content).title == "Bees"
    assert len(content.notices) == 1


def test_an_old_notebook_is_read(read: Read) -> None:
    book = {"worksheets": [{"cells": [{"cell_type": "code", "input": ["x"], "outputs": []}]}]}
    assert kinds(only(read("a.ipynb", json.dumps(book)))) == [("code", "x")]


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": 3}', '"x"'])
def test_what_is_no_notebook_is_refused(read: Read, text: str) -> None:
    with pytest.raises(DocumentError, match="cannot be read as a notebook"):
        read("a.ipynb", text)


SRT = """1
00:00:01,000 --> 00:00:03,000
<i>Bees fly
at dawn.</i>

2
00:00:03,200 --> 00:00:05,000
They carry ♪

3
00:00:05,100 --> 00:00:06,000
pollen. [music]

4
00:01:10,500 --> 00:01:12,000
ANNA: Wasps sleep.

5
nonsense --> 00:01:13,000
lost
"""

VTT = """WEBVTT

NOTE a comment

STYLE
::cue { color: red }

00:01.000 --> 00:03.000 align:start
<v Anna>Bees &amp; wasps fly.

intro
00:00:03.500 --> 00:00:05.000
<v Bo>When <00:00:04.000><c.yellow>do they</c>?

00:00:05.000 --> 00:00:06.000
<v Anna>At dawn.
"""


def test_subrip(read: Read) -> None:
    content = read("a.srt", SRT)
    document = only(content)
    assert kinds(document) == [
        ("text", "Bees fly at dawn. They carry pollen."), ("text", "ANNA: Wasps sleep."),
    ]  # fmt: skip
    assert places(document) == ["t=1", "t=70.5"]
    assert content.notices == ("1 cues have times that cannot be read; they are left out",)
    (passage,) = chunk_document(document)
    assert passage.source.endswith("a.srt#t=1")
    assert (passage.metadata["seconds"], passage.metadata["seconds_end"]) == (1.0, 70.5)


def test_webvtt(read: Read) -> None:
    assert kinds(only(read("a.vtt", VTT))) == [
        ("text", "Anna: Bees & wasps fly."), ("text", "Bo: When do they?"),
        ("text", "Anna: At dawn."),
    ]  # fmt: skip


def test_a_text_without_times_is_no_subtitle(read: Read) -> None:
    with pytest.raises(DocumentError, match="cannot be read as subtitles"):
        read("a.srt", "hello")


def test_captions_without_full_stops_are_cut_all_the_same(read: Read) -> None:
    cues = "\n\n".join(
        f"{n}\n00:{n // 60:02}:{n % 60:02},000 --> 00:{n // 60:02}:{n % 60:02},900\n"
        f"word number {n} of this talk that has no end"
        for n in range(200)
    )
    document = only(read("talk.srt", cues))
    assert max(block.end - block.start for block in document.blocks) < 1200
    assert len({block.place for block in document.blocks}) == len(document.blocks) > 5


def test_lines_said_twice_after_a_pause_stay(read: Read) -> None:
    cues = (
        "1\n00:00:01,000 --> 00:00:02,000\nPress the red button.\n\n"
        "2\n00:00:02,000 --> 00:00:03,000\nPress the red button.\nThen wait.\n\n"
        "3\n00:00:09,000 --> 00:00:10,000\nThen wait.\nFor a minute.\n"
    )
    text = only(read("a.srt", cues)).text
    assert " ".join(text.split()) == ("Press the red button. Then wait. Then wait. For a minute.")

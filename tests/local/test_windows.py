"""Windows: headings first, a mark for each block, and only sentences that may be chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from voicerag_core.chunking import chunk_document
from voicerag_core.documents.formats import parse
from voicerag_core.local.reading.features import candidates
from voicerag_core.local.reading.windows import MARKS, heading_line, windows
from voicerag_core.types import Passage

TEXT = """# Handbook

## Leave

### Senior staff

Senior staff get 28 days. Five can be carried over.

To ask for leave:

1. Open the portal.
2. Choose Leave.

| Model | Tank |
|---|---|
| A10 | 4 litres |
| B20 | 6 litres |
"""

WORDS: list[str] = []


def tokens(text: str) -> tuple[list[int], NDArray[np.int64]]:
    """One token a word, numbered from 10,000 on in the order in which words are first seen."""
    ids, places, at = [], [], 0
    for word in text.split():
        at = text.index(word, at)
        if word not in WORDS:
            WORDS.append(word)
        ids.append(10_000 + WORDS.index(word))
        places.append((at, at + len(word)))
        at += len(word)
    return ids, np.array(places, np.int64).reshape(-1, 2)


def spelt(ids: list[int]) -> str:
    kinds = {mark: f"<{kind}>" for kind, mark in MARKS.items()}
    return " ".join(kinds.get(i) or WORDS[i - 10_000] for i in ids)


def passages_of(text: str, size: int = 1200) -> list[Passage]:
    parsed = parse(text.encode(), "a.md", ".md", text_column=None, encoding=None)
    return chunk_document(parsed.documents[0], size=size)


def test_a_window_has_a_mark_before_each_block() -> None:
    passages = passages_of(TEXT)
    found = list(windows(tokens, passages, candidates(passages), room=300))
    (window,) = found
    assert spelt(window.ids) == (
        "<heading> Handbook <heading> Leave <heading> Senior staff "
        "<text> Senior staff get 28 days. Five can be carried over. <lead> To ask for leave: "
        "<item> 1. Open the portal. <item> 2. Choose Leave. "
        "<row> Model: A10; Tank: 4 litres <row> Model: B20; Tank: 6 litres"
    )


@pytest.mark.parametrize("size", [40, 80, 1200])
@pytest.mark.parametrize("room", [14, 20, 300])
def test_every_sentence_is_in_one_window_with_its_own_tokens(size: int, room: int) -> None:
    passages = passages_of(TEXT, size)
    sentences = candidates(passages)
    seen = []
    for window in windows(tokens, passages, sentences, room):
        assert len(window.ids) <= room
        for i, (start, end) in zip(window.sentences, window.spans, strict=True):
            words = sentences[i].text.split()
            assert spelt(window.ids[start:end]).split() == words[: end - start]
            assert end - start == len(words) or end == room
            seen.append(i)
    assert seen == list(range(len(sentences)))


def test_a_later_window_begins_with_its_headings() -> None:
    passages = passages_of(TEXT)
    sentences = candidates(passages)
    last = list(windows(tokens, passages, sentences, room=20))[-1]
    assert spelt(last.ids).startswith("Handbook > Leave > Senior staff: ")
    first = min(start for start, _ in last.spans)
    assert first > len(["Handbook", ">", "Leave", ">", "Senior", "staff:"]) - 1, (
        "headings are never chosen"
    )


def test_plain_text_has_no_marks_and_no_headings() -> None:
    passage = Passage("1", "One sentence. Another one.")
    (window,) = windows(tokens, [passage], candidates([passage]), room=300)
    assert spelt(window.ids) == "One sentence. Another one."


def test_running_text_without_headings_has_no_title_in_front() -> None:
    prose = Passage("1", "One sentence. Another one.", {"title": "Harbour"})
    (window,) = windows(tokens, [prose], candidates([prose]), room=300)
    assert spelt(window.ids) == "One sentence. Another one."
    (listed,) = passages_of("- Bread\n- Salt\n")
    (window,) = windows(tokens, [listed], candidates([listed]), room=300)
    assert spelt(window.ids).startswith(f"{listed.title}: <item>"), "an item says little alone"


def test_headings_are_said_once() -> None:
    (sentence,) = candidates([Passage("1", "Alder")])
    item = replace(sentence, kind="item")
    titled = Passage("1", "Alder", {"title": "Alder", "source": "/tmp/a.md#x"})
    assert heading_line(titled, item) == ""
    untitled = Passage("1", "Alder", {"source": "/tmp/prices.csv#row=3"})
    assert heading_line(untitled, item) == "prices.csv:"

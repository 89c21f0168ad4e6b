"""Which row of a table answers, and which cells of it.

The network reads rows as running text, where the first row, or the one in front of the right one,
often wins. Rows are therefore compared by the words that tell them apart, and the likeliest are
read again one by one, each with the table's headings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from voicerag_core.local.reading.features import Candidate, content_words
from voicerag_core.types import Passage

__all__ = ["MOST_REREAD", "TableRow", "cells_asked_for", "matching_rows", "read_alone", "tables"]

MOST_REREAD = 4
MOST_ROW_CHARACTERS = 250
"""Of a row that is quoted whole; of a longer one the cells that matter."""

_CELL = re.compile(r";\s+")


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table.

    Args:
        sentence: Its index among the sentences.
        overlap: Share of the question's words, weighted by how few rows have them, that the row
            has: 0..1.
    """

    sentence: int
    overlap: float


def tables(
    question: str, passages: Sequence[Passage], sentences: Sequence[Candidate]
) -> list[list[TableRow]]:
    """Return the rows of each table that is at hand, of a table the likeliest rows first."""
    asked = set(content_words(question)) | _letters(question)
    found: dict[tuple[str, str, tuple[str, ...]], list[int]] = {}
    for i, one in enumerate(sentences):
        if one.kind == "row":
            found.setdefault((*_table_of(passages[one.passage]), one.path), []).append(i)
    return [_ranked(rows, sentences, asked) for rows in found.values()]


def _ranked(
    rows: Sequence[int], sentences: Sequence[Candidate], asked: set[str]
) -> list[TableRow]:
    sets = {i: set(sentences[i].words) | _letters(sentences[i].text) for i in rows}
    weights = {}
    for word in asked:
        having = sum(word in words for words in sets.values())
        if 0 < having < max(2, len(rows)):
            weights[word] = math.log((len(rows) + 1) / having)
    total = sum(weights.values()) or 1.0
    ranked = [
        TableRow(i, sum(w for word, w in weights.items() if word in sets[i]) / total) for i in rows
    ]
    return sorted(ranked, key=lambda row: -row.overlap)


def read_alone(
    passages: Sequence[Passage], sentences: Sequence[Candidate], rows: Sequence[int]
) -> tuple[list[Passage], list[Candidate]]:
    """Return rows as passages, each behind its headings, and as the sentences of these."""
    alone, parts = [], []
    for number, row in enumerate(rows):
        sentence = sentences[row]
        names = dict.fromkeys((passages[sentence.passage].title, *sentence.path))
        head = " > ".join(name.rpartition("/")[2] for name in names if name) + ": "
        alone.append(Passage(str(number), head + sentence.text))
        place = (len(head), len(head) + len(sentence.text))
        parts.append(replace(sentence, passage=number, start=place[0], end=place[1]))
    return alone, parts


def matching_rows(
    question: str, rows: Sequence[TableRow], sentences: Sequence[Candidate], best: int
) -> list[int]:
    """Return all rows with the values by which the question picks the best row, in their order."""
    asked = set(content_words(question))
    cells = [dict(map(_named, _CELL.split(sentences[row.sentence].text))) for row in rows]
    own = dict(map(_named, _CELL.split(sentences[best].text)))
    wanted: dict[str, set[str]] = {}
    for name, value in own.items():
        said = _value_words(value, question) & (asked | _letters(question))
        others = [_value_words(cell.get(name, ""), question) for cell in cells]
        telling = {word for word in said if not all(word in other for other in others)}
        if telling:
            wanted[name] = telling
    if not wanted:
        return [best]
    return sorted(
        row.sentence
        for row, cell in zip(rows, cells, strict=True)
        if all(words <= _value_words(cell.get(name, ""), question) for name, words in wanted.items())
    )


def cells_asked_for(question: str, row: str, scores: Sequence[float] | None = None) -> list[tuple[int, int]]:
    """Return where the cells of a long row are that matter: its name, and what is asked about."""
    spans = []
    position = 0
    for cell in _CELL.split(row):
        start = row.index(cell, position)
        position = start + len(cell)
        spans.append((start, position))
    if len(row) <= MOST_ROW_CHARACTERS:
        return [(0, len(row))]
    asked = set(content_words(question))
    kept = [
        number == 0
        or bool(asked & set(content_words(row[start:end])))
        or (scores is not None and scores[number] == max(scores))
        for number, (start, end) in enumerate(spans)
    ]
    return [span for span, keep in zip(spans, kept, strict=True) if keep]


def _table_of(passage: Passage) -> tuple[str, str]:
    return passage.source.partition("#")[0], str(passage.metadata.get("sheet") or "")


def _named(cell: str) -> tuple[str, str]:
    name, _, value = cell.partition(": ")
    return (name, value) if value else ("", name)


def _value_words(value: str, question: str) -> set[str]:
    return set(content_words(value)) | _letters(value)


def _letters(text: str) -> set[str]:
    """Return the capitals that stand alone: a grade, a class, a size."""
    return set(re.findall(r"(?<![\w'])[A-Z](?![\w'])", text))

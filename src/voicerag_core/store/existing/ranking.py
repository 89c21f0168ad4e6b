"""From the rows of a table to hits: one ranking of cosine and words, each passage once."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np

from voicerag_core.store.existing.layouts import Layout
from voicerag_core.store.existing.table_sql import FoundRow
from voicerag_core.store.values import SAME
from voicerag_core.types import Embedding, Hit, JSONValue, MatchedBy, Passage

__all__ = ["Found", "ranked", "valid_ids"]

_SATURATION: Final = 0.6  # k1 of BM25
_LENGTH_WEIGHT: Final = 0.6  # b of BM25
_INTEGER = re.compile(r"-?\d{1,18}")
_BITS: Final = {"smallint": 15, "integer": 31, "bigint": 63}
_OWN_KEYS: Final = "_node_"
"""Start of the keys under which LlamaIndex keeps what is no metadata."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Args:
        nearest: Rows by their vector, best first.
        by_words: Rows by their words.
        lexemes: Words of the question; None for a search by a vector alone.
        by_vector: How many of the nearest count as found by their vector where words take part.
    """

    nearest: Sequence[FoundRow]
    by_words: Sequence[FoundRow]
    lexemes: Sequence[str] | None
    by_vector: int


def ranked(found: Found, layout: Layout, *, width: int | None) -> list[Hit]:
    """Make one ranking; of rows with one id the best is kept.

    Args:
        found: The rows.
        layout: Which metadata names title and source.
        width: Width of the vectors to give out, where stored ones are padded.
    """
    rows: dict[str, FoundRow] = {}
    for row in (*found.nearest, *found.by_words):
        rows.setdefault(row.id, row)
    shares = {} if found.lexemes is None else _shares(found.lexemes, rows)
    first = list(dict.fromkeys(row.id for row in found.nearest))
    near = set(first if found.lexemes is None else first[: found.by_vector])
    kept = [key for key in rows if key in near or key in shares]
    fused = {key: (rows[key].score or 0.0) + shares.get(key, 0.0) for key in kept}
    if found.lexemes is not None:
        kept.sort(key=lambda key: (-fused[key], key))
    return [
        Hit(
            passage_of(rows[key], layout),
            shares.get(key, 0.0) if rows[key].score is None else _cosine(rows[key].score or 0.0),
            rank,
            _ways(vector=key in near, words=key in shares),
            _vector(rows[key], width),
        )
        for rank, key in enumerate(kept, start=1)
    ]


def passage_of(row: FoundRow, layout: Layout) -> Passage:
    """Make the passage of a row; its metadata names title and source where the table does."""
    entries: Mapping[str, Any] = row.metadata if isinstance(row.metadata, dict) else {}
    held: dict[str, JSONValue] = {
        key: value for key, value in entries.items() if not key.startswith(_OWN_KEYS)
    }
    if layout.text_path and layout.text == layout.metadata:
        held.pop(layout.text_path[0], None)
    for key, names in (("title", layout.titles), ("source", layout.sources)):
        value = next((held[name] for name in names if held.get(name)), None)
        if key not in held and isinstance(value, str):
            held[key] = value
    return Passage(row.id, row.text, held)


def valid_ids(ids: Sequence[str], kind: str) -> list[str]:
    """Return the ids that a column of a type can hold."""
    if kind == "uuid":
        return [key for key in ids if _is_uuid(key)]
    if kind in _BITS:
        most = 2 ** _BITS[kind]
        return [key for key in ids if _INTEGER.fullmatch(key) and -most <= int(key) < most]
    return list(ids)


def _shares(lexemes: Sequence[str], rows: Mapping[str, FoundRow]) -> dict[str, float]:
    """Return the share of the question's words that each row holds that holds any; see `Hit`.

    BM25 over its greatest possible value, by the rows at hand: Robertson and Zaragoza 2009, 3.4.
    """
    frequency = Counter(word for row in rows.values() for word in row.words or ())
    weight = {word: math.log(1 + len(rows) / max(frequency[word], 1)) for word in lexemes}
    whole = sum(weight.values())
    mean = sum(row.length or 0 for row in rows.values()) / max(len(rows), 1)
    shares = {}
    for key, row in rows.items():
        stretch = 1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * (row.length or 0) / max(mean, 1)
        once = 1 / (1 + _SATURATION * stretch)
        if row.words:
            shares[key] = sum(weight[word] for word in row.words) * once / whole
    return shares


def _ways(*, vector: bool, words: bool) -> tuple[MatchedBy, ...]:
    ways: list[tuple[MatchedBy, bool]] = [("vector", vector), ("words", words)]
    return tuple(way for way, found in ways if found)


def _cosine(score: float) -> float:
    return 1.0 if score >= SAME else score


def _vector(row: FoundRow, width: int | None) -> Embedding | None:
    if row.vector is None:
        return None
    vector = np.asarray(row.vector, np.float32)[:width]
    scaled: Embedding = (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)
    return scaled


def _is_uuid(key: str) -> bool:
    try:
        UUID(key)
    except ValueError:
        return False
    return True

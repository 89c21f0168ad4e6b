"""Writes of many passages, which go to the server in several parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import psycopg
import pytest

from voicerag_core.errors import StoreError
from voicerag_core.store import PgVectorStore, writing
from voicerag_core.store.ahead import WordsAhead
from voicerag_core.store.rows import passage_arrays
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Embeddings, Passage

PART = 10
COUNT = 3 * PART + 3


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_PART", PART)
    monkeypatch.setattr(writing, "_FIRST_PART", 4)


@pytest.fixture
def rows(dsn: str, tenant: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that sees the rows of the tenant."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET ROLE voicerag_reader")
        connection.execute("SELECT set_config('voicerag.tenant', %s, false)", (tenant,))
        yield connection


def passages(count: int = COUNT, edition: int = 1) -> list[Passage]:
    """Passages whose ids are in no order, and of letters of several lengths."""
    ids = [f"{'aÄ漢Z🙂'[i % 5]}-{7 * i % count}" for i in range(count)]
    return [Passage(key, f"text {key}, edition {edition}", {"e": edition}) for key in ids]


def several(count: int = COUNT, seed: int = 1) -> tuple[Embeddings, np.ndarray[Any, Any]]:
    """Vectors, 1 to 3 of each passage, in no order; and their owners."""
    random = np.random.default_rng(seed)
    owners = np.concatenate([np.arange(count), random.integers(0, count, count)])
    random.shuffle(owners)
    vectors = random.standard_normal((len(owners), WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), owners


def stored(rows: psycopg.Connection[Any]) -> dict[str, tuple[str, bytes, list[list[float]]]]:
    """Text, hash and vectors of each passage."""
    found = rows.execute(
        "SELECT p.id, p.body, p.hash, v.ordinal, v.embedding::text FROM voicerag.passages p "
        "JOIN voicerag.vectors v ON v.passage = p.pid ORDER BY p.id, v.ordinal"
    ).fetchall()
    kept: dict[str, tuple[str, bytes, list[list[float]]]] = {}
    for key, body, digest, ordinal, vector in found:
        _, _, vectors = kept.setdefault(key, (body, digest, []))
        assert ordinal == len(vectors)
        vectors.append(json.loads(vector))
    return kept


@pytest.mark.parametrize("first_load", [False, True])
def test_each_passage_keeps_its_vectors(
    store: PgVectorStore, rows: psycopg.Connection[Any], *, first_load: bool
) -> None:
    given, (vectors, owners) = passages(), several()
    with store.bulk_load() if first_load else nullcontext():
        assert store.add(given, vectors, owners=owners) == COUNT
    kept = stored(rows)
    assert len(kept) == COUNT
    for place, passage in enumerate(given):
        body, digest, own = kept[passage.id]
        expected = vectors[owners == place].astype(np.float16)
        assert body == passage.text
        np.testing.assert_array_equal(np.array(own, np.float16), expected)
        # What a row was hashed by decides whether it is written again after an upgrade.
        hashed = hashlib.sha256()
        for part in (body.encode(), b'{"e": 1}', expected.astype(">f2").tobytes()):
            hashed.update(len(part).to_bytes(8, "big") + part)
        assert digest == hashed.digest()
    assert (store.index_info().passages, store.index_info().vectors) == (COUNT, len(vectors))


def test_the_rows_are_in_the_order_of_their_ids(
    store: PgVectorStore, rows: psycopg.Connection[Any]
) -> None:
    given, (vectors, owners) = passages(), several()
    store.add(given, vectors, owners=owners)
    found = rows.execute("SELECT id FROM voicerag.passages ORDER BY pid").fetchall()
    assert [key for (key,) in found] == sorted(passage.id for passage in given)


@pytest.mark.parametrize("first_load", [False, True])
def test_what_is_there_is_replaced_or_left_alone(
    store: PgVectorStore, rows: psycopg.Connection[Any], *, first_load: bool
) -> None:
    """New, changed and unchanged passages in every part, also while a first load is going on."""
    given, (vectors, owners) = passages(), several()
    later = [
        passage if i % 3 else Passage(passage.id, "other", {"e": 2})
        for i, passage in enumerate(given)
    ]
    half = [place for place in range(COUNT) if place % 2]
    chosen = np.isin(owners, half)
    with store.bulk_load() if first_load else nullcontext():
        first = store.add(
            [given[place] for place in half],
            vectors[chosen],
            owners=np.searchsorted(half, owners[chosen]),
        )
        assert first == len(half)
        before = stored(rows)
        changed = store.add(later, vectors, owners=owners)
        assert changed == COUNT - sum(place % 3 > 0 for place in half)
        assert store.add(later, vectors, owners=owners) == 0
    kept = stored(rows)
    for place, passage in enumerate(later):
        assert kept[passage.id][0] == passage.text
        expected = vectors[owners == place].astype(np.float16)
        np.testing.assert_array_equal(np.array(kept[passage.id][2], np.float16), expected)
        if place in half and place % 3:
            assert kept[passage.id] == before[passage.id]
    assert (store.count(), store.index_info().vectors) == (COUNT, len(vectors))


def test_of_a_repeated_id_the_last_stays(
    store: PgVectorStore, rows: psycopg.Connection[Any]
) -> None:
    first, second = passages(edition=1), passages(edition=2)
    vectors, owners = several(2 * COUNT)
    assert store.add([*first, *second], vectors, owners=owners) == COUNT
    kept = stored(rows)
    for place, passage in enumerate(second):
        assert kept[passage.id][0] == passage.text
        expected = vectors[owners == COUNT + place].astype(np.float16)
        np.testing.assert_array_equal(np.array(kept[passage.id][2], np.float16), expected)


@pytest.mark.parametrize("bad", ["\ud800", "\0"])
def test_a_bad_passage_in_the_last_part_leaves_nothing(
    store: PgVectorStore, rows: psycopg.Connection[Any], bad: str
) -> None:
    given, (vectors, owners) = passages(), several()
    last = max(range(COUNT), key=lambda place: given[place].id)
    given[last] = Passage(given[last].id, bad, {})
    with pytest.raises(StoreError, match=r"Unicode|NUL"):
        store.add(given, vectors, owners=owners)
    with pytest.raises(StoreError, match=r"Unicode|NUL"):
        store.replace_document("source", "digest", given, vectors, owners=owners)
    assert stored(rows) == {}
    assert (store.count(), store.index_info().vectors, store.document_digests()) == (0, 0, {})


def test_a_large_passage_is_a_part_of_its_own(
    store: PgVectorStore, rows: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_PART_BYTES", 2000)
    parts: list[list[str]] = []

    def noted(given: Sequence[Passage], *rest: Any) -> Any:
        parts.append([passage.id for passage in given])
        return passage_arrays(given, *rest)

    monkeypatch.setattr(writing, "passage_arrays", noted)
    given = [Passage(f"{i}", "word " * (600 if i == 3 else 1), {}) for i in range(8)]
    vectors, owners = several(8)
    assert store.add(given, vectors, owners=owners) == 8
    assert parts == [["0", "1", "2"], ["3"], ["4", "5", "6", "7"]]
    assert {key: body for key, (body, _, _) in stored(rows).items()} == {
        passage.id: passage.text for passage in given
    }


EDGES = (
    "\u303f\u3040\u30ff\u3100\u33ff\u3400\u4dbf\u4dc0\u4dff\u4e00\u9fff\ua000"
    "\uf8ff\uf900\ufaff\ufb00\U0001ffff\U00020000\U0003134f\U00031350"
)
"""The first and the last characters that are paired, and their neighbours."""


def worded() -> list[Passage]:
    """Passages whose words are not only those that Postgres finds in their text."""
    texts = [
        "The herons fish.",
        "Die Häuser am Rhein.",
        "漢字は two words",
        "Ὀδυσσεύς – sailing",
        "",
    ]
    texts += [f"{edge}{edge}{edge} birds" for edge in EDGES]
    abouts: list[dict[str, Any]] = [
        {},
        {"n": 1},
        {"title": "Of birds"},
        {"path": ["Rivers", "Birds"]},
        {"lead": "As follows:"},
        {"title": None, "path": {}, "lead": 3},
    ]
    return [
        Passage(f"{i}-{j}", text, about)
        for i, text in enumerate(texts)
        for j, about in enumerate(abouts)
    ]


def assert_words(rows: psycopg.Connection[Any], given: Sequence[Passage]) -> None:
    found = rows.execute(
        "SELECT id, words, voicerag.passage_words('english', body, metadata) FROM voicerag.passages"
    ).fetchall()
    assert {key for key, _, _ in found} == {passage.id for passage in given}
    for key, words, expected in found:
        assert words == expected, key


def test_the_words_are_those_of_the_whole_passage_however_it_is_written(
    store: PgVectorStore, rows: psycopg.Connection[Any]
) -> None:
    given = worded()
    vectors, owners = several(len(given))
    for edition in ("", " Otters swim."):  # inserted, and replaced
        said = [Passage(one.id, one.text + edition, one.metadata) for one in given]
        assert store.add(said, vectors, owners=owners) == len(given)
        assert_words(rows, given)
    titled = rows.execute("SELECT words::text FROM voicerag.passages WHERE id = '0-2'").fetchone()
    assert titled is not None
    assert "'bird'" in titled[0]


@pytest.fixture
def made_ahead(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each part that was asked about, whether its words were made ahead."""
    made: list[bool] = []
    words = WordsAhead.words

    def noted(*given: Any) -> bytes | None:
        found = words(*given)
        made.append(found is not None)
        return found

    monkeypatch.setattr(WordsAhead, "words", noted)
    return made


def test_a_bulk_load_makes_words_ahead_and_they_are_the_same(
    store: PgVectorStore, rows: psycopg.Connection[Any], made_ahead: list[bool]
) -> None:
    given = worded()
    vectors, owners = several(len(given))
    with store.bulk_load():
        store.add(given, vectors, owners=owners)
        assert made_ahead == [True] * -(-(len(given) - 4) // PART)  # but for the first, of 4
        store.replace_document("source", "1", given, vectors, owners=owners)  # there already
    assert_words(rows, given)


def test_outside_a_load_and_in_a_small_call_no_words_are_made_ahead(
    store: PgVectorStore, made_ahead: list[bool]
) -> None:
    given, (vectors, owners) = passages(), several()
    store.add(given, vectors, owners=owners)
    with store.bulk_load():
        store.add(passages(PART), several(PART)[0][:PART])
    assert made_ahead == []


def test_a_load_goes_on_when_the_connection_is_lost_that_makes_words_ahead(
    store: PgVectorStore, rows: psycopg.Connection[Any], dsn: str, made_ahead: list[bool]
) -> None:
    given = worded()
    vectors = several(len(given))[0][: len(given)]
    with store.bulk_load():
        store.add(given[:COUNT], vectors[:COUNT])
        assert all(made_ahead)
        with psycopg.connect(dsn, autocommit=True) as other:
            ended = other.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' "
                "AND mode = 'ShareLock' AND classid = %s AND objid = 3",
                (store._opened.here.number,),
            ).fetchall()
        assert ended == [(True,)]
        made_ahead.clear()
        assert store.add(given[COUNT:], vectors[COUNT:]) == len(given) - COUNT
        assert not any(made_ahead)
    assert_words(rows, given)
    assert len(stored(rows)) == len(given)

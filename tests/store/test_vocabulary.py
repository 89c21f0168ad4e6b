"""The words of a collection: what counts as one, and that every write keeps them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from voicerag_core.errors import StoreError
from voicerag_core.filters import And
from voicerag_core.store import PgVectorStore, reset
from voicerag_core.types import Passage

DIM = 4


def vectors(count: int) -> np.ndarray:
    return np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1))


@pytest.fixture
def store(dsn: str, tenant: str) -> Iterator[PgVectorStore]:
    with opened(dsn, tenant) as store:
        yield store


def opened(dsn: str, tenant: str, *, read_only: bool = False) -> PgVectorStore:
    return PgVectorStore.open(
        dsn, tenant=tenant, collection="words", model_id="m", dim=DIM, read_only=read_only
    )


def words(store: PgVectorStore) -> dict[str, int]:
    return dict(store.vocabulary().words)


def add(store: PgVectorStore, *passages: Passage) -> None:
    store.add(passages, vectors(len(passages)))


def test_words_of_texts_titles_and_headings_count_by_passage(store: PgVectorStore) -> None:
    add(
        store,
        Passage("a", "Tock, Tock! It is a pre-award E04 of 2026.", {"title": "The Handbook"}),
        Passage("b", "tock it.", {"title": "Handbook", "path": ["Paid leave", "Tock"]}),
    )
    assert words(store) == {
        "Tock": 2, "tock": 1, "It": 1, "it": 1, "is": 1, "pre-award": 1, "E04": 1, "of": 1,
        "The": 1, "Handbook": 2, "Paid": 1, "leave": 1,
    }  # fmt: skip


def test_every_write_keeps_them(store: PgVectorStore) -> None:
    add(store, Passage("a", "Alpha beta"), Passage("b", "beta gamma"))
    assert words(store) == {"Alpha": 1, "beta": 2, "gamma": 1}
    add(store, Passage("a", "Delta"))
    assert words(store) == {"Delta": 1, "beta": 1, "gamma": 1}, "a passage was replaced"
    add(store, Passage("a", "Delta"))
    assert words(store)["Delta"] == 1, "an unchanged one is not counted again"
    store.replace_document("doc", "1", [Passage("c", "beta"), Passage("d", "epsilon")], vectors(2))
    assert words(store) == {"Delta": 1, "beta": 2, "gamma": 1, "epsilon": 1}
    store.replace_document("doc", "2", [Passage("c", "zeta")], vectors(1))
    assert words(store) == {"Delta": 1, "beta": 1, "gamma": 1, "zeta": 1}
    store.remove_documents(["doc"])
    assert words(store) == {"Delta": 1, "beta": 1, "gamma": 1}
    store.delete(where=And(()))
    assert words(store) == {}


def test_the_same_object_until_something_changes(store: PgVectorStore) -> None:
    add(store, Passage("a", "alpha"))
    known = store.vocabulary()
    assert store.vocabulary() is known
    add(store, Passage("b", "beta"))
    assert store.vocabulary() is not known


def test_another_process_is_noticed(store: PgVectorStore, dsn: str, tenant: str) -> None:
    assert words(store) == {}
    with opened(dsn, tenant) as other:
        add(other, Passage("a", "alpha"))
    assert words(store) == {"alpha": 1}
    with opened(dsn, tenant, read_only=True) as reader:
        assert words(reader) == {"alpha": 1}


def test_another_tenant_sees_none_of_them(store: PgVectorStore, dsn: str, tenant: str) -> None:
    add(store, Passage("a", "secret"))
    with opened(dsn, f"{tenant} too") as other:
        assert words(other) == {}
        add(other, Passage("a", "plain"))
        assert words(other) == {"plain": 1}
    assert words(store) == {"secret": 1}


def test_a_dropped_collection_leaves_no_words(store: PgVectorStore, dsn: str, tenant: str) -> None:
    add(store, Passage("a", "secret"))
    reset(dsn, collection="words", tenant=tenant)
    with opened(dsn, tenant) as again:
        assert words(again) == {}


def test_a_collection_that_is_deleted_meanwhile_is_said_to_be(
    store: PgVectorStore, dsn: str, tenant: str
) -> None:
    reset(dsn, collection="words", tenant=tenant)
    with pytest.raises(StoreError, match="was deleted; open the store again"):
        store.vocabulary()

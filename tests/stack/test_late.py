"""A store that is opened late: by whom, how often, and what it says once it is closed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from voicerag_core import DocumentStore, Passage, PassageStore, StoreError, load_settings
from voicerag_core.stack import late_store
from voicerag_core.stack.late import LateStore
from voicerag_core.testing import (
    DocumentStoreContract,
    FakeEmbedder,
    InMemoryStore,
    PassageStoreContract,
)
from voicerag_core.testing.stores import WIDTH

if TYPE_CHECKING:
    from voicerag_core.store import PgVectorStore


def late(store: InMemoryStore) -> LateStore:
    return LateStore(lambda: cast("PgVectorStore", store))


class TestLateStore(PassageStoreContract, DocumentStoreContract):
    """The rules of both ports, passed on to a store in memory."""

    @pytest.fixture
    def store(self) -> PassageStore:
        return late(InMemoryStore(WIDTH))


def test_the_first_call_opens_it_and_threads_share_what_it_opened() -> None:
    opened: list[InMemoryStore] = []
    gate = threading.Barrier(4)

    def opener() -> PgVectorStore:
        opened.append(InMemoryStore(8))
        return cast("PgVectorStore", opened[-1])

    store = LateStore(opener)
    assert opened == []

    def count(_: int) -> int:
        gate.wait()
        return store.count()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(count, range(4))) == [0] * 4
    assert len(opened) == 1


def test_looking_at_what_it_can_do_opens_nothing() -> None:
    def opener() -> PgVectorStore:
        raise AssertionError("it was opened")

    store: object = LateStore(opener)
    assert isinstance(store, DocumentStore)
    with pytest.raises(AttributeError):
        store.no_such_method  # type: ignore[attr-defined] # noqa: B018


def test_an_opener_that_failed_is_asked_again() -> None:
    answers = [StoreError("the server starts"), InMemoryStore(8)]

    def opener() -> PgVectorStore:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return cast("PgVectorStore", answer)

    store = LateStore(opener)
    with pytest.raises(StoreError, match="the server starts"):
        store.warm()
    assert store.count() == 0


@pytest.mark.parametrize("used", [False, True])
def test_once_closed_it_is_neither_opened_nor_used(used: bool) -> None:
    below = InMemoryStore(8)
    store = late(below)
    if used:
        store.add([Passage("a", "x")], np.eye(8, dtype=np.float32)[:1])
    store.close()
    with pytest.raises(StoreError, match="was closed"):
        store.count()
    assert below.count() == int(used), "what it opened belongs to who opened it"


def test_leaving_without_a_call_starts_no_database(tmp_path: Path) -> None:
    with late_store(load_settings(data_dir=tmp_path), FakeEmbedder()) as store:
        pass
    with pytest.raises(StoreError, match="was closed"):
        store.warm()
    assert list(tmp_path.iterdir()) == []

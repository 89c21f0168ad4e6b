"""What the store refuses, and what it says when the database refuses."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo
from psycopg_pool import PoolClosed, TooManyRequests

from tests.store.test_faults import wait_for_lock
from tests.waiting import PATIENCE
from voicerag_core.errors import (
    EmptyCollectionError,
    SchemaError,
    StoreError,
    StoreUnavailableError,
)
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, embedded, migrate, reset, upkeep
from voicerag_core.store.errors import translated
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Embeddings, Passage

ONE = np.eye(1, WIDTH, dtype=np.float32)[0]


def rows(count: int) -> Embeddings:
    return np.random.default_rng(7).standard_normal((count, WIDTH)).astype(np.float32)


def passages(count: int) -> list[Passage]:
    return [Passage(f"p{i}", f"text {i}") for i in range(count)]


def test_an_absent_collection_is_told_with_the_command_that_fills_it(dsn: str, tenant: str) -> None:
    def opened(name: str, *, read_only: bool) -> PgVectorStore:
        return PgVectorStore.open(
            dsn, collection=name, tenant=tenant, model_id="test", dim=WIDTH, read_only=read_only
        )

    told = r"there are: {}; .* voicerag index PATHS\.\.\. --collection 'my notes'"
    with pytest.raises(EmptyCollectionError, match=told.format("none")):
        opened("my notes", read_only=True)
    opened("minutes", read_only=False).close()
    opened("letters", read_only=False).close()
    with pytest.raises(EmptyCollectionError, match=told.format("letters, minutes")):
        opened("my notes", read_only=True)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"embedding": ONE, "limit": 0}, "limit is 0"),
        ({"embedding": None, "limit": 1}, "an embedding, a text, or both"),
        ({"embedding": None, "text": "a", "limit": 1, "min_score": 0.5}, "by words alone has none"),
        ({"embedding": ONE[:3], "limit": 1}, r"the question's has shape \[3\]"),
    ],
)
def test_a_search_that_means_nothing(
    store: PgVectorStore, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(StoreError, match=told):
        store.search(**given)


def test_many_searches_need_a_table(store: PgVectorStore) -> None:
    with pytest.raises(StoreError, match=r"shape \[N, 8\], not \[8\]"):
        store.search_many(ONE, limit=1)
    assert store.search_many(rows(0), limit=1) == []


@pytest.mark.parametrize(
    ("owners", "told"),
    [
        (None, "2 passages came with 3 vectors"),
        ([0, 1], r"owners have shape \[3\]"),
        ([0, 1, 2], "from 0 to 1"),
        ([0, -1, 1], "from 0 to 1"),
        ([0, 0, 0], "every passage owns at least one"),
    ],
)
def test_vectors_without_a_clear_owner(
    store: PgVectorStore, owners: list[int] | None, told: str
) -> None:
    given = None if owners is None else np.array(owners)
    with pytest.raises(StoreError, match=told):
        store.add(passages(2), rows(3), owners=given)
    assert store.count() == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"collection": ""}, "none of them may be empty"),
        ({"tenant": ""}, "none of them may be empty"),
        ({"model_id": ""}, "none of them may be empty"),
        ({"dim": 0}, "dim is 0"),
        ({"dim": 16_001}, "dim is 16001"),
        ({"language": "klingon"}, "no text search configuration 'klingon'"),
    ],
)
def test_a_collection_that_cannot_be(
    dsn: str, tenant: str, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(StoreError, match=told):
        PgVectorStore.open(dsn, **{"tenant": tenant, "model_id": "test", "dim": WIDTH, **changes})


def test_a_collection_that_was_deleted_meanwhile(
    store: PgVectorStore, dsn: str, tenant: str
) -> None:
    store.add(passages(3), rows(3))
    assert reset(dsn, collection="default", tenant=tenant) == 3
    with pytest.raises(StoreError, match="the collection 'default' was deleted"):
        store.search(ONE, limit=1)
    with pytest.raises(StoreError):
        store.add(passages(3), rows(3))
    assert reset(dsn, collection="default", tenant=tenant) == 0


def test_an_index_that_fails_keeps_the_rows(
    store: PgVectorStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: upkeep.Upkeep) -> bool:
        raise StoreError("no memory for the index")

    monkeypatch.setattr(upkeep, "INDEX_FROM", 2)
    monkeypatch.setattr(upkeep.Upkeep, "build", fail)
    with caplog.at_level(logging.WARNING):
        assert store.add(passages(3), rows(3)) == 3
        assert len(store.search(ONE, limit=3)) == 3
    assert "all rows are kept" in caplog.text
    assert "which the next load makes up for: no memory for the index" in caplog.text
    assert store.count() == 3


def test_a_pool_without_a_free_connection(dsn: str, tenant: str) -> None:
    with (
        PgVectorStore.open(
            dsn, tenant=tenant, model_id="test", dim=WIDTH, pool_size=1, timeout=1
        ) as store,
        psycopg.connect(dsn) as holder,
    ):
        holder.execute("LOCK TABLE voicerag.vectors IN ACCESS EXCLUSIVE MODE")
        found: list[object] = []
        searching = threading.Thread(target=lambda: found.append(store.search(ONE, limit=1)))
        searching.start()
        wait_for_lock(dsn)
        with pytest.raises(StoreUnavailableError, match=r"became free in time.*larger pool_size"):
            store.count()
        holder.rollback()
        searching.join(PATIENCE)
    assert found == [()]


def test_a_schema_that_lacks_a_part(fresh: str) -> None:
    migrate(fresh)
    with (
        PgVectorStore.open(fresh, model_id="test", dim=WIDTH) as store,
        psycopg.connect(fresh, autocommit=True) as superuser,
    ):
        superuser.execute("ALTER TABLE voicerag.vectors RENAME TO gone")
        with pytest.raises(SchemaError, match=r"lacks a part .*vectors.*migrate"):
            store.search(ONE, limit=1)


def test_a_login_without_rights(fresh: str) -> None:
    migrate(fresh)
    with psycopg.connect(fresh, autocommit=True) as superuser:
        superuser.execute("DROP ROLE IF EXISTS stranger")
        superuser.execute("CREATE ROLE stranger LOGIN")
    with pytest.raises(StoreError, match="GRANT voicerag_writer, voicerag_reader TO login"):
        PgVectorStore.open(make_conninfo(fresh, user="stranger"), model_id="test", dim=WIDTH)


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (pg.TooManyConnections("sorry"), StoreUnavailableError, "no room.*repeat the call later"),
        (pg.OutOfMemory("sorry"), StoreUnavailableError, "no room.*repeat the call later"),
        (pg.DeadlockDetected("sorry"), StoreError, "another program holds rows"),
        (pg.InvalidPassword("sorry"), StoreUnavailableError, "refused the user or password"),
        (pg.UndefinedFunction("sorry"), SchemaError, "lacks a part"),
        (pg.InsufficientPrivilege("sorry"), StoreError, "the login may not do this"),
        (pg.DivisionByZero("sorry"), StoreError, "refused: sorry"),
        (TooManyRequests("sorry"), StoreUnavailableError, "larger pool_size"),
        (PoolClosed("sorry"), StoreError, "was closed; open it again"),
        (psycopg.InterfaceError(""), StoreUnavailableError, "went away: InterfaceError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_errors_of_the_driver_become_ours(
    error: Exception, kind: type[StoreError], told: str
) -> None:
    with (
        pytest.raises(StoreError, match=told) as caught,
        translated("postgresql://me:secret@host/db"),
    ):
        raise error
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error
    assert "secret" not in str(caught.value)
    assert "host=host" in str(caught.value)


def test_a_database_that_cannot_be_made_leaves_no_half_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(embedded._SERVER_SETTINGS, "no_such_setting", "1")
    with pytest.raises(StoreError, match=r"initdb said:(.|\n)*no_such_setting"):
        EmbeddedPostgres(tmp_path / "postgres").start()
    assert not (tmp_path / "postgres" / "pgdata.new").exists()
    monkeypatch.delitem(embedded._SERVER_SETTINGS, "no_such_setting")
    monkeypatch.setattr(embedded, "_LOG_BYTES", 10)
    for _ in range(2):
        with EmbeddedPostgres(tmp_path / "postgres"):
            pass
    assert "ready to accept" in (tmp_path / "postgres" / "server.log.1").read_text()

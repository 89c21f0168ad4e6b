"""Behind a pooler in transaction mode: everything works, and nothing stays on its connections."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest
from psycopg.rows import scalar_row

from tests.conftest import new_database
from tests.store.pooling import pooler, slowed
from voicerag_core import load_settings, open_store, open_voicerag
from voicerag_core.store import (
    ExistingTable,
    PgVectorStore,
    list_collections,
    migrate,
    reembed,
    reset,
    status,
)
from voicerag_core.store.connecting import Connection
from voicerag_core.testing import FakeEmbedder
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Embeddings, Passage

pytestmark = pytest.mark.enable_socket

STATE = (
    "SELECT current_user::text, session_user::text, current_setting('search_path'), "
    "current_setting('statement_timeout'), current_setting('lock_timeout'), "
    "current_setting('jit'), current_setting('row_security'), "
    "coalesce(current_setting('voicerag.tenant', true), ''), "
    "(SELECT count(*) FROM pg_prepared_statements), current_setting('client_encoding')"
)


def rows(count: int, seed: int = 7) -> Embeddings:
    made = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    unit: Embeddings = made / np.linalg.norm(made, axis=1, keepdims=True)
    return unit


def passages(count: int, start: str = "p") -> list[Passage]:
    return [Passage(f"{start}{i}", f"text {i}", {"i": i}) for i in range(count)]


@pytest.fixture(scope="module")
def direct(server: str) -> str:
    """A migrated database without a pooler."""
    dsn = new_database(server)
    migrate(dsn)
    return dsn


@pytest.fixture(scope="module")
def pooled(direct: str) -> Iterator[str]:
    """The same behind PgBouncer with a single connection to the server, which all share."""
    with pooler(direct) as dsn:
        yield dsn


def state(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as connection:
        return connection.execute(STATE).fetchall()


def test_nothing_stays_on_a_shared_connection(direct: str, pooled: str) -> None:
    """Whatever is called, through every way in, another program finds the connection as it was."""
    before = state(pooled)
    assert migrate(pooled) == []
    status(pooled)
    with PgVectorStore.open(pooled, tenant="state", model_id="test", dim=WIDTH) as store:
        store.add(passages(30), rows(30))
        store.replace_document("a.txt", "1", passages(3, "d"), rows(3))
        store.search(rows(1)[0], text="text", limit=3)
        store.search_many(rows(2), limit=3)
        store.get(["p1"])
        store.count()
        store.vocabulary()
        assert state(pooled) == before
        store.build_index()
        store.index_info()
        store.delete(["p1"])
        store.remove_documents(["a.txt"])
    list_collections(pooled, tenant="state")
    assert state(pooled) == before
    with PgVectorStore.open(
        pooled, tenant="state", model_id="test", dim=WIDTH, read_only=True
    ) as reader:
        assert reader.count() == 29
    with psycopg.connect(direct, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE foreign_rows AS SELECT 'a' AS id, 'text' AS content, "
            "'[1,0,0,0,0,0,0,0]'::vector(8) AS embedding"
        )
    with ExistingTable(pooled, "foreign_rows") as table:
        assert len(table.search(rows(1)[0], limit=1)) == 1
    done = reembed(
        pooled, collection="default", tenant="state", model_id="other", dim=WIDTH,
        embed=lambda given: (rows(len(given)), np.arange(len(given))),
    )  # fmt: skip
    assert done == 29
    assert reset(pooled, collection="default", tenant="state") == 29
    assert state(pooled) == before


def test_two_programs_prepare_nothing_on_it(pooled: str) -> None:
    stores = [
        PgVectorStore.open(pooled, tenant="two", collection=name, model_id="test", dim=WIDTH)
        for name in ("one", "two")
    ]
    for number in range(8):
        for store in stores:
            store.add(passages(1, f"{number}-"), rows(1))
            assert len(store.search(rows(1)[0], limit=1)) == 1
    for store in stores:
        store.close()


@pytest.mark.parametrize("told", [None, True])
def test_settings_are_enough(pooled: str, told: bool | None) -> None:
    embedder = FakeEmbedder(WIDTH)
    settings = load_settings(database_url=pooled, database_pooler=told, tenant=f"settings-{told}")
    vector = embedder.embed_passages(["apple"])
    with open_store(settings, embedder) as store, open_voicerag(settings, embedder=embedder) as rag:
        for number in range(4):
            store.add([Passage(f"p{number}", "apple", {})], vector)
            assert store.search(vector[0], limit=1)
            assert rag.retrieve("apple").hits


@pytest.mark.timeout(60)
def test_reads_leave_the_servers_connection_to_others(direct: str, pooled: str) -> None:
    """On a slow way, where the end of a pipeline arrives in pieces, and the pooler has only one."""
    with psycopg.connect(direct, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE slow_rows AS SELECT 'a' AS id, 'text' AS content, "
            "'[1,0,0,0,0,0,0,0]'::vector(8) AS embedding"
        )
    with (
        slowed(pooled) as dsn,
        PgVectorStore.open(dsn, tenant="slow", model_id="test", dim=WIDTH) as store,
        ExistingTable(dsn, "slow_rows") as table,
    ):
        store.add(passages(3), rows(3))
        for _ in range(3):
            assert len(store.search(rows(1)[0], text="text", limit=3)) == 3
            state(pooled)
            assert len(table.search(rows(1)[0], limit=1)) == 1
            state(pooled)


def test_many_threads_and_tenants(direct: str) -> None:
    """And an application beside them keeps its own rights and sees its own tables."""
    with psycopg.connect(direct, autocommit=True) as connection:
        connection.execute("CREATE TABLE ledger (entry integer)")
    errors: list[BaseException] = []
    done = threading.Event()

    def work(dsn: str, number: int) -> None:
        tenant = f"many-{number % 4}"
        try:
            with PgVectorStore.open(
                dsn, tenant=tenant, model_id="test", dim=WIDTH, pool_size=2
            ) as store:
                for turn in range(6):
                    mine = [Passage(f"{number}-{turn}-{i}", tenant, {}) for i in range(5)]
                    store.add(mine, rows(5, seed=turn))
                    found = store.search(rows(1)[0], text=tenant, limit=10)
                    assert {hit.passage.text for hit in found} == {tenant}
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            errors.append(error)

    def other(dsn: str) -> None:
        try:
            while not done.is_set():
                with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as connection:
                    connection.execute("INSERT INTO ledger VALUES (1)")
                    (row,) = connection.execute("SELECT current_user::text").fetchall()
                    assert row == ("postgres",)
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            errors.append(error)

    with pooler(direct, connections=3) as dsn:
        before = state(dsn)
        beside = threading.Thread(target=other, args=(dsn,))
        threads = [threading.Thread(target=work, args=(dsn, number)) for number in range(8)]
        for thread in (beside, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        beside.join()
        assert errors == []
        assert state(dsn) == before
    for number in range(4):
        with PgVectorStore.open(
            direct, tenant=f"many-{number}", model_id="test", dim=WIDTH
        ) as store:
            assert store.count() == 60


def test_a_connection_of_its_own_is_prepared_on(direct: str) -> None:
    def prepared(connection: Connection) -> int:
        query = "SELECT count(*) FROM pg_prepared_statements"
        return int(connection.cursor(row_factory=scalar_row).execute(query).fetchone() or 0)

    with PgVectorStore.open(
        direct, tenant="prepared", model_id="test", dim=WIDTH, pool_size=1
    ) as store:
        for _ in range(3):
            store.count()
        assert store._database.write(prepared) > 0

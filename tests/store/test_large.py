"""Large collections: when their index is built, over what, in which memory; how it is searched."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import psycopg
import pytest

from tests.store.test_pgvector import texts, unit_vectors
from tests.waiting import wait_until
from voicerag_core.errors import StoreError
from voicerag_core.filters import Eq
from voicerag_core.store import PgVectorStore, indexes, list_collections, loads, upkeep
from voicerag_core.store.collection import IndexKind
from voicerag_core.store.search_sql import Query, search_settings, search_statement
from voicerag_core.types import Embeddings, Passage

DIM = 64
FEW = 100
"""Vectors from which these tests' collections get an index."""


@pytest.fixture(autouse=True)
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Index small collections, and let no pause end a load by chance."""
    monkeypatch.setattr(upkeep, "INDEX_FROM", FEW)
    monkeypatch.setattr(loads, "QUIET_SECONDS", 3600.0)


@pytest.fixture
def opened(dsn: str, tenant: str) -> Iterator[PgVectorStore]:
    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=DIM) as store:
        yield store


def built(dsn: str, tenant: str) -> bool:
    """Whether the collection has its index, as any other process sees it."""
    return list_collections(dsn, tenant=tenant)[0].indexed


def load(store: PgVectorStore, start: int, stop: int, step: int = 50) -> None:
    rows = unit_vectors(stop, DIM)
    for first in range(start, stop, step):
        last = min(stop, first + step)
        store.add(texts(last - first, first), rows[first:last])


def test_a_bulk_load_builds_the_index_once_at_its_end(
    opened: PgVectorStore, dsn: str, tenant: str
) -> None:
    with opened.bulk_load():
        load(opened, 0, 300)
        assert not built(dsn, tenant)
        assert opened.search(unit_vectors(300, DIM)[7], limit=1)[0].passage.id == "p7"
        assert not built(dsn, tenant), "a search inside the block ends no load"
    info = opened.index_info()
    assert info.built
    assert info.ef_search is not None


def test_the_passages_are_vacuumed_once_a_load_has_its_index(
    opened: PgVectorStore, dsn: str
) -> None:
    """Plans take an index of metadata that never was for a costly one, and read every row."""

    def vacuumed() -> int:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_stat_clear_snapshot()")
            query = "SELECT vacuum_count FROM pg_stat_all_tables WHERE relid = %s::regclass"
            row = connection.execute(query, ("voicerag.passages",)).fetchone()
        assert row is not None
        return int(row[0])

    before = vacuumed()
    with opened.bulk_load():
        load(opened, 0, 300)
        assert vacuumed() == before
    assert vacuumed() == before + 1


def test_bulk_loads_inside_each_other_end_with_the_outermost(
    opened: PgVectorStore, dsn: str, tenant: str
) -> None:
    with opened.bulk_load():
        with opened.bulk_load():
            load(opened, 0, 150)
        assert not built(dsn, tenant)
    assert built(dsn, tenant)


def test_without_a_bulk_load_the_search_of_the_writer_ends_it(
    opened: PgVectorStore, dsn: str, tenant: str
) -> None:
    load(opened, 0, 300)
    assert not built(dsn, tenant)
    answer: list[object] = []
    other = threading.Thread(
        target=lambda: answer.append(opened.search(unit_vectors(300, DIM)[7], limit=1))
    )
    other.start()
    other.join()
    assert answer
    assert not built(dsn, tenant), "whoever only searches waits for no index"
    opened.search(unit_vectors(300, DIM)[7], limit=1)
    assert built(dsn, tenant)


def test_a_pause_ends_a_load(
    opened: PgVectorStore, dsn: str, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loads, "QUIET_SECONDS", 0.2)
    load(opened, 0, 120)
    wait_until(lambda: built(dsn, tenant))


def test_the_end_of_the_block_ends_a_load_unless_it_failed(dsn: str, tenant: str) -> None:
    def failed() -> None:
        with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=DIM) as store:
            load(store, 0, 120)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failed()
    assert not built(dsn, tenant)
    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=DIM) as store:
        store.add(texts(1, 500), unit_vectors(1, DIM))
    assert built(dsn, tenant)


def test_a_bulk_load_finishes_what_an_interrupted_one_left(dsn: str, tenant: str) -> None:
    def failed(store: PgVectorStore) -> None:
        with store.bulk_load():
            load(store, 0, 120)
            raise RuntimeError

    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=DIM) as store:
        with pytest.raises(RuntimeError):
            failed(store)
        store._upkeep.load.over()
    assert not built(dsn, tenant)
    with (
        PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=DIM) as store,
        store.bulk_load(),
    ):
        pass
    assert built(dsn, tenant)


def test_of_several_that_load_the_last_one_builds(dsn: str, tenant: str) -> None:
    with (
        PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=DIM) as one,
        PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=DIM) as other,
    ):
        with other.bulk_load():
            with one.bulk_load():
                load(one, 0, 120)
            assert not built(dsn, tenant), "the other one still loads"
            load(other, 120, 200)
        assert built(dsn, tenant)


def test_a_loader_that_died_holds_nobody_up(dsn: str, tenant: str) -> None:
    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=DIM) as store:
        pid = os.fork()
        if pid == 0:
            with loads.sharing(store._database, store._opened.here.number):
                os.kill(os.getpid(), 9)
        os.waitpid(pid, 0)
        with store.bulk_load():
            load(store, 0, 120)
        assert built(dsn, tenant)


def test_a_store_behind_a_pooler_takes_no_lock_of_a_session(dsn: str, tenant: str) -> None:
    with (
        PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=DIM, prepare=False) as store,
        psycopg.connect(dsn) as watcher,
    ):
        with store.bulk_load():
            load(store, 0, 120)
            locks = watcher.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 3"
            ).fetchone()
            assert locks == (0,)
        assert built(dsn, tenant)


def test_an_index_that_costs_more_to_grow_than_to_build_is_built_anew(
    opened: PgVectorStore, dsn: str, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(opened, 0, 120)
    assert opened.index_info().built
    monkeypatch.setattr(upkeep, "_GROWN_SECONDS", 0.0)
    with psycopg.connect(dsn, autocommit=True) as connection:  # the last build took no time at all
        connection.execute("UPDATE voicerag.collections SET built_seconds = 0")
    opened._opened.refresh()
    with opened.bulk_load():
        load(opened, 120, 200)
        assert not built(dsn, tenant), "nobody searches by it"
        assert opened.search(unit_vectors(200, DIM)[130], limit=1)[0].passage.id == "p130"
    assert built(dsn, tenant)
    assert opened.index_info().built


def test_an_index_that_serves_grows(
    opened: PgVectorStore, dsn: str, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(opened, 0, 120)
    assert opened.index_info().built
    monkeypatch.setattr(upkeep, "_GROWN_SECONDS", 0.0)
    served = iter(range(1, 1000))
    monkeypatch.setattr(indexes, "scans", lambda *_: next(served))
    with opened.bulk_load():
        load(opened, 120, 200)
        assert built(dsn, tenant)


def recalled(
    store: PgVectorStore, rows: Embeddings, questions: Embeddings, among: list[int] | None = None
) -> float:
    right = 0
    ids = None if among is None else [f"p{i}" for i in among]
    found = [store.search(question, limit=10, ids=ids) for question in questions]
    for question, hits in zip(questions, found, strict=True):
        order = np.argsort(-(rows @ question))
        if among is not None:
            order = order[np.isin(order, among)]
        best = {f"p{i}" for i in order[:10]}
        right += len(best & {hit.passage.id for hit in hits})
    return right / (10 * len(questions))


@pytest.fixture(scope="module")
def rows() -> Embeddings:
    return unit_vectors(4000, 384)


@pytest.mark.parametrize("kind", ["halfvec", "bit"])
def test_tuning_reaches_the_recall_that_is_asked_for(
    dsn: str, tenant: str, rows: Embeddings, kind: IndexKind
) -> None:
    questions = unit_vectors(60, 384, seed=5)
    with PgVectorStore.open(
        dsn, tenant=tenant, model_id="test", dim=384, index_kind=kind, auto_index=False
    ) as store:
        store.add(texts(len(rows)), rows)
        assert store.tune() is None, "there is no index yet"
        assert store.build_index()
        info = store.index_info()
        assert (info.kind, info.index is not None) == (kind, True), info.plan
        assert recalled(store, rows, questions) >= 0.95  # 0.97 of the mean over other questions
        narrow = store.tune(ef_search=10)
        assert narrow is not None
        poor = recalled(store, rows, questions)
        if kind == "halfvec":
            many = [i for i in range(len(rows)) if i % 20 < 11]
            assert recalled(store, rows, questions, many) > poor, "a filter is given more"
        assert abs(narrow.recall - poor) < 0.15, "what tuning measures is what questions meet"
        better = store.tune(0.99)
        assert better is not None
        assert narrow.recall < 0.99 <= better.recall
        assert better.ef_search > 10
        assert recalled(store, rows, questions) > poor
        hits = store.search(questions[0], limit=10, where=Eq("rare", value=True))
        assert [hit.passage.id for hit in hits] == [
            f"p{i}" for i in np.argsort(-(rows @ questions[0])) if i % 100 == 7
        ][:10]


def test_other_stores_take_up_what_was_tuned(opened: PgVectorStore, dsn: str, tenant: str) -> None:
    load(opened, 0, 120)
    assert opened.index_info().built
    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=DIM, read_only=True) as reader:
        opened.tune(ef_search=33)
        reader.search(unit_vectors(120, DIM)[3], limit=1)
        assert reader._opened.here.ef_search == 33
        with pytest.raises(StoreError, match="read_only"):
            reader.tune()


def test_an_index_of_signs_takes_the_place_of_one_of_vectors(
    dsn: str, tenant: str, rows: Embeddings
) -> None:
    def size() -> int:
        with psycopg.connect(dsn) as connection:
            found = connection.execute(
                "SELECT pg_relation_size(format('voicerag.vectors_hnsw_%%s', id)::regclass) "
                "FROM voicerag.collections WHERE tenant = %s", (tenant,)
            ).fetchone()  # fmt: skip
        assert found is not None
        return int(found[0])

    with (
        PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=384) as store,
        PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=384) as other,
    ):
        with store.bulk_load():
            store.add(texts(len(rows)), rows)
        before = size()
        question = unit_vectors(1, 384, seed=8)[0]
        assert store.build_index(kind="bit", anew=True)
        assert size() < before / 2
        best = f"p{np.argmax(rows @ question)}"
        assert other.search(question, limit=1)[0].passage.id == best  # knows of no change yet
        assert other.search(question, limit=1)[0].passage.id == best
        assert store.index_info().kind == other.index_info().kind == "bit"


def test_vectors_too_wide_for_an_index_of_vectors_get_one_of_signs(dsn: str, tenant: str) -> None:
    wide = unit_vectors(120, 4100)
    with PgVectorStore.open(
        dsn, tenant=tenant, model_id="test", dim=4100, auto_index=False
    ) as store:
        store.add(texts(120), wide)
        assert not store.build_index()
        assert store.build_index(kind="bit")
        assert store.search(wide[5], limit=1)[0].passage.id == "p5"


def test_the_build_keeps_to_the_memory_given(
    opened: PgVectorStore,
    dsn: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opened._upkeep, "_auto_index", False)
    load(opened, 0, 3000, step=3000)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION public.note_memory() RETURNS event_trigger LANGUAGE plpgsql AS $$ "
            "BEGIN RAISE LOG 'memory'; PERFORM set_config('application_name', "
            "current_setting('maintenance_work_mem'), false); END $$"
        )
        connection.execute(
            "CREATE EVENT TRIGGER note ON ddl_command_end WHEN TAG IN ('CREATE INDEX') "
            "EXECUTE FUNCTION public.note_memory()"
        )
    try:
        monkeypatch.setattr(indexes, "_LEAST_BYTES", 2 * 2**20)
        with caplog.at_level(logging.WARNING):
            assert opened.build_index(memory=2**20, tune=False)
        with psycopg.connect(dsn) as connection:
            used = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = '1MB'"
            ).fetchone()
        assert used == (1,)
        assert "raise VOICERAG_INDEX_MEMORY" in caplog.text
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("DROP EVENT TRIGGER note")


def test_parallel_workers_without_shared_memory_leave_the_build_to_one_process(
    opened: PgVectorStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(opened._upkeep, "_auto_index", False)
    load(opened, 0, 120)
    write = type(opened._database).write
    calls = []

    def short(database: object, work: object) -> object:
        calls.append(work)
        if len(calls) == 1:
            said = "could not resize shared memory segment: No space left on device"
            raise StoreError("the disk is full") from psycopg.errors.DiskFull(said)
        return write(database, work)  # type: ignore[arg-type]

    monkeypatch.setattr(type(opened._database), "write", short)
    with caplog.at_level(logging.WARNING):
        assert opened.build_index(tune=False)
    assert "built by one process" in caplog.text


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"recall": 0.0}, "a recall is above 0 and at most 1"),
        ({"recall": 1.5}, "a recall is above 0 and at most 1"),
        ({"recall": float("nan")}, "a recall is above 0 and at most 1"),
        ({"ef_search": 0}, "ef_search is 1 to 1,000"),
        ({"ef_search": 1001}, "ef_search is 1 to 1,000"),
        ({"questions": 0}, "at least 1 question"),
    ],
)
def test_what_cannot_be_tuned(opened: PgVectorStore, wanted: dict[str, float], told: str) -> None:
    with pytest.raises(StoreError, match=told):
        opened.tune(**wanted)  # type: ignore[arg-type]


def words(dsn: str, tenant: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT word, passages FROM voicerag.vocabulary WHERE tenant = %s ORDER BY word",
            (tenant,),
        ).fetchall()


def test_the_words_of_a_first_load_are_those_of_any_other(
    opened: PgVectorStore, dsn: str, tenant: str
) -> None:
    with opened.bulk_load():
        load(opened, 0, 60)
        assert words(dsn, tenant) == [], "counted once, at the end"
        opened.delete(["p3"])
        opened.add([Passage("p4", "quite another text")], unit_vectors(1, DIM))
    with PgVectorStore.open(dsn, tenant=tenant + "b", model_id="test", dim=DIM) as plain:
        load(plain, 0, 60)
        plain.delete(["p3"])
        plain.add([Passage("p4", "quite another text")], unit_vectors(1, DIM))
    assert words(dsn, tenant) == words(dsn, tenant + "b")
    with opened.bulk_load():
        load(opened, 60, 70)
        assert ("passage", 68) in words(dsn, tenant), "a second load counts as it goes"


def test_words_that_a_killed_first_load_left_out_are_counted_by_the_next_write(
    dsn: str, tenant: str
) -> None:
    def failed() -> None:
        with (
            PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=DIM) as store,
            store.bulk_load(),
        ):
            load(store, 0, 20, step=20)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failed()
    assert words(dsn, tenant) == []
    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=DIM) as store:
        store.add(texts(1, 20), unit_vectors(1, DIM))
    assert ("passage", 21) in words(dsn, tenant)


@pytest.mark.parametrize(
    ("passages", "exact"), [(30_000, 2000), (200_000, 10_000), (10**7, 50_000)]
)
def test_more_passages_behind_a_filter_are_compared_in_a_larger_collection(
    opened: PgVectorStore, passages: int, exact: int
) -> None:
    here = replace(opened._opened.here, passages=passages, indexed=True)
    query = Query(unit_vectors(1, DIM)[0], None, 10, where=Eq("rare", value=True))
    statement, _ = search_statement(here, query, 10)
    assert f"count(*) <= {exact} AS" in statement.as_string(None)
    usual = search_settings(here, replace(query, where=None), 10)["hnsw.ef_search"]
    assert int(search_settings(here, query, 10)["hnsw.ef_search"]) == min(20 * int(usual), 1000)


def test_what_tuning_measures_is_what_new_questions_of_a_cluster_meet(
    dsn: str, tenant: str
) -> None:
    """Questions that are harder than any asked would have every search pay for them."""
    random = np.random.default_rng(11)
    centres = random.standard_normal((80, 384)).astype(np.float32)

    def drawn(count: int) -> Embeddings:
        rows = centres[random.integers(0, len(centres), count)]
        rows = rows + 0.7 * random.standard_normal((count, 384)).astype(np.float32)
        unit: Embeddings = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    rows, questions = drawn(4000), drawn(100)
    with PgVectorStore.open(
        dsn, tenant=tenant, model_id="test", dim=384, index_kind="bit", auto_index=False
    ) as store:
        store.add(texts(len(rows)), rows)
        assert store.build_index(tune=False)
        for width in (40, 80):
            tuning = store.tune(ef_search=width)
            assert tuning is not None
            met = recalled(store, rows, questions)
            assert abs(tuning.recall - met) < 0.06, width

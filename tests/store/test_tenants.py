"""Whose rows are seen, and with what rights the program runs, on a server where it is superuser."""

from __future__ import annotations

from functools import partial

import numpy as np
import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import tuple_row

from voicerag_core.errors import StoreError
from voicerag_core.filters import And
from voicerag_core.store import PgVectorStore, list_collections
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Passage

TABLES = (
    "collections",
    "documents",
    "passages",
    "vectors",
    "lexemes",
    "vocabulary",
    "tenant_passages",
)
ONE = np.eye(1, WIDTH, dtype=np.float32)


@pytest.fixture
def filled(store: PgVectorStore) -> PgVectorStore:
    texts = [Passage(str(i), "words of a text", {"i": i}) for i in range(2)]
    store.replace_document("a.txt", "1", texts, np.eye(2, WIDTH, dtype=np.float32))
    return store


def seen(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, int]:
    counts = {}
    for table in TABLES:
        query = sql.SQL("SELECT count(*) FROM voicerag.{}").format(sql.Identifier(table))
        row = connection.execute(query).fetchone()
        assert row is not None
        counts[table] = int(str(row[0]))
    return counts


@pytest.mark.parametrize("role", ["voicerag_writer", "voicerag_reader", "voicerag_owner"])
def test_without_a_tenant_there_are_no_rows(
    filled: PgVectorStore, dsn: str, tenant: str, role: str
) -> None:
    with psycopg.connect(dsn) as connection:
        assert min(seen(connection)[table] for table in TABLES[:-1]) > 0  # the superuser sees all
        connection.execute("SELECT set_config('role', %s, false)", (role,))
        assert set(seen(connection).values()) == {0}
        connection.execute("SELECT set_config('voicerag.tenant', 'nobody', true)")
        assert set(seen(connection).values()) == {0}
        connection.execute("SELECT set_config('voicerag.tenant', %s, true)", (tenant,))
        assert seen(connection) == {
            "collections": 1, "documents": 1, "passages": 2, "vectors": 2, "lexemes": 2,
            "vocabulary": 3, "tenant_passages": 2,
        }  # fmt: skip
        connection.commit()
        assert set(seen(connection).values()) == {0}
    assert filled.count() == 2


def test_another_tenant_has_its_own(filled: PgVectorStore, dsn: str, tenant: str) -> None:
    with PgVectorStore.open(dsn, tenant=tenant + "'", model_id="test", dim=WIDTH) as other:
        assert other.count() == 0
        assert other.search(ONE[0], text="words", limit=3) == ()
        assert other.document_digests() == {}
        assert other.add([Passage("0", "mine", {})], ONE) == 1
        assert other.remove_documents(["a.txt"]) == 0
        assert other.delete(where=And(())) == 1
    assert filled.count() == 2
    assert [info.passages for info in list_collections(dsn, tenant=tenant)] == [2]
    assert [info.passages for info in list_collections(dsn, tenant=tenant + "'")] == [0]
    assert list_collections(dsn, tenant="nobody") == ()


def test_rows_of_another_tenant_cannot_be_written(filled: PgVectorStore, dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("SET ROLE voicerag_writer")
        connection.execute("SELECT set_config('voicerag.tenant', 'mine', true)")
        with pytest.raises(pg.InsufficientPrivilege, match="row-level security"):
            connection.execute("INSERT INTO voicerag.lexemes VALUES ('theirs', 1, 'word', 1)")
    assert filled.count() == 2


@pytest.mark.parametrize(("prepare", "read_only"), [(True, False), (False, False), (True, True)])
def test_the_pool_never_runs_as_superuser(
    filled: PgVectorStore, dsn: str, tenant: str, *, prepare: bool, read_only: bool
) -> None:
    with PgVectorStore.open(
        dsn, tenant=tenant, model_id="test", dim=WIDTH, prepare=prepare, read_only=read_only
    ) as store:
        query = sql.SQL(
            "SELECT current_user, current_setting('is_superuser'), "
            "current_setting('voicerag.tenant'), current_setting('hnsw.iterative_scan')"
        )
        ((row,),) = store._database.read((query, {}), rows=tuple_row)
    role = "voicerag_reader" if read_only else "voicerag_writer"
    assert row == (role, "off", tenant, "relaxed_order")
    assert filled.count() == 2


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM voicerag.passages", "DROP TABLE voicerag.passages", "CREATE TABLE t (i int)",
        "CREATE TABLE voicerag.t (i int)", "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT voicerag.drop_collection('default')", "ALTER ROLE voicerag_reader SUPERUSER",
    ],
)  # fmt: skip
def test_a_reader_may_only_read(filled: PgVectorStore, dsn: str, statement: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("SET ROLE voicerag_reader")
        with pytest.raises(pg.InsufficientPrivilege):
            connection.execute(statement.encode())
    assert filled.count() == 2


def test_a_read_only_store_refuses_to_write(filled: PgVectorStore, dsn: str, tenant: str) -> None:
    with PgVectorStore.open(
        dsn, tenant=tenant, model_id="test", dim=WIDTH, read_only=True
    ) as reader:
        assert len(reader.search(ONE[0], limit=5)) == 2
        with pytest.raises(StoreError, match="read_only"):
            reader.add([Passage("9", "new", {})], ONE)
        with pytest.raises(StoreError, match="read_only"):
            reader.delete(["0"])
        for statement in ("DELETE FROM voicerag.passages", "DROP TABLE voicerag.vectors"):
            with pytest.raises(StoreError, match="may not"):  # its role could not, either
                reader._database.write(partial(psycopg.Connection.execute, query=statement))
        with pytest.raises(StoreError, match="read_only"):
            reader.build_index()
    assert filled.count() == 2


def test_a_read_only_store_needs_a_collection(dsn: str, tenant: str) -> None:
    with pytest.raises(StoreError, match=r"no collection 'default'.*index"):
        PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH, read_only=True)

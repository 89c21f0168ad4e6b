"""The schema comes when asked, once, and only where it can."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest

from voicerag_core.errors import SchemaError, StoreError
from voicerag_core.store import PgVectorStore, list_collections, migrate, reset, status
from voicerag_core.store.migrations import LATEST
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Passage


def run(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_opening_makes_no_schema(fresh: str) -> None:
    with pytest.raises(SchemaError, match="voicerag db migrate"):
        PgVectorStore.open(fresh, model_id="test", dim=WIDTH)
    with pytest.raises(SchemaError, match="voicerag db migrate"):
        list_collections(fresh)
    assert status(fresh).schema_version == 0


def test_racing_migrations_apply_each_step_once(fresh: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        applied = list(threads.map(migrate, [fresh] * 6))
    assert sorted(applied) == [[]] * 5 + [list(range(1, LATEST + 1))]
    now = status(fresh)
    assert now.schema_version == now.schema_expected == LATEST
    assert now.extension_version is not None
    assert now.superuser


def test_a_newer_schema_is_refused(fresh: str) -> None:
    migrate(fresh)
    run(fresh, "INSERT INTO voicerag.migrations VALUES (999, 'from the future')")
    with pytest.raises(SchemaError, match=r"version 999.*newer voicerag-core"):
        PgVectorStore.open(fresh, model_id="test", dim=WIDTH)
    with pytest.raises(SchemaError, match="version 999"):
        migrate(fresh)


def test_an_older_schema_asks_for_the_migration(fresh: str) -> None:
    migrate(fresh)
    run(fresh, f"DELETE FROM voicerag.migrations WHERE version = {LATEST}")
    with pytest.raises(SchemaError, match="voicerag db migrate"):
        PgVectorStore.open(fresh, model_id="test", dim=WIDTH)


def test_a_server_without_pgvector_is_refused(fresh: str) -> None:
    with psycopg.connect(fresh) as connection:
        if connection.info.server_version < 180_000:
            pytest.skip("the server has one place for extensions")
    run(fresh, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET extension_control_path = %L', "
        "current_database(), '/nowhere'); END $$")  # fmt: skip
    with pytest.raises(SchemaError, match=r"no pgvector.*install pgvector 0\.8"):
        migrate(fresh)
    assert status(fresh).schema_version == 0


def test_another_encoding_is_refused(server: str) -> None:
    run(server, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0 "
        "LOCALE_PROVIDER libc")  # fmt: skip
    with pytest.raises(SchemaError, match=r"LATIN1.*UTF8"):
        migrate(psycopg.conninfo.make_conninfo(server, dbname="latin"))


def test_a_login_without_rights_is_told_what_it_lacks(fresh: str) -> None:
    run(fresh, "CREATE ROLE powerless LOGIN", "CREATE EXTENSION vector")
    powerless = psycopg.conninfo.make_conninfo(fresh, user="powerless")
    with pytest.raises(SchemaError, match=r"may not set up.*CREATEROLE.*superuser"):
        migrate(powerless)
    migrate(fresh)
    with pytest.raises(StoreError, match="GRANT voicerag_writer"):
        PgVectorStore.open(powerless, model_id="test", dim=WIDTH)
    run(fresh, "GRANT voicerag_writer, voicerag_reader TO powerless")
    with PgVectorStore.open(powerless, model_id="test", dim=WIDTH) as store:
        assert store.count() == 0


def test_reset_of_a_collection_and_of_everything(fresh: str) -> None:
    migrate(fresh)

    for name in ("one", "two"):
        with PgVectorStore.open(fresh, collection=name, model_id="test", dim=WIDTH) as store:
            store.add([Passage("1", "text", {})], np.eye(1, WIDTH, dtype=np.float32))
            store.build_index()
    assert reset(fresh, collection="absent") == 0
    assert reset(fresh, collection="one") == 1
    assert [info.name for info in list_collections(fresh)] == ["two"]
    assert list_collections(fresh)[0].indexed
    assert reset(fresh) == 1
    assert list_collections(fresh) == ()
    assert status(fresh).schema_version == LATEST

"""A database that version 1 of the schema made and filled comes up to date, with all it holds."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.waiting import wait_until
from voicerag_core.errors import SchemaError
from voicerag_core.filters import Eq
from voicerag_core.store import PgVectorStore, list_collections, migrate, status
from voicerag_core.store.migrations import LATEST, extension_schema
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Embedding, Passage

LATER = list(range(2, LATEST + 1))

MIGRATE = "import sys; from voicerag_core.store import migrate; migrate(sys.argv[1])"

TABLES = ("collections", "documents", "passages", "vectors", "lexemes")


def axis(number: int) -> Embedding:
    row: Embedding = np.eye(WIDTH, dtype=np.float32)[number]
    return row


def script(name: str) -> bytes:
    return files("voicerag_core.store").joinpath("sql", name).read_bytes()


@pytest.fixture
def old(fresh: str) -> str:
    """A database as version 1 left it: two tenants, three collections, five passages."""
    with psycopg.connect(fresh) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(script("bootstrap.sql"))
        connection.execute("SET LOCAL ROLE voicerag_owner")
        schema = extension_schema(connection)
        connection.execute(f"SET LOCAL search_path = voicerag, {schema}".encode())
        connection.execute(script("0001_schema.sql"))
        connection.execute("INSERT INTO voicerag.migrations VALUES (1, '0001_schema.sql')")
    with psycopg.connect(fresh) as connection:
        connection.execute("SET LOCAL ROLE voicerag_writer")
        connection.execute(Path(__file__).with_name("version_1.sql").read_bytes())
    return fresh


def opened(dsn: str, tenant: str, collection: str = "default") -> PgVectorStore:
    return PgVectorStore.open(dsn, tenant=tenant, collection=collection, model_id="test", dim=WIDTH)


def found(store: PgVectorStore, text: str) -> list[str]:
    return [hit.passage.id for hit in store.search(None, text=text, limit=5)]


def state(dsn: str) -> list[tuple[object, ...]]:
    """All that the tables hold."""
    with psycopg.connect(dsn) as connection:
        return [
            row
            for table in (*TABLES, "migrations")
            for row in connection.execute(f"SELECT '{table}', t::text FROM voicerag.{table} t "
                                          "ORDER BY 2".encode())
        ]  # fmt: skip


def test_it_says_what_to_do_before(old: str) -> None:
    with pytest.raises(
        SchemaError, match=rf"version 1 .* needs {LATEST}; run `voicerag db migrate`"
    ):
        opened(old, "ada")
    with pytest.raises(SchemaError, match="voicerag db migrate"):
        list_collections(old)
    assert (status(old).schema_version, status(old).schema_expected) == (1, LATEST)


def test_everything_is_kept_and_found_as_before_and_by_title(old: str) -> None:
    assert migrate(old) == LATER
    assert migrate(old) == []
    assert {one.words for one in list_collections(old, tenant="ada")} == {True}
    with opened(old, "ada") as store, opened(old, "ada", "german") as german:
        assert store.count() == 3
        assert store.document_digests() == {"leave.md": "1"}
        kept = {"title": "Staff handbook", "source": "leave.md"}
        assert store.get(["a1"]) == [Passage("a1", "Parents may take sixteen weeks off.", kept)]
        for number, key in enumerate(("a1", "a2", "a3")):
            (hit,) = store.search(axis(number), limit=1)
            assert (hit.passage.id, hit.score) == (key, 1.0)
            (hit,) = store.search(axis(number), text="rivers", limit=1, where=Eq("n", 2))
            assert (hit.passage.id, hit.score) == ("a2", float(number == 1))
        assert found(store, "parents") == ["a1"]
        assert found(store, "a river flows") == ["a2"]
        assert found(store, "哪条河流入东海") == ["a3"]
        assert found(store, "the handbook of the staff") == ["a1"], "words of the title are new"
        assert found(german, "am Haus") == ["g1"]
        assert found(german, "Wohnen") == ["g1"], "words of the headings are new"
        assert {"Parents", "Staff"} <= dict(store.vocabulary().words).keys()
        assert "Parents" not in dict(german.vocabulary().words)


def test_it_is_written_to_and_counted_as_ever(old: str) -> None:
    migrate(old)
    with opened(old, "ada") as store:
        same = store.get(["a2"])
        store.add([Passage("a4", "A new river.", {"title": "News"})], axis(4)[None])
        store.add(same, axis(5)[None])
        assert found(store, "news") == ["a4"]
        assert set(found(store, "rivers")) == {"a2", "a4"}
        assert store.remove_documents(["leave.md"]) == 2
        assert store.count() == 2
    with psycopg.connect(old) as connection:
        means = connection.execute("SELECT min(mean_words) FROM voicerag.collections").fetchone()
    assert means is not None
    assert float(str(means[0])) > 1


def test_tenants_stay_apart(old: str) -> None:
    migrate(old)
    with opened(old, "bob") as bob, opened(old, "ada") as ada:
        assert found(bob, "handbook parents weeks") == []
        assert found(ada, "secret plans firm") == []
        assert found(bob, "secret plans") == ["a1"]
        assert [hit.passage.id for hit in bob.search(axis(0), text="rivers", limit=9)] == ["a1"]
        assert bob.count() == 1
    with psycopg.connect(old) as connection:
        forced = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'voicerag'::regnamespace "
            "AND relkind = 'r' AND relrowsecurity AND relforcerowsecurity"
        ).fetchone()
        assert forced == (len(TABLES) + 1,)
        for role in ("voicerag_owner", "voicerag_writer", "voicerag_reader"):
            connection.execute("SELECT set_config('role', %s, false)", (role,))
            for table in (*TABLES, "vocabulary"):
                seen = connection.execute(f"SELECT count(*) FROM voicerag.{table}".encode())
                assert seen.fetchone() == (0,), (role, table)


def test_from_version_2_the_words_of_every_tenant_are_counted(old: str) -> None:
    with psycopg.connect(old) as connection:
        connection.execute("SET LOCAL ROLE voicerag_owner")
        schema = extension_schema(connection)
        connection.execute(f"SET LOCAL search_path = voicerag, {schema}".encode())
        connection.execute(script("0002_words.sql"))
        connection.execute("INSERT INTO voicerag.migrations VALUES (2, '0002_words.sql')")
    assert migrate(old) == LATER[1:]
    with opened(old, "ada") as ada, opened(old, "bob") as bob:
        known = {"ada": dict(ada.vocabulary().words), "bob": dict(bob.vocabulary().words)}
        assert known["ada"]["Parents"] == 1
        assert known["bob"]
        assert "Parents" not in known["bob"]
        ada.remove_documents(["leave.md"])
        assert "Parents" not in dict(ada.vocabulary().words)
        assert dict(bob.vocabulary().words) == known["bob"]


def test_racing_migrations_apply_it_once(old: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(migrate, [old] * 4))
    assert sorted(applied) == [[]] * 3 + [LATER]
    with opened(old, "ada") as store:
        assert found(store, "handbook") == ["a1"]


def test_a_migration_killed_in_its_middle_changes_nothing(old: str) -> None:
    before = state(old)
    with psycopg.connect(old) as blocker, psycopg.connect(old, autocommit=True) as watcher:

        def backends(condition: str) -> int:
            row = watcher.execute(
                "SELECT count(*) FROM pg_stat_activity a WHERE application_name = 'killed' "
                f"AND {condition}".encode()
            ).fetchone()
            assert row is not None
            return int(str(row[0]))

        # The words of the passages are made anew by then, and those of the collection are not.
        blocker.execute("LOCK TABLE voicerag.lexemes IN EXCLUSIVE MODE")
        command = [sys.executable, "-c", MIGRATE, make_conninfo(old, application_name="killed")]
        with subprocess.Popen(command) as process:
            wait_until(lambda: backends("wait_event_type = 'Lock'") == 1)
            process.kill()
        blocker.rollback()
        wait_until(lambda: backends("true") == 0)
    assert state(old) == before
    assert status(old).schema_version == 1
    assert migrate(old) == LATER
    with opened(old, "ada") as store:
        assert found(store, "handbook") == ["a1"]

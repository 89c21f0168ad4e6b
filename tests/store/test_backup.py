"""A backup holds every row of every tenant, and a restore brings each one back."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.conftest import new_database
from voicerag_core.errors import SchemaError, StoreError
from voicerag_core.filters import Eq
from voicerag_core.store import PgVectorStore, list_collections, migrate
from voicerag_core.store.backups import backup, restore, verify
from voicerag_core.store.embedded import server_programs
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Embedding, Hit, Passage

_number = count()

TENANTS = ("ada", "bob", "O'Hara; DROP", "陳")


def run(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def axis(number: int) -> Embedding:
    row: Embedding = np.eye(WIDTH, dtype=np.float32)[number % WIDTH]
    return row


def opened(dsn: str, tenant: str, collection: str = "default") -> PgVectorStore:
    return PgVectorStore.open(dsn, tenant=tenant, collection=collection, model_id="test", dim=WIDTH)


def fill(dsn: str) -> None:
    """Documents, passages without one, two collections of a tenant, words of many kinds."""
    for place, tenant in enumerate(TENANTS):
        with opened(dsn, tenant) as store:
            passages = [
                Passage(f"{tenant}-{n}", f"Text {n} of {tenant}: Österreich, 長江. ~ Zürich",
                        {"n": n, "title": f"Title {place}"})
                for n in range(5 + place)
            ]  # fmt: skip
            vectors = np.stack([axis(n) for n in range(len(passages) + 2)])
            owners = np.array([*range(len(passages)), 0, 1])
            store.replace_document("handbook.md", "7", passages, vectors, owners=owners)
            store.add([Passage("loose", "Nobody's text", {})], axis(3)[None])
    with opened(dsn, "ada", "second") as store:
        store.add([Passage("s", "Second collection", {"n": 1})], axis(4)[None])
        store.build_index()


def answers(dsn: str) -> list[tuple[Hit, ...]]:
    found = []
    for tenant in TENANTS:
        with opened(dsn, tenant) as store:
            found += [
                store.search(axis(2), text="Zürich", limit=3),
                store.search(axis(1), limit=3, where=Eq("n", 1), with_vectors=True),
                store.search(None, text="长江 title", limit=9),
            ]
    return found


@pytest.fixture(scope="module")
def filled(server: str) -> str:
    dsn = new_database(server)
    migrate(dsn)
    fill(dsn)
    return dsn


@pytest.fixture(scope="module")
def saved(filled: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backup") / "all.zip"
    backup(filled, path)
    return path


@pytest.fixture
def fresh(server: str) -> str:
    return new_database(server)


def all_rows(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, read by a superuser past all policies."""
    with psycopg.connect(dsn) as connection:
        names = connection.execute(
            "SELECT c.relname FROM pg_class c WHERE relnamespace = 'voicerag'::regnamespace "
            "AND relkind = 'r' AND relname <> 'migrations'"
        ).fetchall()
        return {
            str(name): connection.execute(
                f"SELECT t.*, t.tableoid::regclass::text FROM voicerag.{name} t ORDER BY t::text"
                .encode()
            ).fetchall()
            for (name,) in names
        }  # fmt: skip


def test_every_row_of_every_tenant_comes_back(filled: str, saved: Path, fresh: str) -> None:
    report = restore(fresh, saved)
    assert all_rows(fresh) == all_rows(filled)
    assert report.rows["passages"] == 5 + 6 + 7 + 8 + 4 + 1
    assert report.indexes == 1
    assert answers(fresh) == answers(filled)
    assert [one.indexed for one in list_collections(fresh, tenant="ada")] == [False, True]
    checked = verify(saved, fresh)
    assert checked.differences == ()
    assert checked.rows == sum(report.rows.values())


def test_the_restored_database_is_bound_and_written_to_as_ever(saved: Path, fresh: str) -> None:
    restore(fresh, saved)
    with psycopg.connect(fresh) as connection:
        for role in ("voicerag_owner", "voicerag_writer", "voicerag_reader"):
            connection.execute("SELECT set_config('role', %s, false)", (role,))
            seen = connection.execute("SELECT count(*) FROM voicerag.passages").fetchone()
            assert seen == (0,), role
    with opened(fresh, "ada") as store, opened(fresh, "bob") as other:
        before = other.count()
        store.add([Passage("new", "Kranich", {})], axis(5)[None])
        assert "Kranich" in dict(store.vocabulary().words)
        assert store.remove_documents(["handbook.md"]) == 5
        assert store.count() == 2
        assert "Österreich" not in dict(store.vocabulary().words)
        assert other.count() == before
    with opened(fresh, "carol") as store:
        assert store.count() == 0


def test_what_changed_since_is_named(saved: Path, fresh: str) -> None:
    restore(fresh, saved)
    with opened(fresh, "bob") as store:
        store.delete(["loose"])
    differing = {(one.table, one.tenant) for one in verify(saved, fresh).differences}
    assert ("passages", "bob") in differing
    assert {tenant for _, tenant in differing} == {"bob"}


def test_a_changed_bit_of_one_vector_is_a_difference(saved: Path, fresh: str) -> None:
    restore(fresh, saved)
    run(fresh, "UPDATE voicerag.vectors SET embedding = '[0,0,0,0,0,0,0.00006104,0]' "
        "WHERE tenant = '陳' AND ordinal = 1 AND passage = "
        "(SELECT min(passage) FROM voicerag.vectors WHERE tenant = '陳')")  # fmt: skip
    (found,) = verify(saved, fresh).differences
    assert (found.table, found.tenant, found.in_backup) == ("vectors", "陳", found.in_database)


@pytest.fixture
def owner(server: str) -> Callable[[str], str]:
    """Make a login that is no superuser, with the right to set voicerag up."""

    def make(dsn: str, *grants: str) -> str:
        name = f"login_{next(_number)}"
        database = str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])
        run(dsn, f"CREATE ROLE {name} LOGIN CREATEROLE",
            f"GRANT CREATE ON DATABASE {database} TO {name}",
            "CREATE EXTENSION IF NOT EXISTS vector",
            *(f"GRANT voicerag_{role} TO {name}" for role in
              ("owner", "writer", "reader")))  # fmt: skip
        return make_conninfo(dsn, user=name)

    return make


def test_an_owner_that_is_no_superuser_saves_and_restores_all_tenants(
    filled: str, fresh: str, tmp_path: Path, owner: Callable[[str], str], server: str
) -> None:
    login = owner(fresh)
    migrate(login)
    fill(login)
    report = backup(login, tmp_path / "owner.zip")
    assert report.tenants == len(TENANTS)
    assert report.rows["passages"] == len(all_rows(filled)["passages"])
    target = new_database(server)
    restored = owner(target)
    restore(restored, tmp_path / "owner.zip")
    assert all_rows(target) == all_rows(fresh)
    assert verify(tmp_path / "owner.zip", restored).differences == ()


def test_settings_of_the_login_do_not_matter(
    filled: str, saved: Path, fresh: str, server: str, tmp_path: Path
) -> None:
    name = f"login_{next(_number)}"
    run(fresh, f"CREATE ROLE {name} LOGIN SUPERUSER",
        *(f"ALTER ROLE {name} SET {setting}" for setting in (
            "row_security = off", "default_transaction_read_only = on", "search_path = nowhere",
            "client_encoding = LATIN1", "default_transaction_isolation = serializable",
            "bytea_output = escape", "voicerag.tenant = ada")))  # fmt: skip
    login = make_conninfo(fresh, user=name, client_encoding="LATIN1")
    restore(login, saved)
    assert all_rows(fresh) == all_rows(filled)
    backup(login, tmp_path / "again.zip")
    assert verify(tmp_path / "again.zip", filled).differences == ()
    assert verify(saved, login).differences == ()
    elsewhere = new_database(server)
    restore(elsewhere, tmp_path / "again.zip")
    assert all_rows(elsewhere) == all_rows(filled)


def test_pgvector_may_be_in_another_schema_than_before(
    saved: Path, fresh: str, server: str, tmp_path: Path
) -> None:
    run(fresh, 'CREATE SCHEMA "Ex.t ""x"', 'CREATE EXTENSION vector SCHEMA "Ex.t ""x"')
    restore(fresh, saved)
    backup(fresh, tmp_path / "there.zip")
    back = new_database(server)
    restore(back, tmp_path / "there.zip")
    assert all_rows(back) == all_rows(fresh)


def test_pg_dump_as_that_owner_sees_all_tenants_as_the_page_says(
    filled: str, fresh: str, tmp_path: Path, owner: Callable[[str], str]
) -> None:
    login = owner(fresh)
    migrate(login)
    fill(login)
    command = [
        str(server_programs() / "pg_dump"),
        "--enable-row-security",
        "--schema=voicerag",
        login,
    ]
    options = "-c role=voicerag_owner -c voicerag.all_tenants=on"
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert f"PGOPTIONS='{options}'" in page
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PGOPTIONS": options}
    )
    for tenant in TENANTS:
        assert done.stdout.count(f"Text 1 of {tenant}:") >= 1
    assert len(all_rows(fresh)["passages"]) == done.stdout.count('{"n":') + len(TENANTS)
    hidden = subprocess.run(command, capture_output=True, text=True, check=True, env={})
    assert "Text 1 of" not in hidden.stdout


@pytest.mark.parametrize("granted", [None, "voicerag_writer", "voicerag_reader"])
def test_a_login_without_rights_is_told_which(
    filled: str, saved: Path, tmp_path: Path, granted: str | None
) -> None:
    name = f"login_{next(_number)}"
    run(filled, f"CREATE ROLE {name} LOGIN", *([f"GRANT {granted} TO {name}"] if granted else ()))
    login = make_conninfo(filled, user=name)
    with pytest.raises(StoreError, match="GRANT voicerag_owner TO login"):
        backup(login, tmp_path / "no.zip")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="GRANT voicerag_owner TO login"):
        verify(saved, login)
    with pytest.raises(StoreError, match="GRANT voicerag_owner TO login"):
        restore(login, saved)
    assert verify(saved, filled).differences == ()


def test_a_filled_database_is_left_alone(saved: Path, fresh: str) -> None:
    migrate(fresh)
    with opened(fresh, "zoe") as store:
        store.add([Passage("z", "Zoe's", {})], axis(0)[None])
    before = all_rows(fresh)
    with pytest.raises(StoreError, match=r"already holds .* of voicerag.*db reset --all"):
        restore(fresh, saved)
    assert all_rows(fresh) == before


def test_an_empty_schema_is_filled(saved: Path, fresh: str) -> None:
    migrate(fresh)
    restore(fresh, saved)
    assert verify(saved, fresh).differences == ()


def test_a_newer_schema_is_refused(saved: Path, fresh: str, tmp_path: Path) -> None:
    migrate(fresh)
    run(fresh, "INSERT INTO voicerag.migrations VALUES (999, 'from the future')")
    with pytest.raises(SchemaError, match=r"version 999.*newer voicerag-core"):
        restore(fresh, saved)
    with pytest.raises(SchemaError, match="version 999"):
        backup(fresh, tmp_path / "newer.zip")


def test_without_a_schema_there_is_nothing_to_save(fresh: str, tmp_path: Path, saved: Path) -> None:
    with pytest.raises(SchemaError, match="no voicerag schema"):
        backup(fresh, tmp_path / "nothing.zip")
    with pytest.raises(SchemaError, match="no voicerag schema"):
        verify(saved, fresh)


def test_an_existing_file_is_kept(filled: str, tmp_path: Path) -> None:
    there = tmp_path / "mine.zip"
    there.write_text("mine")
    with pytest.raises(StoreError, match=r"is there already.*--force"):
        backup(filled, there)
    with pytest.raises(StoreError, match="is a folder; name the file"):
        backup(filled, tmp_path, replace=True)
    assert there.read_text() == "mine"
    backup(filled, there, replace=True)
    assert verify(there, filled).differences == ()
    assert there.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [there]

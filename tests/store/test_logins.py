"""Whatever login, database and environment say: the same texts and rights, or a clear word."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.conftest import new_database
from voicerag_core.errors import SchemaError, StoreError, StoreUnavailableError
from voicerag_core.filters import Eq, Like
from voicerag_core.store import (
    EmbeddedPostgres,
    ExistingTable,
    PgVectorStore,
    list_collections,
    migrate,
    reset,
)
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Passage

ONE = np.eye(1, WIDTH, dtype=np.float32)
ROW = Passage("é1 漢", "naïve café 漢字 😀", {"ключ": "ü\\'\"", "path": ["C:\\u"]})


def run(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def works(dsn: str, tenant: str = "default") -> None:
    """Write and read through every kind of call."""
    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH) as store:
        assert store.add([ROW], ONE) == 1
        assert store.replace_document("ö.txt", "1", [Passage("ö", "text", {})], ONE) == 1
        assert store.search(ONE[0], text="café", limit=1)[0].passage == ROW
        assert store.get([ROW.id]) == [ROW]
        assert store.count(where=Eq("ключ", "ü\\'\"")) == 1
        assert store.count(where=Like("ключ", "ü\\\\'%")) == 1
        assert store.document_digests() == {"ö.txt": "1"}
        assert ("café", 1) in store.vocabulary().words
        assert store.build_index()
        assert store.delete([ROW.id]) == 1
        store.add([ROW], ONE)
    with PgVectorStore.open(
        dsn, tenant=tenant, model_id="test", dim=WIDTH, read_only=True
    ) as reader:
        assert reader.search(ONE[0], limit=2, where=Eq("ключ", "ü\\'\""))[0].passage == ROW
        assert reader.search(ONE[0], limit=1)[0].score == 1.0
    assert [one.passages for one in list_collections(dsn, tenant=tenant)] == [2]


@pytest.fixture
def login(fresh: str) -> Iterator[tuple[str, str]]:
    """A login that may use voicerag in a migrated database, and its name."""
    migrate(fresh)
    name = f"login_{uuid4().hex[:8]}"
    run(fresh, f"CREATE ROLE {name} LOGIN", f"GRANT voicerag_writer, voicerag_reader TO {name}")
    yield make_conninfo(fresh, user=name), name
    run(fresh, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@pytest.mark.parametrize(
    ("by", "encoding"),
    [("dsn", "LATIN1"), ("options", "WIN1252"), ("role", "SQL_ASCII"), ("database", "EUC_JP"),
     ("environment", "LATIN1")],
)  # fmt: skip
def test_texts_are_utf8_whatever_encoding_is_asked_for(
    login: tuple[str, str], fresh: str, by: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, name = login
    match by:
        case "dsn":
            dsn = make_conninfo(dsn, client_encoding=encoding)
        case "options":
            dsn = make_conninfo(dsn, options=f"-c client_encoding={encoding}")
        case "role":
            run(fresh, f"ALTER ROLE {name} SET client_encoding = '{encoding}'")
        case "database":
            database = psycopg.conninfo.conninfo_to_dict(fresh)["dbname"]
            run(fresh, f"ALTER DATABASE {database} SET client_encoding = '{encoding}'")
        case _:
            monkeypatch.setenv("PGCLIENTENCODING", encoding)
    works(dsn, tenant="größe")
    monkeypatch.delenv("PGCLIENTENCODING", raising=False)
    with PgVectorStore.open(fresh, tenant="größe", model_id="test", dim=WIDTH) as plain:
        assert plain.get([ROW.id]) == [ROW]


def test_a_table_of_another_program_is_read_as_utf8(login: tuple[str, str], fresh: str) -> None:
    with psycopg.connect(fresh, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE docs AS SELECT %s AS id, %s AS content, %s::vector(8) AS embedding",
            (ROW.id, ROW.text, str(ONE[0].tolist())),
        )
    run(fresh, f"GRANT SELECT ON docs TO {login[1]}")
    latin = make_conninfo(login[0], client_encoding="LATIN1")
    with ExistingTable(latin, "docs") as table:
        assert table.search(ONE[0], text="café", limit=1)[0].passage.text == ROW.text
        assert table.get([ROW.id])[0].text == ROW.text


ODD_DEFAULTS = [
    "row_security = off",
    "default_transaction_read_only = on",
    "default_transaction_isolation = 'serializable'",
    "search_path = ''",
    "standard_conforming_strings = off",
    "extra_float_digits = -15",
    "bytea_output = 'escape'",
    "datestyle = 'German'",
    "default_text_search_config = 'simple'",
    "enable_indexscan = off",
    "hnsw.iterative_scan = 'off'",
    "plan_cache_mode = 'force_generic_plan'",
    "client_encoding = 'LATIN1'",
]


def test_session_defaults_of_a_login_change_nothing(login: tuple[str, str], fresh: str) -> None:
    dsn, name = login
    run(fresh, *[f"ALTER ROLE {name} SET {setting}" for setting in ODD_DEFAULTS])
    works(dsn)
    assert reset(dsn, collection="default") == 2
    run(fresh, f"ALTER ROLE {name} SET role = 'voicerag_reader'")
    works(dsn)


def test_session_defaults_change_no_migration(fresh: str) -> None:
    database = psycopg.conninfo.conninfo_to_dict(fresh)["dbname"]
    run(fresh, *[f"ALTER DATABASE {database} SET {setting}" for setting in ODD_DEFAULTS])
    migrate(fresh)
    works(fresh)
    assert reset(fresh) == 2


def test_the_time_that_a_login_has_bounds_no_write(login: tuple[str, str], fresh: str) -> None:
    dsn, name = login
    run(fresh, f"ALTER ROLE {name} SET statement_timeout = '1s'")
    with psycopg.connect(fresh) as connection:
        if connection.info.server_version >= 170_000:
            run(fresh, f"ALTER ROLE {name} SET transaction_timeout = '1s'")
    with PgVectorStore.open(dsn, model_id="test", dim=WIDTH) as store:
        store._database.write(lambda connection: connection.execute("SELECT pg_sleep(1.5)"))


@pytest.mark.parametrize(("schema", "usage"), [('Ext "x', False), ("ünï b", True)])
def test_the_extension_may_have_a_schema_of_its_own(
    fresh: str,
    schema: str,
    usage: bool,
) -> None:
    name = sql.Identifier(schema)
    with psycopg.connect(fresh, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
        connection.execute(sql.SQL("CREATE EXTENSION vector SCHEMA {}").format(name))
        if usage:
            connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO PUBLIC").format(name))
    migrate(fresh)
    works(fresh)


@pytest.fixture
def owner(server: str) -> Iterator[tuple[str, str]]:
    """A database, as its superuser and as a login that may set voicerag up in it.

    Grants that the roles of voicerag get belong to the database, so that none is there yet.
    """
    dsn = new_database(server)
    name = f"owner_{uuid4().hex[:8]}"
    database = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    run(
        dsn,
        f"CREATE ROLE {name} LOGIN CREATEROLE",
        f"GRANT CREATE ON DATABASE {database} TO {name}",
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        roles = [
            row[0]
            for row in connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname ~ '^voicerag'"
            )
        ]
    if roles:
        run(dsn, f"GRANT {', '.join(roles)} TO {name} WITH ADMIN OPTION")
    yield dsn, make_conninfo(dsn, user=name)
    run(dsn, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


def test_a_migration_names_every_grant_that_is_missing(owner: tuple[str, str]) -> None:
    admin, login = owner
    database = psycopg.conninfo.conninfo_to_dict(admin)["dbname"]
    run(
        admin, "CREATE SCHEMA extensions", "CREATE EXTENSION vector SCHEMA extensions",
        f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
        "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA extensions FROM PUBLIC",
        "REVOKE USAGE ON TYPE extensions.halfvec FROM PUBLIC",
    )  # fmt: skip
    with pytest.raises(SchemaError) as caught:
        migrate(login)
    said = str(caught.value)
    advice = [part for part in said.split("`") if part.startswith("GRANT")]
    assert {" ".join(one.split()[:4]) for one in advice} == {
        "GRANT USAGE ON SCHEMA", "GRANT USAGE ON TYPE", "GRANT EXECUTE ON ALL",
    }  # fmt: skip
    run(admin, *advice)
    migrate(login)
    works(login)
    assert migrate(login) == []


def test_an_administrator_grants_it_in_passing(owner: tuple[str, str]) -> None:
    admin, _ = owner
    database = psycopg.conninfo.conninfo_to_dict(admin)["dbname"]
    run(
        admin, "CREATE SCHEMA extensions", "CREATE EXTENSION vector SCHEMA extensions",
        f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
        "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA extensions FROM PUBLIC",
    )  # fmt: skip
    migrate(admin)
    works(admin)
    run(admin, "REVOKE USAGE ON SCHEMA extensions FROM voicerag_writer")
    assert migrate(admin) == [], "and later, when one was taken away"
    works(admin, tenant="later")


@pytest.mark.parametrize(
    ("taken", "advice"),
    [
        ("voicerag_writer FROM {login}", "GRANT voicerag_writer TO {login}"),
        ("INSERT ON voicerag.vectors FROM voicerag_writer",
         "GRANT SELECT, INSERT, UPDATE, DELETE ON voicerag.vectors TO voicerag_writer"),
        ("USAGE ON SCHEMA voicerag FROM voicerag_writer", "GRANT USAGE ON SCHEMA voicerag TO"),
    ],
)  # fmt: skip
def test_a_right_that_was_taken_away_is_named(
    login: tuple[str, str], fresh: str, taken: str, advice: str
) -> None:
    dsn, name = login
    run(fresh, f"REVOKE {taken.format(login=name)}")
    with pytest.raises(StoreError) as caught:
        works(dsn)
    assert not isinstance(caught.value, StoreUnavailableError)
    said = str(caught.value)
    assert advice.format(login=name) in said
    run(fresh, *[part for part in said.split("`") if part.startswith("GRANT")])
    works(dsn)


def test_a_schema_of_somebody_else_is_named(fresh: str) -> None:
    run(fresh, "CREATE ROLE somebody", "CREATE SCHEMA voicerag AUTHORIZATION somebody")
    try:
        for call in (
            lambda: migrate(fresh),
            lambda: works(fresh),
            lambda: list_collections(fresh),
            lambda: reset(fresh),
        ):
            with pytest.raises(SchemaError, match=r"belongs to 'somebody'.*RENAME TO"):
                call()
        run(fresh, "CREATE TABLE voicerag.migrations (id integer)")
        with pytest.raises(SchemaError, match="belongs to 'somebody'"):
            migrate(fresh)
    finally:
        run(fresh, "DROP SCHEMA voicerag CASCADE", "DROP ROLE somebody")


VARIABLES = {
    "PGHOST": "10.255.255.1", "PGHOSTADDR": "127.0.0.1", "PGPORT": "6543", "PGDATABASE": "other",
    "PGUSER": "nobody", "PGPASSWORD": "x", "PGOPTIONS": "-c search_path=none -c role=none",
    "PGSSLMODE": "verify-full", "PGSSLNEGOTIATION": "direct", "PGSSLCERTMODE": "require",
    "PGCHANNELBINDING": "require", "PGREQUIREAUTH": "scram-sha-256", "PGREQUIREPEER": "nobody",
    "PGGSSENCMODE": "disable", "PGTARGETSESSIONATTRS": "standby", "PGCLIENTENCODING": "LATIN1",
    "PGAPPNAME": "other", "PGCONNECT_TIMEOUT": "1", "PGDATA": "/nowhere", "PGTZ": "Asia/Tokyo",
    "PGLOCALEDIR": "/nowhere", "LC_ALL": "C", "TZ": "Asia/Tokyo",
}  # fmt: skip

PROGRAM = """
import sys
import numpy as np
from voicerag_core import load_settings
from voicerag_core.stack import open_database
from voicerag_core.store import PgVectorStore
from voicerag_core.types import Passage
with open_database(load_settings(data_dir=sys.argv[1])) as dsn:
    with PgVectorStore.open(dsn, model_id="test", dim=8) as store:
        store.add([Passage("é", "naïve")], np.eye(1, 8, dtype=np.float32))
        sys.stdout.buffer.write(store.get(["é"])[0].text.encode())
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a database in it."""
    folder = tmp_path_factory.mktemp("home")
    with EmbeddedPostgres(folder / "postgres") as server:
        migrate(server.dsn)
    return folder


@pytest.mark.parametrize("names", [["PGPORT"], ["PGHOSTADDR"], list(VARIABLES)])
def test_variables_for_another_server_do_not_touch_the_embedded_one(
    home: Path, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in names:
        monkeypatch.setenv(name, VARIABLES[name])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(home)], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout.decode()) == (0, "naïve"), done.stderr.decode()

"""The tables of other programs, each read by a login that can do nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.conftest import new_database
from tests.store.other_programs import PROGRAMS, FilledByAnother, Program, make_reader
from voicerag_core import ConfigError, ExistingTable, Passage, StoreError
from voicerag_core.filters import And, Eq, Filter, Ge, In, IsEmpty, Like, Ne, Not, NotIn, matches
from voicerag_core.store import inspect_table
from voicerag_core.testing import PassageStoreContract
from voicerag_core.testing.stores import WIDTH


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.name)
def program(request: pytest.FixtureRequest) -> Program:
    found: Program = request.param
    return found


@pytest.fixture
def database(server: str, program: Program) -> str:
    """A database with the program's tables and no schema of voicerag."""
    dsn = new_database(server)
    with psycopg.connect(dsn, autocommit=True) as connection:
        program.create(connection, WIDTH)
    return dsn


@pytest.fixture
def table(database: str, program: Program) -> Iterator[ExistingTable]:
    tables = [program.table]
    if "v1" in program.name:
        tables.append("langchain_pg_collection")
    login = make_reader(database, *tables)
    with ExistingTable(login, program.table, **program.options) as opened:
        yield opened


@pytest.fixture
def store(database: str, program: Program, table: ExistingTable) -> Iterator[FilledByAnother]:
    filled = FilledByAnother(program, database, table)
    yield filled
    filled.close()


READ_HALF = [
    "test_what_was_added_is_found_best_first",
    "test_a_least_score_leaves_the_rest_out",
    "test_words_find_what_vectors_do_not",
    "test_words_alone_find_too",
    "test_no_text_is_too_odd",
    "test_filters_choose",
    "test_a_filter_without_meaning_is_refused",
    "test_many_searches_equal_one_by_one",
    "test_passages_come_in_the_order_asked",
]


@pytest.mark.parametrize("rule", READ_HALF)
def test_the_rules_of_a_store_hold(rule: str, store: FilledByAnother) -> None:
    getattr(PassageStoreContract(), rule)(store)


def test_an_empty_table_is_read_and_says_so(
    table: ExistingTable, program: Program, store: FilledByAnother
) -> None:
    if "Open WebUI" in program.name:
        with pytest.raises(ConfigError, match="it has none"):
            table.count()
        return
    PassageStoreContract().test_an_empty_store_finds_nothing(store)
    assert "no row with a text and a vector yet" in table.why_empty()


def digest(dsn: str) -> str:
    """Return a digest of everything in a database that a reader could have changed."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        parts = [
            connection.execute(query.encode()).fetchall()
            for query in (
                (
                    "SELECT n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON "
                    "n.oid = c.relnamespace WHERE n.nspname NOT LIKE 'pg_%' ORDER BY 1, 2"
                ),
                "SELECT extname, extversion FROM pg_extension ORDER BY 1",
                (
                    "SELECT rolname, rolconfig FROM pg_roles WHERE rolname NOT LIKE 'reader%' "
                    "ORDER BY 1"
                ),
            )
        ]
        names = connection.execute(
            "SELECT schemaname, relname, n_tup_ins + n_tup_upd + n_tup_del, last_analyze FROM "
            "pg_stat_user_tables ORDER BY 1, 2"
        ).fetchall()
    return hashlib.sha256(repr((parts, names)).encode()).hexdigest()


def test_nothing_is_written_and_writing_is_refused(
    database: str, table: ExistingTable, store: FilledByAnother
) -> None:
    passages = [Passage(f"p{i}", f"Text number {i}.", {"n": i}) for i in range(5)]
    vectors = np.eye(5, WIDTH, dtype=np.float32)
    store.add(passages, vectors)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
    before = digest(database)
    table.search(vectors[0], text="number", limit=3, where=Eq("n", 0))
    table.get(["p0"])
    inspect_table(table)
    with pytest.raises(StoreError, match="filled by another program and only read here"):
        table.add(passages, vectors)
    with pytest.raises(StoreError, match="filled by another program and only read here"):
        table.delete(where=And(()))
    assert digest(database) == before
    login = conninfo_to_dict(table._database.dsn)["user"]
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT bool_or(has_table_privilege(%s, c.oid, 'INSERT,UPDATE,DELETE')) "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN "
            "('pg_catalog', 'information_schema')",
            (login,),
        ).fetchone()
    assert row == (False,)


def test_its_layout_is_known(
    table: ExistingTable, program: Program, store: FilledByAnother
) -> None:
    passage = Passage("a", "The lake.", {"source": "lake.md", "title": "Lake"})
    store.add([passage], np.eye(1, WIDTH, dtype=np.float32))
    report = inspect_table(table)
    known = (
        program.name.split(",")[0]
        .split(" ")[0]
        .lower()
        .replace("llama-index-vector-stores-postgres", "llamaindex")
    )
    assert known in report.program.lower()
    assert report.rows == 1
    assert store.get(["a"]) == [passage]
    if "Open WebUI" in program.name:
        assert report.vectors == "vector(64), of which 1 are used"


SOME: list[dict[str, Any]] = [
    {"n": 2020}, {"n": "2020"}, {}, {"n": None}, {"n": [2020]}, {"kind": "Straße"},
    {"kind": "STRASSE x"}, {"n": 3.5, "kind": "O'Brien %s \\"},
]  # fmt: skip
FILTERS: list[Filter] = [
    Eq("n", 2020), Ne("n", 2020), Not(Eq("n", "2020")), In("n", (2020, "x")), NotIn("n", (2020,)),
    Ge("n", 3), IsEmpty("n"), Not(Ge("n", 3)), Eq("kind", "O'Brien %s \\"), Like("kind", "%'%"),
    Like("kind", "straße", ignore_case=True), Eq('"; DROP TABLE x; --', 1), Eq("%(q)s", "{}"),
]  # fmt: skip


def test_filters_mean_what_they_mean_elsewhere(store: FilledByAnother) -> None:
    passages = [Passage(f"p{i}", f"Text {i}.", entries) for i, entries in enumerate(SOME)]
    store.add(passages, np.eye(len(SOME), WIDTH, dtype=np.float32))
    for where in FILTERS:
        expected = {p.id for p in passages if matches(where, p.metadata)}
        hits = store.search(np.ones(WIDTH, np.float32), limit=20, where=where)
        assert {hit.passage.id for hit in hits} == expected, where
        assert store.count(where=where) == len(expected), where


HOLES = {
    "langchain-postgres 0.0.19, v1": "INSERT INTO langchain_pg_embedding (id, collection_id, "
    "embedding, document) VALUES ('x', '11111111-1111-4111-8111-111111111111', '[%s]', NULL), "
    "('z', '11111111-1111-4111-8111-111111111111', '[%s]', 'No metadata.'), "
    "('y', '11111111-1111-4111-8111-111111111111', NULL, 'No vector.')",
    "Supabase": "INSERT INTO documents VALUES (gen_random_uuid(), NULL, NULL, '[%s]'), "
    "(gen_random_uuid(), 'No metadata.', NULL, '[%s]'), "
    "(gen_random_uuid(), 'No vector.', NULL, NULL)",
}


@pytest.mark.parametrize(
    "program",
    [one for one in PROGRAMS if one.name in HOLES],
    ids=lambda one: one.name,
    indirect=True,
)
def test_rows_without_text_vector_or_metadata_do_no_harm(
    database: str, program: Program, table: ExistingTable, store: FilledByAnother
) -> None:
    store.add([Passage("a", "The lake.")], np.eye(1, WIDTH, dtype=np.float32))
    vector = json.dumps([0.0] * (WIDTH - 1) + [1.0])[1:-1]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute((HOLES[program.name] % (vector, vector)).encode())
    assert table.count() == 2
    texts = {hit.passage.text for hit in table.search(np.ones(WIDTH, np.float32), limit=9)}
    assert texts == {"The lake.", "No metadata."}
    assert table.count(where=Ne("kind", "x")) == 2

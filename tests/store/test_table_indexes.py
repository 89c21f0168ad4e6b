"""Searches of other programs' tables go through the index that is there, and are right without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import psycopg
import pytest

from tests.conftest import new_database
from voicerag_core import ExistingTable
from voicerag_core.filters import Eq
from voicerag_core.store import inspect_table
from voicerag_core.store.existing.ordering import scan_settings

ROWS, WIDTH = 8_000, 32
RARE = 80
"""One row of so many passes the selective filter: 1.25 %."""


@pytest.fixture(scope="module")
def dsn(server: str) -> str:
    """Four tables of 8,000 random unit vectors, and what stands beside them."""
    made = new_database(server)
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((ROWS, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with psycopg.connect(made, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(
            f"CREATE TABLE source (id int PRIMARY KEY, content text, metadata jsonb, "
            f"embedding vector({WIDTH}))".encode()
        )
        with connection.cursor().copy("COPY source FROM STDIN") as copy:
            for number, vector in enumerate(vectors):
                entries = json.dumps({"rare": number % RARE == 0, "n": number})
                copy.write_row((number, f"Text {number}.", entries, json.dumps(vector.tolist())))
        for table, index in {
            "cosine": "hnsw (embedding vector_cosine_ops)",
            "l2": "hnsw (embedding vector_l2_ops)",
            "lists": "ivfflat (embedding vector_cosine_ops) WITH (lists = 100)",
        }.items():
            connection.execute(f"CREATE TABLE {table} (LIKE source)".encode())
            connection.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (id)".encode())
            if table == "lists":  # made while it is empty, as Open WebUI does
                connection.execute(f"CREATE INDEX {table}_v ON {table} USING {index}".encode())
            connection.execute(f"INSERT INTO {table} SELECT * FROM source".encode())
            if table != "lists":
                connection.execute(f"CREATE INDEX {table}_v ON {table} USING {index}".encode())
        connection.execute("CREATE VIEW seen AS SELECT * FROM cosine")
        connection.execute("ANALYZE")
    return made


@pytest.fixture(scope="module")
def vectors(dsn: str) -> np.ndarray:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT embedding::real[] FROM source ORDER BY id").fetchall()
    return np.array([row[0] for row in rows], np.float32)


def plan(table: ExistingTable, width: int = WIDTH) -> str:
    """Return the planner's own plan of a search, under no settings but its defaults."""
    opened = table.opened()
    query, values = opened.statements.plan(opened.order, width)
    with psycopg.connect(table._database.dsn) as connection:
        return "\n".join(row[0] for row in connection.execute(query, values).fetchall())


@pytest.mark.parametrize(
    ("name", "index"),
    [("cosine", "cosine_v"), ("l2", "l2_v"), ("lists", "lists_v"), ("seen", "cosine_v")],
)
def test_the_index_that_is_there_serves(
    dsn: str, vectors: np.ndarray, name: str, index: str
) -> None:
    with ExistingTable(dsn, name) as table:
        assert f"using {index}" in plan(table)
        assert inspect_table(table).index.split(" ")[0] in (index, "of")
        draw = np.random.default_rng(1)
        for drawn in draw.standard_normal((5, WIDTH)).astype(np.float32):
            query = drawn / np.linalg.norm(drawn)
            expected = np.argsort(-(vectors @ query))[:10]
            hits = table.search(query, limit=10)
            found = [int(hit.passage.id) for hit in hits]
            assert len(set(found) & set(expected.tolist())) >= 9, "an approximate index"
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            assert hits[0].score == pytest.approx(float(vectors[found[0]] @ query), abs=1e-5)


@pytest.mark.parametrize("name", ["cosine", "lists", "seen"])
def test_a_selective_filter_and_many_rows_lose_nothing(
    dsn: str, vectors: np.ndarray, name: str
) -> None:
    query = vectors[7]
    rare = np.arange(0, ROWS, RARE)
    expected = rare[np.argsort(-(vectors[rare] @ query))[:10]]
    with ExistingTable(dsn, name) as table:
        hits = table.search(query, limit=10, where=Eq("rare", value=True))
        assert [int(hit.passage.id) for hit in hits] == expected.tolist()
        assert len(table.search(query, limit=100)) == 100
        assert len(table.search(query, limit=300, where=Eq("rare", value=True))) == ROWS // RARE


def test_an_older_pgvector_is_searched_exactly_where_its_scan_would_fall_short(dsn: str) -> None:
    with ExistingTable(dsn, "cosine") as table:
        opened = table.opened()
    old = replace(opened.extension, version=(0, 7, 4))
    order = opened.order
    assert scan_settings(order, old, fetch=10, rows=ROWS, filtered=True) is None
    assert scan_settings(order, old, fetch=2000, rows=ROWS, filtered=False) is None
    known = scan_settings(order, old, fetch=10, rows=ROWS, filtered=False)
    assert known == {"hnsw.ef_search": "100"}


@pytest.fixture
def connection(server: str) -> Iterator[psycopg.Connection[object]]:
    with psycopg.connect(new_database(server), autocommit=True) as opened:
        opened.execute("CREATE EXTENSION vector")
        yield opened


def test_distances_that_order_otherwise_are_not_trusted(
    connection: psycopg.Connection[object],
) -> None:
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, text text, embedding vector(2))")
    connection.execute("CREATE INDEX ON t USING hnsw (embedding vector_l2_ops)")
    connection.execute(
        "INSERT INTO t VALUES (1, 'near in angle, long', '[9,1]'), (2, 'close by', '[0.7,0.7]')"
    )
    with ExistingTable(connection.info.dsn, "t") as table:
        hits = table.search(np.array([1, 0], np.float32), limit=2)
        assert [hit.passage.id for hit in hits] == ["1", "2"]
        assert hits[0].score == pytest.approx(9 / 82**0.5, abs=1e-5)
        report = inspect_table(table)
    assert report.index == ""
    assert "its index cannot serve a search by cosine" in report.warnings[0]
    assert "vector_cosine_ops" in report.suggestion


def test_a_partial_index_on_an_expression_serves_its_collection(
    connection: psycopg.Connection[object],
) -> None:
    from tests.store.other_programs import PROGRAMS

    v1 = PROGRAMS[0]
    v1.create(connection, 8)
    connection.execute(
        "CREATE INDEX partly ON langchain_pg_embedding USING hnsw ((embedding::vector(8)) "
        "vector_cosine_ops) WHERE collection_id = '11111111-1111-4111-8111-111111111111'"
    )
    connection.execute(
        "INSERT INTO langchain_pg_embedding SELECT n::text, "
        "'11111111-1111-4111-8111-111111111111', (SELECT array_agg(sin(n * k))::real[]::vector "
        "FROM generate_series(1, 8) k), 'Text ' || n, '{}' FROM generate_series(1, 3000) n"
    )
    connection.execute("ANALYZE langchain_pg_embedding")
    with ExistingTable(connection.info.dsn, v1.table, collection="docs") as table:
        assert "using partly" in plan(table, 8)
        assert len(table.search(np.ones(8, np.float32) / 8**0.5, limit=5)) == 5
    with ExistingTable(connection.info.dsn, v1.table, collection="other") as table:
        assert inspect_table(table).index == ""


def test_vectors_too_wide_for_an_index_are_found_through_half_of_their_bits(
    connection: psycopg.Connection[object],
) -> None:
    connection.execute("CREATE TABLE wide (id int PRIMARY KEY, text text, embedding vector(3072))")
    connection.execute(
        "INSERT INTO wide SELECT n, 'Text ' || n, (SELECT array_agg(sin(n * k))::real[]::vector "
        "FROM generate_series(1, 3072) k) FROM generate_series(1, 300) n"
    )
    with ExistingTable(connection.info.dsn, "wide") as table:
        report = inspect_table(table)
        assert report.index == ""
    connection.execute(report.suggestion.replace("CONCURRENTLY ", "").encode())
    with ExistingTable(connection.info.dsn, "wide") as table:
        assert "halfvec_cosine_ops" in inspect_table(table).index
        opened = table.opened()
        query = opened.sample.vectors[3] / np.linalg.norm(opened.sample.vectors[3])
        assert table.search(query, limit=1)[0].score > 0.999
        connection.execute("SET enable_seqscan = off")
        statement, values = opened.statements.plan(opened.order, 3072)
        lines = connection.execute(statement, values).fetchall()
    assert "wide_embedding" in str(lines)

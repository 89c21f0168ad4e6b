"""Vectors in partitions: the same answers, tenants apart, and builds that hold up fewer writes."""

from __future__ import annotations

import re

import psycopg
import pytest

from tests.store.test_pgvector import texts, unit_vectors
from voicerag_core.errors import StoreError
from voicerag_core.filters import Eq
from voicerag_core.store import PgVectorStore, list_collections, migrate, partition, reset
from voicerag_core.types import Embeddings

DIM = 64
COUNT = 400


@pytest.fixture
def rows() -> Embeddings:
    return unit_vectors(COUNT, DIM)


@pytest.fixture
def filled(fresh: str, rows: Embeddings) -> str:
    """Two tenants with two collections each; one of each is indexed."""
    migrate(fresh)
    for tenant in ("ada", "bob"):
        for name in ("large", "small"):
            with opened(fresh, tenant, name) as store:
                store.add(
                    texts(COUNT if name == "large" else 5), rows[: COUNT if name == "large" else 5]
                )
                if name == "large":
                    store.build_index(kind="bit" if tenant == "bob" else None)
    return fresh


def opened(dsn: str, tenant: str, name: str) -> PgVectorStore:
    return PgVectorStore.open(dsn, tenant=tenant, collection=name, model_id="test", dim=DIM)


def answers(dsn: str, rows: Embeddings) -> list[object]:
    found: list[object] = []
    for tenant in ("ada", "bob"):
        for name in ("large", "small"):
            with opened(dsn, tenant, name) as store:
                found.append(store.search_many(rows[:5], limit=5))
                found.append(store.search(rows[3], limit=5, where=Eq("rare", value=True)))
                found.append((store.count(), store.index_info().kind, store.index_info().built))
    return found


def test_answers_stay_and_each_index_is_in_the_partition_of_its_collection(
    filled: str, rows: Embeddings
) -> None:
    before = answers(filled, rows)
    assert partition(filled, 4) == 2
    assert answers(filled, rows) == before
    with psycopg.connect(filled) as connection:
        places = connection.execute(
            "SELECT indexname, tablename, voicerag.vectors_of(c.id)::text FROM pg_indexes "
            "JOIN voicerag.collections c ON indexname = 'vectors_hnsw_' || c.id "
            "WHERE schemaname = 'voicerag' ORDER BY 1"
        ).fetchall()
    assert len(places) == 2
    assert all(place == f"voicerag.{table}" for _, table, place in places)
    with opened(filled, "ada", "large") as store:
        named = set(re.findall(r" on (vectors_\d+)", store.index_info().plan))
    assert named == {places[0][1]}, "other partitions are left out"


def test_what_is_done_with_collections_goes_on(filled: str, rows: Embeddings) -> None:
    partition(filled, 4)
    with opened(filled, "ada", "new") as store:
        with store.bulk_load():
            store.add(texts(100), rows[:100])
        assert store.build_index()
        assert store.index_info().built
        assert store.search(rows[7], limit=1)[0].passage.id == "p7"
        assert store.delete(["p7"]) == 1
        assert store.build_index(kind="bit", anew=True)
        assert store.search(rows[8], limit=1)[0].passage.id == "p8"
    assert reset(filled, collection="new", tenant="ada") == 99
    assert [one.name for one in list_collections(filled, tenant="ada")] == ["large", "small"]


def test_tenants_stay_apart(filled: str) -> None:
    partition(filled, 3)
    with psycopg.connect(filled) as connection:
        connection.execute("SET ROLE voicerag_reader")
        query = "SELECT count(*) FROM voicerag.vectors"
        assert connection.execute(query).fetchone() == (0,)
        connection.execute("SET voicerag.tenant = 'ada'")
        assert connection.execute(query).fetchone() == (COUNT + 5,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT count(*) FROM voicerag.vectors_0")


def test_a_build_holds_up_the_writes_to_its_partition_alone(filled: str, rows: Embeddings) -> None:
    partition(filled, 8)
    with psycopg.connect(filled) as builder:
        home = {
            (tenant, name): builder.execute(
                "SELECT voicerag.vectors_of(id)::text FROM voicerag.collections "
                "WHERE (tenant, name) = (%s, %s)", (tenant, name)
            ).fetchone()
            for tenant in ("ada", "bob") for name in ("large", "small")
        }  # fmt: skip
        (busy, free) = next(
            (one, other) for one in home for other in home if home[one] != home[other]
        )
        builder.execute(f"LOCK TABLE {home[busy][0]} IN SHARE MODE".encode())  # type: ignore[index]
        with opened(filled, *free) as store:
            assert store.add(texts(1, 900), rows[:1]) == 1
        with PgVectorStore.open(
            filled, tenant=busy[0], collection=busy[1], model_id="test", dim=DIM,
            statement_timeout=0.3,
        ) as store, pytest.raises(StoreError, match="another program"):  # fmt: skip
            store.add(texts(1, 900), rows[:1])


def test_what_cannot_be_partitioned(filled: str) -> None:
    for parts in (-1, 0, 1, 257):
        with pytest.raises(StoreError, match=f"2 to 256 partitions, not {parts}"):
            partition(filled, parts)
    partition(filled, 2)
    with pytest.raises(StoreError, match="in partitions already"):
        partition(filled, 2)

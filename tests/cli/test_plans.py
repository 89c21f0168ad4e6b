"""``voicerag doctor`` says how a search runs, and what to do where it runs badly."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

from voicerag_core.cli import plans
from voicerag_core.cli.checks import Finding
from voicerag_core.cli.plans import in_words
from voicerag_core.store import PgVectorStore, list_collections
from voicerag_core.types import Passage

WIDTH = 64


@pytest.fixture
def filled(dsn: str, tenant: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tenant whose collection is as large as one that should have an index."""
    monkeypatch.setattr("voicerag_core.store.INDEX_FROM", 3000)
    monkeypatch.setattr(plans, "SLOW_SECONDS", 1e9)  # on a busy machine as on a quiet one
    rows = np.random.default_rng(1).standard_normal((3000, WIDTH)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with PgVectorStore.open(dsn, tenant=tenant, model_id="m", dim=WIDTH) as store:
        store.add([Passage(str(n), "x", {}) for n in range(3000)], rows)
    return dsn


def found(dsn: str, tenant: str) -> Finding:
    (finding,) = plans.plans(dsn, tenant, list_collections(dsn, tenant=tenant))
    return finding


def test_the_plan_is_told_in_words_with_its_cure(
    filled: str, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = found(filled, tenant)
    assert without.state == "warn"
    assert "3,000 vectors have no index" in without.text
    assert without.cure == "voicerag db reindex --collection default"
    with PgVectorStore.open(filled, tenant=tenant, model_id="m", dim=WIDTH) as store:
        store.build_index()
    used = found(filled, tenant)
    assert (used.state, used.cure) == ("ok", "")
    assert "walks the vector index" in used.text
    assert "of 3,000 vectors" in used.text
    monkeypatch.setattr(plans, "SLOW_SECONDS", 0.0)
    slow = found(filled, tenant)
    assert slow.state == "warn"
    assert "it is slow:\n" in slow.text
    assert "Index Scan using vectors_hnsw_" in slow.text


def test_an_index_that_the_planner_leaves_alone_is_a_warning(filled: str, tenant: str) -> None:
    with PgVectorStore.open(filled, tenant=tenant, model_id="m", dim=WIDTH) as store:
        store.build_index()
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute("ALTER ROLE postgres SET enable_indexscan = off")
        try:
            unused = found(filled, tenant)
        finally:
            connection.execute("ALTER ROLE postgres RESET enable_indexscan")
    assert unused.state == "warn"
    assert "the index of 3,000 vectors is not used" in unused.text
    assert "walks the vector index" not in unused.text


def test_a_small_collection_needs_none(dsn: str, tenant: str) -> None:
    with PgVectorStore.open(dsn, tenant=tenant, model_id="m", dim=WIDTH) as store:
        store.add([Passage("1", "x", {})], np.ones((1, WIDTH), np.float32))
    finding = found(dsn, tenant)
    assert finding.state == "ok"
    assert "all 1 vectors are compared, exactly" in finding.text


def test_an_empty_collection_is_passed_over(dsn: str, tenant: str) -> None:
    PgVectorStore.open(dsn, tenant=tenant, model_id="m", dim=WIDTH).close()
    assert list(plans.plans(dsn, tenant, list_collections(dsn, tenant=tenant))) == []


def test_an_unknown_plan_is_said_to_be_one() -> None:
    assert in_words("Result") == "runs as no plan that is known here"
    assert in_words("Seq Scan on vectors v\n  Index Scan using passages_pkey on passages") == (
        "reads the vectors of every collection of every tenant, fetches passages by their key"
    )

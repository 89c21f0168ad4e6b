"""Documents are listed whatever their model, and an index is built anew while it is used."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

from voicerag_core.errors import EmbeddingMismatchError, StoreError
from voicerag_core.store import PgVectorStore, list_documents, open_collection, reindex
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Embeddings, Passage


def rows(number: int) -> tuple[list[Passage], Embeddings]:
    vectors: Embeddings = np.random.default_rng(3).standard_normal((number, WIDTH), np.float32)
    return [Passage(str(n), f"Text {n}", {}) for n in range(number)], vectors


def test_documents_are_those_of_tenant_and_collection(dsn: str, tenant: str) -> None:
    for owner in (tenant, f"{tenant} other"):
        with PgVectorStore.open(dsn, tenant=owner, model_id="exotic", dim=WIDTH) as store:
            passages, vectors = rows(3)
            store.replace_document(f"of {owner}", "1", passages[:2], vectors[:2])
            store.replace_document("Ärger", "1", passages[2:], vectors[2:])
            store.add([Passage("loose", "x", {})], vectors[:1])
    found = list_documents(dsn, tenant=tenant)
    assert [(one.source, one.passages) for one in found] == [(f"of {tenant}", 2), ("Ärger", 1)]
    with open_collection(dsn, "default", tenant=tenant) as store:
        assert store.remove_documents(["Ärger"]) == 1
    with pytest.raises(StoreError, match=r"no collection 'absent'.*there are: default"):
        list_documents(dsn, tenant=tenant, collection="absent")
    with pytest.raises(EmbeddingMismatchError):
        PgVectorStore.open(dsn, tenant=tenant, model_id="other", dim=WIDTH)


def test_an_index_is_rebuilt_and_what_an_interrupted_rebuild_left_goes(
    dsn: str, tenant: str
) -> None:
    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH) as store:
        store.add(*rows(60))
        assert reindex(dsn, tenant=tenant) is False
        before = store.search(rows(1)[1][0], limit=5)
        with psycopg.connect(dsn, autocommit=True) as connection:
            (number,) = connection.execute(
                "SELECT id FROM voicerag.collections WHERE tenant = %s", (tenant,)
            ).fetchone() or (0,)
            name = f"vectors_hnsw_{number}"

            def file() -> object:
                row = connection.execute(f"SELECT pg_relation_filenode('voicerag.{name}')".encode())
                return row.fetchone()

            old = file()
            # What REINDEX CONCURRENTLY leaves when it is stopped.
            connection.execute(f"CREATE INDEX {name}_ccnew ON voicerag.vectors (passage)".encode())
            connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = "
                               f"'voicerag.{name}_ccnew'::regclass".encode())  # fmt: skip
            assert reindex(dsn, tenant=tenant) is True
            assert file() != old
            left = connection.execute(f"SELECT to_regclass('voicerag.{name}_ccnew')".encode())
            assert left.fetchone() == (None,)
        assert store.search(rows(1)[1][0], limit=5) == before
        assert store.index_info().built

"""The contract of the two ports, on the store in memory and on Postgres."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from voicerag_core.store import PgVectorStore
from voicerag_core.testing.stores import (
    WIDTH,
    DocumentStoreContract,
    InMemoryStore,
    PassageStoreContract,
)


class TestInMemoryStore(PassageStoreContract, DocumentStoreContract):
    @pytest.fixture
    def store(self) -> InMemoryStore:
        return InMemoryStore(WIDTH)


class TestPgVectorStore(PassageStoreContract, DocumentStoreContract):
    """With exact scans; the fixture is that of the folder."""


class TestPgVectorStoreWithIndex(PassageStoreContract):
    @pytest.fixture
    def store(self, dsn: str, tenant: str) -> Iterator[PgVectorStore]:
        with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH) as opened:
            assert opened.build_index()
            yield opened


class TestPgVectorStoreBehindAPooler(PassageStoreContract):
    @pytest.fixture
    def store(self, dsn: str, tenant: str) -> Iterator[PgVectorStore]:
        with PgVectorStore.open(
            dsn, tenant=tenant, model_id="test", dim=WIDTH, prepare=False
        ) as opened:
            yield opened

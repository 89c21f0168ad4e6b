"""Stores on the server that all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import new_database
from voicerag_core.store import PgVectorStore
from voicerag_core.testing.stores import WIDTH


@pytest.fixture
def fresh(server: str) -> str:
    """A database without the schema, for one test."""
    return new_database(server)


@pytest.fixture
def store(dsn: str, tenant: str) -> Iterator[PgVectorStore]:
    """An empty store for vectors of width `WIDTH`."""
    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH) as opened:
        yield opened

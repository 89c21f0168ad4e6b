"""One embedded server for all tests of the store, and a database of its own for each module."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.testing.stores import WIDTH

_number = count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of the server, whose login is a superuser."""
    folder: Path = tmp_path_factory.mktemp("server") / "postgres"
    with EmbeddedPostgres(folder) as postgres:
        with psycopg.connect(postgres.dsn, autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield postgres.dsn


def new_database(server: str) -> str:
    """Make an empty database and return its DSN."""
    name = f"test_{next(_number)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return make_conninfo(server, dbname=name)


@pytest.fixture(scope="module")
def dsn(server: str) -> str:
    """A database with the schema in it, shared by the tests of a module."""
    fresh = new_database(server)
    migrate(fresh)
    return fresh


@pytest.fixture
def fresh(server: str) -> str:
    """A database without the schema, for one test."""
    return new_database(server)


@pytest.fixture
def tenant() -> str:
    """A name that no other test has."""
    return f"tenant-{next(_number)}"


@pytest.fixture
def store(dsn: str, tenant: str) -> Iterator[PgVectorStore]:
    """An empty store for vectors of width `WIDTH`."""
    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH) as opened:
        yield opened

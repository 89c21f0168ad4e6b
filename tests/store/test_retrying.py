"""What the server rolled back for the sake of another transaction is begun again, a few times."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import CancelledError, StoreError, StoreUnavailableError
from voicerag_core.store.connection import Connection, Database
from voicerag_core.store.retrying import ATTEMPTS


def opened(dsn: str) -> Database:
    return Database(dsn, tenant="t", role="voicerag_writer", pool_size=2, prepare=True,
                    timeout=30.0, statement_timeout=60.0)  # fmt: skip


@pytest.fixture
def counted(dsn: str) -> str:
    """A sequence that counts attempts, which no rollback takes back."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SEQUENCE IF EXISTS public.attempts")
        connection.execute("CREATE SEQUENCE public.attempts")
        connection.execute("GRANT ALL ON SEQUENCE public.attempts TO PUBLIC")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS public.pair (id integer PRIMARY KEY, n integer)"
        )
        connection.execute("GRANT ALL ON public.pair TO PUBLIC")
        connection.execute("TRUNCATE public.pair")
        connection.execute("INSERT INTO public.pair VALUES (1, 0), (2, 0)")
    return dsn


def attempts(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT last_value FROM public.attempts").fetchone()
    assert row is not None
    return int(row[0])


def failing(times: int, code: str) -> str:
    return (
        f"DO $$ BEGIN IF nextval('public.attempts') <= {times} THEN "
        f"RAISE EXCEPTION 'given up' USING ERRCODE = '{code}'; END IF; END $$"
    )


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_conflict_is_retried_until_it_passes(counted: str, code: str) -> None:
    database = opened(counted)

    def work(connection: Connection) -> int:
        connection.execute("UPDATE public.pair SET n = n + 1 WHERE id = 1")
        connection.execute(failing(3, code).encode())
        return 7

    try:
        assert database.write(work) == 7
    finally:
        database.close()
    assert attempts(counted) == 4
    with psycopg.connect(counted) as connection:
        row = connection.execute("SELECT n FROM public.pair WHERE id = 1").fetchone()
    assert row == (1,), "what was rolled back left nothing"


@pytest.mark.parametrize(
    ("code", "tries"), [("40001", ATTEMPTS), ("40P01", ATTEMPTS), ("23514", 1), ("53100", 1)]
)
def test_attempts_are_bounded_and_other_errors_are_not_repeated(
    counted: str, code: str, tries: int
) -> None:
    database = opened(counted)
    try:
        with pytest.raises(StoreError) as raised:
            database.write(lambda connection: connection.execute(failing(99, code).encode()))
    finally:
        database.close()
    full = code == "53100"  # whoever can wait, such as `voicerag watch`, waits for room
    assert isinstance(raised.value, StoreUnavailableError) == full
    assert attempts(counted) == tries


def test_two_writers_that_wait_in_a_circle_both_get_through(counted: str) -> None:
    meet = threading.Barrier(2)
    first = threading.local()

    def crossing(order: tuple[int, int]) -> None:
        database = opened(counted)

        def work(connection: Connection) -> None:
            change = "UPDATE public.pair SET n = n + 1 WHERE id = %s"
            connection.execute(change, (order[0],))
            if not getattr(first, "passed", False):
                first.passed = True
                meet.wait()
            connection.execute(change, (order[1],))

        database.write(work)
        database.close()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(crossing, [(1, 2), (2, 1)]))
    with psycopg.connect(counted) as connection:
        rows = connection.execute("SELECT n FROM public.pair ORDER BY id").fetchall()
    assert rows == [(2,), (2,)]


def test_a_cancelled_call_is_not_repeated(counted: str) -> None:
    database = opened(counted)
    cancellation = Cancellation()

    def work(connection: Connection) -> None:
        cancellation._cancelled.set()
        connection.execute(failing(99, "40001").encode())

    try:
        with cancellation.active(), pytest.raises(CancelledError):
            database.write(work)
    finally:
        database.close()
    assert attempts(counted) == 1

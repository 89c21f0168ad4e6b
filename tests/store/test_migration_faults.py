"""From version 1 with data through every later migration, killed in the middle of each of them."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.conftest import new_database
from tests.store.test_upgrade import LATER, MIGRATE, axis, old, opened, state
from tests.waiting import wait_until
from voicerag_core.errors import SchemaError
from voicerag_core.store import migrate, status
from voicerag_core.store.backups import backup, restore
from voicerag_core.store.migrations import LATEST, apply_migrations
from voicerag_core.types import Hit

__all__ = ["old"]

STOP = 0x73746F70
"""Key of the lock at which a migration stands still."""


def answers(dsn: str) -> list[tuple[Hit, ...]]:
    found = []
    for tenant, collection in (("ada", "default"), ("ada", "german"), ("bob", "default")):
        with opened(dsn, tenant, collection) as store:
            found += [store.search(axis(n), limit=5) for n in range(4)]
            found += [
                store.search(None, text=text, limit=5)
                for text in (
                    "rivers",
                    "the handbook of the staff",
                    "Wohnen am Haus",
                    "secret",
                    "长江",
                )
            ]
            found.append(store.search(axis(1), text="rivers parents", limit=5))
    return found


def brought_to(dsn: str, version: int) -> None:
    with psycopg.connect(dsn) as connection:
        apply_migrations(connection, "here", until=version)


def commands_of(dsn: str, version: int) -> int:
    """Count the definitions that a migration makes, in a transaction that is given up."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "CREATE FUNCTION pg_temp.count() RETURNS event_trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM nextval('public.made'); END $$"
        )
        connection.execute("CREATE SEQUENCE public.made")
        connection.execute("GRANT ALL ON SEQUENCE public.made TO PUBLIC")
        connection.execute(
            "CREATE EVENT TRIGGER made ON ddl_command_end EXECUTE FUNCTION pg_temp.count()"
        )
        apply_migrations(connection, "here", until=version)
        row = connection.execute("SELECT nextval('public.made')").fetchone()
        connection.rollback()
    assert row is not None
    return int(str(row[0])) - 1


def stop_at(dsn: str, command: int) -> None:
    """Let a migration whose application is named "killed" stand still after a definition."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP EVENT TRIGGER IF EXISTS stop")
        connection.execute("DROP SEQUENCE IF EXISTS public.made")
        connection.execute("CREATE SEQUENCE public.made")
        connection.execute("GRANT ALL ON SEQUENCE public.made TO PUBLIC")
        connection.execute(
            "CREATE OR REPLACE FUNCTION public.stop() RETURNS event_trigger LANGUAGE plpgsql AS "
            "$$ BEGIN IF current_setting('application_name') = 'killed' "
            f"AND nextval('public.made') = {command} THEN "
            f"PERFORM pg_advisory_lock({STOP}); END IF; END $$".encode()
        )
        connection.execute(
            "CREATE EVENT TRIGGER stop ON ddl_command_end EXECUTE FUNCTION public.stop()"
        )


def kill_at(dsn: str, command: int) -> None:
    """Kill a process that migrates once it has made so many definitions."""
    stop_at(dsn, command)
    with (
        psycopg.connect(dsn, autocommit=True) as holder,
        psycopg.connect(dsn, autocommit=True) as watcher,
    ):
        holder.execute("SELECT pg_advisory_lock(%s)", (STOP,))

        def seen(condition: str) -> int:
            row = watcher.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'killed' "
                f"AND {condition}".encode()
            ).fetchone()
            assert row is not None
            return int(str(row[0]))

        arguments = [sys.executable, "-c", MIGRATE, make_conninfo(dsn, application_name="killed")]
        with subprocess.Popen(arguments) as process:
            wait_until(lambda: seen("wait_event = 'advisory'") == 1 or process.poll() is not None)
            assert process.poll() is None, "it was over before"
            process.kill()
        holder.execute("SELECT pg_advisory_unlock(%s)", (STOP,))
        wait_until(lambda: seen("true") == 0)
        watcher.execute("DROP EVENT TRIGGER stop")
        watcher.execute("DROP SEQUENCE public.made")


@pytest.fixture
def expected(old: str, server: str, tmp_path: Path) -> list[tuple[Hit, ...]]:
    """What a database answers that was migrated without a fault."""
    other = new_database(server)
    backup(old, tmp_path / "old.zip")
    restore(other, tmp_path / "old.zip")
    return answers(other)


def test_killed_in_the_middle_of_each_migration_nothing_is_lost(
    old: str, expected: list[tuple[Hit, ...]]
) -> None:
    assert any(expected)
    for version in LATER:
        made = commands_of(old, version)
        before = state(old)
        # Definitions of the steps that make roles and schema come first and are few.
        kill_at(old, max(1, made // 2))
        assert state(old) == before
        assert status(old).schema_version == version - 1
        brought_to(old, version)
        assert status(old).schema_version == version
    assert migrate(old) == []
    assert answers(old) == expected


def test_processes_that_race_after_one_was_killed_apply_each_once(
    old: str, expected: list[tuple[Hit, ...]]
) -> None:
    kill_at(old, 1)
    with ThreadPoolExecutor(6) as threads:
        applied = list(threads.map(migrate, [old] * 6))
    assert sorted(applied) == [[]] * 5 + [LATER]
    assert answers(old) == expected


def change(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE voicerag.migrations SET checksum = repeat('0', 64) WHERE version = 2",
         r"another migration 0002_words\.sql \(SHA-256 000000000000…"),
        ("DELETE FROM voicerag.migrations WHERE version = 2", r"no record of migration 0002_words"),
    ],
)  # fmt: skip
def test_a_schema_that_other_files_made_is_refused(fresh: str, statement: str, said: str) -> None:
    migrate(fresh)
    change(fresh, statement)
    with pytest.raises(SchemaError, match=said):
        migrate(fresh)
    with pytest.raises(SchemaError, match=said):
        opened(fresh, "ada")


def test_checksums_are_written_down_for_all_versions(old: str, fresh: str) -> None:
    migrate(old)
    with psycopg.connect(old) as connection:
        rows = connection.execute("SELECT version, checksum FROM voicerag.migrations").fetchall()
    assert len(rows) == LATEST
    assert all(len(str(checksum)) == 64 for _, checksum in rows)


def test_every_table_of_tenants_can_be_backed_up(fresh: str) -> None:
    """A table that a later migration adds needs the policy by which the owner sees all tenants."""
    migrate(fresh)
    with psycopg.connect(fresh) as connection:
        without = connection.execute(
            "SELECT relname FROM pg_class c WHERE relnamespace = 'voicerag'::regnamespace "
            "AND relkind IN ('r', 'p') AND NOT relispartition AND relrowsecurity AND NOT EXISTS "
            "(SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'all_tenants')"
        ).fetchall()
    assert without == []


_ACT = "SELECT set_config('role', %s, true), set_config('voicerag.all_tenants', %s, true)"


def test_only_the_owner_sees_all_tenants_and_only_when_it_asks(old: str) -> None:
    migrate(old)
    with psycopg.connect(old) as connection:
        for role, asks, rows in (
            ("voicerag_owner", "off", 0), ("voicerag_owner", "on", 5),
            ("voicerag_writer", "on", 0), ("voicerag_reader", "on", 0),
        ):  # fmt: skip
            connection.execute(_ACT, (role, asks))
            seen = connection.execute("SELECT count(*) FROM voicerag.passages").fetchone()
            assert seen == (rows,), (role, asks)
        connection.execute(_ACT, ("voicerag_owner", "on"))
        gone = connection.execute("DELETE FROM voicerag.passages").rowcount
        assert gone == 0, "it reads all, and changes nothing"

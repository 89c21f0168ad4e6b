"""What holds for all tests: one Postgres, no hasty limits, and a line on what was skipped."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from voicerag_core.store import EmbeddedPostgres, migrate

_number = count()

with contextlib.suppress(ImportError):  # the tests of fairseq2 run without Hypothesis
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("busy machine")


def pytest_configure(config: pytest.Config) -> None:
    """Hear interrupts, and under root keep temporary files apart from those of other runs.

    A run that a shell put into the background ignores SIGINT, and so would the programs that the
    tests start and interrupt. The embedded server runs as an ordinary account under root, and
    passes through folders that every start of pytest closes again.
    """
    gc.disable()  # while modules are imported: nearly all that they make stays
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.geteuid() == 0 and "PYTEST_DEBUG_TEMPROOT" not in os.environ:
        root = tempfile.mkdtemp(prefix="voicerag-tests-")
        patch = pytest.MonkeyPatch()
        patch.setenv("PYTEST_DEBUG_TEMPROOT", root)
        config.add_cleanup(patch.undo)
        config.add_cleanup(lambda: shutil.rmtree(root, ignore_errors=True))


def pytest_collection_finish() -> None:
    """Let the garbage collector look at what tests make alone, not at all that was imported."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of an embedded server, whose login is a superuser.

    ``VOICERAG_TEST_SERVER`` names another one, to run the tests of the store on its version; the
    tests make databases and roles on it.
    """
    if given := os.environ.get("VOICERAG_TEST_SERVER"):
        yield given
        return
    folder: Path = tmp_path_factory.mktemp("server") / "postgres"
    with EmbeddedPostgres(folder) as postgres:
        with psycopg.connect(postgres.dsn, autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield postgres.dsn


def new_database(server: str) -> str:
    """Make an empty database and return its DSN; copying files costs a fifth of logging them."""
    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        made = sql.SQL("CREATE DATABASE {} STRATEGY file_copy").format(sql.Identifier(name))
        connection.execute(made)
    return make_conninfo(server, dbname=name)


@pytest.fixture(scope="module")
def dsn(server: str) -> str:
    """A database with the schema in it, shared by the tests of a module."""
    fresh = new_database(server)
    migrate(fresh)
    return fresh


@pytest.fixture
def tenant() -> str:
    """A name that no other test has."""
    return f"tenant-{next(_number)}"


DESELECTED = pytest.StashKey[int]()


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what the selection leaves out, in each worker the same."""
    stash = items[0].config.stash
    stash[DESELECTED] = stash.get(DESELECTED, 0) + len(items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a worker tell the count to the process that reports."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["deselected"] = session.config.stash.get(DESELECTED, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the count of a worker; one that crashed has none."""
    told = getattr(node, "workeroutput", {}).get("deselected", 0)
    stash = node.config.stash
    stash[DESELECTED] = max(stash.get(DESELECTED, 0), told)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what was not run, and why."""
    line = not_run(
        [report.longrepr for report in terminalreporter.stats.get("skipped", [])],
        terminalreporter.config.stash.get(DESELECTED, 0),
        terminalreporter.config.option.markexpr,
    )
    if line:
        terminalreporter.write_line(line)


def not_run(skipped: list[object], deselected: int, selection: str) -> str:
    """Compose the line, the commonest reason first.

    Args:
        skipped: What each report of a skipped test says: file, line and reason.
        deselected: How many tests the selection left out.
        selection: The expression of ``-m``.
    """
    reasons = Counter(
        str(said[2]).removeprefix("Skipped: ").partition(": ")[0]
        for said in skipped
        if isinstance(said, tuple)
    )
    groups = [f"{count} ({reason})" for reason, count in reasons.most_common()]
    if deselected:
        groups.append(f"{deselected} (left out by -m {selection!r} or -k)")
    return f"not run: {', '.join(groups)}" if groups else ""

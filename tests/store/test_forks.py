"""A store opened before a fork works on both sides of it, and in every child."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.waiting import PATIENCE
from voicerag_core.store import PgVectorStore
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Passage

ROWS = np.eye(5, WIDTH, dtype=np.float32)
FIVE = [Passage(f"p{i}", "text") for i in range(5)]

DAEMON = """
import os, sys, time
os.register_at_fork(after_in_child=lambda: time.sleep(float(sys.argv[2])))
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
server = EmbeddedPostgres(sys.argv[1]).start()
migrate(server.dsn)
store = PgVectorStore.open(server.dsn, model_id="m", dim=4)
store.count()
parent = os.getpid()
if os.fork():
    store.close()
    server.close()
    os._exit(0)
while os.getppid() == parent:
    time.sleep(0.05)
print("passages", store.count(), flush=True)
store.close()
server.close()
"""


def in_child(store: PgVectorStore, number: int) -> int:
    """Work in a forked process, and say by the exit status how it went."""
    try:
        for _ in range(20):
            if len(store.search(ROWS[0], limit=5)) < 5:
                return 2
        store.add([Passage(f"child-{number}", "text")], ROWS[:1])
        store.build_index()
    except Exception:  # noqa: BLE001 - of whatever kind, it is told by the status
        return 3
    return 0


def forked(store: PgVectorStore, children: int) -> list[int]:
    pids = []
    for number in range(children):
        pid = os.fork()
        if pid == 0:
            os._exit(in_child(store, number))
        pids.append(pid)
    return [ended(pid) for pid in pids]


def ended(pid: int) -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return -1


def test_children_and_parent_use_one_store(store: PgVectorStore) -> None:
    store.add(FIVE, ROWS)
    store.search(ROWS[0], limit=5)
    assert forked(store, 3) == [0, 0, 0]
    assert store.count() == 8
    assert forked(store, 1) == [0]
    assert len(store.search(ROWS[0], limit=8)) == 8


def test_a_fork_while_other_threads_hold_every_lock(store: PgVectorStore) -> None:
    store.add(FIVE, ROWS)
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            store.search(ROWS[0], limit=5)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with store._upkeep.lock, store._database._pool._lock:
            pid = os.fork()
            if pid == 0:
                os._exit(in_child(store, 0))
        assert ended(pid) == 0
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert store.count() == 6


def test_a_child_closes_nothing_of_its_parent(store: PgVectorStore) -> None:
    store.add(FIVE, ROWS)
    pid = os.fork()
    if pid == 0:
        store.close()
        os._exit(0)
    assert ended(pid) == 0
    assert store.count() == 5


@pytest.mark.parametrize("late", [0.0, 3.0], ids=["at once", "after the parent stopped it"])
def test_a_child_outlives_the_parent_that_started_the_server(tmp_path: Path, late: float) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DAEMON, str(tmp_path / "postgres"), str(late)],
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "passages 0\n"), done.stderr
    assert not (tmp_path / "postgres" / "pgdata" / "postmaster.pid").exists()

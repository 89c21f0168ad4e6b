"""A streaming replica of the embedded server: it serves searches while the primary is dead."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from tests.waiting import wait_until
from voicerag_core.errors import StoreError
from voicerag_core.filters import Eq
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, list_collections, migrate, status
from voicerag_core.store.embedded import server_programs
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Embeddings, Passage

pytestmark = pytest.mark.slow


def rows(count: int) -> Embeddings:
    made = np.random.default_rng(7).standard_normal((count, WIDTH)).astype(np.float32)
    unit: Embeddings = made / np.linalg.norm(made, axis=1, keepdims=True)
    return unit


def passages(count: int) -> list[Passage]:
    return [Passage(f"p{i}", f"text {i}", {"half": i % 2}) for i in range(count)]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose sockets the account of the server reaches by their own paths."""
    with tempfile.TemporaryDirectory(prefix="replica") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def primary(short_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(short_path / "primary") as server:
        migrate(server.dsn)
        yield server


@pytest.fixture
def replica(primary: EmbeddedPostgres, short_path: Path) -> Iterator[str]:
    """The DSN of a replica, made from the running primary and following it."""
    folder = short_path / "replica"
    folder.mkdir(mode=0o700)
    account = (primary.data_dir / "pgdata").stat()
    os.chown(folder, account.st_uid, account.st_gid)

    def program(name: str, *arguments: str) -> None:
        subprocess.run(
            [str(server_programs() / name), *arguments], check=True, cwd=folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            user=account.st_uid, group=account.st_gid, extra_groups=[], umask=0o077,
            env={"PATH": os.defpath}, start_new_session=True,
        )  # fmt: skip

    program("pg_basebackup", "-d", primary.dsn, "-D", "pgdata", "-R", "-X", "stream", "-c", "fast")
    program("pg_ctl", "-D", "pgdata", "-w", "-l", "log", "start")
    try:
        yield f"host={folder} port=5432 user=postgres dbname=postgres"
    finally:
        program("pg_ctl", "-D", "pgdata", "-w", "-m", "immediate", "stop")


def opened(dsn: str, *, read_only: bool = True) -> PgVectorStore:
    return PgVectorStore.open(dsn, model_id="test", dim=WIDTH, read_only=read_only)


def caught_up(primary: str, replica: str) -> bool:
    with psycopg.connect(primary) as leader, psycopg.connect(replica) as follower:
        (written,) = leader.execute("SELECT pg_current_wal_lsn()").fetchall()
        (replayed,) = follower.execute("SELECT pg_last_wal_replay_lsn() >= %s", written).fetchall()
    return bool(replayed[0])


def test_it_serves_searches_while_the_primary_is_killed(
    primary: EmbeddedPostgres, replica: str
) -> None:
    with opened(primary.dsn, read_only=False) as writer:
        writer.add(passages(3_000), rows(3_000))
        writer.build_index()
        wait_until(lambda: caught_up(primary.dsn, replica), "the replica does not follow")
        with opened(replica) as reader:
            asked = rows(5)

            def answers(store: PgVectorStore) -> list[object]:
                return [
                    store.search_many(asked, limit=4),
                    store.search(asked[0], text="text 7", limit=4, where=Eq("half", 1)),
                    store.search(None, text="text 9", limit=4), store.get(["p1"]), store.count(),
                    store.vocabulary().words, store.document_digests(), store.index_info().built,
                ]  # fmt: skip

            expected = answers(writer)
            assert answers(reader) == expected
            pid = int((primary.data_dir / "pgdata" / "postmaster.pid").read_text().split()[0])
            os.kill(pid, signal.SIGKILL)
            for _ in range(5):
                assert answers(reader) == expected
            with opened(replica) as another:
                assert answers(another) == expected
            assert [one.passages for one in list_collections(replica)] == [3_000]
            assert status(replica).schema_version == status(replica).schema_expected
            assert writer.delete(["p1"]) == 1, "the primary is started again by who needs it"
            wait_until(lambda: reader.count() == 2_999, "the replica does not follow any more")


def test_a_write_to_it_is_refused_as_one(primary: EmbeddedPostgres, replica: str) -> None:
    with opened(primary.dsn, read_only=False) as writer:
        writer.add(passages(3), rows(3))
    wait_until(lambda: caught_up(primary.dsn, replica), "the replica does not follow")
    with opened(replica) as reader, pytest.raises(StoreError, match="opened with read_only"):
        reader.add(passages(1), rows(1))
    with pytest.raises(StoreError, match=r"only reads, as a replica does.*open this one with"):
        opened(replica, read_only=False)
    with pytest.raises(StoreError, match="only reads, as a replica does"):
        migrate(replica)

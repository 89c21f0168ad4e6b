"""A streaming replica of the embedded server serves searches, also while the primary is gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.waiting import wait_until
from voicerag_core.errors import ConfigError, StoreError, StoreUnavailableError
from voicerag_core.settings import load_settings
from voicerag_core.stack import list_collections, open_store
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, embedded, migrate
from voicerag_core.store.embedded import server_programs
from voicerag_core.testing import FakeEmbedder
from voicerag_core.types import Embedding, Passage

EMBEDDER = FakeEmbedder()


def axis(number: int) -> Embedding:
    row: Embedding = np.eye(EMBEDDER.dim, dtype=np.float32)[number % EMBEDDER.dim]
    return row


def passage(number: int) -> Passage:
    return Passage(f"p{number}", f"Text number {number}", {"n": number})


class Pair:
    """A primary server and its replica, by socket."""

    def __init__(self, folder: Path) -> None:
        self.primary = EmbeddedPostgres(folder / "primary").start()
        self.replica = EmbeddedPostgres(folder / "replica")
        replica = self.replica.data_dir
        replica.mkdir(parents=True, mode=0o700)
        owner = self.primary._cluster.stat()
        os.chown(replica, owner.st_uid, owner.st_gid)
        root = os.geteuid() == 0
        subprocess.run(
            [server_programs() / "pg_basebackup", "-d", self.primary.dsn, "-D", replica / "pgdata",
             "-R", "-X", "stream", "-c", "fast"],
            check=True, cwd=replica,
            user=owner.st_uid if root else None, group=owner.st_gid if root else None,
            extra_groups=[] if root else None,
        )  # fmt: skip
        self.replica.start()

    @property
    def both(self) -> str:
        """Both as hosts of one DSN, the primary first."""
        hosts = f"{self.primary._socket_dir},{self.replica._socket_dir}"
        return make_conninfo("", host=hosts, user="postgres", dbname="postgres")

    def kill_primary(self) -> None:
        """Kill it as a server on another machine, which this process does not start again."""
        embedded._OWNERS.discard(self.primary)
        pid = int((self.primary._cluster / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        wait_until(lambda: not self.primary._answers())

    def promote(self) -> None:
        with psycopg.connect(self.replica.dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def close(self) -> None:
        self.replica.close()
        self.primary.close()


@contextmanager
def made() -> Iterator[Pair]:
    """Their folder has a short name: both are reached by it, not by a link of this user."""
    folder = Path(tempfile.mkdtemp(prefix="vr-", dir="/tmp"))
    pair = Pair(folder)
    migrate(pair.primary.dsn)
    with PgVectorStore.open(
        pair.primary.dsn, model_id=EMBEDDER.model_id, dim=EMBEDDER.dim
    ) as store:
        store.replace_document("a.md", "1", [passage(1), passage(2)], np.stack([axis(1), axis(2)]))
    yield pair
    pair.close()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    with made() as pair:
        yield pair


@pytest.fixture
def pair() -> Iterator[Pair]:
    """For a test that kills one of them."""
    with made() as one:
        yield one


def caught_up(pair: Pair, passages: int) -> None:
    def there() -> bool:
        try:
            with PgVectorStore.open(
                pair.replica.dsn, model_id=EMBEDDER.model_id, dim=EMBEDDER.dim, read_only=True
            ) as store:
                return store.count() == passages
        except StoreError:
            return False

    wait_until(there)


def where_from(store: object) -> set[str]:
    """Which servers a store is connected to."""
    return {
        name
        for name in ("_primary", "_replica")
        if getattr(getattr(store, name), "_store") is not None  # noqa: B009 - of any type
    }


def test_searches_go_to_the_replica_and_writes_to_the_primary(pair: Pair) -> None:
    caught_up(pair, 2)
    settings = load_settings(database_url=pair.primary.dsn, read_database_url=pair.replica.dsn)
    with open_store(settings, EMBEDDER) as store:
        (hit,) = store.search(axis(2), limit=1)
        assert hit.passage == passage(2)
        assert store.get(["p1"]) == [passage(1)]
        assert dict(store.vocabulary().words)["Text"] == 2
        assert where_from(store) == {"_replica"}, "a question needs no primary"
        assert store.add([passage(3)], axis(3)[None]) == 1
        assert store.document_digests() == {"a.md": "1"}
        assert where_from(store) == {"_primary", "_replica"}
        wait_until(lambda: store.count() == 3, "the replica follows")
        assert [one.name for one in list_collections(settings)] == ["default"]

        pair.kill_primary()
        assert store.search(axis(3), limit=1)[0].passage == passage(3)
        assert store.search(None, text="number", limit=9)
        assert [one.name for one in list_collections(settings)] == ["default"]
        with pytest.raises(StoreUnavailableError):
            store.add([passage(4)], axis(4)[None])
    with open_store(settings, EMBEDDER) as store:
        assert store.count() == 3, "opened while the primary is gone"
    with open_store(settings, EMBEDDER, read_only=True) as store:
        assert store.search(axis(1), text="number 1", limit=1)[0].passage == passage(1)


def test_without_its_replica_the_primary_is_asked(
    shared: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = make_conninfo(shared.replica.dsn, host="/nowhere")
    settings = load_settings(database_url=shared.primary.dsn, read_database_url=nowhere)
    with open_store(settings, EMBEDDER) as store:
        assert store.search(axis(2), limit=1)[0].passage == passage(2)
        assert store.count() == 2
        assert len(caplog.records) == 1, "said once, not for every search"
        assert "the replica is not used" in caplog.text


@pytest.mark.slow
def test_a_replica_that_goes_away_between_two_searches_is_not_missed(pair: Pair) -> None:
    settings = load_settings(database_url=pair.primary.dsn, read_database_url=pair.replica.dsn)
    caught_up(pair, 2)
    with open_store(settings, EMBEDDER) as store:
        assert store.count() == 2
        assert where_from(store) == {"_replica"}
        pair.replica.close()
        assert store.count() == 2


@pytest.mark.slow
def test_several_hosts_fail_over_once_one_is_promoted(pair: Pair) -> None:
    caught_up(pair, 2)
    writing = make_conninfo(pair.both, target_session_attrs="read-write")
    reading = make_conninfo(pair.both, target_session_attrs="prefer-standby")
    with (
        PgVectorStore.open(writing, model_id=EMBEDDER.model_id, dim=EMBEDDER.dim) as store,
        PgVectorStore.open(
            reading, model_id=EMBEDDER.model_id, dim=EMBEDDER.dim, read_only=True
        ) as searching,
    ):
        store.add([passage(3)], axis(3)[None])
        wait_until(lambda: searching.count() == 3)
        pair.kill_primary()
        assert searching.search(axis(3), limit=1)[0].passage == passage(3)
        pair.promote()

        def written() -> bool:
            try:
                return store.add([passage(4)], axis(4)[None]) == 1
            except StoreUnavailableError:
                return False

        wait_until(written)
        assert store.count() == 4
        assert searching.count() == 4


def test_a_backup_is_made_from_a_replica(shared: Pair, tmp_path: Path) -> None:
    from voicerag_core.store import backup, verify

    caught_up(shared, 2)
    report = backup(shared.replica.dsn, tmp_path / "kb.zip")
    assert report.rows["passages"] == 2
    assert verify(tmp_path / "kb.zip", shared.primary.dsn).differences == ()


def test_a_replica_alone_is_refused() -> None:
    with (
        pytest.raises(ConfigError, match="VOICERAG_DATABASE_URL, too"),
        open_store(load_settings(read_database_url="postgresql://db"), EMBEDDER),
    ):
        pass

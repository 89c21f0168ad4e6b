"""The database is away, refuses, stalls or fills up: a clear error, and nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.store.soak import soaked
from tests.waiting import PATIENCE, wait_until
from voicerag_core.errors import StoreError, StoreUnavailableError
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, list_collections, migrate
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Embeddings, Passage

INDEXER = """
import sys, numpy as np
from voicerag_core.store import PgVectorStore
from voicerag_core.types import Passage
with PgVectorStore.open(sys.argv[1], tenant=sys.argv[2], model_id="test", dim=8) as store:
    for n in range(int(sys.argv[3])):
        passages = [Passage(f"{n}-{i}", f"text {i} of {n}", {"n": n}) for i in range(40)]
        rows = np.random.default_rng(n).standard_normal((80, 8)).astype(np.float32)
        owners = np.arange(80) // 2
        store.replace_document(f"file{n}", "1", passages, rows, owners=owners)
        print(n, flush=True)
"""


def rows(count: int, dim: int = WIDTH) -> Embeddings:
    return np.random.default_rng(7).standard_normal((count, dim)).astype(np.float32)


def passages(count: int) -> list[Passage]:
    return [Passage(f"p{i}", f"text {i}", {"i": i}) for i in range(count)]


def messages(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many seconds each attempt to connect was given."""
    given: list[int] = []
    connect = psycopg.connect

    def noted(*arguments: Any, connect_timeout: int, **options: Any) -> Any:
        given.append(connect_timeout)
        return connect(*arguments, connect_timeout=connect_timeout, **options)

    monkeypatch.setattr(psycopg, "connect", noted)
    return given


def test_a_server_that_is_down_is_said_so_at_the_first_attempt(
    tmp_path: Path, attempts: list[int]
) -> None:
    with pytest.raises(StoreUnavailableError, match="check that the server runs"):
        PgVectorStore.open(f"host={tmp_path} user=me", model_id="test", dim=WIDTH)
    assert len(attempts) == 1


@pytest.mark.enable_socket
def test_a_server_that_never_answers_is_given_up(
    capfd: pytest.CaptureFixture[str], attempts: list[int]
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(StoreUnavailableError, match=f"port={port}"):
            PgVectorStore.open(
                f"postgresql://me:secret@127.0.0.1:{port}/db", model_id="t", dim=8, timeout=2
            )
    assert attempts == [2]
    assert capfd.readouterr() == ("", "")


def test_a_broken_connection_string_is_not_repeated() -> None:
    for broken in ("postgres//me:secret@host/db", "host=h password=secret oops", "secret"):
        with pytest.raises(StoreError, match="cannot be read") as caught:
            PgVectorStore.open(broken, model_id="test", dim=WIDTH)
        assert not any("secret" in message for message in [str(caught.value)])
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of its own, which asks one login for a password."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("faults") / "postgres") as postgres:
        migrate(postgres.dsn)
        with psycopg.connect(postgres.dsn, autocommit=True) as connection:
            connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right-secret'")
            rules = postgres.data_dir / "pgdata" / "pg_hba.conf"
            rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
            connection.execute("SELECT pg_reload_conf()")
        yield postgres


def test_a_wrong_password_is_refused_and_never_shown(locked: EmbeddedPostgres) -> None:
    wrong = make_conninfo(locked.dsn, user="guarded", password="wrong-secret")
    refusal = StoreError()

    def refused() -> bool:
        """The server reads its rules again when it gets round to it."""
        nonlocal refusal
        with pytest.raises(StoreError) as caught:
            PgVectorStore.open(wrong, model_id="test", dim=WIDTH)
        refusal = caught.value
        return isinstance(refusal, StoreUnavailableError)

    wait_until(refused, "the password is not asked for")
    assert "refused the user or password" in str(refusal)
    assert "user=guarded" in str(refusal)
    assert not any("wrong-secret" in message for message in messages(refusal))


def end_other_connections(dsn: str) -> int:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database() "
            "AND backend_type = 'client backend'"
        ).rowcount


def test_a_lost_connection_is_replaced_for_a_read(store: PgVectorStore, dsn: str) -> None:
    store.add(passages(3), rows(3))
    for _ in range(3):
        assert end_other_connections(dsn) >= 1
        assert len(store.search(rows(1)[0], limit=5)) == 3


def test_a_read_outlives_the_loss_of_its_connection(store: PgVectorStore, dsn: str) -> None:
    """The connection goes away while the statement runs, not before."""
    store.add(passages(3), rows(3))
    with psycopg.connect(dsn) as holder:
        holder.execute("LOCK TABLE voicerag.vectors IN ACCESS EXCLUSIVE MODE")
        found: list[int] = []
        reader = threading.Thread(
            target=lambda: found.append(len(store.search(rows(1)[0], limit=5)))
        )
        reader.start()
        wait_for_lock(dsn)
        with psycopg.connect(dsn, autocommit=True) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        holder.rollback()
        reader.join(PATIENCE)
    assert found == [3]


def test_the_first_write_after_lost_connections_goes_through(
    store: PgVectorStore, dsn: str
) -> None:
    """As when a server was restarted, or closes connections that were idle for long."""
    store.add(passages(3), rows(3))
    writes: list[tuple[Callable[[], object], object]] = [
        (lambda: store.add(passages(10), rows(10)), 7),
        (lambda: store.replace_document("a.txt", "1", [Passage("d", "text")], rows(1)), 1),
        (lambda: store.delete(["p1"]), 1),
        (lambda: store.remove_documents(["a.txt"]), 1),
        (store.build_index, True),
    ]
    for write, expected in writes:
        assert end_other_connections(dsn) >= 1
        assert write() == expected
    assert store.count() == 9


def test_many_threads_outlive_the_loss_of_all_connections(store: PgVectorStore, dsn: str) -> None:
    def work(number: int) -> int:
        return sum(
            store.add([Passage(f"{number}-{turn}", "text")], rows(1))
            + len(store.search(rows(1)[0], limit=1)) for turn in range(10)
        )  # fmt: skip

    with ThreadPoolExecutor(6) as threads:
        running = [threads.submit(work, number) for number in range(6)]
        while not all(one.done() for one in running):
            end_other_connections(dsn)
            time.sleep(0.05)
        failed = [error for one in running if (error := one.exception()) is not None]
    assert all(isinstance(error, StoreUnavailableError) for error in failed)
    kept = {passage.id for passage in store.get([f"{n}-{i}" for n in range(6) for i in range(10)])}
    assert store.count() == len(kept)
    for number, one in enumerate(running):
        if one.exception() is None:
            assert {f"{number}-{turn}" for turn in range(10)} <= kept


def test_a_write_whose_connection_goes_away_is_begun_again(store: PgVectorStore, dsn: str) -> None:
    store.add(passages(3), rows(3))
    with psycopg.connect(dsn) as holder:
        holder.execute("LOCK TABLE voicerag.vectors IN ACCESS EXCLUSIVE MODE")
        written: list[int] = []
        writer = threading.Thread(target=lambda: written.append(store.add(passages(10), rows(10))))
        writer.start()
        wait_for_lock(dsn)
        with psycopg.connect(dsn, autocommit=True) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        holder.rollback()
        writer.join(PATIENCE)
    assert written == [7]
    assert store.count() == 10


def test_a_connection_lost_at_the_commit_is_said_so(store: PgVectorStore, dsn: str) -> None:
    """Whether the server kept it cannot be known, and repeating the call is right in both cases."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_sleep(300); RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON voicerag.passages "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit()"
        )
    told: list[BaseException] = []

    def write() -> None:
        try:
            store.add(passages(3), rows(3))
        except StoreUnavailableError as error:
            told.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with psycopg.connect(dsn, autocommit=True) as killer:
            wait_until(
                lambda: bool(killer.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE wait_event = 'PgSleep' AND datname = current_database()"
                ).fetchall())
            )  # fmt: skip
        writer.join(PATIENCE)
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("DROP FUNCTION wait_at_commit CASCADE")
    assert "whether this call was kept is unknown, repeat it" in str(told[0])
    store.add(passages(3), rows(3))
    assert store.count() == 3


def wait_for_lock(dsn: str) -> None:
    wait_until(lambda: waits(dsn) > 0, "nothing waits for the lock")


def waits(dsn: str) -> int:
    with psycopg.connect(dsn, autocommit=True) as watcher:
        return watcher.execute(
            "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database()"
        ).rowcount


def test_a_stalled_query_is_given_up(store: PgVectorStore, dsn: str, tenant: str) -> None:
    store.add(passages(3), rows(3))
    with (
        PgVectorStore.open(
            dsn, tenant=tenant, model_id="test", dim=WIDTH, statement_timeout=1.0
        ) as hasty,
        psycopg.connect(dsn) as holder,
    ):
        holder.execute("LOCK TABLE voicerag.vectors IN ACCESS EXCLUSIVE MODE")
        stalled: list[Callable[[], object]] = [
            lambda: hasty.search(rows(1)[0], limit=1),
            lambda: hasty.add(passages(9), rows(9)),
        ]
        for call in stalled:
            with pytest.raises(StoreError, match=r"another program holds|was stopped"):
                call()
        holder.rollback()
    assert store.count() == 3


def test_an_interrupt_cancels_on_the_server(store: PgVectorStore, dsn: str) -> None:
    with psycopg.connect(dsn) as holder:
        holder.execute("LOCK TABLE voicerag.vectors IN ACCESS EXCLUSIVE MODE")

        def interrupt() -> None:
            wait_for_lock(dsn)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            store.search(rows(1)[0], limit=1)
        thread.join()
        assert waits(dsn) == 0
        holder.rollback()
    assert store.count() == 0


def test_closing_cancels_on_the_server(dsn: str, tenant: str) -> None:
    store = PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH)
    errors: list[StoreError] = []

    def search() -> None:
        try:
            store.search(rows(1)[0], limit=1)
        except StoreError as error:
            errors.append(error)

    with psycopg.connect(dsn) as holder:
        holder.execute("LOCK TABLE voicerag.vectors IN ACCESS EXCLUSIVE MODE")
        thread = threading.Thread(target=search)
        thread.start()
        wait_for_lock(dsn)
        store.close()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the lock is still held, so the search was cancelled"
        assert waits(dsn) == 0
    assert "closed" in str(errors[0])
    with pytest.raises(StoreError, match="closed"):
        store.count()
    store.close()


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.data_dir / "pgdata" / "postmaster.pid").read_text().split()[0])


def another(server: EmbeddedPostgres, pid: int) -> bool:
    return postmaster(server) != pid


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def count_until(store: PgVectorStore, done: Callable[[], bool]) -> None:
    """A backend may answer until it sees that its parent is gone."""

    def counted() -> bool:
        assert store.count() == 20
        return done()

    wait_until(counted)


def test_an_embedded_server_that_died_is_started_again(locked: EmbeddedPostgres) -> None:
    """By whichever call needs it first, while nothing that was written is lost."""
    with PgVectorStore.open(
        locked.dsn, tenant="killed", model_id="test", dim=WIDTH, timeout=1
    ) as store:
        store.add(passages(20), rows(20))
        calls: list[Callable[[], object]] = [
            lambda: list_collections(locked.dsn, tenant="killed"),
            lambda: migrate(locked.dsn),
            lambda: PgVectorStore.open(
                locked.dsn, tenant="killed", model_id="test", dim=WIDTH
            ).close(),
            lambda: store.add(passages(20), rows(20)),
        ]
        for call in calls:
            pid = postmaster(locked)
            os.kill(pid, signal.SIGKILL)
            wait_until(partial(gone, pid))
            call()
            count_until(store, partial(another, locked, pid))
        assert store.add(passages(30), rows(30)) == 10


def test_a_server_of_somebody_else_that_died_is_said_so(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        migrate(server.dsn)
        dsn = server.dsn
        with PgVectorStore.open(dsn, model_id="test", dim=WIDTH, timeout=1) as store:
            store.add(passages(3), rows(3))
            server.close()
            calls: list[Callable[[], object]] = [
                store.count,
                lambda: store.add(passages(1), rows(1)),
            ]
            for call in calls:
                with pytest.raises(StoreUnavailableError, match="check that the server runs"):
                    call()
            server.start()
            assert store.count() == 3


def pages_damaged(server: EmbeddedPostgres, relation: str, *, gone: bool) -> None:
    """Damage the file of a table or an index of a stopped server."""
    with server, psycopg.connect(server.dsn) as connection:
        found = connection.execute("SELECT pg_relation_filepath(%s)", [relation]).fetchone()
    assert found is not None
    file = server.data_dir / "pgdata" / found[0]
    if gone:
        file.unlink()
        return
    with file.open("r+b") as pages:
        pages.write(b"\xa5" * file.stat().st_size)


def test_damaged_files_of_a_running_server_are_told_with_the_remedy(tmp_path: Path) -> None:
    own = EmbeddedPostgres(tmp_path / "postgres")

    def found() -> int:
        with own, PgVectorStore.open(own.dsn, model_id="test", dim=WIDTH) as store:
            return len(store.search(rows(1)[0], limit=3))

    with own:
        migrate(own.dsn)
        with PgVectorStore.open(own.dsn, model_id="test", dim=WIDTH) as store:
            store.add(passages(3), rows(3))
    remedy = r"is damaged: .*REINDEX DATABASE .*`voicerag db restore`.*`voicerag index`"
    for gone in (False, True):
        pages_damaged(own, "voicerag.vectors_pkey", gone=gone)
        with pytest.raises(StoreUnavailableError, match=remedy):
            found()
        with own, psycopg.connect(own.dsn, autocommit=True) as connection:
            connection.execute("REINDEX DATABASE")
        assert found() == 3
    pages_damaged(own, "voicerag.vectors", gone=False)
    with pytest.raises(StoreUnavailableError, match=remedy):
        found()


def check_complete(dsn: str, tenant: str, files: int) -> None:
    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH) as store:
        assert store.document_digests() == {f"file{n}": "1" for n in range(files)}
        assert store.count() == 40 * files
    (info,) = list_collections(dsn, tenant=tenant)
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT count(*), count(DISTINCT (passage, ordinal)), count(p.pid) "
            "FROM voicerag.vectors v LEFT JOIN voicerag.passages p ON p.pid = v.passage "
            "WHERE v.tenant = %s",
            (tenant,),
        ).fetchone()
    assert found == (80 * files, 80 * files, 80 * files)
    assert (info.passages, info.vectors) == (40 * files, 80 * files)


def index_and_kill(dsn: str, tenant: str, files: int, after: int, sent: signal.Signals) -> None:
    command = [sys.executable, "-c", INDEXER, dsn, tenant, str(files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as indexer:
        assert indexer.stdout is not None
        for line in indexer.stdout:
            if int(line) >= after:
                indexer.send_signal(sent)
                break
        indexer.wait(PATIENCE)
    assert indexer.returncode != 0


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_an_ended_indexing_run_is_finished_by_the_next(
    dsn: str, tenant: str, sent: signal.Signals
) -> None:
    index_and_kill(dsn, tenant, 400, 5, sent)
    command = [sys.executable, "-c", INDEXER, dsn, tenant, "30"]
    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH) as store:
        whole = store.count()
        assert whole % 40 == 0
        assert whole >= 5 * 40
        late = [source for source in store.document_digests() if int(source[4:]) >= 30]
        store.remove_documents(late)
    subprocess.run(command, check=True, capture_output=True)
    check_complete(dsn, tenant, 30)


@pytest.mark.slow
def test_many_ended_runs_lose_and_double_nothing(dsn: str, tenant: str) -> None:
    for after in range(0, 60, 3):
        index_and_kill(dsn, tenant, 100, after, signal.SIGKILL)
    subprocess.run(
        [sys.executable, "-c", INDEXER, dsn, tenant, "100"], check=True, capture_output=True
    )
    check_complete(dsn, tenant, 100)


@pytest.fixture
def tiny_disk(locked: EmbeddedPostgres, tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB that the server can write to."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=0700", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        owner = (locked.data_dir / "pgdata").stat()
        os.chown(disk, owner.st_uid, owner.st_gid)
        for parent in tmp_path.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o011)
        tmp_path.chmod(0o711)
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_loses_nothing(locked: EmbeddedPostgres, tiny_disk: Path) -> None:
    with psycopg.connect(locked.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE TABLESPACE tiny LOCATION {}").format(str(tiny_disk)))
        connection.execute("ALTER TABLE voicerag.vectors SET TABLESPACE tiny")
    try:
        with PgVectorStore.open(locked.dsn, tenant="full", model_id="test", dim=512) as store:
            store.replace_document("kept.txt", "1", passages(500), rows(500, 512))
            with pytest.raises(StoreUnavailableError, match=r"disk .* is full.*free some space"):
                store.replace_document("kept.txt", "2", passages(20_000), rows(20_000, 512))
            assert store.count() == 500
            assert store.document_digests() == {"kept.txt": "1"}
            assert len(store.search(rows(1, 512)[0], limit=5)) == 5
            subprocess.run(["mount", "-o", "remount,size=40m", str(tiny_disk)], check=True)
            assert store.replace_document("kept.txt", "2", passages(501), rows(501, 512)) == 1
    finally:
        with psycopg.connect(locked.dsn, autocommit=True) as connection:
            connection.execute("DROP SCHEMA voicerag CASCADE")
            connection.execute("DROP TABLESPACE tiny")
        migrate(locked.dsn)


@pytest.mark.slow
def test_a_soak_under_kills_loses_nothing(tmp_path: Path) -> None:
    soak, missing = soaked(tmp_path / "postgres", seconds=30, threads=12, every=5)
    assert soak.kills > 0
    assert soak.searches > 0
    assert len(soak.acknowledged) > 0
    assert missing == 0

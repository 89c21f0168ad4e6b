"""Bad files, full disks, interrupts and races leave neither half a backup nor half a database."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.conftest import new_database
from tests.store.test_upgrade import LATER, old, state
from tests.waiting import wait_until
from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import CancelledError, SchemaError, StoreError
from voicerag_core.store import PgVectorStore, migrate, status
from voicerag_core.store.backups import backup, restore, verify
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Passage

__all__ = ["old"]


def write(dsn: str, tenant: str, passages: int, *, size: int = 400) -> None:
    """Texts that hardly compress, so that files are of a size that matters."""
    chance = random.Random(7)
    rows = [
        Passage(f"{n}", "".join(chance.choices("abcdefghijklmnopqrstuvwxyz ", k=size)), {})
        for n in range(passages)
    ]
    vectors = np.random.default_rng(7).standard_normal((passages, WIDTH)).astype(np.float32)
    with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH) as store:
        store.replace_document("doc", "1", rows, vectors)


@pytest.fixture(scope="module")
def filled(server: str) -> str:
    dsn = new_database(server)
    migrate(dsn)
    for tenant in ("ada", "bob"):
        write(dsn, tenant, 300)
    return dsn


@pytest.fixture(scope="module")
def saved(filled: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backup") / "all.zip"
    backup(filled, path)
    return path


def test_any_changed_byte_is_noticed(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    places = {0, 1, 40, len(whole) // 2, len(whole) - 1, len(whole) - 64, len(whole) - 70}
    places |= set(range(len(whole) - 700, len(whole), 23))  # the directory of the archive
    spoiled = tmp_path / "spoiled.zip"
    for place in sorted(places):
        data = bytearray(whole)
        data[place] ^= 1
        spoiled.write_bytes(data)
        with pytest.raises(StoreError, match=r"altered|no complete backup"):
            verify(spoiled)


def test_a_cut_file_and_other_files_are_no_backups(saved: Path, tmp_path: Path, fresh: str) -> None:
    whole = saved.read_bytes()
    other = tmp_path / "other.zip"
    for data in (b"", b"PK", whole[:-1], whole[: len(whole) // 2], whole[1:], whole + b"x",
                 b"text" * 99, whole * 2):  # fmt: skip
        other.write_bytes(data)
        with pytest.raises(StoreError, match=r"no complete backup|altered"):
            restore(fresh, other)
    with zipfile.ZipFile(saved) as read, zipfile.ZipFile(other, "w") as again:
        for name in read.namelist():  # the same content, packed by another program
            again.writestr(name, read.read(name))
    with pytest.raises(StoreError, match="no complete backup"):
        restore(fresh, other)
    with pytest.raises(StoreError, match="cannot be read"):
        restore(fresh, tmp_path / "absent.zip")
    with pytest.raises(StoreError, match="cannot be read"):
        restore(fresh, tmp_path)
    assert status(fresh).schema_version == 0


def forged(saved: Path, place: Path, change: str) -> Path:
    """Make a backup whose checksum is right, and whose content is not what it says."""
    with zipfile.ZipFile(saved) as read:
        value = json.loads(read.read("manifest.json"))
        rows = {name: read.read(name) for name in read.namelist() if name != "manifest.json"}
    tables = {table["name"]: table for table in value["tables"]}
    CHANGES[change](value, rows, tables)
    with zipfile.ZipFile(place, "w") as written:
        for name, data in rows.items():
            written.writestr(name, data)
        written.writestr("manifest.json", json.dumps(value))
        written.comment = b"sha256 " + b"0" * 64
    data = place.read_bytes()[:-64]
    place.write_bytes(data + hashlib.sha256(data).hexdigest().encode())
    return place


CHANGES: dict[str, Callable[[Any, dict[str, bytes], Any], object]] = {
    "none": lambda value, rows, tables: None,
    "row": lambda value, rows, tables: rows.update(
        {"rows/passages": rows["rows/passages"].replace(b"a", b"b", 1)}
    ),
    "less": lambda value, rows, tables: rows.update({"rows/vectors": rows["rows/vectors"][:-9]}),
    "more": lambda value, rows, tables: rows.update({"rows/vectors": rows["rows/vectors"] + b"0"}),
    "member": lambda value, rows, tables: rows.pop("rows/documents"),
    "columns": lambda value, rows, tables: tables["documents"].update(columns=["tenant"]),
    "table": lambda value, rows, tables: tables["documents"].update(name="passwords", parts=[]),
    "newer": lambda value, rows, tables: value.update(schema=999),
    "form": lambda value, rows, tables: value.update(format=2),
    "count": lambda value, rows, tables: tables["documents"]["parts"][0].update(rows=7),
    "nonsense": lambda value, rows, tables: value.update(tables=7),
    "without": lambda value, rows, tables: value.pop("sequences"),
    "foreign": lambda value, rows, tables: (value.clear(), value.update(a=1)),
}


@pytest.mark.parametrize("change", sorted(CHANGES.keys() - {"none"}))
def test_a_file_that_does_not_hold_what_it_says_changes_nothing(
    saved: Path, tmp_path: Path, fresh: str, change: str
) -> None:
    migrate(fresh)
    before = state(fresh)
    with pytest.raises((StoreError, SchemaError), match=r"the backup|was restored"):
        restore(fresh, forged(saved, tmp_path / "forged.zip", change))
    assert state(fresh) == before


def test_a_backup_is_an_archive_that_other_programs_read(
    saved: Path, tmp_path: Path, fresh: str
) -> None:
    restore(fresh, forged(saved, tmp_path / "repacked.zip", "none"))
    assert verify(saved, fresh).differences == ()


BACKUP = """
import resource, sys
from pathlib import Path
from voicerag_core.errors import VoiceRAGError
from voicerag_core.store.backups import backup
if len(sys.argv) > 3:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    backup(sys.argv[1], Path(sys.argv[2]))
except VoiceRAGError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("room", [0, 10_000, 100_000])
def test_a_full_disk_leaves_nothing(filled: str, tmp_path: Path, room: int) -> None:
    command = [sys.executable, "-c", BACKUP, filled, str(tmp_path / "full.zip"), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no room for" in done.stderr
    assert "free some space" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(filled: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        backup(filled, tmp_path / "absent" / "b.zip")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_backup_has_no_name(filled: str, tmp_path: Path, number: int) -> None:
    target = tmp_path / "interrupted.zip"
    with psycopg.connect(filled, autocommit=True) as blocker:
        blocker.execute("BEGIN")
        blocker.execute("LOCK TABLE voicerag.vectors")
        command = [sys.executable, "-c", BACKUP,
                   make_conninfo(filled, options="-c lock_timeout=0"), str(target)]  # fmt: skip
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            wait_until(lambda: any(tmp_path.iterdir()))
            process.send_signal(number)
        blocker.execute("ROLLBACK")
    assert not target.exists()
    if number == signal.SIGINT:
        assert list(tmp_path.iterdir()) == []
    backup(filled, target)
    assert verify(target, filled).differences == ()


def test_a_cancelled_backup_leaves_nothing(filled: str, tmp_path: Path) -> None:
    cancellation = Cancellation()
    with cancellation.active(), pytest.raises(CancelledError):
        backup(filled, tmp_path / "b.zip", on_rows=lambda *_: cancellation.cancel())
    assert list(tmp_path.iterdir()) == []


RESTORE = """
import sys
from pathlib import Path
from voicerag_core.store.backups import restore
restore(sys.argv[1], Path(sys.argv[2]), on_bytes=lambda name, *_: print(name, flush=True))
"""


@pytest.mark.parametrize("at", ["passages", "vectors", "vocabulary"])
def test_a_restore_killed_in_its_middle_changes_nothing(saved: Path, fresh: str, at: str) -> None:
    migrate(fresh)
    before = state(fresh)
    named = make_conninfo(fresh, application_name="killed")
    with subprocess.Popen(
        [sys.executable, "-c", RESTORE, named, str(saved)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == at:
                process.kill()
    assert state(fresh) == before
    restore(fresh, saved)
    assert verify(saved, fresh).differences == ()


def test_of_restores_at_once_one_works_and_the_others_are_refused(saved: Path, fresh: str) -> None:
    start = threading.Barrier(3)

    def attempt(_: int) -> str:
        start.wait()
        try:
            restore(fresh, saved)
        except StoreError as error:
            return str(error)
        return "restored"

    with ThreadPoolExecutor(3) as threads:
        said = sorted(threads.map(attempt, range(3)), key=lambda text: text != "restored")
    assert said[0] == "restored"
    for text in said[1:]:
        assert "another restore or migration" in text or "already holds" in text
    assert verify(saved, fresh).differences == ()


def test_a_restore_waits_for_nobody_who_migrates(saved: Path, fresh: str) -> None:
    with psycopg.connect(fresh) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (0x766F6963655F7261,))
        with pytest.raises(StoreError, match="another restore or migration"):
            restore(fresh, saved)


def test_a_backup_is_of_one_moment(filled: str, tmp_path: Path, fresh: str) -> None:
    """What is written between two tables of a backup is not in it, wholly."""
    copied = tmp_path / "moment.zip"

    def meddle(table: str, _: int) -> None:
        if table == "documents":
            write(filled, "ada", 3, size=9)
            write(filled, "late", 2, size=9)

    before = backup(filled, tmp_path / "before.zip").rows
    try:
        backup(filled, copied, on_rows=meddle)
        restore(fresh, copied)
        with PgVectorStore.open(fresh, tenant="ada", model_id="test", dim=WIDTH) as store:
            assert store.count() == 300
        assert verify(copied, fresh).differences == ()
        report = backup(fresh, tmp_path / "after.zip")
        assert report.rows == before
    finally:
        write(filled, "ada", 300)
        with PgVectorStore.open(filled, tenant="late", model_id="test", dim=WIDTH) as store:
            store.remove_documents(["doc"])


def test_an_old_backup_is_brought_up_to_date(old: str, tmp_path: Path, server: str) -> None:
    """Version 1 is saved by this program, too, and restored with all later migrations."""
    saved = tmp_path / "version_1.zip"
    report = backup(old, saved)
    assert report.schema == 1
    assert report.rows["passages"] == 5
    target = new_database(server)
    done = restore(target, saved)
    assert done.migrated == tuple(LATER)
    assert migrate(old) == LATER
    ours, theirs = tmp_path / "migrated.zip", tmp_path / "restored.zip"
    assert backup(old, ours).rows == backup(target, theirs).rows
    for tenant, text in (("ada", "handbook of the staff"), ("bob", "secret plans")):
        found = []
        for dsn in (old, target):
            with PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH) as store:
                found.append(store.search(None, text=text, limit=5))
        assert found[0] == found[1]
        assert found[0]


def test_memory_does_not_grow_with_the_database(server: str, tmp_path: Path) -> None:
    big = new_database(server)
    migrate(big)
    with PgVectorStore.open(big, model_id="test", dim=WIDTH, auto_index=False) as store:
        store.add([Passage("0", "x", {})], np.ones((1, WIDTH), np.float32))
    with psycopg.connect(big) as connection:  # 64 MB of texts
        connection.execute("SELECT set_config('voicerag.tenant', 'default', true)")
        connection.execute("ALTER TABLE voicerag.passages DISABLE TRIGGER USER")
        connection.execute(
            "INSERT INTO voicerag.passages (tenant, collection_id, hash, id, body, metadata, words)"
            " SELECT tenant, collection_id, hash, n::text, repeat(md5(n::text), 1000), metadata, ''"
            " FROM voicerag.passages, generate_series(1, 2000) n"
        )
        connection.execute("ALTER TABLE voicerag.passages ENABLE TRIGGER USER")
    program = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from voicerag_core.store.backups import backup, restore, verify\n"
        "path = Path(sys.argv[2])\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "start = peak()\n"
        "backup(sys.argv[1], path)\nrestore(sys.argv[3], path)\nverify(path, sys.argv[3])\n"
        "print(peak() - start)\n"
    )
    arguments = [big, str(tmp_path / "big.zip"), new_database(server)]
    output = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    ).stdout
    assert int(output) < 40, "MiB, of 64 MB of rows"

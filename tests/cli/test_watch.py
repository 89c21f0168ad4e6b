"""``voicerag watch`` on a real database, ended by signals."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiting import wait_until

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]
Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_follows_a_folder_and_ends_on_a_signal(
    voicerag: Voicerag, spawn: Spawn, tmp_path: Path, number: signal.Signals
) -> None:
    name = f"watched-{number}"
    (tmp_path / "a.txt").write_text("Herons fish in the Rhine.")
    process = spawn("watch", tmp_path, "--collection", name, "--interval", "0.1", "--settle", "0.1")
    assert process.stdout is not None
    assert "watching; files: 1 new" in process.stdout.readline()
    (tmp_path / "b.txt").write_text("Owls sleep by day.")
    assert "files: 1 new" in process.stdout.readline()
    hits = voicerag("search", "When do owls sleep?", "--collection", name, "--json").stdout
    assert "Owls sleep by day." in hits
    process.send_signal(number)
    wait_until(lambda: process.poll() is not None)
    assert process.returncode == 128 + number
    assert process.stderr is not None
    said = process.stderr.read()
    assert said.startswith("comparing the folders"), "the first indexing may take long"
    assert "Traceback" not in said


def test_it_ends_in_the_middle_of_an_ingest_with_whole_documents(
    voicerag: Voicerag, spawn: Spawn, tmp_path: Path
) -> None:
    import json

    for n in range(24):
        (tmp_path / f"{n}.txt").write_text(f"Paragraph {n}. " * 150)
    process = spawn("watch", tmp_path, "--collection", "cut", "--interval", "0.1")

    def listed() -> list[dict[str, int]]:
        done = voicerag("list", "-d", "--collection", "cut", "--json")
        return list(json.loads(done.stdout)["documents"]) if done.returncode == 0 else []

    wait_until(lambda: len(listed()) > 0)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: process.poll() is not None)
    found = listed()
    assert {document["passages"] for document in found} == {2}
    again = spawn("watch", tmp_path, "--collection", "cut", "--interval", "0.1")
    assert again.stdout is not None
    again.stdout.readline()
    assert len(listed()) == 24


def test_a_file_is_not_watched(voicerag: Voicerag, tmp_path: Path) -> None:
    done = voicerag("watch", tmp_path / "absent")
    assert done.returncode == 1
    assert "is not a folder" in done.stderr


@pytest.mark.parametrize("option", ["--interval", "--settle"])
@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "1e300"])
def test_times_that_no_clock_has_are_refused(
    voicerag: Voicerag, tmp_path: Path, option: str, seconds: str
) -> None:
    done = voicerag("watch", tmp_path, option, seconds)
    assert done.returncode == 2
    assert option in done.stderr

"""``voicerag db tune``, and ``voicerag index`` in shares and on a cluster."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]


def test_an_index_is_built_and_tuned_on_request(voicerag: Voicerag, tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"text": f"The heron number {n} fishes."}) for n in range(30))
    (tmp_path / "herons.jsonl").write_text(lines)
    words = ("--collection", "herons")
    assert voicerag("index", tmp_path, *words).returncode == 0
    none = voicerag("db", "tune", *words)
    assert (none.returncode, "every search is exact" in none.stdout) == (0, True)
    done = voicerag("db", "tune", "--index", "bit", "--recall", "0.9", *words)
    assert done.returncode == 0, done.stderr
    assert "of the ten nearest passages" in done.stdout
    assert "HNSW index over signs" in voicerag("db", "status").stdout
    value = json.loads(voicerag("db", "tune", "--ef-search", "50", "--json", *words).stdout)
    assert (value["tuned"]["ef_search"], value["tuned"]["target"]) == (50, pytest.approx(0.9))
    wrong = voicerag("db", "tune", "--recall", "2", *words)
    assert (wrong.returncode, "a recall is above 0" in wrong.stderr) == (1, True)
    absent = voicerag("db", "tune", "--collection", "storks")
    assert (absent.returncode, "no collection 'storks'" in absent.stderr) == (1, True)


def test_shares_of_a_folder(voicerag: Voicerag, tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(f"Text number {number}.")
    words = ("--collection", "shared-out")
    shown = [voicerag("index", tmp_path, "--shard", f"{n}/2", *words).stdout for n in (1, 2)]
    new = [int(text.split("files: ")[1].split(" new")[0]) for text in shown]
    assert sum(new) == 8
    assert "files: 0 new, 0 changed, 8 unchanged" in voicerag("index", tmp_path, *words).stdout
    wrong = voicerag("index", tmp_path, "--shard", "3/2", *words)
    assert (wrong.returncode, "there is no share 3 of 2" in wrong.stderr) == (1, True)


def test_a_cluster_does_not_reach_the_embedded_database(voicerag: Voicerag, tmp_path: Path) -> None:
    refused = voicerag("index", tmp_path, "--ray", "local")
    assert refused.returncode == 1
    assert "listens on a socket of this machine alone" in refused.stderr
    socket = ("--database-url", "postgresql:///kb?host=/var/run/postgresql")
    behind = voicerag("index", tmp_path, "--ray", "local", *socket)
    assert (behind.returncode, "behind a socket" in behind.stderr) == (1, True)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_its_extra_is_named(voicerag: Voicerag, tmp_path: Path) -> None:
    server = ("--database-url", "postgresql://nobody@192.0.2.1/kb")
    missing = voicerag("index", tmp_path, "--ray", "auto", *server)
    assert missing.returncode == 1
    assert "pip install 'voicerag-core[ray]'" in missing.stderr

"""``voicerag list`` and ``voicerag remove``."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]

NAME = ("--collection", "listed")


@pytest.fixture
def folder(voicerag: Voicerag, tmp_path: Path) -> Path:
    """Four files in two folders, indexed."""
    (tmp_path / "drafts").mkdir()
    for name in ("a.md", "b.txt", "drafts/c.md", "drafts/d.md"):
        (tmp_path / name).write_text(f"Text of {name}.")
    assert voicerag("index", tmp_path, *NAME).returncode == 0
    return tmp_path


def sources(voicerag: Voicerag, *words: str) -> list[str]:
    value = json.loads(voicerag("list", "--documents", "--json", *NAME, *words).stdout)
    return [document["source"] for document in value["documents"]]


def test_collections_and_documents_are_listed(voicerag: Voicerag, folder: Path) -> None:
    shown = voicerag("list", *NAME).stdout
    (line,) = (line for line in shown.splitlines() if line.startswith("listed:"))
    assert "documents" in line
    assert "all-MiniLM" in line
    assert f"{folder}" not in shown
    assert str(folder / "a.md") in voicerag("list", "-d", *NAME).stdout
    value = json.loads(voicerag("list", "--json", "--match", f"{folder}/*.md", *NAME).stdout)
    names = [document["source"] for document in value["documents"]]
    assert names == [f"{folder}/{name}" for name in ("a.md", "drafts/c.md", "drafts/d.md")]
    assert {one["passages"] for one in value["documents"]} == {1}
    (listed,) = (one for one in value["collections"] if one["name"] == "listed")
    assert listed["documents"] >= 4
    assert [one["name"] for one in value["collections"]] == ["listed"]
    for words in ((), ("-d",)):
        absent = voicerag("list", *words, "--collection", "absent")
        assert absent.returncode == 1
        assert "there is no collection 'absent'" in absent.stderr


def test_documents_are_removed_by_file_folder_and_pattern(voicerag: Voicerag, folder: Path) -> None:
    (folder / "a.md").unlink()
    done = voicerag("remove", folder / "a.md", "--yes", *NAME)
    assert done.stdout == f"removed: 1 document: {folder}/a.md, 1 passage\n"
    done = voicerag("remove", folder / "drafts", "--yes", *NAME)
    assert "2 documents" in done.stdout
    assert [name for name in sources(voicerag) if name.startswith(str(folder))] == [
        f"{folder}/b.txt"
    ]
    done = voicerag("remove", f"{folder}/*.txt", "--yes", *NAME)
    assert done.returncode == 0
    assert not [name for name in sources(voicerag) if name.startswith(str(folder))]


def test_a_folder_is_no_prefix_of_a_name(voicerag: Voicerag, folder: Path) -> None:
    (folder / "drafts-2").mkdir()
    (folder / "drafts-2" / "e.md").write_text("Text.")
    assert voicerag("index", folder, *NAME).returncode == 0
    assert voicerag("remove", folder / "drafts", "--yes", *NAME).returncode == 0
    assert f"{folder}/drafts-2/e.md" in sources(voicerag)


def test_nothing_is_removed_unasked_or_half(voicerag: Voicerag, folder: Path) -> None:
    before = sources(voicerag)
    refused = voicerag("remove", folder / "a.md", *NAME, given=b"n\n")
    assert refused.returncode == 1
    assert f"remove 1 document: {folder}/a.md (1 passage)" in refused.stderr
    assert voicerag("remove", folder / "a.md", *NAME, given=b"").returncode == 1
    unknown = voicerag("remove", folder / "a.md", folder / "b.text", "--yes", *NAME)
    assert unknown.returncode == 1
    assert "nothing was removed" in unknown.stderr
    assert f"the nearest is '{folder}/b.txt'" in unknown.stderr
    assert voicerag("remove", "--yes", *NAME).returncode == 2
    assert voicerag("remove", "x", "--whole-collection", "--yes", *NAME).returncode == 2
    assert sources(voicerag) == before


def test_a_whole_collection_goes_with_its_name(voicerag: Voicerag, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Text.")
    name = ("--collection", "goes")
    assert voicerag("index", tmp_path, *name).returncode == 0
    assert voicerag("remove", "--whole-collection", *name, given=b"\n").returncode == 1
    done = voicerag("remove", "--whole-collection", "--yes", *name)
    assert done.stdout == "removed: the collection 'goes' with 1 document, 1 passage\n"
    assert "goes:" not in voicerag("list").stdout

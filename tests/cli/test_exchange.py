"""``voicerag export`` and ``voicerag import``."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def source(voicerag: Voicerag, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("texts")
    (folder / "herons.txt").write_text("Herons fish in the Rhine. They are grey.")
    (folder / "chair.md").write_text("The chair signs contracts.")
    assert voicerag("index", folder, "--collection", "source").returncode == 0
    return "source"


def test_a_collection_goes_to_another_tenant_and_answers(
    voicerag: Voicerag, source: str, tmp_path: Path
) -> None:
    file = tmp_path / "kb.jsonl"
    done = voicerag("export", file, "--collection", source)
    assert done.stdout == "exported: 2 documents, 2 passages\n"
    assert voicerag("export", file, "--collection", source).returncode == 1
    assert voicerag("export", file, "--force", "--collection", source).returncode == 0
    elsewhere = ("--tenant", "elsewhere")
    done = voicerag("import", file, *elsewhere)
    assert done.stdout == (
        "imported into source: 2 documents, 2 passages; 2 new, changed or deleted\n"
    )
    assert "0 new, changed or deleted" in voicerag("import", file, *elsewhere).stdout
    words = ("search", "Where do herons fish?", "--json", "--collection", source)
    found = [json.loads(voicerag(*words, *more).stdout)["hits"] for more in ((), elsewhere)]
    assert found[0] == found[1]


def test_an_import_makes_a_collection_with_or_without_words_as_it_was_or_as_it_is_told(
    voicerag: Voicerag, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imported(file: str, collection: str, *, words: str | None = None) -> str:
        with monkeypatch.context() as environment:
            if words is not None:
                environment.setenv("VOICERAG_WORDS", words)
            done = voicerag("import", tmp_path / file, "--collection", collection)
        if done.returncode:
            return done.stderr
        return voicerag("list", "--collection", collection).stdout

    assert voicerag("export", tmp_path / "with", "--collection", source).returncode == 0
    assert ", without words" not in imported("with", "as-it-was")
    assert ", without words" in imported("with", "bare", words="false")
    assert voicerag("export", tmp_path / "without", "--collection", "bare").returncode == 0
    assert ", without words" in imported("without", "bare-again")
    assert ", without words" not in imported("without", "words-again", words="true")
    assert ", without words" in imported("with", "bare"), "one that is there keeps its choice"
    assert "'bare' was made without a search by words" in imported("with", "bare", words="true")
    words = ("search", "herons", "--json", "--collection", "words-again")
    assert "words" in json.loads(voicerag(*words).stdout)["hits"][0]["matched_by"]


def test_texts_go_through_a_pipe_and_are_embedded(
    voicerag: Voicerag, source: str, tmp_path: Path
) -> None:
    piped = voicerag("export", "-", "--no-vectors", "--collection", source)
    assert "exported: 2 documents" in piped.stderr
    copy = ("--collection", "piped")
    refused = voicerag("import", "-", *copy, given=piped.stdout.encode())
    assert refused.returncode == 1
    assert "--embed" in refused.stderr
    assert "piped" not in voicerag("list").stdout, "no collection is made for it"
    done = voicerag("import", "-", "--embed", *copy, given=piped.stdout.encode())
    assert done.returncode == 0, done.stderr
    hits = json.loads(voicerag("search", "herons", "--json", *copy).stdout)["hits"]
    assert hits[0]["text"].startswith("Herons")


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(
    voicerag: Voicerag, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for words in (("import",), ("db", "restore"), ("db", "verify")):
        done = voicerag(*words, tmp_path / "pipe")
        assert done.returncode == 1, words
        assert "it is a pipe" in done.stderr, words


def test_another_models_vectors_and_other_files_are_refused(
    voicerag: Voicerag, source: str, tmp_path: Path
) -> None:
    file = tmp_path / "kb.jsonl"
    assert voicerag("export", file, "--collection", source).returncode == 0
    text = file.read_text()
    file.write_text(text.replace("all-MiniLM", "other-MiniLM", 1))
    refused = voicerag("import", file, "--collection", "new")
    assert refused.returncode == 1
    assert "vectors of the file are of the embedding model 'other-MiniLM" in refused.stderr
    assert "new:" not in voicerag("list").stdout
    file.write_text(text[:-100])
    assert voicerag("import", file, "--collection", "new").returncode == 1
    assert "new:" not in voicerag("list").stdout
    assert "cannot be read" in voicerag("import", tmp_path / "absent").stderr
    assert "no collection 'absent'" in voicerag("export", "-", "--collection", "absent").stderr

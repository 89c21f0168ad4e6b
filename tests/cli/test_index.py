"""``voicerag index`` on real files, models and database."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import PATIENCE
from voicerag_core.local.minilm import DIM, MODEL_ID
from voicerag_core.store import EmbeddedPostgres, PgVectorStore

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]
Spawn = Callable[..., "subprocess.Popen[str]"]

MANY = 500


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "heron.txt").write_text("Grey herons fish in shallow water.")
    (docs / "owl.md").write_text("# Owls\n\nTawny owls hunt at night.")
    (docs / "terns.csv").write_text("title,text\nTerns,Arctic terns fly from pole to pole.\n")
    return docs


@contextmanager
def opened(data_dir: Path, collection: str) -> Iterator[PgVectorStore]:
    with (
        EmbeddedPostgres(data_dir / "postgres") as server,
        PgVectorStore.open(server.dsn, collection=collection, model_id=MODEL_ID, dim=DIM) as store,
    ):
        yield store


def test_the_second_run_writes_nothing_and_changes_are_followed(
    voicerag: Voicerag, data_dir: Path, folder: Path
) -> None:
    index = ("index", folder, "--collection", "birds")
    first = voicerag(*index)
    assert first.returncode == 0, first.stderr
    assert "files: 3 new, 0 changed, 0 unchanged, 0 removed, 0 failed" in first.stdout
    with opened(data_dir, "birds") as store:
        before = written(data_dir)
        second = voicerag(*index)
        assert "0 new, 0 changed, 3 unchanged" in second.stdout
        assert written(data_dir) == before

        (folder / "heron.txt").write_text("Grey herons stand still.")
        (folder / "owl.md").unlink()
        dry = voicerag(*index, "--dry-run")
        assert "0 new, 1 changed, 1 unchanged, 1 removed" in dry.stdout
        assert written(data_dir) == before
        third = voicerag(*index)
        assert "0 new, 1 changed, 1 unchanged, 1 removed, 0 failed" in third.stdout
        assert store.count() == 2
    found = voicerag("search", "--text", "herons", "--collection", "birds")
    assert "stand still" in found.stdout
    assert "shallow" not in found.stdout


def test_a_collection_without_words_is_made_once_and_asked_by_vectors(
    voicerag: Voicerag, folder: Path
) -> None:
    index = ("index", folder, "--collection", "bare")
    assert voicerag(*index, "--no-words").returncode == 0
    listed = voicerag("list", "--collection", "bare")
    assert ", without words" in listed.stdout
    refused = voicerag(*index, "--words")
    assert refused.returncode == 1
    assert "'bare' was made without a search by words" in refused.stderr
    assert "3 unchanged" in voicerag(*index).stdout, "the choice of a collection needs no repeating"
    words = ("search", "Where do herons stand?", "--json", "--collection", "bare")
    for strategy in ("asr", "hybrid", "adaptive"):
        hits = json.loads(voicerag(*words, "--strategy", strategy).stdout)["hits"]
        assert "heron" in hits[0]["text"]
        assert {tuple(hit["matched_by"]) for hit in hits} == {("vector",)}


def written(data_dir: Path) -> list[tuple[object, ...]]:
    """Return the place and writer of every row; a row that is written again changes both."""
    import psycopg

    tables = ("documents", "passages", "vectors", "collections")
    with (
        EmbeddedPostgres(data_dir / "postgres") as server,
        psycopg.connect(server.dsn) as connection,
    ):
        return [
            row
            for table in tables
            for row in connection.execute(
                f"SELECT '{table}', ctid::text, xmin::text FROM voicerag.{table} ORDER BY ctid"
            ).fetchall()
        ]


def test_broken_files_are_named_and_the_others_are_indexed(
    voicerag: Voicerag, data_dir: Path, folder: Path
) -> None:
    (folder / "heron.txt").write_bytes(bytes(range(256)))
    (folder / "scan.pdf").write_bytes(b"%PDF-1.7 and nothing more")
    locked = Path(__file__).parents[1] / "data/files/pdf_locked.pdf"
    (folder / "locked.pdf").write_bytes(locked.read_bytes())
    result = voicerag("index", folder, folder / "absent.txt", "--collection", "broken")
    assert result.returncode == 1
    assert "2 new, 0 changed, 0 unchanged, 0 removed, 4 failed" in result.stdout
    lines = result.stderr.splitlines()
    for name in ("heron.txt", "scan.pdf", "locked.pdf", "absent.txt"):
        assert len([line for line in lines if line.startswith("skipped") and name in line]) == 1
    assert "password" in result.stderr
    with opened(data_dir, "broken") as store:
        assert store.count() == 2


def test_vectors_of_sentences_can_be_left_out(
    voicerag: Voicerag, data_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "heron.txt"
    file.write_text("Grey herons fish in shallow water. Tawny owls hunt at night.")
    index = ("index", file, "--collection", "sentences")
    counts = []
    for option in ("--no-sentences", "--sentences"):
        told = voicerag(*index, option)
        assert told.returncode == 0, told.stderr
        counts.append(sum(row[0] == "vectors" for row in written(data_dir)))
        assert "0 new, 0 changed, 1 unchanged" in voicerag(*index, option).stdout
    assert counts[1] - counts[0] == 2
    with opened(data_dir, "sentences") as store:
        assert store.count() == 1


def test_chunking_and_the_column_of_the_text_can_be_chosen(
    voicerag: Voicerag, data_dir: Path, tmp_path: Path
) -> None:
    table = tmp_path / "faq.csv"
    table.write_text("question,answer\nWhy?,Because it is so. And it stays so.\n")
    refused = voicerag("index", table, "--collection", "faq", "--text-column", "words")
    assert refused.returncode == 1
    assert "--text-column" in refused.stderr
    assert voicerag("index", table, "--collection", "faq").returncode == 0
    with opened(data_dir, "faq") as store:
        assert store.count() == 1
    column = ("--text-column", "answer", "--chunk-size", "20")
    assert voicerag("index", table, "--collection", "faq", *column).returncode == 0
    with opened(data_dir, "faq") as store:
        assert store.count() == 3


@pytest.fixture
def many_files(tmp_path: Path) -> Path:
    docs = tmp_path / "many"
    docs.mkdir()
    for number in range(MANY):
        text = f"Ship {number} sails to port {number % 7}. It carries {number * 3} tons of grain."
        (docs / f"{number:04}.txt").write_text(text)
    return docs


@pytest.mark.parametrize(
    "how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["SIGINT", "SIGTERM", "SIGKILL"]
)
def test_stopped_in_the_middle_nothing_is_lost_or_doubled(
    voicerag: Voicerag, spawn: Spawn, data_dir: Path, many_files: Path, how: signal.Signals
) -> None:
    collection = f"stopped-{how.name}"
    with opened(data_dir, collection) as store:
        process = spawn("index", many_files, "--collection", collection)
        while not store.document_digests():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(how)
        _, said = process.communicate(timeout=PATIENCE)
        done = store.document_digests()
        assert 0 < len(done) < MANY
        assert store.count() == len(done)
        if how is not signal.SIGKILL:
            assert process.returncode == 128 + how
            word = "interrupted" if how is signal.SIGINT else "terminated"
            assert said.endswith(f"the next run does the rest\n{word}\n")
            counts = {len(done)}
            if how is signal.SIGTERM:  # it may come when a file is written and not counted yet
                counts.add(len(done) - 1)
            assert any(f"kept: {count} of {MANY}" in said for count in counts)
        if how is signal.SIGINT:
            assert "finishing what is in work; interrupt again to end at once" in said
        result = voicerag("index", many_files, "--collection", collection)
        assert result.returncode == 0, result.stderr
        assert f"{MANY - len(done)} new, 0 changed, {len(done)} unchanged" in result.stdout
        assert store.count() == MANY
        assert len(store.document_digests()) == MANY
        best = store.search(None, text="Ship 149", limit=MANY)
        assert len({hit.passage.id for hit in best}) == len(best)


@pytest.mark.slow
def test_killed_again_and_again_nothing_is_lost_or_doubled(
    voicerag: Voicerag, spawn: Spawn, data_dir: Path, many_files: Path
) -> None:
    with opened(data_dir, "killed") as store:
        for attempt in range(12):
            process = spawn("index", many_files, "--collection", "killed")
            time.sleep(0.5 + 0.4 * attempt)
            process.kill()
            process.communicate()
            assert store.count() == len(store.document_digests())
        assert voicerag("index", many_files, "--collection", "killed").returncode == 0
        assert store.count() == MANY


@pytest.mark.slow
def test_a_folder_that_moves_away_while_it_is_indexed(
    voicerag: Voicerag, spawn: Spawn, data_dir: Path, many_files: Path
) -> None:
    with opened(data_dir, "moving") as store:
        process = spawn("index", many_files, "--collection", "moving")
        while not store.document_digests():
            time.sleep(0.02)
        shutil.move(many_files, many_files.with_name("elsewhere"))
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert "Traceback" not in said
        assert store.count() == len(store.document_digests())


def test_what_is_not_read_is_named(voicerag: Voicerag, tmp_path: Path) -> None:
    files = Path(__file__).parents[1] / "data/files"
    (tmp_path / "part.pdf").write_bytes((files / "pdf_part_scanned.pdf").read_bytes())
    (tmp_path / "latin.txt").write_bytes("Das Büro in Köln öffnet um neun.".encode("cp1252"))
    for name in ("old.doc", "pack.zip", "more.zip"):
        (tmp_path / name).write_bytes(b"x")
    told = voicerag("index", tmp_path, "--collection", "named")
    assert told.returncode == 0
    assert "(3 of other kinds passed over)" in told.stdout
    lines = told.stderr.splitlines()
    assert [line for line in lines if "part.pdf: page 2 has no text" in line]
    assert [line for line in lines if "latin.txt: not UTF-8; read as windows-1252" in line]
    assert "passed over: 2 .zip: more.zip, pack.zip" in lines
    assert "passed over: 1 .doc: old.doc (save as .docx to have them read)" in lines
    again = voicerag("index", tmp_path, "--collection", "named", "--encoding", "cp1252")
    assert "latin.txt" not in again.stderr
    assert "1 changed" in again.stdout

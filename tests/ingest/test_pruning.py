"""A folder that is emptied, not mounted or half restored never removes its documents in silence."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.serving.fakes import fake_serving
from voicerag_core import DocumentError, VoiceRAG, index_files
from voicerag_core.serving import Caller, Job, Limits
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore


def rag_of() -> VoiceRAG:
    return VoiceRAG(FakeEmbedder(64), InMemoryStore(64), FakeVoiceModel())


def filled(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}.txt").write_text(f"The number {number} stands here.")
    return folder


def stored(rag: VoiceRAG) -> int:
    return len(rag.document_store.document_digests())


@pytest.mark.parametrize(
    ("indexed", "deleted", "removed"),
    [(1, 1, 0), (2, 1, 1), (2, 2, 0), (3, 1, 1), (3, 2, 0), (4, 2, 2), (4, 3, 0), (10, 5, 5),
     (10, 6, 0), (10, 10, 0)],
)  # fmt: skip
def test_more_than_half_of_a_folder_is_removed_on_request_alone(
    tmp_path: Path, indexed: int, deleted: int, removed: int
) -> None:
    rag, folder = rag_of(), filled(tmp_path / "docs", indexed)
    index_files(rag, [folder])
    for number in range(deleted):
        (folder / f"{number}.txt").unlink()
    for dry_run in (True, False):
        report = index_files(rag, [folder], dry_run=dry_run)
        assert report.removed == removed
        assert bool(report.failures) == (removed == 0)
    assert stored(rag) == indexed - removed
    if removed == 0:
        (failure,) = report.failures
        assert isinstance(failure, DocumentError)
        assert f"{deleted} of the {indexed} indexed documents of {folder}" in str(failure)
        assert "--prune-all" in str(failure)
        assert index_files(rag, [folder], prune=False).failures == ()
        assert index_files(rag, [folder], prune_all=True).removed == deleted
        assert stored(rag) == indexed - deleted


def test_what_is_new_is_written_all_the_same(tmp_path: Path) -> None:
    rag, folder = rag_of(), filled(tmp_path / "docs", 4)
    index_files(rag, [folder])
    shutil.rmtree(folder)
    filled(folder, 1)
    (folder / "other.txt").write_text("Something else.")
    report = index_files(rag, [folder])
    assert (report.new, report.removed, len(report.failures)) == (1, 0, 1)
    assert stored(rag) == 5


def test_a_small_folder_that_is_not_bare_is_believed(tmp_path: Path) -> None:
    rag, folder = rag_of(), filled(tmp_path / "docs", 1)
    index_files(rag, [folder])
    (folder / "0.txt").rename(folder / "renamed.txt")
    report = index_files(rag, [folder])
    assert (report.new, report.removed, report.failures) == (1, 1, ())


def test_each_folder_is_judged_by_itself(tmp_path: Path) -> None:
    rag = rag_of()
    whole, empty = filled(tmp_path / "whole", 6), filled(tmp_path / "empty", 3)
    nested = filled(whole / "nested", 3)
    index_files(rag, [whole, empty])
    (whole / "1.txt").unlink()
    shutil.rmtree(empty)
    empty.mkdir()
    report = index_files(rag, [whole, empty])
    assert (report.removed, len(report.failures)) == (1, 1)
    shutil.rmtree(nested)
    nested.mkdir()
    report = index_files(rag, [whole, nested])
    assert (report.removed, len(report.failures)) == (0, 1), "the narrower folder is held back"
    assert index_files(rag, [whole]).removed == 3, "three of the eight documents of the wider one"


def test_other_sources_do_not_count(tmp_path: Path) -> None:
    rag, folder = rag_of(), filled(tmp_path / "docs", 3)
    filled(tmp_path / "docs-more", 20)
    index_files(rag, [folder, tmp_path / "docs-more"])
    for path in folder.iterdir():
        path.unlink()
    assert index_files(rag, [folder]).removed == 0


def test_a_server_holds_them_back_too(tmp_path: Path) -> None:
    folder, caller = filled(tmp_path / "docs", 3), Caller("default", may_write=True)
    with fake_serving(limits=Limits(allowed_paths=(tmp_path,))) as serving:
        take = serving.ingesting.take_paths
        take(Job(), caller, ["docs"])
        for path in folder.iterdir():
            path.unlink()
        taken = take(Job(), caller, ["docs"])
        assert taken.removed == 0
        assert "3 of the 3 indexed documents" in taken.failures[0]
        assert take(Job(), caller, ["docs"], prune_all=True).removed == 3


def test_the_command_line_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from voicerag_core.cli.app import app

    rag = rag_of()

    monkeypatch.setattr("voicerag_core.stack.open_voicerag", lambda _: nullcontext(rag))
    folder = filled(tmp_path / "docs", 3)
    run = CliRunner().invoke
    assert run(app, ["index", str(folder)]).exit_code == 0
    for path in folder.iterdir():
        path.unlink()
    kept = run(app, ["index", str(folder)])
    assert kept.exit_code == 1
    assert "3 of the 3 indexed documents" in kept.output
    assert stored(rag) == 3
    done = run(app, ["index", str(folder), "--prune-all"])
    assert (done.exit_code, stored(rag)) == (0, 0)

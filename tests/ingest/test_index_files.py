"""Files and folders are kept in step with the store, on fakes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from voicerag_core import ConfigError, DocumentError, FileProgress, VoiceRAG, index_files
from voicerag_core.ingest.embed import GROUP
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore
from voicerag_core.types import Embeddings

DIM = 64


class CountingEmbedder(FakeEmbedder):
    """Notes how many texts came with each call."""

    def __init__(self) -> None:
        super().__init__(DIM)
        self.calls: list[int] = []

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        self.calls.append(len(texts))
        return super().embed_passages(texts)


@pytest.fixture
def embedder() -> CountingEmbedder:
    return CountingEmbedder()


@pytest.fixture
def rag(embedder: CountingEmbedder) -> VoiceRAG:
    return VoiceRAG(embedder, InMemoryStore(DIM), FakeVoiceModel(), sentence_vectors=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.txt").write_text("Herons fish. They stand still.")
    (tmp_path / "docs/b.md").write_text("# Owls\n\nOwls hunt at night.")
    return tmp_path / "docs"


def texts(rag: VoiceRAG) -> list[str]:
    vector = np.full(DIM, DIM**-0.5, np.float32)
    return sorted(hit.passage.text for hit in rag.store.search(vector, limit=1000))


def test_new_files_are_indexed_and_the_next_run_does_nothing(
    rag: VoiceRAG, embedder: CountingEmbedder, folder: Path
) -> None:
    first = index_files(rag, [folder])
    assert (first.new, first.changed, first.unchanged, first.passages) == (2, 0, 0, 2)
    assert texts(rag) == ["Herons fish. They stand still.", "Owls\n\nOwls hunt at night."]
    calls = list(embedder.calls)
    second = index_files(rag, [folder])
    assert (second.new, second.unchanged, second.passages, second.vectors) == (0, 2, 0, 0)
    assert embedder.calls == calls


def test_small_files_share_batches_and_keep_their_own_vectors(
    rag: VoiceRAG, embedder: CountingEmbedder, tmp_path: Path
) -> None:
    for number in range(GROUP + 2):
        (tmp_path / f"{number:03}.txt").write_text(f"Item {number}. It is number{number} here.")
    report = index_files(rag, [tmp_path])
    assert len(embedder.calls) == 2
    assert report.passages == GROUP + 2
    for number in (0, 1, GROUP - 1, GROUP, GROUP + 1):
        best = rag.retrieve(f"It is number{number} here.", limit=1).hits[0]
        assert best.passage.text.startswith(f"Item {number}.")
        assert best.score == pytest.approx(1, abs=1e-5)


def test_a_file_of_many_passages_is_embedded_in_parts_and_written_once(
    rag: VoiceRAG, embedder: CountingEmbedder, tmp_path: Path
) -> None:
    path = tmp_path / "long.txt"
    path.write_text("\n\n".join(f"Fact{n} stands here." for n in range(2 * GROUP + 5)))
    seen: list[FileProgress] = []
    index_files(rag, [path], chunk_size=20, on_progress=seen.append)
    assert len(embedder.calls) == 3
    assert rag.store.count() == 2 * GROUP + 5
    best = rag.retrieve(f"Fact{GROUP + 1} stands here.", limit=1).hits[0]
    assert best.passage.text == f"Fact{GROUP + 1} stands here."
    shares = [one.bytes / one.bytes_total for one in seen if one.step == "update"]
    assert shares == sorted(shares)
    assert any(0 < share < 0.5 for share in shares)
    assert shares[-1] == 1
    assert [one.files for one in seen if one.step == "update"][-1] == 1


def test_a_changed_file_is_replaced_and_the_others_cost_nothing(
    rag: VoiceRAG, embedder: CountingEmbedder, folder: Path
) -> None:
    index_files(rag, [folder])
    (folder / "a.txt").write_text("Storks migrate.")
    embedder.calls.clear()
    report = index_files(rag, [folder])
    assert (report.new, report.changed, report.unchanged) == (0, 1, 1)
    assert embedder.calls == [1]
    assert texts(rag) == ["Owls\n\nOwls hunt at night.", "Storks migrate."]


def test_another_way_of_cutting_changes_every_file(rag: VoiceRAG, folder: Path) -> None:
    index_files(rag, [folder])
    report = index_files(rag, [folder], chunk_size=15)
    assert report.changed == 2
    assert "Herons fish." in texts(rag)


def test_only_what_vanished_from_the_given_folders_is_removed(
    rag: VoiceRAG, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "docs-more"
    other.mkdir()
    (other / "c.txt").write_text("Cranes dance.")
    index_files(rag, [folder, other])
    (folder / "a.txt").unlink()
    (other / "c.txt").unlink()
    kept = index_files(rag, [folder], prune=False)
    assert kept.removed == 0
    report = index_files(rag, [folder])
    assert report.removed == 1
    assert texts(rag) == ["Cranes dance.", "Owls\n\nOwls hunt at night."]


def test_a_missing_path_removes_nothing(rag: VoiceRAG, folder: Path, tmp_path: Path) -> None:
    index_files(rag, [folder])
    folder.rename(tmp_path / "moved")
    report = index_files(rag, [folder])
    assert len(report.failures) == 1
    assert report.removed == 0
    assert rag.store.count() == 2


def test_a_broken_file_is_reported_and_what_was_known_of_it_stays(
    rag: VoiceRAG, folder: Path
) -> None:
    index_files(rag, [folder])
    (folder / "a.txt").write_bytes(bytes(range(256)))
    (folder / "c.txt").write_text("Terns dive.")
    report = index_files(rag, [folder])
    assert [type(failure) for failure in report.failures] == [DocumentError]
    assert "a.txt" in str(report.failures[0])
    assert (report.new, report.unchanged) == (1, 1)
    assert "Herons fish. They stand still." in texts(rag)
    assert "Terns dive." in texts(rag)


def test_a_file_that_became_empty_has_no_passages_and_counts_as_known(
    rag: VoiceRAG, folder: Path
) -> None:
    index_files(rag, [folder])
    (folder / "a.txt").write_text("")
    assert index_files(rag, [folder]).changed == 1
    assert rag.store.count() == 1
    assert index_files(rag, [folder]).unchanged == 2


def test_a_dry_run_writes_nothing(rag: VoiceRAG, embedder: CountingEmbedder, folder: Path) -> None:
    index_files(rag, [folder / "a.txt"])
    (folder / "a.txt").unlink()
    embedder.calls.clear()
    report = index_files(rag, [folder], dry_run=True)
    assert (report.new, report.removed, report.passages) == (1, 1, 1)
    assert embedder.calls == []
    assert texts(rag) == ["Herons fish. They stand still."]


def test_an_exception_from_progress_stops_between_files_and_the_next_run_goes_on(
    rag: VoiceRAG, tmp_path: Path
) -> None:
    for number in range(3 * GROUP):
        (tmp_path / f"{number:03}.txt").write_text(f"Item {number} here.")

    def stop(progress: FileProgress) -> None:
        if progress.step == "update" and progress.files == GROUP + 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_files(rag, [tmp_path], on_progress=stop)
    assert rag.store.count() == GROUP + 3
    report = index_files(rag, [tmp_path])
    assert (report.unchanged, report.new) == (GROUP + 3, 2 * GROUP - 3)
    assert rag.store.count() == 3 * GROUP


def test_an_impossible_size_is_refused(rag: VoiceRAG, folder: Path) -> None:
    with pytest.raises(ConfigError, match="overlap"):
        index_files(rag, [folder], chunk_size=10, chunk_overlap=10)


def test_a_file_that_the_check_refuses_is_reported_and_never_opened(
    rag: VoiceRAG, folder: Path
) -> None:
    def check(path: Path) -> None:
        if path.name == "a.txt":
            raise DocumentError(f"{path} is not for you")

    (folder / "a.txt").chmod(0)
    report = index_files(rag, [folder], check=check)
    assert [str(failure) for failure in report.failures] == [f"{folder / 'a.txt'} is not for you"]
    assert texts(rag) == ["Owls\n\nOwls hunt at night."]


def test_a_file_that_came_back_during_the_run_is_not_removed(rag: VoiceRAG, folder: Path) -> None:
    index_files(rag, [folder])
    gone = folder / "a.txt"
    gone.rename(folder / "a.bak")
    (folder / "c.txt").write_text("Terns dive.")

    def bring_back(progress: FileProgress) -> None:
        if progress.step == "update" and not gone.exists():
            (folder / "a.bak").rename(gone)

    assert index_files(rag, [folder], on_progress=bring_back).removed == 0
    assert rag.store.count() == 3


def test_files_that_earlier_readers_read_are_read_anew_and_the_report_says_so(
    rag: VoiceRAG, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = index_files(rag, [folder])
    assert first.notices == ()
    monkeypatch.setattr("voicerag_core.documents.reading.READER_VERSION", 99)
    (folder / "c.txt").write_text("Terns dive.")
    report = index_files(rag, [folder])
    assert (report.new, report.changed) == (1, 2)
    assert report.notices == (
        "2 files are read anew: this version reads such files in another way",
    )
    (folder / "a.txt").write_text("Herons sleep.")
    assert index_files(rag, [folder]).notices == ()

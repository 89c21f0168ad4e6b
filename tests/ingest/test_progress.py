"""What a run says about itself while it runs and before it begins, on fakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import pytest

from voicerag_core import FileProgress, VoiceRAG, index_files
from voicerag_core.documents import find_files
from voicerag_core.ingest import Cutting, Estimate, plan_files
from voicerag_core.ingest import estimate as estimating
from voicerag_core.ingest.embed import GROUP, BatchEmbedding
from voicerag_core.ingest.estimate import SAMPLED_PASSAGES, Sample, estimated
from voicerag_core.ingest.read import read_source
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore
from voicerag_core.types import Embeddings

DIM = 16
SECONDS_EACH = 0.5


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowEmbedder(FakeEmbedder):
    """Takes the same time for each text, by a clock of its own, and long to load."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(DIM)
        self.clock = clock
        self.loaded = 0
        self.embedded = 0

    def warm(self) -> None:
        self.loaded += 1
        self.clock.now += 60.0

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        self.clock.now += SECONDS_EACH * len(texts)
        self.embedded += len(texts)
        return super().embed_passages(texts)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def embedder(clock: Clock) -> SlowEmbedder:
    return SlowEmbedder(clock)


@pytest.fixture
def rag(embedder: SlowEmbedder) -> VoiceRAG:
    return VoiceRAG(embedder, InMemoryStore(DIM), FakeVoiceModel())


def folder_of(path: Path, **files: int) -> Path:
    """Make files of so many passages of 20 characters."""
    for name, passages in files.items():
        file = path / name.replace("_", ".")
        file.write_text("\n\n".join(f"Fact {n:03} stands here." for n in range(passages)))
    return path


def test_each_activity_is_announced_before_it_begins(rag: VoiceRAG, tmp_path: Path) -> None:
    seen: list[FileProgress] = []
    index_files(rag, [folder_of(tmp_path, a_txt=3)], on_progress=seen.append)
    doing = [name for name, _ in groupby(one.doing for one in seen)]
    written = ["opening", "comparing", "reading", "loading", "embedding", "writing"]
    assert doing == [*written, "preparing"]
    seen.clear()
    index_files(rag, [tmp_path], on_progress=seen.append)
    assert {one.doing for one in seen} == {"opening", "comparing", "preparing"}


def test_the_passages_of_files_that_are_not_read_yet_are_estimated_by_kind(
    rag: VoiceRAG, tmp_path: Path
) -> None:
    folder_of(tmp_path, b_txt=GROUP, c_txt=GROUP)
    for name in ("a.html", "d.html"):
        comment = "x" * 20_000
        (tmp_path / name).write_text(f"<!-- {comment} --><p>The office opens at nine.</p>")
    seen: list[FileProgress] = []
    index_files(rag, [tmp_path], chunk_size=25, on_progress=seen.append)
    updates = [one for one in seen if one.step == "update"]
    assert updates[0].passages_total == 0
    first_written = next(one for one in updates if one.passages)
    assert first_written.passages <= GROUP
    assert first_written.passages_total == updates[-1].passages_total == 2 * GROUP + 2


def test_a_sample_counts_neither_loading_nor_more_than_some_passages(
    embedder: SlowEmbedder, clock: Clock, tmp_path: Path
) -> None:
    sample = Sample(clock)
    plan = plan_files(find_files([folder_of(tmp_path, a_txt=200)]), {}, cutting := Cutting(size=25))
    sample.add(read_source(plan.differing[0], cutting))
    assert sample.seconds_each(BatchEmbedding(embedder)) == pytest.approx(SECONDS_EACH)
    assert embedder.embedded == SAMPLED_PASSAGES
    assert Sample(clock).seconds_each(BatchEmbedding(embedder)) == 0


def test_an_estimate_is_near_the_work_and_reads_a_small_part_of_it(
    embedder: SlowEmbedder, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimating, "SAMPLED_BYTES", 500)
    folder_of(tmp_path, a_txt=1000, b_txt=10, c_txt=20, d_md=400)
    (tmp_path / "e.txt").write_bytes(bytes(range(256)) * 20)
    plan = plan_files(find_files([tmp_path]), {}, cutting := Cutting(size=25))
    read: list[str] = []

    def noting(real: Callable[..., object]) -> Callable[..., object]:
        def call(source: object, *rest: object) -> object:
            read.append(Path(str(source.source)).name)  # type: ignore[attr-defined]
            return real(source, *rest)

        return call

    for name in ("read_source", "read_beginning"):
        monkeypatch.setattr(estimating, name, noting(getattr(estimating, name)))
    found = estimated(plan, cutting, BatchEmbedding(embedder), clock=clock)
    assert found.files == 5
    assert found.passages == pytest.approx(1430, rel=0.2)
    assert found.seconds == pytest.approx(found.passages * SECONDS_EACH, rel=0.01)
    assert "a.txt" not in read
    assert embedder.embedded <= SAMPLED_PASSAGES


def test_much_work_is_estimated_before_anything_is_embedded(
    rag: VoiceRAG, embedder: SlowEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(tmp_path, a_txt=100)
    told: list[Estimate] = []

    def refuse(estimate: Estimate) -> None:
        told.append(estimate)
        raise KeyboardInterrupt

    index_files(rag, [tmp_path / "a.txt"], chunk_size=25, dry_run=True)
    assert embedder.embedded == 0
    monkeypatch.setattr(estimating, "LARGE_BYTES", 1000)
    with pytest.raises(KeyboardInterrupt):
        index_files(rag, [tmp_path], chunk_size=25, on_estimate=refuse)
    assert rag.store.count() == 0
    assert told[0].passages == pytest.approx(100, rel=0.2)
    monkeypatch.setattr(estimating, "LARGE_BYTES", 10_000)
    index_files(rag, [tmp_path], chunk_size=25, on_estimate=refuse)
    assert rag.store.count() == 100
    (tmp_path / "b.txt").write_text("The office opens at nine.")
    with pytest.raises(KeyboardInterrupt):
        index_files(rag, [tmp_path], chunk_size=25, dry_run=True, on_estimate=refuse)
    assert (told[-1].files, told[-1].passages) == (1, 1)

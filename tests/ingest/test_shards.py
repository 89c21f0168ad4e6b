"""Shares of the files: each is taken by exactly one run, whatever was deleted or changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicerag_core import ConfigError, VoiceRAG
from voicerag_core.ingest import Shard, index_files
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore


def knowledge() -> VoiceRAG:
    embedder = FakeEmbedder()
    return VoiceRAG(embedder, InMemoryStore(embedder.dim), FakeVoiceModel())


@given(source=st.text(), of=st.integers(1, 50))
def test_every_source_is_in_one_share(source: str, of: int) -> None:
    shares = [number for number in range(1, of + 1) if Shard(number, of).has(source)]
    assert len(shares) == 1


def test_shares_are_about_equal_and_the_same_everywhere() -> None:
    sources = [f"/data/{number}.txt" for number in range(2000)]
    sizes = [sum(Shard(n, 4).has(source) for source in sources) for n in range(1, 5)]
    assert min(sizes) > 400
    assert [Shard(1, 2).has(f"/data/{letter}.txt") for letter in "abcd"] == [
        True, True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["0/2", "3/2", "1/0", "0/0", "-1/2", "1", "1/2/3", "a/b", "", "1.0/2"]
)
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ConfigError, match=r"share"):
        Shard.parsed(text)


def test_all_shares_together_are_the_plain_run(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text(f"File number {number}.")
    rag, plain = knowledge(), knowledge()
    reports = [index_files(rag, [tmp_path], shard=Shard(n, 3)) for n in (1, 2, 3)]
    index_files(plain, [tmp_path])
    assert [report.new > 0 for report in reports] == [True] * 3
    assert sum(report.new for report in reports) == 30
    assert rag.document_store.document_digests() == plain.document_store.document_digests()
    for n in (1, 2, 3):
        again = index_files(rag, [tmp_path], shard=Shard(n, 3))
        assert (again.new, again.changed, again.removed, again.passages) == (0, 0, 0, 0)


def test_what_was_deleted_is_removed_by_the_run_that_has_it(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.txt").write_text(f"File number {number}.")
    rag = knowledge()
    index_files(rag, [tmp_path])
    (tmp_path / "7.txt").unlink()
    (has,) = [n for n in (1, 2) if Shard(n, 2).has((tmp_path / "7.txt").as_posix())]
    assert index_files(rag, [tmp_path], shard=Shard(3 - has, 2)).removed == 0
    assert len(rag.document_store.document_digests()) == 20
    assert index_files(rag, [tmp_path], shard=Shard(has, 2)).removed == 1
    assert len(rag.document_store.document_digests()) == 19


def test_another_number_of_shares_only_shares_out_anew(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.txt").write_text(f"File number {number}.")
    rag = knowledge()
    for n in (1, 2, 3):
        index_files(rag, [tmp_path], shard=Shard(n, 3))
    for n in (1, 2):
        again = index_files(rag, [tmp_path], shard=Shard(n, 2))
        assert (again.new, again.changed, again.removed) == (0, 0, 0)

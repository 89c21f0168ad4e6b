"""Texts that are not files are kept in step, on fakes."""

from __future__ import annotations

import pytest

from voicerag_core import (
    ConfigError,
    Document,
    DocumentError,
    FileProgress,
    VoiceRAG,
    index_documents,
    index_files,
)
from voicerag_core.ingest import text_source
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore

DIM = 64
HERONS = Document("https://birds.example/herons", "Herons fish. They stand still.", "Herons")
OWLS = Document("owls", "Owls hunt at night.", metadata={"wing": {"cm": 140}})


@pytest.fixture
def rag() -> VoiceRAG:
    return VoiceRAG(FakeEmbedder(DIM), InMemoryStore(DIM), FakeVoiceModel())


def counts(rag: VoiceRAG, *documents: Document, **how: int) -> tuple[int, int, int, int]:
    report = index_documents(rag, iter(documents), **how)  # type: ignore[arg-type]
    assert report.failures == ()
    return report.new, report.changed, report.unchanged, report.vectors


def test_unchanged_documents_cost_nothing_and_others_are_left_alone(rag: VoiceRAG) -> None:
    assert counts(rag, HERONS, OWLS) == (2, 0, 0, 2)
    assert counts(rag, OWLS) == (0, 0, 1, 0)
    assert rag.store.count() == 2
    hit = rag.retrieve("Herons fish. They stand still.", limit=1).hits[0]
    assert (hit.passage.source, hit.passage.metadata["title"]) == (HERONS.source, "Herons")


@pytest.mark.parametrize(
    "other",
    [
        Document("owls", "Owls hunt by day.", metadata={"wing": {"cm": 140}}),
        Document("owls", OWLS.text, "Owls", OWLS.metadata),
        Document("owls", OWLS.text, metadata={"wing": {"cm": 141}}),
    ],
    ids=["text", "title", "metadata"],
)
def test_whatever_differs_in_a_document_replaces_it(rag: VoiceRAG, other: Document) -> None:
    counts(rag, OWLS)
    assert counts(rag, other) == (0, 1, 0, 1)
    assert rag.store.count() == 1
    assert rag.retrieve("owls", limit=1).hits[0].passage.text == other.text


def test_another_way_of_cutting_or_embedding_changes_a_document(rag: VoiceRAG) -> None:
    counts(rag, HERONS)
    assert counts(rag, HERONS, chunk_size=20) == (0, 1, 0, 2)
    rag.sentence_vectors = True
    assert counts(rag, HERONS) == (0, 1, 0, 3)


def test_documents_of_one_source_are_one_unit(rag: VoiceRAG) -> None:
    pages = [Document("book", f"Page {n} of it.") for n in range(3)]
    assert counts(rag, pages[0], OWLS, *pages[1:]) == (2, 0, 0, 4)
    assert rag.document_store.document_digests().keys() == {"book", "owls"}
    assert counts(rag, *pages, OWLS) == (0, 0, 2, 0)
    assert counts(rag, *pages[:2]) == (0, 1, 0, 2)
    assert rag.store.count() == 3


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (Document("x", "a\0b"), "NUL"),
        (Document("x", "a\ud800b"), "valid Unicode"),
        (Document("x", "a", metadata={"n": float("nan")}), "JSON"),
        (Document("", "a"), "no source"),
    ],
    ids=["nul", "surrogate", "metadata", "source"],
)
def test_a_document_that_cannot_be_kept_is_reported_and_the_rest_is_indexed(
    rag: VoiceRAG, bad: Document, said: str
) -> None:
    report = index_documents(rag, [bad, OWLS])
    assert [type(failure) for failure in report.failures] == [DocumentError]
    assert said in str(report.failures[0])
    assert report.new == rag.store.count() == 1


def test_a_dry_run_counts_and_writes_nothing(rag: VoiceRAG) -> None:
    report = index_documents(rag, [HERONS, OWLS], chunk_size=20, dry_run=True)
    assert (report.new, report.passages, report.vectors) == (2, 3, 0)
    assert rag.store.count() == 0


def test_progress_counts_documents_and_bytes(rag: VoiceRAG) -> None:
    seen: list[FileProgress] = []
    index_documents(rag, [HERONS, OWLS], on_progress=seen.append)
    size = len(HERONS.text) + len(OWLS.text)
    done = [(one.step, one.files, one.bytes) for one in seen]
    assert list(dict.fromkeys(done)) == [
        ("compare", 0, 0), ("compare", 1, len(HERONS.text)), ("compare", 2, size),
        ("update", 0, 0), ("update", 1, len(HERONS.text)), ("update", 2, size),
    ]  # fmt: skip
    assert seen[-1] == FileProgress("update", 2, 2, size, size, 2, 2, "preparing", 2)


def test_files_are_pruned_and_documents_are_not(rag: VoiceRAG, tmp_path: object) -> None:
    counts(rag, OWLS)
    assert index_files(rag, [str(tmp_path)]).removed == 0
    assert rag.store.count() == 1


def test_a_text_without_a_name_is_known_by_its_words() -> None:
    assert text_source("Owls.") == text_source("Owls.") != text_source("Owls")
    assert text_source("a\ud800").startswith("text:")


def test_a_store_without_documents_and_an_impossible_size_are_refused(rag: VoiceRAG) -> None:
    class Bare:
        count = InMemoryStore.count

    bare = VoiceRAG(FakeEmbedder(DIM), Bare(), FakeVoiceModel())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Bare keeps passages but no documents"):
        index_documents(bare, [OWLS])
    with pytest.raises(ConfigError, match="overlap"):
        index_documents(rag, [OWLS], chunk_size=10, chunk_overlap=10)

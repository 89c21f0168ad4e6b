"""Stages 2 to 4: plain values in and out, in this process or in another."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voicerag_core import Audio, AudioError, Document, DocumentError, VoiceRAG, VoiceRAGError
from voicerag_core.documents import find_files
from voicerag_core.ingest import (
    Batch,
    BatchEmbedding,
    CutDocument,
    Cutting,
    EmbeddedDocument,
    Source,
    Vectors,
    embed_documents,
    plan_documents,
    plan_files,
    read_source,
    read_sources,
    write_document,
)
from voicerag_core.ingest import read as read_stage
from voicerag_core.ingest.embed import GROUP, WINDOWS
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore
from voicerag_core.types import Embeddings, Passage

DIM = 32
RATE = 16_000


def whole(documents: Sequence[CutDocument]) -> list[EmbeddedDocument]:
    """Embed whole documents, as a worker of a distributed engine does."""
    embed = BatchEmbedding(FakeEmbedder(DIM), sentences=True)
    return [part.document for part in embed_documents(documents, embed) if part.document]


def cut(*documents: Document, size: int = 1200) -> list[CutDocument]:
    plan = plan_documents(documents, {}, Cutting())
    return [read_source(source, Cutting(size)) for source in plan.differing]


def test_a_file_is_read_with_the_digest_of_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("One sentence. Two of it.")
    (source,) = plan_files(find_files([path]), {}, Cutting(15)).differing
    path.write_text("Changed since. It really is.")
    document = read_source(source, Cutting(15))
    assert [passage.text for passage in document.passages] == ["Changed since.", "It really is."]
    assert plan_files(find_files([path]), {source.source: document.digest}, Cutting(15)).unchanged


def test_a_recording_that_changes_while_it_is_read_is_read_again_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(RATE, 0.1, np.float32), RATE)
    (source,) = plan_files(find_files([path], recordings=True), {}, Cutting()).differing

    def changing(read: Path) -> tuple[list[Passage], list[Audio]]:
        soundfile.write(read, np.full(RATE, 0.2, np.float32), RATE)
        return [], []

    monkeypatch.setattr(read_stage, "read_recording", changing)
    document = read_source(source, Cutting())
    known = {source.source: document.digest}
    assert plan_files(find_files([path], recordings=True), known, Cutting()).differing == (source,)


def test_what_cannot_be_read_is_passed_on_and_the_rest_is_read(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text("Words.")
    plan = plan_files(find_files([tmp_path]), {}, Cutting())
    (tmp_path / "b.txt").unlink()
    failed: list[tuple[Source, VoiceRAGError]] = []
    read = list(read_sources(plan.differing, Cutting(), lambda *one: failed.append(one)))
    assert [document.source[-5:] for document in read] == ["a.txt", "c.txt"]
    assert [(source.source[-5:], type(error)) for source, error in failed] == [
        ("b.txt", DocumentError)
    ]


def test_documents_share_batches_and_come_out_whole() -> None:
    sizes: list[int] = []
    embed = BatchEmbedding(FakeEmbedder(DIM))

    def noted(batch: Batch) -> Vectors:
        sizes.append(len(batch.passages))
        return embed(batch)

    long = Document("long", "\n\n".join(f"Fact{n} stands here." for n in range(GROUP + 3)))
    documents = cut(Document("a", "Short."), long, Document("none", ""), Document("b", "Last."),
                    size=20)  # fmt: skip
    parts = list(embed_documents(documents, noted))
    assert sizes == [GROUP, 0, 5]
    done = [part.document for part in parts if part.document]
    assert [document.source for document in done] == ["a", "none", "long", "b"]
    assert [len(document.passages) for document in done] == [1, 0, GROUP + 3, 1]
    assert done[1].embeddings.shape == (0, DIM)
    for document in done:
        expected = embed(Batch(document.passages))
        np.testing.assert_allclose(document.embeddings, expected.embeddings, atol=1e-6)
        np.testing.assert_array_equal(document.owners, expected.owners)
    assert sum(part.size for part in parts) == pytest.approx(sum(one.size for one in documents))


def test_documents_are_read_no_sooner_than_they_are_embedded() -> None:
    drawn: list[str] = []

    def endless() -> object:
        while True:
            (document,) = cut(Document(f"d{len(drawn)}", "Text."))
            drawn.append(document.source)
            yield document

    parts = embed_documents(endless(), BatchEmbedding(FakeEmbedder(DIM)))  # type: ignore[arg-type]
    next(parts)
    assert len(drawn) == GROUP


class HearsHalf(FakeEmbedder):
    """Hears nothing in clips of which the first sample is below 0."""

    def embed_speech(self, clips: Sequence[Audio]) -> Embeddings:
        if any(clip.samples[0] < 0 for clip in clips):
            raise AudioError("no speech")
        return super().embed_speech(clips)


def test_windows_in_which_nothing_is_heard_are_left_out() -> None:
    count = WINDOWS + 3
    passages = tuple(Passage(str(n), f"window {n}") for n in range(count))
    draw = np.random.default_rng(1)
    clips = tuple(
        Audio(np.append((-1.0) ** n, draw.normal(size=RATE)).astype(np.float32), RATE)
        for n in range(count)
    )
    document = CutDocument("talk", "d", passages, clips, 100)
    parts = list(embed_documents([document], BatchEmbedding(HearsHalf(DIM))))
    assert [part.passages for part in parts] == [WINDOWS, 3]
    done = parts[-1].document
    assert done is not None
    assert [passage.id for passage in done.passages] == [str(n) for n in range(0, count, 2)]
    assert list(done.owners) == list(range(len(done.passages)))
    np.testing.assert_allclose(done.embeddings, FakeEmbedder(DIM).embed_speech(clips[::2]))


def test_read_and_embed_run_in_another_process_and_the_result_is_written_here(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.txt").write_text("Herons fish. They stand still.")
    (tmp_path / "b.txt").write_text("Owls hunt at night.")
    sound = np.random.default_rng(0).normal(size=2 * RATE) * 0.1
    soundfile.write(tmp_path / "c.wav", sound, RATE, "FLOAT")
    plan = plan_files(find_files([tmp_path], recordings=True), {}, Cutting(sentences=True))
    cuttings = [Cutting(sentences=True)] * len(plan.differing)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
        documents = list(workers.map(read_source, plan.differing, cuttings))
        done = workers.submit(whole, documents).result()
    rag = VoiceRAG(FakeEmbedder(DIM), InMemoryStore(DIM), FakeVoiceModel())
    assert sum(write_document(rag.document_store, document) for document in done) == 3
    assert rag.document_store.document_digests() == {one.source: one.digest for one in documents}
    assert rag.retrieve("They stand still.", limit=1).hits[0].score == pytest.approx(1, abs=1e-5)
    assert [write_document(rag.document_store, document) for document in done] == [0, 0, 0]


def test_every_value_between_stages_pickles() -> None:
    (document,) = cut(Document("a", "One. Two.", metadata={"n": 1}))
    batch = Batch(document.passages)
    assert pickle.loads(pickle.dumps(document)) == document
    assert pickle.loads(pickle.dumps(batch)) == batch

"""Stage 1: what differs, what is unchanged, what vanished, and the digests that tell."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from voicerag_core import Document, DocumentError
from voicerag_core.documents import find_files, source_of
from voicerag_core.ingest import Cutting, FileSource, TextSource, plan_documents, plan_files
from voicerag_core.ingest.digests import documents_digest, file_digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.txt", "c.txt", "d.png"):
        (tmp_path / name).write_text(f"This is {name}.")
    return tmp_path


def test_files_are_parted_by_their_digests(folder: Path) -> None:
    cutting = Cutting()
    a, b, c = (folder / name for name in ("a.txt", "b.txt", "c.txt"))
    known = {
        source_of(a): file_digest(a, cutting),
        source_of(b): "another",
        source_of(folder / "gone.txt"): "some",
        source_of(folder.parent / "elsewhere.txt"): "some",
    }
    plan = plan_files(find_files([folder, folder / "absent"]), known, cutting)
    assert plan.unchanged == 1
    assert plan.differing == (
        FileSource(source_of(b), b, b.stat().st_size),
        FileSource(source_of(c), c, c.stat().st_size),
    )
    assert plan.known == {source_of(b)}
    assert plan.vanished == (source_of(folder / "gone.txt"),)
    assert plan.skipped == 1
    assert [type(failure) for failure in plan.failures] == [DocumentError]


def test_documents_are_grouped_and_parted_by_their_digests() -> None:
    one, two, other = Document("x", "1."), Document("x", "é."), Document("y", "3.")
    cutting = Cutting()
    known = {"y": documents_digest([other], cutting), "z": "some"}
    plan = plan_documents([one, other, two], known, cutting)
    assert plan.differing == (TextSource("x", (one, two), 5),)
    assert (plan.unchanged, plan.known, plan.vanished) == (1, set(), ())


def test_the_digest_of_a_text_file_is_that_of_this_reader(folder: Path) -> None:
    """Whoever upgrades embeds again what is read in another way, and nothing after that."""
    content = hashlib.sha256(b"8\0.txt\0\0This is a.txt.").hexdigest() + ".r8"
    expected = hashlib.sha256(f"{content} 800 40 True".encode()).hexdigest() + ".r8"
    assert file_digest(folder / "a.txt", Cutting(800, 40, sentences=True)) == expected


def test_the_digest_of_a_recording_is_that_of_earlier_versions(folder: Path) -> None:
    path = folder / "talk.wav"
    path.write_bytes(b"sound")
    content = hashlib.sha256(b"sound").hexdigest()
    expected = hashlib.sha256(f"recording 1 {content}".encode()).hexdigest()
    assert file_digest(path, Cutting()) == file_digest(path, Cutting(50)) == expected


def test_everything_that_shapes_the_vectors_is_part_of_a_digest() -> None:
    document = Document("x", "Some text.")
    ways = [Cutting(), Cutting(50), Cutting(overlap=5), Cutting(sentences=True)]
    assert len({documents_digest([document], way) for way in ways}) == len(ways)
    joined = [Document("x", "ab"), Document("x", "c")]
    apart = [Document("x", "a"), Document("x", "bc")]
    assert documents_digest(joined, Cutting()) != documents_digest(apart, Cutting())

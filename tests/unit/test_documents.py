"""Files to documents: what is found, what is read, and what is refused with a reason."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from voicerag_core import Document, DocumentError
from voicerag_core.documents import (
    FileContent,
    file_digest,
    find_files,
    read_file,
    source_of,
)

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def only(content: FileContent) -> Document:
    (document,) = content.documents
    return document


# --- finding ---------------------------------------------------------------------------------


def test_folders_are_searched_to_the_bottom_in_a_fixed_order(tmp_path: Path, write: Write) -> None:
    for name in ("b/z.TXT", "b/a.md", "a.html", "c.zip", "b/deep/er/x.csv", "b/clip.wav"):
        write(name, "x")
    for name in (".hidden.txt", ".git/x.txt", "node_modules/x.md", "b/__pycache__/x.txt",
                 "env/pyvenv.cfg", "env/lib/x.txt"):  # fmt: skip
        write(name, "x")
    found = find_files([tmp_path])
    names = [path.relative_to(tmp_path).as_posix() for path in found.files]
    assert names == ["a.html", "b/a.md", "b/z.TXT", "b/deep/er/x.csv"]
    assert {path.name for path in found.skipped} == {"c.zip", "clip.wav"}
    assert found.problems == ()
    assert find_files([tmp_path]) == found


def test_what_is_passed_over_is_counted_by_kind(tmp_path: Path, write: Write) -> None:
    for name in ("a.zip", "b/c.doc", "d.DOC", "Makefile", "e.txt", "in/f.txt"):
        write(name, "x")
    (tmp_path / "loop").symlink_to(tmp_path / "in")
    assert find_files([tmp_path]).passed_over == {
        ".doc": ("d.DOC", "c.doc"), "": ("Makefile",), ".zip": ("a.zip",),
    }  # fmt: skip


def test_a_file_named_twice_is_found_once(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("a/b.txt", "x")
    monkeypatch.chdir(tmp_path)
    found = find_files(["a", "a/b.txt", "./a/../a/b.txt", path])
    assert found.files == (path,)
    assert source_of("a/b.txt") == path.as_posix()


def test_what_is_named_itself_is_a_problem_when_it_cannot_be_read(
    tmp_path: Path, write: Write
) -> None:
    good = write(".notes.txt", "x")
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    found = find_files(
        [good, write("a.zip", "x"), write("clip.flac", "x"), tmp_path / "no.txt", pipe, "a\0b.txt"]
    )
    assert found.files == (good,)
    for problem, words in zip(
        found.problems,
        ("kind that cannot be read", "is audio", "No such file", "neither a file", "null"),
        strict=True,
    ):
        assert words in str(problem)


def test_links_cannot_make_a_loop_and_pipes_are_not_opened(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = write("in/a.txt", "x")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "link.txt").symlink_to(target)
    os.mkfifo(tmp_path / "in" / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path / "in")  # a socket's path is short
        listener.bind("s.txt")
        found = find_files([tmp_path])
    assert [path.name for path in found.files] == ["a.txt", "link.txt"]
    assert {path.name for path in found.skipped} == {"loop", "pipe.txt", "s.txt"}


def test_a_folder_that_is_a_link_is_searched_when_named(tmp_path: Path, write: Write) -> None:
    write("real/a.txt", "x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert find_files([tmp_path / "link"]).files == (tmp_path / "link" / "a.txt",)


def test_a_link_to_nothing_is_found_and_refused_when_read(tmp_path: Path) -> None:
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "nothing")
    (path,) = find_files([tmp_path]).files
    with pytest.raises(DocumentError, match="No such file"):
        read_file(path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_text_is_a_problem(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    (tmp_path / name).write_text("x")
    found = find_files([tmp_path, tmp_path / name])
    assert found.files == ()
    assert [r"caf\xe9.txt is not UTF-8" in str(problem) for problem in found.problems] == [True] * 2
    with pytest.raises(DocumentError, match="not UTF-8"):
        read_file(tmp_path / name)


def test_only_files_gone_from_a_searched_folder_have_vanished(tmp_path: Path, write: Write) -> None:
    kept, gone = write("docs/kept.txt", "x"), write("docs/sub/gone.txt", "x")
    other, missing = write("docs2/other.txt", "x"), tmp_path / "unmounted" / "a.txt"
    sources = [source_of(path) for path in (kept, gone, other, missing)]
    for path in (gone, other):
        path.unlink()
    gone.parent.rmdir()
    found = find_files([tmp_path / "docs", missing.parent])
    assert found.vanished(sources) == [source_of(gone)]
    assert len(found.problems) == 1


@pytest.fixture
def locked_file() -> Iterator[Path]:
    """Yield a file in a folder that this process, made an ordinary user, may not list."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "docs", "locked", "a.txt")
        path.parent.mkdir(parents=True)
        for file in (path, path.parent.parent / "b.txt"):
            file.write_text("x")
        path.parent.chmod(0)
        Path(name).chmod(0o755)
        if root:
            os.seteuid(65534)
        try:
            yield path
        finally:
            if root:
                os.seteuid(0)
            path.parent.chmod(0o700)


def test_a_folder_that_cannot_be_listed_is_a_problem_and_its_files_have_not_vanished(
    locked_file: Path,
) -> None:
    docs = locked_file.parent.parent
    found = find_files([docs])
    assert found.files == (docs / "b.txt",)
    assert found.vanished([source_of(locked_file)]) == []
    (problem,) = found.problems
    assert str(problem) == f"the folder {locked_file.parent} cannot be listed: Permission denied"
    with pytest.raises(DocumentError, match=r"a\.txt cannot be read: Permission denied"):
        read_file(locked_file)


# --- the file as a unit ----------------------------------------------------------------------


def test_the_digest_follows_the_bytes_and_how_they_are_read(write: Write) -> None:
    path = write("a.csv", "text,body\nx,y\n")
    content = read_file(path)
    assert content.digest == file_digest(path)
    as_body = read_file(path, text_column="body")
    assert as_body.digest == file_digest(path, text_column="body") != content.digest
    in_latin = read_file(path, encoding="latin1")
    assert in_latin.digest == file_digest(path, encoding="ISO-8859-1") != content.digest
    assert file_digest(write("a.txt", "text,body\nx,y\n")) != content.digest
    write("a.csv", "text,body\nx,z\n")
    assert file_digest(path) != content.digest


def test_a_file_above_the_limit_is_refused(write: Write) -> None:
    path = write("a.txt", "x" * 100)
    assert only(read_file(path, max_bytes=100)).text == "x" * 100
    for read in (read_file, file_digest):
        with pytest.raises(DocumentError, match="larger than 99 bytes"):
            read(path, max_bytes=99)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    for name, words in (
        ("folder.txt", "is a folder"),
        ("pipe.txt", "not a regular file"),
        ("none.txt", "No such file"),
        ("none.zip", "readable are"),
        ("none.doc", "save it as docx.*soffice --headless --convert-to docx"),
        ("none.XLS", "save it as xlsx"),
        ("none.ppt", "save it as pptx"),
        ("none", "no ending"),
        ("none.mp3", "is audio"),
    ):
        with pytest.raises(DocumentError, match=words):
            read_file(tmp_path / name)


@pytest.mark.parametrize(
    "suffix",
    [".txt", ".md", ".rst", ".html", ".htm", ".jsonl", ".csv", ".tsv", ".ipynb", ".srt", ".vtt"],
)
def test_an_empty_file_has_no_documents(write: Write, suffix: str) -> None:
    assert read_file(write(f"a{suffix}", "")).documents == ()
    assert read_file(write(f"a{suffix}", " \n\n")).documents == ()

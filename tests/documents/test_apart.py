"""The process that parses strangers' files: its bounds, its end, and its renewal."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents.making import only, pdf
from voicerag_core import DocumentError, MissingExtraError
from voicerag_core.documents import apart, formats, read_file
from voicerag_core.documents.child import _LARGE_BYTES
from voicerag_core.documents.packages import unpacked_bytes

PAGE = "<h1>Head</h1><p>Words.</p>"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "a.html"
    path.write_text(PAGE)
    return path


@pytest.fixture
def _own_process() -> Iterator[None]:
    """Give a test a process that no other test goes on with."""
    apart.PROCESS.end()
    yield
    apart.PROCESS.end()


def running() -> int | None:
    child = apart.PROCESS.child
    return None if child is None or child.poll() is not None else child.pid


@pytest.mark.usefixtures("_own_process")
def test_one_process_reads_many_files_and_none_reads_plain_ones(page: Path) -> None:
    for name, text in (("a.txt", "x"), ("a.md", "x"), ("a.rst", "x"), ("a.csv", "a,b\n1,2\n3,4\n")):
        path = page.with_name(name)
        path.write_text(text)
        read_file(path)
    assert running() is None
    assert only(read_file(page)).text == "Head\n\nWords."
    first = running()
    assert first is not None
    other = page.with_name("a.pdf")
    other.write_bytes(pdf("More words."))
    assert only(read_file(other)).text == "More words."
    assert running() == first


def test_a_large_program_keeps_its_small_process(page: Path) -> None:
    program = (
        "import sys\n"
        "from voicerag_core.documents import apart, read_file\n"
        f"large = bytearray({_LARGE_BYTES + (64 << 20)})\n"
        "large[::4096] = bytes(1) * len(large[::4096])\n"
        "pids = set()\n"
        "for _ in range(3):\n"
        "    read_file(sys.argv[1])\n"
        "    pids.add(apart.PROCESS.child.pid)\n"
        "print(len(pids))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(page)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


def test_what_comes_from_the_process_equals_what_is_read_here(page: Path) -> None:
    there = apart.parse_apart(PAGE.encode(), str(page), ".html")
    assert there == formats.parse(PAGE.encode(), str(page), ".html")
    assert there.documents[0].blocks[1].path == ("Head",)


@pytest.mark.usefixtures("_own_process")
def test_a_crash_costs_that_file_alone(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_file(page)
    first = running()
    assert first is not None
    os.kill(first, signal.SIGSTOP)  # so that it has not replied when it is asked to crash
    answer = apart.receive

    def crash(stream: object) -> bytes | None:
        os.kill(first, signal.SIGSEGV)
        os.kill(first, signal.SIGCONT)
        return answer(stream)  # type: ignore[arg-type]

    monkeypatch.setattr(apart, "receive", crash)
    with pytest.raises(DocumentError, match=r"a\.html made its parser stop \(signal 11\)"):
        read_file(page)
    monkeypatch.undo()
    assert only(read_file(page)).text == "Head\n\nWords."
    assert running() not in (None, first)


@pytest.mark.usefixtures("_own_process")
def test_a_process_that_had_ended_is_replaced_without_a_word(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_file(page)
    child = apart.PROCESS.child
    assert child is not None
    assert child.stdin is not None
    child.stdin.close()  # what it takes for the end of its work
    child.wait()
    monkeypatch.setattr(child, "poll", lambda: None)  # it ended right after we looked
    assert only(read_file(page)).text == "Head\n\nWords."
    assert running() not in (None, child.pid)


@pytest.mark.usefixtures("_own_process")
def test_a_file_that_takes_too_long_is_given_up(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_file(page)
    first = running()
    assert first is not None
    os.kill(first, signal.SIGSTOP)  # it hangs
    monkeypatch.setattr(apart, "SECONDS", 0.3)
    with pytest.raises(DocumentError, match=r"a\.html took longer than 0 s to read"):
        read_file(page)
    monkeypatch.undo()
    assert only(read_file(page)).text == "Head\n\nWords."
    assert running() not in (None, first)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux")
@pytest.mark.usefixtures("_own_process")
def test_a_file_that_takes_too_much_memory_is_given_up(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = b"<p>" + b"word <b>word</b> " * 2_000_000
    monkeypatch.setattr(apart, "MEMORY_BYTES", 400 << 20)
    with pytest.raises(DocumentError, match=r"b\.html made its parser stop.*400 MiB"):
        apart.parse_apart(large, str(page.with_name("b.html")), ".html")
    monkeypatch.undo()
    assert only(read_file(page)).text == "Head\n\nWords."


def test_threads_share_the_process(page: Path) -> None:
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(only(read_file(page)).text)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["Head\n\nWords."] * 8


PROGRAM = """
import os, sys
from voicerag_core.documents import read_file
print(read_file(sys.argv[1]).documents[0].text.split())
child = os.fork()
if child == 0:
    print(read_file(sys.argv[1]).documents[0].text.split(), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(read_file(sys.argv[1]).documents[0].text.split())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_program_without_a_guard_and_one_that_forks_can_read(page: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-", str(page)], input=PROGRAM, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert run.stdout.splitlines() == ["['Head', 'Words.']"] * 3, run.stderr


def test_the_process_ends_with_the_one_that_started_it(page: Path) -> None:
    program = (
        "import os, sys\nfrom voicerag_core.documents "
        "import apart, read_file\nread_file(sys.argv[1])\n"
        "print(apart.PROCESS.child.pid, flush=True)\nos._exit(1)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(page)], capture_output=True, text=True, check=False
    )
    child = int(run.stdout)
    for _ in range(100):
        if not Path(f"/proc/{child}").exists():
            return
        threading.Event().wait(0.1)
    pytest.fail("the process goes on")


@pytest.mark.parametrize(
    ("name", "library"),
    [("a.pdf", "pypdfium2"), ("a.html", "selectolax"), ("a.docx", "docx"), ("a.xlsx", "openpyxl"),
     ("a.pptx", "pptx"), ("a.rst", "docutils"), ("a.msg", "olefile"), ("a.eml", "selectolax")],
)  # fmt: skip
def test_a_missing_library_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"x")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=r"voicerag-core\[documents\]"):
        read_file(path)


def test_long_markdown_that_holds_its_parser_up_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "a.md"
    page.write_text("{% comment %} " * 40_000)
    monkeypatch.setattr("voicerag_core.documents.apart.SECONDS", 1.0)
    monkeypatch.setattr("voicerag_core.documents.apart.SECONDS_PER_MEGABYTE", 0.0)
    with pytest.raises(DocumentError, match="took longer than 1 s to read and was given up"):
        read_file(page)


def test_what_an_archive_unpacks_to_gives_it_time() -> None:
    folder = Path(__file__).parent / "formats"
    assert unpacked_bytes((folder / "fleet.xlsx").read_bytes()) > 10_000
    assert unpacked_bytes((folder / "kestrel.pdf").read_bytes()) == 0
    assert unpacked_bytes(b"PK nothing") == 0


def test_an_archive_with_a_long_list_of_parts_is_not_listed() -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for number in range(30_000):
            archive.writestr(f"{number:05}-{'x' * 30}", b"1")
    assert unpacked_bytes(held.getvalue()) == 0

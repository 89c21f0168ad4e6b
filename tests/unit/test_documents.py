"""Files to documents: what is found, what is read, and what is refused with a reason."""

from __future__ import annotations

import codecs
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter

from voicerag_core import Document, DocumentError, MissingExtraError
from voicerag_core.documents import (
    SUFFIXES,
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


def pdf(*pages: str, title: str | None = None) -> bytes:
    """Make a PDF by hand, each page of the given lines of text."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for n, text in enumerate(pages):
        lines = " ".join(f"({line}) Tj T*" for line in text.split("\n") if line)
        stream = f"BT /F1 12 Tf 14 TL 72 720 Td {lines} ET".encode("cp1252")
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * n} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode(),
            b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        ]
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%b\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
    out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1))
    out.write(b"startxref\n%d\n%%%%EOF\n" % start)
    if title is None:
        return out.getvalue()
    writer = PdfWriter(clone_from=PdfReader(out))
    writer.add_metadata({"/Title": title})
    return written(writer)


def written(writer: PdfWriter) -> bytes:
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


# --- finding ---------------------------------------------------------------------------------


def test_folders_are_searched_to_the_bottom_in_a_fixed_order(tmp_path: Path, write: Write) -> None:
    for name in ("b/z.TXT", "b/a.md", "a.html", "c.docx", "b/deep/er/x.csv", "b/clip.wav"):
        write(name, "x")
    for name in (".hidden.txt", ".git/x.txt", "node_modules/x.md", "b/__pycache__/x.txt",
                 "env/pyvenv.cfg", "env/lib/x.txt"):  # fmt: skip
        write(name, "x")
    found = find_files([tmp_path])
    names = [path.relative_to(tmp_path).as_posix() for path in found.files]
    assert names == ["a.html", "b/a.md", "b/z.TXT", "b/deep/er/x.csv"]
    assert {path.name for path in found.skipped} == {"c.docx", "clip.wav"}
    assert found.problems == ()
    assert find_files([tmp_path]) == found


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
        [good, write("a.docx", "x"), write("clip.flac", "x"), tmp_path / "no.txt", pipe, "a\0b.txt"]
    )
    assert found.files == (good,)
    for problem, words in zip(
        found.problems,
        ("kind that cannot be read", "is audio", "No such file", "neither a file", "null"),
        strict=True,
    ):
        assert words in str(problem)


def test_links_cannot_make_a_loop_and_pipes_are_not_opened(tmp_path: Path, write: Write) -> None:
    target = write("in/a.txt", "x")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "link.txt").symlink_to(target)
    os.mkfifo(tmp_path / "in" / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "in" / "s.txt"))
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
        ("none.doc", "readable are"),
        ("none", "no ending"),
        ("none.mp3", "is audio"),
    ):
        with pytest.raises(DocumentError, match=words):
            read_file(tmp_path / name)


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".pdf"])
def test_an_empty_file_has_no_documents(write: Write, suffix: str) -> None:
    assert read_file(write(f"a{suffix}", "")).documents == ()
    assert read_file(write(f"a{suffix}", " \n\n")).documents == ()


@given(data=st.binary(max_size=400), suffix=st.sampled_from(SUFFIXES))
@example(data=b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>", suffix=".pdf")
@example(data=b"[" * 100_000, suffix=".jsonl")
@example(data=b'{"text": "a", "n": ' + b"1" * 5000 + b"}", suffix=".jsonl")
@example(data=b"<div>" * 5000 + b"x", suffix=".html")
@example(data=b"> " * 3000 + b"x", suffix=".md")
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(data)
    refused = ""
    documents: tuple[Document, ...] = ()
    try:
        documents = read_file(path).documents
    except DocumentError as e:
        refused = str(e)
    assert not refused or str(path) in refused
    for document in documents:
        assert document.text.strip()
        assert "\0" not in document.text
        json.dumps([document.text, document.title, document.metadata], allow_nan=False).encode()
        document.text.encode()
        assert document.source.startswith(source_of(path))


# --- text ------------------------------------------------------------------------------------

WORDS = "Käse, 你好, ½\nzweite Zeile"


@pytest.mark.parametrize(
    "data",
    [
        WORDS.encode(),
        codecs.BOM_UTF8 + WORDS.encode(),
        codecs.BOM_UTF16_LE + WORDS.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + WORDS.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + WORDS.encode("utf-32-le"),
        WORDS.replace("\n", "\r\n").encode(),
        WORDS.replace("\n", "\r").encode(),
    ],
)
def test_text_is_read_by_its_byte_order_mark(write: Write, data: bytes) -> None:
    document = only(read_file(write("my notes.txt", data)))
    assert document.text == WORDS
    assert document.title == "my notes"


def test_another_encoding_is_refused_with_the_place(write: Write) -> None:
    path = write("a.txt", "ab\nKäse".encode("latin-1"))
    with pytest.raises(DocumentError, match=r"byte 0xE4 at position 4 \(line 2\)") as caught:
        read_file(path)
    assert "save it as UTF-8" in str(caught.value)
    assert isinstance(caught.value.__cause__, UnicodeDecodeError)


def test_the_place_counts_the_byte_order_mark(write: Write) -> None:
    with pytest.raises(DocumentError, match="byte 0xFF at position 4 "):
        read_file(write("a.txt", codecs.BOM_UTF8 + b"a\xff"))


def test_utf16_without_mark_is_not_taken_for_text(write: Write) -> None:
    with pytest.raises(DocumentError, match="UTF-16 without a byte order mark"):
        read_file(write("a.txt", "hello".encode("utf-16-le")))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((Path(__file__).parents[1] / "data/human/spk1_snt3.flac").read_bytes(), "audio"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt \xff\xfe", "audio"),
        (b"\xff\xfb\x90\x64\x00", "audio"),
        (b"PK\x03\x04\x14\x00\x00\x00", "office document"),
        (b"\x89PNG\r\n\x1a\n\x00", "image"),
        (pdf("hello"), "PDF"),
    ],
)
def test_another_kind_of_file_named_txt_is_said_to_be_one(
    write: Write, data: bytes, words: str
) -> None:
    with pytest.raises(DocumentError, match=words):
        read_file(write("a.txt", data))


def test_rst_title_and_adornments(write: Write) -> None:
    text = "=====\nIntro\n=====\n\nFirst words.\n\nMore\n----\n\nLast words.\n"
    document = only(read_file(write("a.rst", text)))
    assert document.title == "Intro"
    assert document.text.split() == ["Intro", "First", "words.", "More", "Last", "words."]


# --- Markdown --------------------------------------------------------------------------------


def test_markdown_is_read_as_its_words(write: Write) -> None:
    text = (
        "# The *first* one\n\nSee `code`, [a link](http://x.y) and ![a picture](p.png).\n\n"
        "- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\n# not a heading\n```\n\n"
        "<div align='x'>in <b>tags</b> &amp; out</div>\n"
    )
    document = only(read_file(write("a.md", text)))
    assert document.title == "The first one"
    assert document.text.split("\n\n") == [
        "The first one", "See code, a link and a picture.", "one", "two", "a  b", "1  2",
        "# not a heading", "in tags & out",
    ]  # fmt: skip


def test_yaml_front_matter_goes_to_metadata(write: Write) -> None:
    text = (
        "---\n# comment\ntitle: 'My: title'\ntags: [a, \"b\"]\nauthors:\n  - x\n  - y\n"
        "deep:\n  er: z\ndate: 2024-01-02\n---\n# Heading\n\nWords.\n"
    )
    document = only(read_file(write("a.md", text)))
    assert document.title == "My: title"
    assert document.metadata == {"tags": ["a", "b"], "authors": ["x", "y"], "date": "2024-01-02"}
    assert document.text == "Heading\n\nWords."


def test_toml_front_matter_goes_to_metadata(write: Write) -> None:
    text = '+++\ntitle = "T"\nweight = 1.5\nday = 2024-01-02\nsub.key = [true]\n+++\nWords.\n'
    document = only(read_file(write("a.md", text)))
    assert document.title == "T"
    assert document.metadata == {"weight": 1.5, "day": "2024-01-02", "sub": {"key": [True]}}
    for bad in ('a = "\\u0000"', "a = nan"):
        with pytest.raises(DocumentError, match="front matter"):
            read_file(write("b.md", f"+++\n{bad}\n+++\nx"))


def test_a_rule_at_the_top_is_no_front_matter(write: Write) -> None:
    document = only(read_file(write("rules.md", "---\n\nSome words here.\n\n---\n\nMore words.\n")))
    assert document.metadata == {}
    assert document.title == "rules"
    assert document.text == "Some words here.\n\nMore words."


# --- HTML ------------------------------------------------------------------------------------

PAGE = """<!doctype html><html><head><title> A  page &amp; more </title><style>p{}</style></head>
<body><nav><ul><li>menu</ul><footer>nested</footer></nav>
<h1>Head<a class="headerlink" href="#x">¶</a></h1>
<p>Some <b>bo</b>ld
   words.<br>Next line.</p><script>alert("no")</script><!-- no -->
<ul><li>one<li>two</ul><table><tr><td>a<td>b<tr><td>c</table>
<pre>x = 1
y = 2</pre><p hidden>no</p><footer>no</footer></body></html>"""


def test_html_is_read_as_its_words(write: Write) -> None:
    document = only(read_file(write("a.html", PAGE)))
    assert document.title == "A page & more"
    assert document.text.split("\n\n") == [
        "Head", "Some bold words.\nNext line.", "one", "two", "a b", "c", "x = 1\ny = 2",
    ]  # fmt: skip


def test_the_main_part_of_a_page_is_taken(write: Write) -> None:
    page = "<body><div>banner</div><main><h1>Title</h1><p>Words</main><div>end</div>"
    document = only(read_file(write("a.htm", page)))
    assert (document.title, document.text) == ("Title", "Title\n\nWords")


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<meta charset="utf-8">', "utf-8"),
        ("<meta charset=latin1>", "cp1252"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=GB2312">', "gb18030"),
        ('<?xml version="1.0" encoding="Shift_JIS"?>', "cp932"),
        ("", "utf-8"),
        ("<meta charset=latin1>", "utf-8-sig"),
    ],
)
def test_html_is_decoded_as_it_says(write: Write, head: str, encoding: str) -> None:
    words = {"cp1252": "“Käse”", "cp932": "日本語"}.get(encoding, "汉语")
    document = only(read_file(write("a.html", f"{head}<p>{words}</p>".encode(encoding))))
    assert document.text == words


def test_html_in_another_encoding_than_it_says_is_refused(write: Write) -> None:
    with pytest.raises(DocumentError, match="not UTF-8: byte 0xE4"):
        read_file(write("a.html", "<meta charset=utf-8><p>Käse".encode("latin-1")))
    with pytest.raises(DocumentError, match="unknown encoding 'klingon'"):
        read_file(write("b.html", "<meta charset=klingon><p>x"))


def test_a_page_made_by_a_script_is_refused(write: Write) -> None:
    with pytest.raises(DocumentError, match="holds no text"):
        read_file(write("a.html", "<title>App</title><body><div id=root></div><script>x</script>"))


# --- PDF -------------------------------------------------------------------------------------


def test_a_pdf_is_read_page_by_page(write: Write) -> None:
    path = write("b.pdf", pdf("First page.\nIt has hyphen-\nated words.", "", "Third page."))
    first, third = read_file(path).documents
    assert first.text == "First page.\nIt has hyphenated words."
    assert first.metadata == {"page": 1, "pages": 3}
    assert (first.title, third.title) == ("b", "b")
    assert third.text == "Third page."
    assert third.source == f"{path.as_posix()}#page=3"
    titled = read_file(write("c.pdf", pdf("x", title="The  Title")))
    assert only(titled).title == "The Title"


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_a_locked_pdf_is_refused_and_a_restricted_one_read(write: Write, algorithm: str) -> None:
    def locked(user_password: str) -> bytes:
        writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf("Secret words."))))
        writer.encrypt(user_password, "owner", algorithm=algorithm)
        return written(writer)

    with pytest.raises(DocumentError, match="encrypted and needs a password"):
        read_file(write("locked.pdf", locked("secret")))
    assert only(read_file(write("open.pdf", locked("")))).text == "Secret words."


def test_a_pdf_without_text_is_refused(write: Write) -> None:
    with pytest.raises(DocumentError, match="no text on its 2 pages; if they are scanned"):
        read_file(write("a.pdf", pdf("", "")))


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.4\n", pdf("hello")[:200]])
def test_a_damaged_pdf_is_refused(write: Write, data: bytes) -> None:
    with pytest.raises(DocumentError, match="cannot be read as PDF") as caught:
        read_file(write("a.pdf", data))
    assert caught.value.__cause__ is not None


def test_a_damaged_pdf_makes_no_noise(write: Write) -> None:
    program = (
        "import sys\nfrom voicerag_core.documents import read_file\n"
        "try: read_file(sys.argv[1])\nexcept ValueError: sys.exit(3)"
    )
    path = str(write("a.pdf", b"%PDF-1.4\n"))
    run = subprocess.run([sys.executable, "-c", program, path], capture_output=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (3, b"", b"")


@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_pdf_with_one_byte_changed_is_read_or_refused(
    tmp_path: Path, position: int, byte: int
) -> None:
    data = bytearray(pdf("Some words.", "More words."))
    data[position % len(data)] = byte
    path = tmp_path / "changed.pdf"
    path.write_bytes(data)
    try:
        documents = read_file(path).documents
    except DocumentError:
        return
    assert all(document.text for document in documents)


@pytest.mark.parametrize(("name", "library"), [("a.pdf", "pypdf"), ("a.html", "selectolax.lexbor")])
def test_a_missing_library_names_the_extra(
    write: Write, monkeypatch: pytest.MonkeyPatch, name: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=r"voicerag-core\[documents\]"):
        read_file(write(name, pdf("x")))


# --- tables ----------------------------------------------------------------------------------


def test_jsonl_gives_a_document_a_line(write: Write) -> None:
    path = write(
        "a.jsonl",
        '{"text": "One\\u2028.", "id": 7, "title": "T\\n t", "source": "http://x", "year": null,'
        ' "metadata": {"k": [1, {"l": true}]}}\n\n{"text": "  "}\r\n{"text": "Two."}',
    )
    first, last = read_file(path).documents
    assert first == Document(
        f"{path.as_posix()}#line=1", "One\u2028.", "T t",
        {"id": 7, "origin": "http://x", "year": None, "k": [1, {"l": True}]},
    )  # fmt: skip
    assert last == Document(f"{path.as_posix()}#line=4", "Two.")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"text": "x"', "line 2 is not JSON"),
        ('["text"]', "line 2 holds a list"),
        ('"text"', "line 2 holds a string"),
        ('{"content": "x"}', "line 2 has no key 'text', only 'content'.*--text-column"),
        ('{"text": 3}', "line 2: 'text' is text in quotes, not a number"),
        ('{"text": null}', "not null"),
        ('{"text": "x", "title": ["y"]}', "'title' is text in quotes, not a list"),
        ('{"text": "x", "n": NaN}', "NaN is not a JSON number"),
        ('{"text": "x", "n": 1e999}', "a number that JSON cannot hold"),
        ('{"text": "x\\u0000"}', "line 2 has a zero character"),
        ('{"text": "x", "m": {"\\ud800": 1}}', "half of a surrogate pair"),
    ],
)
def test_a_broken_line_is_named(write: Write, line: str, words: str) -> None:
    with pytest.raises(DocumentError, match=words):
        read_file(write("a.jsonl", f'{{"text": "fine"}}\n{line}\n'))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_gives_a_document_a_row(write: Write, delimiter: str) -> None:
    rows = [
        ["id", "Text", "Title", "source", "", "empty"],
        ["1", f'"One{delimiter}\ntwo ""three"""', "T", "here", "0", ""],
        [""] * 6,
        ["2", "Short row"],
    ]
    text = codecs.BOM_UTF8.decode() + "\r\n".join(delimiter.join(row) for row in rows)
    path = write("a.tsv" if delimiter == "\t" else "a.csv", text)
    first, last = read_file(path).documents
    assert first == Document(
        f"{path.as_posix()}#row=2", f'One{delimiter}\ntwo "three"', "T",
        {"id": "1", "origin": "here"},
    )  # fmt: skip
    assert last == Document(f"{path.as_posix()}#row=4", "Short row", "", {"id": "2"})


def test_the_text_column_can_be_named(write: Write) -> None:
    table = write("a.csv", "id,body,text\n1,words,other\n")
    document = only(read_file(table, text_column="body"))
    assert (document.text, document.metadata) == ("words", {"id": "1", "text": "other"})
    lines = write("a.jsonl", '{"body": "words"}\n')
    assert only(read_file(lines, text_column="body")).text == "words"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "no column 'text', only 'a', 'b'.*--text-column"),
        ("text,b\n1,2\n1,2,3\n", "row 3 has 3 cells, the header 2"),
        ('text\n"x\n', "check the quotes"),
        ("text,b,b\n", "names columns twice: 'b'"),
        ("text\nx\0\n", "zero character"),
    ],
)
def test_a_broken_table_is_refused(write: Write, text: str, words: str) -> None:
    with pytest.raises(DocumentError, match=words):
        read_file(write("a.csv", text))


def test_a_cell_may_be_longer_than_the_library_allows_by_default(write: Write) -> None:
    document = only(read_file(write("a.csv", f"text,b\n{'x' * 200_000},1\n")))
    assert len(document.text) == 200_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(
                lambda text: text.strip()
            ),
            st.dictionaries(
                names.filter(lambda n: n not in {"text", "title", "source", "metadata"}),
                json_values,
                max_size=3,
            ),
        ),
        max_size=5,
    ),
    escaped=st.booleans(),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_jsonl_gives_back_what_was_written(
    tmp_path: Path, rows: list[tuple[str, dict[str, object]]], escaped: bool
) -> None:
    path = tmp_path / "rows.jsonl"
    lines = (json.dumps({"text": text, **more}, ensure_ascii=escaped) for text, more in rows)
    path.write_bytes("\n".join(lines).encode())
    documents = read_file(path).documents
    assert [(document.text, document.metadata) for document in documents] == rows

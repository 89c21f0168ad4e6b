"""The resumable download, against a server on this machine that misbehaves on request."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from voicerag_core import CancelledError, CheckpointError, ConfigError, fetching
from voicerag_core.cancellation import Cancellation
from voicerag_core.fetching import check_room, fetch_file, sha256_of

CONTENT = bytes(range(256)) * 2000
OTHER = CONTENT[::-1]
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2

pytestmark = pytest.mark.enable_socket


@dataclass
class Server:
    """What the server has and how it behaves.

    Args:
        content: Of the one file.
        etag: Sent with every answer unless it is "".
        ranges: ``yes``; ``no``: always the whole file; ``shifted``: a range from elsewhere.
        if_range: Whether a resumed request for another version gets the whole file.
        lengths: Whether an answer says how long it is.
        says_total: Whether a refused range says how long the file is.
        cuts: After how many bytes of the body each connection ends, first to last.
        asked: The Range and If-Range headers of each request.
    """

    address: str = ""
    content: bytes = CONTENT
    etag: str = '"one"'
    ranges: str = "yes"
    if_range: bool = True
    lengths: bool = True
    says_total: bool = True
    cuts: list[int] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            span, condition = self.headers.get("Range", ""), self.headers.get("If-Range", "")
            state.asked.append((span, condition))
            changed = state.if_range and condition not in {"", state.etag}
            start = 0 if state.ranges == "no" or changed else int(span[6:-1] or 0)
            whole = len(state.content)
            if span and start >= whole:
                self.send_response(416)
                if state.says_total:
                    self.send_header("Content-Range", f"bytes */{whole}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                start -= 7 * (state.ranges == "shifted")
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            if state.etag:
                self.send_header("ETag", state.etag)
            body = state.content[start:]
            if state.lengths:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.cuts.pop(0)] if state.cuts else body)

        def log_message(self, *_: object) -> None:
            pass

    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.address = f"http://127.0.0.1:{http_server.server_port}/model.bin"
    yield state
    http_server.shutdown()
    http_server.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "model.bin"


def interrupted(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Stop a download in its middle as Ctrl-C does, and return how many bytes were kept."""

    def interrupt(name: str, have: int, total: int | None) -> None:
        if have > HALF:
            raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(fetching, "READ_BYTES", 1 << 14)
        with pytest.raises(KeyboardInterrupt):
            fetch_file(server.address, target, on_progress=interrupt)
    server.asked.clear()
    return target.with_name("model.bin.part").stat().st_size


def alone(target: Path) -> bool:
    return [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_file_is_fetched_whole_and_nothing_else_is_left(server: Server, target: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    fetch_file(server.address, target, on_progress=lambda *step: told.append(step))
    assert target.read_bytes() == CONTENT
    assert alone(target)
    assert told[0] == ("model.bin", 0, len(CONTENT))
    assert told[-1] == ("model.bin", len(CONTENT), len(CONTENT))
    assert sha256_of(target) == SHA256


def test_an_interrupted_download_is_resumed(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have = interrupted(server, target, monkeypatch)
    assert HALF < have < len(CONTENT)
    assert not target.exists()
    fetch_file(server.address, target)
    assert server.asked == [(f"bytes={have}-", '"one"')]
    assert target.read_bytes() == CONTENT
    assert alone(target)


def test_a_cancelled_download_ends_and_is_resumed(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "READ_BYTES", 1 << 14)
    cancellation = Cancellation()

    def cancel(name: str, have: int, total: int | None) -> None:
        if have > HALF:
            cancellation.cancel()

    with cancellation.active(), pytest.raises(CancelledError):
        fetch_file(server.address, target, on_progress=cancel)
    server.asked.clear()
    fetch_file(server.address, target, sha256=SHA256)
    assert server.asked[0][0].startswith("bytes=")


def test_a_complete_part_is_verified_and_finished(server: Server, target: Path) -> None:
    """It used to be refused for ever with HTTP 416."""
    target.parent.mkdir()
    part = target.with_name("model.bin.part")
    part.write_bytes(CONTENT)
    told: list[tuple[str, int, int | None]] = []
    fetch_file(server.address, target, on_progress=lambda *step: told.append(step))
    assert server.asked == [(f"bytes={len(CONTENT)}-", "")]
    assert told == [("model.bin", len(CONTENT), len(CONTENT))]
    assert alone(target)
    assert target.read_bytes() == CONTENT
    target.rename(part)
    server.asked.clear()
    fetch_file(server.address, target, size=len(CONTENT), sha256=SHA256)
    assert server.asked == []  # the length is known, so nobody has to be asked
    assert target.read_bytes() == CONTENT


def test_a_complete_part_with_another_hash_is_refused_and_deleted(
    server: Server, target: Path
) -> None:
    target.parent.mkdir()
    target.with_name("model.bin.part").write_bytes(OTHER)
    with pytest.raises(CheckpointError, match=f"expected SHA-256 {SHA256}, found"):
        fetch_file(server.address, target, sha256=SHA256)
    assert list(target.parent.iterdir()) == []
    fetch_file(server.address, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_a_refused_range_of_unknown_length_is_fetched_anew(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("model.bin.part").write_bytes(OTHER)
    server.says_total = False
    fetch_file(server.address, target)
    assert [span for span, _ in server.asked] == [f"bytes={len(CONTENT)}-", ""]
    assert target.read_bytes() == CONTENT


def test_an_answer_without_content_length_is_taken(server: Server, target: Path) -> None:
    """It used to end in a bare TypeError."""
    server.lengths = False
    told: list[tuple[str, int, int | None]] = []
    fetch_file(server.address, target, on_progress=lambda *step: told.append(step))
    assert target.read_bytes() == CONTENT
    assert {total for _, _, total in told} == {None}


def test_an_answer_without_content_length_that_is_cut_is_noticed_by_the_known_size(
    server: Server, target: Path
) -> None:
    server.lengths = False
    server.cuts = [1000]
    fetch_file(server.address, target, size=len(CONTENT))
    assert [span for span, _ in server.asked] == ["", "bytes=1000-"]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", ["no", "shifted"])
def test_a_server_that_ignores_the_range_gives_the_file_anew(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, ranges: str
) -> None:
    interrupted(server, target, monkeypatch)
    server.ranges = ranges
    fetch_file(server.address, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("if_range", [True, False], ids=["if-range", "no if-range"])
@pytest.mark.parametrize("content", [OTHER, OTHER + b"more", OTHER[:9000]], ids=["=", ">", "<"])
def test_a_file_that_has_changed_since_is_fetched_anew(
    server: Server,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    if_range: bool,
) -> None:
    interrupted(server, target, monkeypatch)
    server.content, server.etag, server.if_range = content, '"two"', if_range
    fetch_file(server.address, target)
    assert target.read_bytes() == content
    assert alone(target)


def test_another_length_tells_a_change_where_there_is_no_tag(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.etag = ""
    interrupted(server, target, monkeypatch)
    server.content = OTHER + b"more"
    fetch_file(server.address, target)
    assert target.read_bytes() == server.content


def test_a_cut_connection_is_taken_up_and_given_up_after_three(
    server: Server, target: Path
) -> None:
    server.cuts = [100_000, 100_000]
    fetch_file(server.address, target, sha256=SHA256)
    assert [span for span, _ in server.asked] == ["", "bytes=100000-", "bytes=200000-"]
    server.asked.clear()
    server.cuts = [1000] * 9
    with pytest.raises(CheckpointError, match=r"what has arrived is kept.*or ask Bob"):
        fetch_file(server.address, target.with_name("other"), advice="ask Bob")
    assert len(server.asked) == 3
    assert target.with_name("other.part").stat().st_size == 3000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (CONTENT[:-1] + b"!", "does not hold the expected file"),
        (b"<html>log in</html>", "announces 19 bytes"),
        (CONTENT * 2, "announces"),
    ],
)
def test_another_file_is_refused(server: Server, target: Path, content: bytes, said: str) -> None:
    server.content = content
    with pytest.raises(CheckpointError, match=said):
        fetch_file(server.address, target, size=len(CONTENT), sha256=SHA256)
    assert not target.exists()
    server.content = CONTENT
    fetch_file(server.address, target, size=len(CONTENT), sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_more_bytes_than_expected_are_refused(server: Server, target: Path) -> None:
    server.content, server.lengths = CONTENT * 3, False
    with pytest.raises(CheckpointError, match="sends more than the 512000 bytes"):
        fetch_file(server.address, target, size=len(CONTENT))


def test_a_disk_without_room_is_told_once_the_size_is_known(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(target.parent.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(CheckpointError, match=r"needs 512000 more bytes.*has 1000 free"):
        fetch_file(server.address, target, size=len(CONTENT))
    assert server.asked == []
    with pytest.raises(CheckpointError, match=r"needs 512000 more bytes.*has 1000 free"):
        fetch_file(server.address, target)
    assert len(server.asked) == 1
    check_room(target.parent, 1000, "it")


def test_a_disk_that_fills_up_keeps_what_has_arrived(server: Server, target: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    target.parent.mkdir()
    target.with_name("model.bin.part").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=r"No space left on device.*is kept"):
        fetch_file(server.address, target)


def test_an_empty_file_is_a_file(server: Server, target: Path) -> None:
    server.content = b""
    fetch_file(server.address, target, sha256=hashlib.sha256(b"").hexdigest())
    assert target.read_bytes() == b""


def test_a_second_download_of_the_same_file_is_refused(server: Server, target: Path) -> None:
    second: list[CheckpointError] = []

    def start_another(name: str, have: int, total: int | None) -> None:
        if not second:
            with pytest.raises(CheckpointError, match="by another process") as refusal:
                fetch_file(server.address, target)
            second.append(refusal.value)

    fetch_file(server.address, target, on_progress=start_another)
    assert second
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["http://example.org/", "file:///etc/", "ftp://a/b", "hub"])
def test_an_unsafe_address_is_refused(target: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="https"):
        fetch_file(address, target)
    assert not target.parent.exists()

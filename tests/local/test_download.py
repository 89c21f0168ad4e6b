"""Fetching weights from a hub: a server on this machine plays it."""

from __future__ import annotations

import errno
import hashlib
import http.server
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from voicerag_core import fetching
from voicerag_core.errors import CheckpointError, ConfigError
from voicerag_core.local.weights import download as download_module
from voicerag_core.local.weights import files as weights
from voicerag_core.local.weights.download import download
from voicerag_core.local.weights.files import WeightFile, WeightSet

MODEL = bytes(range(256)) * 4000
SMALL = b"{}"


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves `files`; `breaks_after` ends the first answers early, `ranges` can be turned off."""

    files: ClassVar[dict[str, bytes]] = {}
    breaks_after: ClassVar[list[int]] = []
    ranges: ClassVar[bool] = True
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(f"{self.path} {self.headers.get('Range', '')}")
        content = self.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(self.headers.get("Range", "bytes=0-")[6:-1]) if self.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        self.wfile.write(body[: self.breaks_after.pop(0)] if self.breaks_after else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    entry = WeightSet(
        name="small",
        purpose="a test",
        package="no_such_package",
        folder="data",
        wheel="small-wheel==1.0",
        licence="MIT",
        origin="here",
        files=tuple(
            WeightFile(name, len(content), hashlib.sha256(content).hexdigest())
            for name, content in {"model.bin": MODEL, "config.json": SMALL}.items()
        ),
        hub_path="owner/small/resolve/main/",
    )
    for module in (weights, download_module):
        monkeypatch.setattr(module, "manifest", lambda: (entry,))
    prefix = "/owner/small/resolve/main/"
    Hub.files = {f"{prefix}model.bin": MODEL, f"{prefix}config.json": SMALL}
    Hub.breaks_after, Hub.ranges, Hub.asked = [], True, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.enable_socket
def test_what_is_missing_is_fetched_once(tmp_path: Path, hub: str) -> None:
    told: list[tuple[str, int, int]] = []
    fetched = download(tmp_path, base_url=hub, progress=lambda *step: told.append(step))
    assert [path.name for path in fetched] == ["model.bin", "config.json"]
    assert weights.weight_path("small/model.bin", data_dir=tmp_path).read_bytes() == MODEL
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == [
        "config.json",
        "model.bin",
    ]
    assert told[0] == ("model.bin", 0, len(MODEL))
    assert ("model.bin", len(MODEL), len(MODEL)) in told
    assert download(tmp_path, base_url=hub) == []
    assert len(Hub.asked) == 2


@pytest.mark.enable_socket
@pytest.mark.parametrize("ranges", [True, False])
def test_a_stopped_download_goes_on(
    tmp_path: Path, hub: str, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    Hub.ranges = ranges

    def interrupt(name: str, have: int, whole: int | None) -> None:
        if have > len(MODEL) // 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "READ_BYTES", 1 << 16)
    with pytest.raises(KeyboardInterrupt):
        download(tmp_path, base_url=hub, progress=interrupt)
    assert not (tmp_path / "small" / "model.bin").exists()
    arrived = (tmp_path / "small" / "model.bin.part").stat().st_size
    assert arrived > len(MODEL) // 2
    download(tmp_path, base_url=hub)
    assert f"bytes={arrived}-" in Hub.asked[1]
    assert (tmp_path / "small" / "model.bin").read_bytes() == MODEL


@pytest.mark.enable_socket
def test_a_broken_connection_is_taken_up_again(tmp_path: Path, hub: str) -> None:
    Hub.breaks_after = [300_000, 300_000]
    download(tmp_path, base_url=hub)
    assert (tmp_path / "small" / "model.bin").read_bytes() == MODEL
    assert [asked.partition(" ")[2] for asked in Hub.asked[:3]] == [
        "",
        "bytes=300000-",
        "bytes=600000-",
    ]


@pytest.mark.enable_socket
def test_a_connection_that_keeps_breaking_is_given_up(tmp_path: Path, hub: str) -> None:
    Hub.breaks_after = [1000] * 5
    with pytest.raises(CheckpointError, match="run the download again"):
        download(tmp_path, base_url=hub)
    assert len(Hub.asked) == 3


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    "served", [MODEL[:-1] + b"!", b"<html>log in</html>", MODEL + b"!", MODEL * 3]
)
def test_other_bytes_are_refused_and_not_kept(tmp_path: Path, hub: str, served: bytes) -> None:
    Hub.files["/owner/small/resolve/main/model.bin"] = served
    with pytest.raises(CheckpointError):
        download(tmp_path, base_url=hub)
    assert not (tmp_path / "small" / "model.bin").exists()
    Hub.files["/owner/small/resolve/main/model.bin"] = MODEL
    download(tmp_path, base_url=hub)
    assert (tmp_path / "small" / "model.bin").read_bytes() == MODEL


@pytest.mark.enable_socket
def test_an_altered_download_is_replaced(tmp_path: Path, hub: str) -> None:
    download(tmp_path, base_url=hub)
    (tmp_path / "small" / "model.bin").write_bytes(b"\0" * len(MODEL))
    assert [path.name for path in download(tmp_path, base_url=hub)] == ["model.bin"]
    assert (tmp_path / "small" / "model.bin").read_bytes() == MODEL


@pytest.mark.enable_socket
def test_a_file_that_the_hub_lacks_is_told(tmp_path: Path, hub: str) -> None:
    del Hub.files["/owner/small/resolve/main/model.bin"]
    with pytest.raises(CheckpointError, match=r"model\.bin was refused with HTTP 404"):
        download(tmp_path, base_url=hub)
    assert len(Hub.asked) == 1


@pytest.mark.enable_socket
def test_no_network_is_told(tmp_path: Path, hub: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(CheckpointError, match="Connection refused"):
            download(tmp_path, base_url=closed)


@pytest.mark.enable_socket
def test_a_disk_without_room_is_told_before_anything_is_fetched(
    tmp_path: Path, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(CheckpointError, match=r"needs 1024000 more bytes.*has 1000 free"):
        download(tmp_path, base_url=hub)
    assert Hub.asked == []


@pytest.mark.enable_socket
def test_a_disk_that_fills_up_is_told(
    tmp_path: Path, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "model.bin.part").symlink_to("/dev/full")
    with pytest.raises(CheckpointError) as refusal:
        download(tmp_path, base_url=hub)
    assert isinstance(refusal.value.__cause__, OSError)
    assert refusal.value.__cause__.errno == errno.ENOSPC


@pytest.mark.enable_socket
def test_two_downloads_at_once_do_not_mix(tmp_path: Path, hub: str) -> None:
    second: list[Exception] = []

    def start_another(name: str, have: int, whole: int | None) -> None:
        if not second:
            with pytest.raises(CheckpointError, match="by another process") as refusal:
                download(tmp_path, base_url=hub)
            second.append(refusal.value)

    download(tmp_path, base_url=hub, progress=start_another)
    assert len(second) == 1
    assert (tmp_path / "small" / "model.bin").read_bytes() == MODEL


@pytest.mark.enable_socket
def test_a_set_without_a_hub_is_told_after_the_others_came(
    tmp_path: Path, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small,) = weights.manifest()
    lonely = WeightSet("lonely", "a test", "no_such", "", "lone==1", "MIT", "here", small.files)
    for module in (weights, download_module):
        monkeypatch.setattr(module, "manifest", lambda: (lonely, small))
    with pytest.raises(CheckpointError, match=r"lonely .*pip install .*'lone==1'"):
        download(tmp_path, base_url=hub)
    assert (tmp_path / "small" / "model.bin").read_bytes() == MODEL


@pytest.mark.parametrize("address", ["http://example.org/", "file:///etc/", "ftp://a/b", "hub"])
def test_an_unsafe_mirror_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="https"):
        download(tmp_path, base_url=address)


def test_nothing_is_fetched_when_the_wheels_are_whole(tmp_path: Path) -> None:
    assert download(tmp_path / "data") == []
    assert not (tmp_path / "data").exists()

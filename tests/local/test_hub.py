"""Models of a hub: looked up, fetched by commit, checked, and used only when whole."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voicerag_core import CheckpointError, ConfigError
from voicerag_core.cli.app import app
from voicerag_core.local.weights.hub import RECORD, download_model, downloaded, look_up, origin

pytestmark = pytest.mark.enable_socket

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NETWORK = bytes(range(256)) * 400


class Hub:
    """A hub with one model; what it sends may differ from what it announces."""

    def __init__(self) -> None:
        self.address = ""
        self.commit = COMMIT
        self.licence: str | None = "mit"
        self.files = {
            "config.json": b'{"model_type": "bert"}',
            "tokenizer.json": b"{}",
            "1_Pooling/config.json": b"{}",
            "onnx/model.onnx": NETWORK,
            "onnx/model.onnx_data": b"more",
            "onnx/model_quantized.onnx": b"small",
            "pytorch_model.bin": b"x" * 99,
            "../../evil.json": b"{}",
        }
        self.sent: dict[str, bytes] = {}
        self.asked: list[str] = []

    def described(self) -> bytes:
        siblings = []
        for name, content in self.files.items():
            entry: dict[str, object] = {"rfilename": name, "size": len(content)}
            if name.endswith((".onnx", ".onnx_data", ".bin")):
                entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest()}
            else:
                head = f"blob {len(content)}\0".encode()
                entry["blobId"] = hashlib.sha1(head + content).hexdigest()
            siblings.append(entry)
        card = {} if self.licence is None else {"license": self.licence}
        return json.dumps({"sha": self.commit, "siblings": siblings, "cardData": card}).encode()

    def answer(self, path: str) -> bytes | None:
        self.asked.append(path)
        if path.startswith("/api/models/owner/name/revision/"):
            return self.described()
        name = path.removeprefix(f"/owner/name/resolve/{self.commit}/")
        return self.sent.get(name, self.files.get(name))


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            body = made.answer(self.path.split("?")[0])
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(hub: Hub, weights: Path) -> Path:
    return download_model(look_up("owner/name", address=hub.address), weights, address=hub.address)


def test_a_model_is_fetched_by_commit_and_kept(hub: Hub, tmp_path: Path) -> None:
    told: list[str] = []
    model = look_up("owner/name", address=hub.address)
    folder = download_model(model, tmp_path, address=hub.address, tell=told.append)
    assert told == ["owner/name at 0123456789ab: 0.1 MB, licence mit"]
    here = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    del here[RECORD]
    wanted = (
        "config.json", "tokenizer.json", "1_Pooling/config.json", "onnx/model.onnx",
        "onnx/model.onnx_data",
    )  # fmt: skip
    assert here == {name: hub.files[name] for name in wanted}
    assert downloaded("owner/name", tmp_path) == folder
    assert downloaded("owner/name", tmp_path, revision=COMMIT[:12]) == folder
    assert origin("owner/name", tmp_path) == "owner/name at 0123456789ab, licence mit"
    assert origin("owner/other", tmp_path) == origin("/some/folder", tmp_path) == ""
    before = len(hub.asked)
    assert fetched(hub, tmp_path) == folder
    assert len(hub.asked) == before + 1, "only the description is fetched again"
    assert not (tmp_path.parent / "evil.json").exists()


def test_another_revision_is_not_taken_for_this_one(hub: Hub, tmp_path: Path) -> None:
    fetched(hub, tmp_path)
    with pytest.raises(CheckpointError, match="--revision fedcba"):
        downloaded("owner/name", tmp_path, revision="fedcba")
    hub.commit = COMMIT[::-1]
    hub.files["onnx/model.onnx"] = NETWORK[::-1]
    folder = fetched(hub, tmp_path)
    assert (folder / "onnx/model.onnx").read_bytes() == NETWORK[::-1]
    with pytest.raises(CheckpointError, match=f"at revision {COMMIT[::-1]}"):
        downloaded("owner/name", tmp_path, revision=COMMIT)


@pytest.mark.parametrize("name", ["onnx/model.onnx", "config.json"])
def test_a_file_that_differs_is_deleted_and_the_model_not_used(
    hub: Hub, tmp_path: Path, name: str
) -> None:
    hub.sent[name] = bytes(len(hub.files[name]))
    with pytest.raises(CheckpointError, match="deleted"):
        fetched(hub, tmp_path)
    with pytest.raises(CheckpointError, match="was not downloaded"):
        downloaded("owner/name", tmp_path)
    hub.sent.clear()
    assert fetched(hub, tmp_path) == downloaded("owner/name", tmp_path)


def test_the_network_can_be_chosen(hub: Hub, tmp_path: Path) -> None:
    model = look_up("owner/name", network="onnx/model_quantized.onnx", address=hub.address)
    folder = download_model(model, tmp_path, address=hub.address)
    assert not (folder / "onnx/model.onnx").exists()
    with pytest.raises(CheckpointError, match=r"no file other\.onnx"):
        look_up("owner/name", network="other.onnx", address=hub.address)
    del hub.files["onnx/model.onnx"], hub.files["onnx/model_quantized.onnx"]
    with pytest.raises(CheckpointError, match=r"neither model\.onnx nor"):
        look_up("owner/name", address=hub.address)


def test_odd_hubs_and_names_are_refused(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="HTTP 404"):
        look_up("owner/other", address=hub.address)
    hub.commit = "main/../../x"
    with pytest.raises(CheckpointError, match="no commit"):
        look_up("owner/name", address=hub.address)
    hub.commit, hub.licence = COMMIT, None
    assert look_up("owner/name", address=hub.address).licence == "not stated"
    with pytest.raises(ConfigError, match="https"):
        look_up("owner/name", address="http://example.com")
    for name in ("owner", "owner/", "owner/..", "/x", "a/b/c"):
        with pytest.raises(ConfigError, match="OWNER/NAME"):
            downloaded(name, tmp_path)


def test_the_command_line_fetches_a_model(hub: Hub, tmp_path: Path) -> None:
    words = ["--data-dir", str(tmp_path), "download", "model", "owner/name"]
    result = CliRunner().invoke(app, [*words, "--address", hub.address])
    assert result.exit_code == 0, result.output
    assert "licence mit" in result.output
    assert str(downloaded("owner/name", tmp_path / "weights")) in result.output

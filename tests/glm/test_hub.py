"""Fetching the released weights: a server on this machine plays the hub, a folder its cache."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import huggingface_hub.constants
import pytest

from tests.glm import tiny
from voicerag_core import CheckpointError, ConfigError
from voicerag_core.glm.weights.hub import REPOSITORIES, download_checkpoint

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CODE = "modeling_chatglm.py"


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers for what `files` holds, by repository and name; ``breaks`` cuts answers short."""

    files: ClassVar[dict[str, dict[str, bytes]]] = {}
    breaks: ClassVar[dict[str, int]] = {}
    asked: ClassVar[list[tuple[str, str, str]]] = []
    announced: ClassVar[dict[str, str]] = {}
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0].strip("/")
        if path.startswith("api/models/"):
            owner, name, *below = path.split("/")[2:]
            self.describe(f"{owner}/{name}", as_tree=below[:1] == ["tree"])
            return
        owner, name, _, _, file = path.split("/", 4)
        content = self.files.get(f"{owner}/{name}", {}).get(file)
        if content is None:
            self.fail(404)
            return
        span = self.headers.get("Range", "")
        start = int(span.removeprefix("bytes=").partition("-")[0]) if span else 0
        if body:
            self.asked.append((file, span, name))
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{self.digest(file, content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if body:
            self.send_header("Connection", "close")  # or a client asks over what is being closed
        self.end_headers()
        if body:
            rest = content[start:]
            self.wfile.write(rest[: self.breaks.pop(file, len(rest))])
            self.close_connection = True

    def describe(self, repository: str, *, as_tree: bool) -> None:
        if repository not in self.files:
            self.fail(404)
            return
        files: list[dict[str, object]] = []
        for name, content in self.files[repository].items():
            sha = self.digest(name, content)
            one: dict[str, object] = {"size": len(content), "type": "file", "oid": sha[:40]}
            one["path" if as_tree else "rfilename"] = name
            if name.endswith((".safetensors", ".pt", ".model")):
                key = "oid" if as_tree else "sha256"
                one["lfs"] = {key: sha, "size": len(content), "pointerSize": 100}
            files.append(one)
        values = {"id": repository, "sha": COMMIT, "siblings": files, "tags": []}
        text = json.dumps(files if as_tree else values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def digest(self, name: str, content: bytes) -> str:
        return self.announced.get(name) or hashlib.sha256(content).hexdigest()

    def fail(self, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    trees = tiny.write_trees(tmp_path / "released")
    (trees.lm / CODE).write_text("raise SystemExit")
    Hub.files = {
        REPOSITORIES[kind].name: {
            file.name: file.read_bytes() for file in sorted(getattr(trees, kind).iterdir())
        }
        for kind in REPOSITORIES
    }
    Hub.breaks, Hub.asked, Hub.announced = {}, [], {}
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.enable_socket
def test_the_three_trees_are_fetched_once_without_their_code(tmp_path: Path, endpoint: str) -> None:
    told: list[str] = []
    target, cache = tmp_path / "weights", tmp_path / "cache"
    parts = download_checkpoint(target, endpoint=endpoint, cache_dir=cache, tell=told.append)
    assert [(part.kind, part.form) for part in parts] == [
        ("speech_tokenizer", "original"), ("lm", "original"), ("decoder", "original")
    ]  # fmt: skip
    assert all("licence" in line and "GB" in line for line in told)
    assert len(told) == 3
    assert not (target / "glm-4-voice-9b" / CODE).exists()
    assert CODE not in {file for file, _, _ in Hub.asked}
    for part in parts:
        for file in part.files:
            assert file.read_bytes() == Hub.files[f"zai-org/{part.folder.name}"][file.name]
    Hub.asked.clear()
    assert download_checkpoint(target, endpoint=endpoint, cache_dir=cache) == parts
    assert Hub.asked == []


@pytest.mark.enable_socket
def test_a_stopped_download_goes_on(
    tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    Hub.breaks = {"flow.pt": 100_000}
    download_checkpoint(tmp_path / "w", ["decoder"], endpoint=endpoint, cache_dir=tmp_path / "c")
    spans = [span for file, span, _ in Hub.asked if file == "flow.pt"]
    assert len(spans) == 2
    assert spans[1].startswith(f"bytes={1 << 16}-")


@pytest.mark.enable_socket
def test_a_file_that_is_not_the_announced_one_is_refused(tmp_path: Path, endpoint: str) -> None:
    Hub.announced = {"hift.pt": "ab" * 32}
    with pytest.raises(CheckpointError, match=r"hift\.pt is not the file .* deleted"):
        download_checkpoint(
            tmp_path / "w", ["decoder"], endpoint=endpoint, cache_dir=tmp_path / "c"
        )
    assert not (tmp_path / "w" / "glm-4-voice-decoder" / "hift.pt").exists()


@pytest.mark.enable_socket
def test_a_hub_without_the_weights_is_named(tmp_path: Path, endpoint: str) -> None:
    Hub.files = {}
    with pytest.raises(CheckpointError, match="zai-org/glm-4-voice-9b could not be fetched"):
        download_checkpoint(tmp_path / "w", ["lm"], endpoint=endpoint, cache_dir=tmp_path / "c")


@pytest.mark.enable_socket
def test_no_room_is_said_before_the_transfer(
    tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(CheckpointError, match=r"needs \d+ more bytes.*make room"):
        download_checkpoint(tmp_path / "w", ["lm"], endpoint=endpoint, cache_dir=tmp_path / "c")
    assert Hub.asked == []


def cached(cache: Path, released: Path, repository: str) -> None:
    """Lay a repository out as the hub's cache does."""
    place = cache / f"models--{repository.replace('/', '--')}"
    snapshot = place / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (place / "blobs").mkdir()
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    for file in released.iterdir():
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        (place / "blobs" / digest).write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("../../blobs") / digest)


@pytest.mark.enable_socket
def test_a_mirror_that_knows_the_former_owner_alone_is_used(tmp_path: Path, endpoint: str) -> None:
    Hub.files = {name.replace("zai-org/", "THUDM/"): files for name, files in Hub.files.items()}
    told: list[str] = []
    (part,) = download_checkpoint(
        tmp_path / "w", ["decoder"], endpoint=endpoint, cache_dir=tmp_path / "c", tell=told.append
    )
    assert part.folder == tmp_path / "w" / "glm-4-voice-decoder"
    for file in part.files:
        assert file.read_bytes() == Hub.files["THUDM/glm-4-voice-decoder"][file.name]
    assert told == [f"THUDM/glm-4-voice-decoder: 0.00 GB. Licence: {part.licence}"]


@pytest.mark.enable_socket
@pytest.mark.parametrize("owner", ["zai-org", "THUDM"])
def test_without_a_connection_the_cache_is_used(tmp_path: Path, owner: str) -> None:
    nobody = "http://127.0.0.1:9"
    trees = tiny.write_trees(tmp_path / "released")
    cache, target = tmp_path / "cache", tmp_path / "weights"
    cached(cache, trees.speech_tokenizer, f"{owner}/glm-4-voice-tokenizer")
    (part,) = download_checkpoint(target, ["speech_tokenizer"], endpoint=nobody, cache_dir=cache)
    (file,) = part.files
    assert file == target / "glm-4-voice-tokenizer" / "model.safetensors"
    assert not file.is_symlink()
    assert file.read_bytes() == (trees.speech_tokenizer / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=r"glm-4-voice-decoder .*cache does not hold it"):
        download_checkpoint(target, ["decoder"], endpoint=nobody, cache_dir=cache)


@pytest.mark.enable_socket
def test_the_command_fetches_and_shows_the_licence(tmp_path: Path, endpoint: str) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "voicerag_core.cli", "download", "glm",
            "--part", "decoder", "--part", "speech_tokenizer", "--to", tmp_path / "weights",
        ],
        env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["decoder", "original"], ["speech_tokenizer", "original"]
    ]  # fmt: skip
    assert "zai-org/glm-4-voice-decoder: 0.00 GB. Licence: GLM-4 model licence" in done.stderr
    assert (tmp_path / "weights" / "glm-4-voice-decoder" / "hift.pt").is_file()


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'ears'"):
        download_checkpoint(tmp_path, ["ears"])  # type: ignore[list-item]

"""One data folder with a small sample for all tests of the command line; its server runs on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voicerag_core.cli.app import app
from voicerag_core.store import EmbeddedPostgres, migrate

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
SMALL = 24
"""Paragraphs of the small sample, the one that answers the question among them."""

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]
Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose server runs as long as the tests, so that no command has to start it."""
    folder = tmp_path_factory.mktemp("voicerag")
    with EmbeddedPostgres(folder / "postgres") as server:
        migrate(server.dsn)
        yield folder


@pytest.fixture(scope="session")
def small_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like examples/sample, with a tenth of its paragraphs."""
    folder = tmp_path_factory.mktemp("sample")
    rows = (SAMPLE / "passages.jsonl").read_text().splitlines(keepends=True)
    lines = (SAMPLE / "questions.jsonl").read_text().splitlines(keepends=True)
    asked = next(line for line in lines if "report-02" in line)
    answering = json.loads(asked)["passage"]
    chosen = [row for row in rows if json.loads(row)["id"] == answering]
    chosen += rows[:: len(rows) // SMALL][:SMALL]
    (folder / "passages.jsonl").write_text("".join(dict.fromkeys(chosen)))
    (folder / "questions.jsonl").write_text(asked)
    (folder / "audio").symlink_to(SAMPLE / "audio")
    return folder


@pytest.fixture(scope="session")
def voicerag(data_dir: Path) -> Voicerag:
    """Run a command inside this process, on the shared data folder."""
    runner = CliRunner()

    def run(*words: str | Path, given: bytes | None = None) -> subprocess.CompletedProcess[str]:
        arguments = ["--data-dir", str(data_dir), *map(str, words)]
        result = runner.invoke(app, arguments, input=given, prog_name="voicerag")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return subprocess.CompletedProcess(
            arguments, result.exit_code, result.stdout, result.stderr
        )

    return run


@pytest.fixture
def spawn(data_dir: Path) -> Iterator[Spawn]:
    """Start a command as a process of its own, on the shared data folder."""
    running: list[subprocess.Popen[str]] = []

    def start(*words: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "voicerag_core.cli", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "VOICERAG_DATA_DIR": str(data_dir)},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def sample(voicerag: Voicerag, small_sample: Path) -> str:
    """The name of a collection that holds the small sample."""
    result = voicerag("index", small_sample / "passages.jsonl", "--collection", "sample")
    assert result.returncode == 0, result.stderr
    return "sample"

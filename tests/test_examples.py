"""Every example runs as it stands."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.conftest import running
from voicerag_core.store import EmbeddedPostgres

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("[01]*.py"))
PASSAGE = "Super_Bowl_50-5"
"""Answers the question that 01_ask_a_question.py asks."""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("examples")
    with EmbeddedPostgres(folder / "postgres"):
        yield folder


@pytest.fixture(scope="module")
def passages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few of the sample's paragraphs, so that indexing takes a moment only."""
    rows = (EXAMPLES / "sample" / "passages.jsonl").read_text().splitlines(keepends=True)
    chosen = [row for row in rows if json.loads(row)["id"] == PASSAGE] + rows[::60]
    path = tmp_path_factory.mktemp("passages") / "passages.jsonl"
    path.write_text("".join(dict.fromkeys(chosen)))
    return path


def run(script: str, *words: str | Path, folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / script, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_every_example_has_a_test_and_is_short() -> None:
    assert [path.name for path in SCRIPTS] == [
        "00_fakes.py",
        "01_ask_a_question.py",
        "02_index_documents.py",
        "03_llamaindex.py",
        "04_langchain.py",
        "05_mcp_client.py",
        "06_agent_by_sound.py",
        "07_openai_client.py",
        "08_langchain_client.py",
        "09_llamaindex_client.py",
        "10_pipecat_client.py",
        "11_livekit_client.py",
    ]
    assert all(len(path.read_text().splitlines()) < 90 for path in SCRIPTS)


def test_fakes(tmp_path: Path) -> None:
    shown = run("00_fakes.py", folder=tmp_path)
    assert "Swiss Alps" in shown
    assert "answer  Oxygen" in shown


def test_an_agent_is_asked_by_sound(tmp_path: Path) -> None:
    found, agent, graph = run("06_agent_by_sound.py", folder=tmp_path).splitlines()
    assert found == "found   The Rhine rises in the Swiss Alps. (Where does the Rhine rise?)"
    assert agent.startswith("agent   Where does the Rhine rise? -> It rises in the Swiss Alps. (")
    assert graph == "graph   The Rhine rises in the Swiss Alps."


@pytest.mark.enable_socket
def test_clients_of_the_web_server(tmp_path: Path) -> None:
    with running() as server:
        shown = run("07_openai_client.py", server.url, folder=tmp_path)
        assert "answer   The Rhine rises in the Swiss Alps." in shown
        assert "source   rhine" in shown
        assert "said     The Rhine rises in the Swiss Alps." in shown
        assert "sound    0.35 s" in shown
        shown = run("08_langchain_client.py", server.url, folder=tmp_path)
    assert shown.splitlines() == [
        "answer   The Rhine rises in the Swiss Alps.",
        "streamed The Rhine rises in the Swiss Alps.",
        "next     Oxygen is a gas without colour.",
    ]


@pytest.mark.slow
@pytest.mark.enable_socket
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("script", "package"),
    [
        ("09_llamaindex_client.py", "llama-index-llms-openai-like==0.8.1"),
        ("10_pipecat_client.py", "pipecat-ai[openai,websocket]==1.14.0"),
        ("11_livekit_client.py", "livekit-plugins-openai==1.8.9"),
    ],
)
def test_clients_in_environments_of_their_own(script: str, package: str, tmp_path: Path) -> None:
    python = own_environment(tmp_path / "env", package)
    with running() as server:
        done = subprocess.run(
            [python, EXAMPLES / script, server.url],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "The Rhine rises in the Swiss Alps." in done.stdout


def own_environment(folder: Path, package: str) -> Path:
    """Make an environment with a package; return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
    done = subprocess.run([python, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{package} cannot be installed: {done.stderr[-200:]}")
    return python


def test_llamaindex(tmp_path: Path) -> None:
    found, spoken, typed = run("03_llamaindex.py", folder=tmp_path).splitlines()
    assert found.endswith("rhine")
    assert spoken == "answer  The Rhine rises in the Swiss Alps. (0.35 s of sound)"
    assert "canteen" in typed


def test_ask_a_question(data_dir: Path, passages: Path, tmp_path: Path) -> None:
    words = ("--data-dir", data_dir, "--documents", passages)
    shown = run("01_ask_a_question.py", *words, folder=tmp_path)
    assert "Newton did not" in shown.splitlines()[0]
    assert "Super Bowl 50" in shown
    assert (tmp_path / "answer.wav").stat().st_size > 50_000


def test_index_documents(data_dir: Path, passages: Path, tmp_path: Path) -> None:
    words = ("--data-dir", data_dir, passages, "--search", "a fumble in a football game")
    run("02_index_documents.py", *words, folder=tmp_path)
    shown = run("02_index_documents.py", *words, folder=tmp_path)
    assert "0 new, 0 changed, 1 unchanged files" in shown
    assert "Super Bowl 50: " in shown

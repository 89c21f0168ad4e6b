"""Every example runs as it stands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from voicerag_core.store import EmbeddedPostgres

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("0*.py"))
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

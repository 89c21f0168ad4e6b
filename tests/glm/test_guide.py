"""What docs/glm.md says is run, with small weights on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.glm import tiny
from tests.pages import ROOT, snippets
from voicerag_core import Passage, open_voicerag


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.write_trees(tmp_path / "weights")
    for name, value in {
        "DATA_DIR": tmp_path / "data",
        "GLM_DIR": tmp_path / "weights",
        "GLM_DEVICE": "cpu",
        "SPEAK": "false",
    }.items():
        monkeypatch.setenv(f"VOICERAG_{name}", str(value))
    monkeypatch.chdir(tmp_path)
    sound = ROOT / "examples/sample/audio/report-01.flac"
    Path("question.wav").write_bytes(sound.read_bytes())
    with open_voicerag() as rag:
        rag.index([Passage("one", "The Panthers defense gave up 308 points.", {})])
    names: dict[str, Any] = {}
    (snippet,) = snippets(ROOT / "docs/glm.md", "python")
    exec(compile(snippet, "docs/glm.md", "exec"), names)
    assert names["answer"].text
    assert names["answer"].hits[0].passage.id == "one"

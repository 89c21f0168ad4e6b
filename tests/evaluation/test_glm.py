"""The same command with GLM-4-Voice: tiny random weights, and a report that says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.evaluation.conftest import given_for, write_lines, write_own
from tests.glm import tiny
from voicerag_core.evaluation.report import page
from voicerag_core.evaluation.runs import RunConfig, RunFolder, run
from voicerag_core.settings import load_settings


def test_glm_runs_the_same_command(tmp_path: Path, dsn: str) -> None:
    own = write_own(tmp_path / "own")
    given = replace(given_for(own), model=None, transcriber=None)
    write_lines(
        own / "questions.jsonl",
        [
            {
                "id": "q1",
                "question": "who",
                "audio": "q1.wav",
                "answers": ["x"],
                "sources": ["rhine"],
            }
        ],
    )
    tiny.write_trees(tmp_path / "glm")
    settings = load_settings(
        database_url=dsn, data_dir=tmp_path / "data", stack="glm", glm_dir=tmp_path / "glm",
        glm_device="cpu", glm_max_context=1024, speak=False,
    )  # fmt: skip
    config = RunConfig(
        sets=(f"simple={own}",), strategies=("e2e", "asr", "two_round"), hard=0, conditions=(),
        tiny=True,
    )  # fmt: skip
    records = run(tmp_path / "run", config, settings, given=given)
    by_way = {(one.form, one.strategy): one for one in records}
    assert set(by_way) == {("typed", "text"), *(("clean", s) for s in config.strategies)}
    assert by_way["typed", "text"].answer
    assert by_way["clean", "asr"].heard is not None or by_way["clean", "asr"].refused
    place = RunFolder(tmp_path / "run")
    assert place.about()["stack"] == "glm"
    assert "figures mean nothing" in page(records, place.config(), place.about(), place.sets())

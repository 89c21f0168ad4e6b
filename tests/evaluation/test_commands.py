"""``voicerag eval`` and ``voicerag calibrate`` as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.evaluation.conftest import write_own
from voicerag_core.cli.app import app
from voicerag_core.evaluation.runs import RunConfig, RunFolder, run
from voicerag_core.settings import Settings
from voicerag_core.stack import GivenParts


def voicerag(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path, config: RunConfig, settings: Settings, given: GivenParts) -> Path:
    run(tmp_path / "run", config, settings, given=given)
    return tmp_path / "run"


def test_report_compare_and_export(folder: Path, tmp_path: Path) -> None:
    code, out, _ = voicerag("eval", "report", str(folder), "--markdown")
    assert code == 0
    assert "Is a right passage among the first?" in out
    assert (folder / "report.html").read_text("utf-8").startswith("<!doctype html>")
    code, out, _ = voicerag("eval", "compare", str(folder), str(folder))
    assert code == 0
    assert "+0.0 [+0.0, +0.0], p 1.00" in out
    file = tmp_path / "samples.jsonl"
    code, _, _ = voicerag("eval", "export", str(folder), "--as", "phoenix", "--out", str(file))
    assert code == 0
    answered = [one for one in RunFolder(folder).records() if one.answer is not None]
    assert len(file.read_text("utf-8").splitlines()) == len(answered) > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("report", "NOWHERE"), "holds no run"),
        (("run", "RUN", "--sets", "nothing"), "no set 'nothing'"),
        (("run", "RUN", "--sets", "xquad-en"), "--data"),
        (("run", "RUN", "--sets", "simple=OWN", "--strategies", "wave"), "no strategy 'wave'"),
        (("judge", "RUN"), "holds no run"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    own = str(write_own(tmp_path / "own", sound=False))
    places = {"NOWHERE": str(tmp_path), "RUN": str(tmp_path / "run")}
    given = [places.get(word, word.replace("OWN", own)) for word in words]
    code, _, err = voicerag("eval", *given)
    assert code == 1
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_sets_are_listed() -> None:
    code, out, _ = voicerag("eval", "sets")
    assert code == 0
    assert "simple=PATH" in out
    assert "hotpotqa " in out


def test_thresholds_are_kept_with_the_collection(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voicerag_core.evaluation import calibration
    from voicerag_core.types import Thresholds

    chosen = calibration.Calibration(Thresholds(0.5, 0.02, 0.6), 12, 12, 12, {"x": 1.0})
    monkeypatch.setattr(calibration, "calibrated", lambda *_, **__: chosen)
    place = ("--database-url", dsn, "--data-dir", str(tmp_path), "--collection", "mine")
    code, out, err = voicerag("calibrate", str(tmp_path / "q.jsonl"), "--json", *place)
    assert code == 0, err
    assert json.loads(out)["thresholds"] == {"confidence": 0.5, "gap": 0.02, "answered": 0.6}
    from voicerag_core.settings import load_settings
    from voicerag_core.stack import open_voicerag

    settings = load_settings(database_url=dsn, data_dir=tmp_path, collection="mine")
    with open_voicerag(settings) as rag:
        assert rag.store.thresholds() == chosen.thresholds  # type: ignore[attr-defined]
    assert voicerag("calibrate", "q", "--reset", *place)[0] == 0
    with open_voicerag(settings) as rag:
        assert rag.store.thresholds() == Thresholds()  # type: ignore[attr-defined]

"""The reports of the GPU benchmarks say what was measured, and keep what was written by hand."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.chart import write_json
from benchmarks.glm import decoder_report, lm_report
from benchmarks.glm.many_callers import report as many_callers_report

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def figures(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def words(svg: Path) -> list[str]:
    return [one.text or "" for one in ElementTree.fromstring(svg.read_text()).iter() if one.text]


@pytest.mark.parametrize("name", ["glm_lm", "glm_decoder", "glm_many_callers"])
def test_the_reports_are_those_of_the_figures_beside_them(tmp_path: Path, name: str) -> None:
    found = figures(f"{name}.json")
    path = tmp_path / f"{name}.md"
    if name == "glm_lm":
        others = [figures("glm_lm_earlier.json")]
        lm_report.report(path, found, others, figures("glm_decoder.json"))
    elif name == "glm_decoder":
        decoder_report.report(path, found)
    else:
        many_callers_report.report(path, found)
    kept, _, remarks = (RESULTS / f"{name}.md").read_text(encoding="utf-8").partition("\n## Rem")
    assert remarks
    assert path.read_text(encoding="utf-8") == kept
    plot = path.with_suffix(".svg").read_text(encoding="utf-8")
    assert plot == (RESULTS / f"{name}.svg").read_text(encoding="utf-8")


def test_a_bar_that_is_missed_says_no(tmp_path: Path) -> None:
    found = copy.deepcopy(figures("glm_lm.json"))
    found["bf16"]["share_of_bound"] = 0.79
    found["upstream"]["tokens_per_s"] = 51.0
    found["first_audio"]["first_audio_ms_p50"] = 250.4
    lm_report.report(tmp_path / "a.md", found)
    text = (tmp_path / "a.md").read_text(encoding="utf-8")
    for figure in ("79.0 %", "2.96 times", "250.4 ms (p95 270.0)"):
        assert f"{figure} | **no** |" in text


def test_a_run_that_was_stopped_early_is_reported_as_far_as_it_got(tmp_path: Path) -> None:
    whole = figures("glm_lm.json")
    found = {name: whole[name] for name in ("machine", "read_bandwidth", "bf16")}
    found["int4"] = {"left_out": "time was up"}
    lm_report.report(tmp_path / "a.md", found)
    text = (tmp_path / "a.md").read_text(encoding="utf-8")
    assert "| ours, bfloat16 | 151.0 |" in text
    assert "| ours, int4 | time was up |" in text
    assert "ours, int4" not in words(tmp_path / "a.svg")


def test_a_decoder_whose_time_grows_with_the_square_is_not_linear(tmp_path: Path) -> None:
    found = figures("glm_decoder.json")
    for row in found["rows"]:
        row["total_ms"] = row["seconds"] ** 2
    decoder_report.report(tmp_path / "a.md", found)
    assert "costs 40.0 to 420.0 ms | **no** |" in (tmp_path / "a.md").read_text(encoding="utf-8")


def test_remarks_stay_when_a_report_is_written_again(tmp_path: Path) -> None:
    found, path = figures("glm_decoder.json"), tmp_path / "a.md"
    decoder_report.report(path, found)
    with path.open("a", encoding="utf-8") as file:
        file.write("\n## Remarks\n\nBy hand.\n")
    found["rows"][0]["total_ms"] = 987.0
    decoder_report.report(path, found)
    text = path.read_text(encoding="utf-8")
    assert "| 987 |" in text
    assert text.endswith("\n\n## Remarks\n\nBy hand.\n")
    assert text.count("## Remarks") == 1


def test_figures_that_cannot_be_written_leave_the_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    write_json(path, {"part": 1})
    with pytest.raises(TypeError):
        write_json(path, {"part": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"part": 1}

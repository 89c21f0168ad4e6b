"""The report of the SONAR benchmark, and what it takes for a difference."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.sonar import encoders
from benchmarks.sonar.encoders_report import ratios, report, write

RESULTS = Path(__file__).parents[2] / "benchmarks/results"


@pytest.fixture
def figures() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((RESULTS / "sonar.json").read_text())
    return loaded


def test_a_ratio_above_one_is_always_ours(figures: dict[str, Any]) -> None:
    figures["text"]["ms for one text of 14 tokens"] = {"ours": 2.0, "transformers": 3.0}
    figures["text"]["texts per second"]["ours"] = 400.0
    figures["text"]["texts per second"]["transformers, in order"] = 100.0
    found = {one.what: one.times for one in ratios(figures)}
    assert found["one text of 14 tokens, ms"] == pytest.approx(1.5)
    assert found["texts/s, against a loop in order"] == pytest.approx(4.0)


def test_a_bar_that_is_missed_is_shown(figures: dict[str, Any]) -> None:
    sides = figures["text"]["texts per second"]
    for ours, met in ((1.49, "**no**"), (1.51, "yes")):
        sides["ours"] = ours * sides["transformers, sorted"]
        lines, _ = report(figures, "sonar.svg")
        row = next(line for line in lines if line.startswith("| texts/s, against sorted"))
        assert row.endswith(f"| {ours:.2f} | 1.5 | {met} |")


def test_the_kept_report_is_that_of_the_kept_figures(
    figures: dict[str, Any], tmp_path: Path
) -> None:
    write(figures, tmp_path / "sonar.md")
    kept = (RESULTS / "sonar.md").read_text()
    assert kept.startswith((tmp_path / "sonar.md").read_text())
    drawing = (tmp_path / "sonar.svg").read_text()
    assert drawing == (RESULTS / "sonar.svg").read_text()
    assert ElementTree.fromstring(drawing).tag.endswith("svg")


@pytest.mark.parametrize("page", ["docs/figures.md", "docs/sonar.md"])
def test_the_pages_quote_the_kept_figures(figures: dict[str, Any], page: str) -> None:
    found = {one.what: one for one in ratios(figures)}
    text = (RESULTS.parents[1] / page).read_text()
    single, loop, ordered, sound, alone, alone_ordered = (
        found[what]
        for what in (
            "one question of 5 s, ms",
            "texts/s, against a loop in order",
            "texts/s, against sorted batches",
            "speech s/s, from sound",
            "from features, against a loop",
            "from features, against sorted",
        )
    )
    rows = [
        ["one spoken question of 5 s", f"{single.ours:.1f} ms", f"{single.theirs:.1f} ms", ""],
        ["texts per second", f"{loop.ours:,.0f}",
         f"{loop.theirs:,.0f} (ours {loop.times:.1f} times as fast)",
         f"{ordered.theirs:,.0f} ({ordered.times:.2f} times)"],
        ["seconds of speech per second, from sound", f"{sound.ours:,.0f}",
         f"{sound.theirs:,.0f} ({sound.times:.1f} times)", ""],
        ["the same, encoder only", f"{alone.ours:,.0f}",
         f"{alone.theirs:,.0f} ({alone.times:.2f} times)",
         f"{alone_ordered.theirs:,.0f} ({alone_ordered.times:.2f} times)"],
    ]  # fmt: skip
    for row in rows:
        assert re.search(r" *\| *".join(["", *map(re.escape, row), ""]), text), row


def test_rows_that_are_all_alike_have_no_gap() -> None:
    rows = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    assert encoders.least_gap(rows) > 0.05
    assert encoders.least_gap(np.concatenate((rows, 3 * rows[:1]))) < 1e-6


def test_further_runs_stand_beside_the_first(
    figures: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures.pop("controls", None)
    other = {**figures, "device": "another", "dtype": "float32"}
    for name, run in (("one.json", figures), ("two.json", other)):
        (tmp_path / name).write_text(json.dumps(run))
    files = [str(tmp_path / name) for name in ("one.json", "two.json")]
    monkeypatch.setattr(sys, "argv", ["encoders", "--out", str(tmp_path), "--from", *files])
    encoders.main()
    assert "| another, float32 | speech" in (tmp_path / "sonar.md").read_text()
    assert json.loads((tmp_path / "sonar.json").read_text())["controls"] == [other]

"""The figures of the documentation are those of the saved runs."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from scripts import evaluation_page
from voicerag_core.evaluation.datasets import SETS
from voicerag_core.evaluation.runs import RunFolder


@pytest.mark.parametrize("path", evaluation_page.PAGES, ids=lambda path: path.name)
def test_the_figures_of_a_page_are_those_of_the_saved_runs(path: Path) -> None:
    page = path.read_text("utf-8")
    assert evaluation_page.written(page) == page, "run: python scripts/evaluation_page.py"
    assert len(re.findall("<!-- end -->", page)) >= 3


def test_a_block_may_show_some_rows() -> None:
    block = "<!-- {}: Is a right passage among the first?{} -->\n<!-- end -->"
    whole = evaluation_page.written(block.format("xquad", "")).splitlines()
    some = evaluation_page.written(
        block.format("xquad", " | asked: typed, clean | strategy: text, hybrid")
    ).splitlines()
    assert [line for line in whole[4:-2] if "| text |" in line or "| hybrid |" in line] == some[
        4:-2
    ]
    with pytest.raises(ValueError, match="no row"):
        evaluation_page.written(block.format("xquad", " | set: nowhere"))


def test_a_block_may_count_seen_questions_too() -> None:
    block = "<!-- figures: Is a right passage among the first? | {}set: rgb-en -->\n<!-- end -->"
    assert "| rgb-en | shared | clean | hybrid | 50 |" in evaluation_page.written(block.format(""))
    seen = evaluation_page.written(block.format("seen: yes | "))
    assert "| rgb-en | shared | clean | hybrid | 100 |" in seen


def test_hybrid_is_nowhere_below_a_leg() -> None:
    title = "Differences between strategies, percentage points"
    for run in ("figures", "xquad"):
        block = f"<!-- {run}: {title} | strategy: hybrid - e2e, hybrid - asr -->\n<!-- end -->"
        rows = evaluation_page.written(block)
        pairs = [line.split(" | ") for line in rows.splitlines() if line.startswith("| ")][2:]
        assert len(pairs) >= 2
        below = [pair[:4] for pair in pairs if re.search(r", -[\d.]+\]", " ".join(pair[5:7]))]
        assert not below
    told = evaluation_page.PAGES[0].read_text("utf-8")
    assert "`hybrid` is not below the better of its legs beyond the interval on any set" in told


def test_saved_runs_hold_no_texts_and_no_paths() -> None:
    for folder in evaluation_page.RUNS.iterdir():
        if folder.is_dir():
            assert RunFolder(folder).records()
            for file in folder.iterdir():
                data = file.read_bytes()
                text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8")
                assert not re.search(r'"/\w+/', text), file
    assert isinstance(evaluation_page.RUNS, Path)


def test_the_page_says_of_every_set_what_saw_it() -> None:
    page = evaluation_page.PAGES[0].read_text("utf-8")
    told = page[page.index("## What training has seen") :]
    for name in SETS:
        assert f"`{name}`" in told, name

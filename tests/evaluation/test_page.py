"""The figures of the documentation are those of the saved runs."""

from __future__ import annotations

import gzip
import re
from math import comb
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


def test_where_hybrid_falls_below_a_leg_is_said() -> None:
    block = "<!-- figures: Differences between strategies, percentage points{} -->\n<!-- end -->"
    rows = evaluation_page.written(block.format(" | strategy: hybrid - e2e, hybrid - asr"))
    pairs = [line.split(" | ") for line in rows.splitlines() if line.startswith("| ")][2:]
    below = [[re.search(r", -[\d.]+\]", cell) for cell in pair[5:7]] for pair in pairs]
    told = evaluation_page.PAGES[0].read_text("utf-8")
    assert f"of its {len(pairs)} comparisons" in told
    assert f"{sum(bool(first) for first, _ in below)} intervals of R@1 lie below zero" in told
    assert not any(ten for _, ten in below)


def test_what_lies_below_a_leg_rests_on_few_questions() -> None:
    told = evaluation_page.PAGES[0].read_text("utf-8")
    records = RunFolder(evaluation_page.RUNS / "figures").records()
    chances = []
    for store, form, leg in (("shared", "clean", "asr"), ("shared", "telephone", "asr"),
                             ("own", "clean", "e2e")):  # fmt: skip
        first = {
            (one.question, one.strategy): bool(one.found) and one.found[0] in one.sources
            for one in records
            if (one.set, one.store, one.form, one.development) == ("rgb-en", store, form, False)
        }
        asked = {question for question, _ in first}
        ahead = [first[one, "hybrid"] - first[one, leg] for one in asked]
        better, worse = ahead.count(1), ahead.count(-1)
        assert (better, worse) in ((0, 4), (1, 8))
        pairs = better + worse
        chances.append(2 * sum(comb(pairs, one) for one in range(better + 1)) / 2**pairs)
    assert "give {:.3f}, {:.3f} and {:.3f}".format(*chances) in told


def test_with_one_hearing_of_a_clip_a_single_interval_lies_below() -> None:
    title = "Differences between strategies, percentage points"
    block = f"<!-- rgb: {title} | strategy: hybrid - e2e, hybrid - asr -->\n<!-- end -->"
    rows = [line.split(" | ") for line in evaluation_page.written(block).splitlines()[4:-2]]
    below = [row[1:4] for row in rows if re.search(r", -[\d.]+\]", "".join(row[5:7]))]
    assert below == [["shared", "clean", "hybrid - asr"]]
    assert "one is left" in evaluation_page.PAGES[0].read_text("utf-8")


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

"""Tables, the page, comparisons and exports."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.evaluation.conftest import tone
from voicerag_core import ConfigError, write_wav
from voicerag_core.evaluation.judging import agreement, judged, shows_gold
from voicerag_core.evaluation.report import EXPORTS, compared_runs, exported, page, tables
from voicerag_core.evaluation.report.page import worst
from voicerag_core.evaluation.runs import Record, RunConfig


def record(
    question: str, strategy: str = "asr", found: tuple[str, ...] = ("a",), **more: object
) -> Record:
    values: dict[str, object] = {
        "text": f"<b>who</b> {question}", "sources": ("a",), "answers": ("Ada",),
        "measures": {"f1": 1.0, "contained": 1.0, "wrong": 1, "units": 4},
        "clip_seconds": 2.0, "seconds": 0.5, "timings": {"search": 0.01}, "answer": "Ada",
        "shown": ("Ada wrote it.",), "scores": (0.5,), **more,
    }  # fmt: skip
    return Record("s", "shared", question, "clean", strategy, found=found, **values)  # type: ignore[arg-type]


class Loads(HTMLParser):
    """Collects what a page loads, and whether its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "path", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        while self.open.pop() != tag:
            raise AssertionError(f"{tag} closes nothing")


def test_the_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    write_wav(tmp_path / "q.wav", tone(1))
    bad = record("lost", found=("b",), clip=str(tmp_path / "q.wav"), heard="<i>ho</i>")
    text = page([record("q1"), bad], RunConfig(), {"stack": "local"}, {"s": {"problems": ["<p>"]}})
    parser = Loads()
    parser.feed(text)
    assert not parser.open
    assert parser.loaded
    assert all(one.startswith("data:audio/wav;base64,") for one in parser.loaded)
    assert "&lt;i&gt;ho" in text
    assert "<i>ho" not in text


def test_a_page_says_what_its_figures_are_worth() -> None:
    assert "mean nothing" in page([record("q")], RunConfig(tiny=True), {}, {})
    assert "cut to 60" in page([record("q")], RunConfig(passages=60), {}, {})
    assert "Nothing has been asked" in page([], RunConfig(), {}, {})


def test_the_worst_come_first_and_each_question_once() -> None:
    records = [
        record("fine"),
        record("wrong answer", measures={"f1": 0.2}),
        record("missed", found=("b",)),
        record("missed", "e2e", found=("c",)),
        record("deaf", refused="no speech was heard", found=()),
        record("invented", answerable=False, sources=(), answered=True, measures={}),
    ]
    assert [one.question for one in worst(records)] == [
        "deaf",
        "missed",
        "invented",
        "wrong answer",
    ]


def test_the_tables_hold_what_was_worked_out() -> None:
    records = [record("q1"), record("q2", found=("b", "a")), record("q1", "e2e", found=())]
    by_title = {table.title: table for table in tables(records)}
    lines = by_title["Is a right passage among the first?"].lines
    assert [line[3:6] for line in lines] == [
        ("asr", "2", "0.500 [0.000, 1.000]"), ("e2e", "1", "0.000 [0.000, 0.000]")
    ]  # fmt: skip
    (words, *_) = by_title["Word errors (Chinese: character errors)"].lines
    assert words[5] == "25.0 %"
    (times, *_) = by_title["From the end of the sound to the hits"].lines
    assert times[5:] == ("500", "500", "500", "0.25")
    (told,) = by_title["Differences between strategies, percentage points"].lines
    assert told[3:5] == ("e2e - asr", "1")


def test_a_comparison_is_paired() -> None:
    before = [record(str(n), found=("b",) if n < 5 else ("a",)) for n in range(10)]
    after = [record(str(n)) for n in range(10)]
    (line,) = compared_runs(before, after).lines
    assert line[:5] == ("s", "shared", "clean", "asr", "10")
    assert line[5].startswith("+50.0 [")
    with pytest.raises(ConfigError, match="no question in the same way"):
        compared_runs(before, [record("q", "hybrid")])


def test_bare_records_hold_no_texts_and_give_the_same_figures() -> None:
    records = [record("q1", heard="who"), record("q2", found=("b",))]
    lines = list(exported(records, "bare"))
    assert not any("Ada" in line or "who" in line for line in lines)
    kept = [Record(**json.loads(line)) for line in lines]
    assert [table.lines for table in tables(kept)] == [table.lines for table in tables(records)]


@pytest.mark.parametrize("tool", [one for one in EXPORTS if one != "bare"])
def test_exports_are_json_lines(tool: str) -> None:
    (line,) = exported([record("q1")], tool)
    assert "Ada wrote it." in line
    assert json.loads(line)


def test_ragas_gets_its_columns_and_others_are_refused() -> None:
    (line,) = exported([record("q1")], "ragas")
    assert set(json.loads(line)) == {"user_input", "retrieved_contexts", "response", "reference"}
    with pytest.raises(ConfigError, match="ragas, langsmith, phoenix, bare"):
        list(exported([], "excel"))


def test_a_judge_sees_the_gold_of_half_and_is_measured_on_the_other() -> None:
    asked: list[str] = []

    def chat(messages: list[object]) -> str:
        asked.append(messages[-1].content)  # type: ignore[attr-defined]
        return 'Well: {"faithful": 4, "good": 3}'

    records = [record(f"q{n}", measures={"contained": float(n < 8)}) for n in range(10)]
    done = [judged(one, chat) for one in records]  # type: ignore[arg-type]
    shown = ["The right answer: Ada" in text for text in asked]
    assert shown == [shows_gold(one) for one in records]
    assert 0 < sum(shown) < 10
    assert done[0].judged == {"faithful": 1.0, "good": 0.75}
    told = agreement(done)
    assert told is not None
    assert told.count == 10 - sum(shown)
    assert told.share == pytest.approx(4 / 5)
    assert told.kappa == pytest.approx(0.0), "always yes agrees no more than chance"
    assert not judged(records[0], lambda _: "fine").judged, "a judge may write no marks"
    told_page = page(done, RunConfig(sets=("xquad-en",)), {}, {})
    assert "You judge the answer" in told_page
    assert f"0.800 of {told.count} answers" in told_page

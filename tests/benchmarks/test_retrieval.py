"""The figures of the retrieval benchmark, and the clips it makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.speech.retrieval_figures import (
    MISSED,
    Outcome,
    by_item,
    difference,
    estimate,
    plot,
    reciprocal,
    within,
)
from benchmarks.speech.retrieval_report import report, shown_arguments
from benchmarks.speech.spoken_sets import (
    NOISE_LEVELS,
    Voice,
    report_questions,
    speak,
    spoiled,
)
from voicerag_core.evaluation.speech.degrading import add_noise, telephone
from voicerag_core.types import Audio

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicerag_core.types import Samples

RATE = 16_000


def tone(hertz: float, seconds: float = 1.0) -> Samples:
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.2 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def outcome(route: str, item: str = "q", rank: int = 0, *, voice: str = "new/voice") -> Outcome:
    return Outcome("XQuAD", voice, "clean", item, route, rank, 5.0, 0.1, 0.2)


def test_a_question_counts_once_however_many_voices_ask_it() -> None:
    outcomes = [outcome("e2e", "a", rank) for rank in (0, 0, MISSED, MISSED)]
    outcomes.append(outcome("e2e", "b", 9))
    assert by_item(outcomes, within(1)) == {"a": 0.5, "b": 0.0}
    assert by_item(outcomes, reciprocal) == {"a": 0.5, "b": 0.1}
    assert by_item(outcomes, within(10))["b"] == 1.0


def test_the_interval_is_as_wide_as_the_binomial_one() -> None:
    found = estimate([1.0] * 80 + [0.0] * 20)
    width = 1.96 * np.sqrt(0.8 * 0.2 / 100)
    assert found.mean == pytest.approx(0.8)
    assert found.low == pytest.approx(0.8 - width, abs=0.015)
    assert found.high == pytest.approx(0.8 + width, abs=0.015)


def test_a_difference_is_paired() -> None:
    hard = {str(i): float(i % 2) for i in range(40)}
    behind = difference((1.0, hard), (-1.0, hard))
    assert (behind.mean, behind.low, behind.high) == (0.0, 0.0, 0.0)
    shifted = dict.fromkeys(hard, 1.0) | {"only here": 0.0}
    assert difference((1.0, shifted), (-1.0, hard)).mean == pytest.approx(0.5)


@pytest.mark.parametrize("level", NOISE_LEVELS)
def test_noise_is_as_loud_as_asked(level: int) -> None:
    speech = tone(300)
    noise = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    added = add_noise(speech, noise, level, np.random.default_rng(1)) - speech
    ratio = 10 * np.log10(np.mean(speech**2) / np.mean(added**2))
    assert ratio == pytest.approx(level, abs=0.05)


def test_the_telephone_passes_its_band_alone() -> None:
    def through(hertz: float) -> float:
        loudness = np.mean(telephone(tone(hertz) + tone(1000)) ** 2)
        return float(loudness / np.mean(telephone(tone(1000)) ** 2))

    assert through(2000) == pytest.approx(2, abs=0.1)
    assert through(200) == pytest.approx(1, abs=0.1)
    assert through(5000) == pytest.approx(1, abs=0.1)
    error = telephone(tone(1000)) - tone(1000)
    assert 0 < np.mean(error**2) < 1e-3 * np.mean(tone(1000) ** 2)


def test_a_question_is_spoken_once(tmp_path: Path) -> None:
    said: list[str] = []

    @contextmanager
    def opened() -> Iterator[Callable[[str], Audio]]:
        def say(text: str) -> Audio:
            said.append(text)
            return Audio(tone(100 + len(text)), RATE)

        yield say

    voice = Voice("test/voice", trained=False, open=opened)
    items = report_questions(3)
    first = speak(items, voice, tmp_path)
    again = speak(items[:2], voice, tmp_path)
    assert len(said) == 3
    assert [clip.audio for clip in again] == [clip.audio for clip in first[:2]]
    assert float(np.abs(first[0].audio.samples).max()) == pytest.approx(0.25, abs=0.01)
    assert [clip.condition for clip in spoiled(first, None)] == ["telephone"] * 3


def test_the_report_half_alone_is_asked() -> None:
    items = report_questions(10_000)
    assert len(items) == 603
    assert items[:5] == report_questions(5)


def run(missed: int) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for number in range(20):
        for route in ("e2e", "asr", "hybrid", "adaptive"):
            rank = MISSED if route == "e2e" and number < missed else 0
            seconds = {"e2e": 0.1, "adaptive": 0.2}.get(route, 0.5)
            one = replace(outcome(route, str(number), rank), vector_seconds=seconds)
            outcomes.append(replace(one, seconds=seconds))
            if route in ("e2e", "asr"):
                outcomes += [replace(one, condition=c) for c in ("10 dB", "telephone")]
                outcomes.append(replace(one, set="people", group="people", words=4, errors=1))
    return outcomes


def test_the_report_tells_a_cleared_bar_from_a_missed_one() -> None:
    good = report(run(0), {"new/voice": False}, seconds=60, plot_name="a.svg")[0]
    assert "**no**" not in good
    bad = report(run(5), {"new/voice": False}, seconds=60, plot_name="a.svg")[0]
    missed = [line.split("|")[1].strip() for line in bad.splitlines() if "**no**" in line]
    assert missed == [
        "voices never trained on: R@10 within 3 points of asr",
        "voices never trained on: R@1 within 5 points of asr",
        "people: at least 90 % of asr's first places",
    ]
    assert "| new/voice, never trained on | e2e | 20 | 0.750 [" in bad
    assert "| people | e2e | 20 | 0.750 [" in bad
    assert "25.0 %" in bad
    unsure = report(run(2), {"new/voice": False}, seconds=60, plot_name="a.svg")[0]
    assert "| -10.0 [-25.0, +0.0] | **no** |" in unsure


def test_the_plot_is_svg_with_every_point() -> None:
    lines = {("e2e", "R@10"): [estimate([1.0, 0.0])] * 2, ("asr", "R@1"): [estimate([1.0])] * 2}
    root = ElementTree.fromstring(plot("a < b", ["clean", "10 dB"], lines))
    assert root.tag.endswith("svg")
    assert len(root.findall(".//{*}circle")) == 4


def test_folders_of_this_machine_are_not_in_the_report() -> None:
    given = ["--clips", "/home/me/clips", "--limit", "3"]
    assert shown_arguments(given) == ["--clips", "FOLDER", "--limit", "3"]

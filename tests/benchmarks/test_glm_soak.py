"""The calls of the soak of GLM-4-Voice, and what its report says of them."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.glm.callers import Call, Reply
from benchmarks.glm.many_callers.engine import Scale
from benchmarks.glm.many_callers.report import report
from benchmarks.glm.many_callers.soak import Plan, mixed_calls, slowest

KEPT = Path(__file__).parents[2] / "benchmarks" / "results" / "glm_many_callers.json"


def what(call: Call) -> tuple[object, ...]:
    """Return all of a call but when it comes, its seed, and how it is sampled."""
    return (
        call.question_seconds, call.passages, call.reply_seconds, call.leaves_after, call.hangs_up,
    )  # fmt: skip


@pytest.mark.parametrize("ramp", [0.0, 30.0, 70.0])
def test_the_same_calls_come_in_each_third_and_before(ramp: float) -> None:
    plan = Plan(90.0, ramp)
    calls = mixed_calls(Scale(), plan)
    assert [call.at for call in calls] == sorted(call.at for call in calls)
    assert len({call.seed for call in calls}) == len(calls)
    thirds = [[call for call in calls if plan.of_third(call) == third] for third in range(3)]
    assert len(thirds[0]) > 30
    for one, other in pairwise(thirds):
        assert list(map(what, one)) == list(map(what, other))
        later = [b.at - a.at for a, b in zip(one, other, strict=True)]
        assert later == pytest.approx([plan.third] * len(later))
    before = [call for call in calls if plan.of_third(call) == -1]
    assert len(before) + sum(map(len, thirds)) == len(calls)
    tail = (thirds[0] * 3)[3 * len(thirds[0]) - len(before) :]
    assert list(map(what, before)) == list(map(what, tail))


def test_calls_that_are_all_drawn_differ_from_third_to_third() -> None:
    plan = Plan(90.0, 30.0, "random")
    calls = mixed_calls(Scale(), plan)
    assert all(0 <= call.at < 120 for call in calls)
    first, last = ([what(c) for c in calls if plan.of_third(c) == n] for n in (0, 2))
    assert not set(first) & set(last)


def test_what_the_slowest_calls_have_in_common_is_said(tmp_path: Path) -> None:
    times = [(0.0, 0.2), (5.0, 0.4), (5.1, 0.5), (5.2, 0.3), (9.0, None)]
    replies = [Reply(Call(n, at), first_audio=first) for n, (at, first) in enumerate(times)]
    for reply in replies:
        reply.done = 6.0
    found = slowest(replies)
    assert [one["first_audio_ms"] for one in found["calls"]] == [500, 400, 300, 200]
    assert [one["near"] for one in found["calls"]] == [2, 2, 2, 0]
    assert [one["written"] for one in found["calls"]] == [2, 1, 3, 0]
    assert found["median"]["first_audio_ms"] == 350

    figures = json.loads(KEPT.read_text(encoding="utf-8"))
    plain = copy.deepcopy(figures)  # as figures were before soaks had a ramp
    for name in ("soak_seconds", "ramp_seconds", "soak_arrivals"):
        del plain["command"][name]
    for name in ("ramp_seconds", "arrivals", "slowest", "p95_last_third_to_first_with_ramp"):
        del plain["soak"][name]
    figures["command"] |= {"soak_seconds": 90.0, "ramp_seconds": 30.0, "soak_arrivals": "repeated"}
    figures["soak"] |= {
        "ramp_seconds": 30.0, "arrivals": "repeated", "slowest": found,
        "p95_last_third_to_first": 1.03, "p95_last_third_to_first_with_ramp": 1.27,
    }  # fmt: skip
    report(tmp_path / "a.md", figures)
    text = " ".join((tmp_path / "a.md").read_text(encoding="utf-8").split())
    assert "--soak-seconds 90 --ramp-seconds 30 --soak-arrivals repeated" in text
    assert "| soak, p95 of the last third to the first <= 1.2 | 1.03 | yes |" in text
    assert "the last third to the first: 1.03; of thirds of the whole time" in text
    assert "included: 1.27." in text
    assert "| at 5.1 s | 500.0 | 2 | 2 |" in text
    report(tmp_path / "b.md", plain)
    assert "--soak-seconds" not in (tmp_path / "b.md").read_text(encoding="utf-8")

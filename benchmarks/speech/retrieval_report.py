"""The report of `retrieval.py`: tables, the targets of the speech encoder, and a plot."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.speech.retrieval_figures import (
    Estimate,
    Outcome,
    by_item,
    difference,
    estimate,
    plot,
    quantiles,
    reciprocal,
    within,
)
from benchmarks.speech.spoken_sets import CLEAN, NOISE_LEVELS, TELEPHONE
from voicerag_core.retrieval import STRATEGIES

__all__ = ["report", "sweep"]

FIVE_SECONDS = (4.5, 5.5)
"""Clips that count as 5 s long."""
CONDITIONS = (CLEAN, *(f"{level} dB" for level in NOISE_LEVELS), TELEPHONE)
CUTS = (1, 5, 10)
COMPARED = ("e2e", "asr")
OWN_FOLDERS = ("--voices", "--clips", "--records")


def routes_of(outcomes: Iterable[Outcome]) -> list[str]:
    present = {one.route for one in outcomes}
    return [route for route in STRATEGIES if route in present]


def by(outcomes: Iterable[Outcome], route: str) -> list[Outcome]:
    return [one for one in outcomes if one.route == route]


def share(outcomes: Iterable[Outcome], cut: int) -> Estimate:
    return estimate(list(by_item(outcomes, within(cut)).values()))


def ahead(outcomes: Sequence[Outcome], one: str, other: str, cut: int) -> Estimate:
    """Return the difference in recall of two routes on the same clips."""
    score = within(cut)
    return difference(
        (1.0, by_item(by(outcomes, one), score)), (-1.0, by_item(by(outcomes, other), score))
    )


def loss_ahead(clean: Sequence[Outcome], noisy: Sequence[Outcome], cut: int) -> Estimate:
    """Return how much more recall e2e loses under a condition than asr, on the same questions."""
    score = within(cut)
    return difference(
        (1.0, by_item(by(clean, "e2e"), score)),
        (-1.0, by_item(by(noisy, "e2e"), score)),
        (-1.0, by_item(by(clean, "asr"), score)),
        (1.0, by_item(by(noisy, "asr"), score)),
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return [*lines, ""]


def sweep(outcomes: Iterable[Outcome], group: str) -> str:
    """Summarize a group in one line during the run."""
    own = [one for one in outcomes if one.group == group and one.condition == CLEAN]
    return "; ".join(
        f"{route} R@1 {share(by(own, route), 1).mean:.3f} R@10 {share(by(own, route), 10).mean:.3f}"
        for route in routes_of(own)
    )


def voice_groups(
    xquad: Sequence[Outcome], trained: dict[str, bool]
) -> Iterator[tuple[str, list[Outcome]]]:
    for heard, name in ((False, "never trained on"), (True, "trained on")):
        voices = [voice for voice, value in trained.items() if value is heard]
        groups = [(f"{voice}, {name}", {voice}) for voice in voices]
        if len(voices) > 1:
            groups.append((f"**all {len(voices)} {name}**", set(voices)))
        for label, members in groups:
            yield label, [o for o in xquad if o.group in members and o.condition == CLEAN]


def voices_table(xquad: Sequence[Outcome], trained: dict[str, bool]) -> list[str]:
    rows = []
    for label, outcomes in voice_groups(xquad, trained):
        for route in routes_of(outcomes):
            own = by(outcomes, route)
            mrr = estimate(list(by_item(own, reciprocal).values()))
            figures = [str(share(own, cut)) for cut in CUTS]
            rows.append([label, route, str(len(own)), *figures, str(mrr)])
    head = ["voice", "route", "clips", *(f"R@{cut}" for cut in CUTS), "MRR"]
    rows_ahead = [
        [label, *(ahead(outcomes, "e2e", "asr", cut).points() for cut in CUTS)]
        for label, outcomes in voice_groups(xquad, trained)
    ]
    return [
        "## XQuAD, 240 paragraphs, clean",
        "",
        *table(head, rows),
        "e2e minus asr, in percentage points, paired by question:",
        "",
        *table(["voice", *(f"R@{cut}" for cut in CUTS)], rows_ahead),
    ]


def held_out(xquad: Iterable[Outcome], trained: dict[str, bool]) -> dict[str, list[Outcome]]:
    """Return the outcomes in voices never trained on, by condition, over the degraded questions."""
    unheard = [one for one in xquad if not trained[one.group]]
    items = {one.item for one in unheard if one.condition == TELEPHONE}
    return {
        condition: kept
        for condition in CONDITIONS
        if (kept := [o for o in unheard if o.condition == condition and o.item in items])
    }


def conditions_table(conditions: dict[str, list[Outcome]]) -> list[str]:
    rows = []
    for condition, outcomes in conditions.items():
        row = [condition, str(len(by(outcomes, "e2e")))]
        for cut in (1, 10):
            row += [str(share(by(outcomes, route), cut)) for route in COMPARED]
            row.append(loss_ahead(conditions[CLEAN], outcomes, cut).points())
        row += [f"{sum(o.refused for o in by(outcomes, route))}" for route in COMPARED]
        rows.append(row)
    head = ["condition", "clips", "e2e R@1", "asr R@1", "e2e loses more, points", "e2e R@10",
            "asr R@10", "e2e loses more, points", "e2e refused", "asr refused"]  # fmt: skip
    return [
        "## Noise and telephone, voices never trained on",
        "",
        "Recorded noise of three kinds that the training leaves alone; the telephone is a band of",
        "300 to 3,400 Hz in 8-bit mu-law. Refused: no speech heard, counted as not found.",
        "",
        *table(head, rows),
    ]


def texts_table(sets: dict[str, list[Outcome]]) -> list[str]:
    rows = []
    for name, outcomes in sets.items():
        for route in COMPARED:
            own = by(outcomes, route)
            mrr = estimate(list(by_item(own, reciprocal).values()))
            rate = sum(one.errors for one in own) / sum(one.words for one in own)
            rows.append(
                [name, route, str(len(own)), str(share(own, 1)), str(mrr), f"{100 * rate:.1f} %"]
            )
    if not rows:
        return []
    return [
        "## The nearest of the set's own texts",
        "",
        "Word errors of e2e are those of its best guess, before any decoder; digits are compared",
        "as digits.",
        "",
        *table(["set", "route", "clips", "first", "MRR", "word errors"], rows),
    ]


def strategies_table(unheard: Sequence[Outcome]) -> list[str]:
    rows = []
    for route in routes_of(unheard):
        own = by(unheard, route)
        p50, p95 = quantiles(one.seconds for one in own)
        mean = sum(one.seconds for one in own) / len(own)
        asked = sum(one.transcribed for one in own) / len(own)
        rows.append(
            [route, *(str(share(own, cut)) for cut in CUTS), f"{1000 * mean:.0f}",
             f"{1000 * p50:.0f}", f"{1000 * p95:.0f}", f"{100 * asked:.0f} %"]
        )  # fmt: skip
    head = ["strategy", *(f"R@{cut}" for cut in CUTS), "mean ms", "p50 ms", "p95 ms",
            "transcribed"]  # fmt: skip
    return [
        "## Strategies, voices never trained on, clean",
        "",
        "Times are from the end of the sound to the hits.",
        "",
        *table(head, rows),
    ]


def times_table(outcomes: Sequence[Outcome]) -> list[str]:
    rows = []
    for name, kept in time_groups(outcomes):
        (e50, e95), (a50, a95) = speech_to_vector(kept)
        rows.append(
            [name, str(len(by(kept, "e2e"))), f"{1000 * e50:.0f} / {1000 * e95:.0f}",
             f"{1000 * a50:.0f} / {1000 * a95:.0f}", f"{a50 / e50:.1f} / {a95 / e95:.1f}"]
        )  # fmt: skip
    return [
        "## Speech to vector, p50 / p95",
        "",
        *table(["clips", "number", "e2e ms", "asr ms", "times faster"], rows),
    ]


def time_groups(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, list[Outcome]]]:
    clean = [o for o in outcomes if o.condition == CLEAN and o.route in COMPARED]
    yield "all clean", clean
    low, high = FIVE_SECONDS
    five = [one for one in clean if low <= one.clip_seconds <= high]
    if five:
        yield f"of {low} to {high} s", five


def speech_to_vector(outcomes: Sequence[Outcome]) -> list[tuple[float, float]]:
    return [quantiles(one.vector_seconds for one in by(outcomes, route)) for route in COMPARED]


def bars(
    outcomes: Sequence[Outcome], unheard: Sequence[Outcome], sets: dict[str, list[Outcome]],
    conditions: dict[str, list[Outcome]],
) -> Iterator[tuple[str, str, bool]]:  # fmt: skip
    """Yield each target with its figure and whether the figure, not its interval, reaches it."""
    for cut, most in ((10, 3), (1, 5)):
        behind = ahead(unheard, "e2e", "asr", cut)
        yield (f"voices never trained on: R@{cut} within {most} points of asr",
               f"{behind.points()}", behind.mean >= -most / 100)  # fmt: skip
    for name, kept in sets.items():
        ratio = share(by(kept, "e2e"), 1).mean / max(share(by(kept, "asr"), 1).mean, 1e-9)
        yield f"{name}: at least 90 % of asr's first places", f"{100 * ratio:.1f} %", ratio >= 0.9
    for cut in (1, 10) if "10 dB" in conditions else ():
        more = loss_ahead(conditions[CLEAN], conditions["10 dB"], cut)
        yield (f"noise at 10 dB: R@{cut} falls at most 3 points more than asr's",
               more.points(), more.mean <= 0.03)  # fmt: skip
    groups = dict(time_groups(outcomes))
    for name, kept in groups.items():
        (e50, e95), (a50, a95) = speech_to_vector(kept)
        if name == "all clean":
            yield ("speech to vector at least 4 times faster, p50 and p95",
                   f"{a50 / e50:.1f}, {a95 / e95:.1f}", min(a50 / e50, a95 / e95) >= 4)  # fmt: skip
        else:
            yield ("under 150 ms for a question of 5 s, p50", f"{1000 * e50:.0f} ms", e50 < 0.15)
    for cut in (1, 10):
        best = max(COMPARED, key=lambda route: share(by(unheard, route), cut).mean)
        gap = ahead(unheard, "hybrid", best, cut)
        yield (f"hybrid not below {best} beyond its interval, R@{cut}", gap.points(), gap.high >= 0)
        near = ahead(unheard, "adaptive", "hybrid", cut)
        yield f"adaptive within 1 point of hybrid, R@{cut}", near.points(), near.mean >= -0.01
    spent = {
        route: sum(one.seconds for one in by(unheard, route)) for route in ("adaptive", "hybrid")
    }
    part = spent["adaptive"] / spent["hybrid"]
    yield "adaptive in at most 60 % of hybrid's mean time", f"{100 * part:.0f} %", part <= 0.6


def shown_arguments(given: Sequence[str]) -> list[str]:
    """Return the arguments without local folders."""
    before = ("", *given)
    return ["FOLDER" if before[i] in OWN_FOLDERS else given[i] for i in range(len(given))]


def drawing(conditions: dict[str, list[Outcome]]) -> str:
    lines = {
        (route, f"R@{cut}"): [share(by(kept, route), cut) for kept in conditions.values()]
        for cut in (10, 1)
        for route in COMPARED
    }
    return plot("Right paragraph found, voices never trained on", list(conditions), lines)


def report(
    outcomes: Sequence[Outcome], trained: dict[str, bool], *, seconds: float, plot_name: str
) -> tuple[str, str]:
    """Return the report in Markdown, and its plot in SVG."""
    xquad = [one for one in outcomes if one.set == "XQuAD"]
    unheard = [o for o in xquad if o.condition == CLEAN and not trained[o.group]]
    sets: dict[str, list[Outcome]] = {}
    for one in outcomes:
        if one.set != "XQuAD":
            sets.setdefault(one.set, []).append(one)
    conditions = held_out(xquad, trained)
    questions = len({one.item for one in unheard})
    met = [
        [bar, figure, "yes" if cleared else "**no**"]
        for bar, figure, cleared in bars(outcomes, unheard, sets, conditions)
    ]
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    run = f"{seconds / 60:.0f} minutes, load average {os.getloadavg()[2]:.1f} at the end"
    lines = [
        "# Retrieval from speech: without a transcript and with one",
        "",
        f"{time.strftime('%Y-%m-%d')}, {where}, {run}. Command:",
        "",
        f"    python -m benchmarks.speech.retrieval {shlex.join(shown_arguments(sys.argv[1:]))}",
        "",
        f"{questions} questions of XQuAD's report half in each voice. In brackets 95 % intervals:",
        "the questions drawn again with replacement, all clips of a question together.",
        "",
        *table(["bar", "figure", "met"], met),
        *voices_table(xquad, trained),
        *conditions_table(conditions),
        f"![recall by condition]({plot_name})",
        "",
        *texts_table(sets),
        *strategies_table(unheard),
        *times_table(outcomes),
    ]
    return "\n".join(lines).rstrip() + "\n", drawing(conditions)

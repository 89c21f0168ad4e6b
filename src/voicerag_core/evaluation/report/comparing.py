"""Two runs, question by question."""

from __future__ import annotations

from collections.abc import Sequence

from voicerag_core.errors import ConfigError
from voicerag_core.evaluation.metrics.intervals import compared
from voicerag_core.evaluation.report.figures import counted, grouped, question_scores
from voicerag_core.evaluation.report.tables import Table
from voicerag_core.evaluation.runs.records import Record

__all__ = ["compared_runs"]

NAMES = ("R@1", "R@10", "MRR", "all@4", "all@8", "f1", "contained")


def compared_runs(one: Sequence[Record], other: Sequence[Record]) -> Table:
    """Return how far the second run is ahead of the first, on what both have asked.

    Raises:
        ConfigError: They have no question in common.
    """
    before, after = grouped(counted(one)), grouped(counted(other))
    lines = []
    for group in before:
        if group not in after:
            continue
        scores = question_scores(before[group]), question_scores(after[group])
        cells, count = [], 0
        for name in NAMES:
            told = compared(scores[1].get(name, {}), scores[0].get(name, {}))
            count = max(count, 0 if told is None else told.questions)
            cells.append("" if told is None else f"{told.estimate.points()}, p {told.chance:.2f}")
        if count:
            lines.append((*group, str(count), *cells))
    if not lines:
        raise ConfigError("the two runs asked no question in the same way")
    return Table(
        "The second run minus the first, percentage points",
        ("set", "store", "asked", "strategy", "n", *NAMES),
        tuple(lines),
        "Paired by question, with 95 % bootstrap intervals.",
    )

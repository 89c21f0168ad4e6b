"""The figures of a run as tables of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from voicerag_core.evaluation.metrics.intervals import Estimate, compared
from voicerag_core.evaluation.report.figures import (
    STAGES,
    Row,
    counted,
    grouped,
    oracle,
    question_scores,
    rows,
    shuffled,
)
from voicerag_core.evaluation.runs.records import Record

__all__ = ["Table", "differences", "tables"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the report."""

    title: str
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    note: str = ""


def tables(records: Sequence[Record], *, seen: bool = False) -> list[Table]:
    """Return the tables of a report.

    Args:
        records: Of the run.
        seen: Whether questions count that training, thresholds or earlier development saw, where a
            set has others.
    """
    records = records if seen else counted(records)
    found = rows(records)
    return [
        table
        for table in (
            _retrieval(found), _hops(found), _answers(found), _speech(found), _times(found),
            _stages(found), differences(records), _controls(records),
        )
        if table.lines
    ]  # fmt: skip


def _told(row: Row) -> tuple[str, ...]:
    return (*row.group, str(row.questions))


HEAD = ("set", "store", "asked", "strategy", "n")


def _retrieval(found: Sequence[Row]) -> Table:
    names = ("R@1", "R@5", "R@10", "MRR", "nDCG@10")
    lines = [
        (*_told(row), *(str(row.scores[name]) for name in names), str(row.refused))
        for row in found
        if "R@1" in row.scores
    ]
    return Table(
        "Is a right passage among the first?", (*HEAD, *names, "not heard"), tuple(lines),
        "Means with 95 % bootstrap intervals over questions. 'Not heard' counts as not found.",
    )  # fmt: skip


def _hops(found: Sequence[Row]) -> Table:
    lines = [
        (*_told(row), str(row.scores["all@4"]), str(row.scores["all@8"]), _ms(row.mean_seconds))
        for row in found
        if "all@4" in row.scores
    ]
    return Table(
        "Are all needed passages among the first?",
        (*HEAD, "all among 4", "all among 8", "mean ms"),
        tuple(lines),
    )


def _answers(found: Sequence[Row]) -> Table:
    names = ("em", "f1", "contained", "contains_fake", "rouge_l_recall", "rouge_l_f1")
    judged = sorted({name for row in found for name in row.scores if name.startswith("judged ")})
    lines = [
        (
            *_told(row),
            *(_cell(row.scores.get(name)) for name in (*names, *judged)),
            _share(row.refusal_precision),
            _share(row.refusal_recall),
        )
        for row in found
        if any(name in row.scores for name in names) or row.refusal_recall is not None
    ]
    head = ("exact", "F1", "contained", "says the false", "ROUGE-L recall", "ROUGE-L F1")
    return Table(
        "Answers and their context",
        (*HEAD, *head, *judged, "refusals right", "of the unanswerable refused"),
        tuple(lines),
        "Contained, exact and F1 are of the questions that were answered, a refusal counting 0. "
        "ROUGE-L compares the hits that were read with the right passages.",
    )


def _speech(found: Sequence[Row]) -> Table:
    lines = [
        (*_told(row), _percent(row.words), _percent(row.spoken_words))
        for row in found
        if row.words is not None or row.spoken_words is not None
    ]
    return Table(
        "Word errors (Chinese: character errors)",
        (*HEAD, "of the transcripts", "of the spoken answers"),
        tuple(lines),
    )


def _times(found: Sequence[Row]) -> Table:
    lines = [
        (*_told(row), _ms(row.mean_seconds), _ms(row.seconds[0]), _ms(row.seconds[1]),
         "" if row.real_time is None else f"{row.real_time:.2f}")
        for row in found
    ]  # fmt: skip
    return Table(
        "From the end of the sound to the hits",
        (*HEAD, "mean ms", "p50 ms", "p95 ms", "real-time factor"),
        tuple(lines),
        "All questions count, none is left out as an outlier. A transcript that strategies share "
        "counts for each.",
    )


def _stages(found: Sequence[Row]) -> Table:
    shown = [stage for stage in STAGES if any(stage in row.stages for row in found)]
    lines = [
        (*_told(row), *(
            " / ".join(map(_ms, row.stages[stage])) if stage in row.stages else ""
            for stage in shown
        ))
        for row in found
    ]  # fmt: skip
    return Table("Stages, p50 / p95 in ms", (*HEAD, *shown), tuple(lines))


def differences(records: Sequence[Record]) -> Table:
    """Return how strategies differ, paired by question, within every set, store and form."""
    hops = any(one.all_sources for one in records)
    names = ("R@1", "R@10", *(("all@4", "all@8") if hops else ()))
    found: dict[tuple[str, str, str], dict[str, dict[str, dict[str, float]]]] = {}
    for (of, store, form, strategy), own in grouped(records).items():
        found.setdefault((of, store, form), {})[strategy] = question_scores(own)
    lines = []
    for place, by_strategy in found.items():
        known = list(by_strategy)
        for number, one in enumerate(known):
            for other in known[:number]:
                cells, count = [], 0
                for name in names:
                    told = compared(
                        by_strategy[one].get(name, {}), by_strategy[other].get(name, {})
                    )
                    count = max(count, 0 if told is None else told.questions)
                    cells.append(
                        "" if told is None else f"{told.estimate.points()}, p {told.chance:.2f}"
                    )
                if any(cells):
                    lines.append((*place, f"{one} - {other}", str(count), *cells))
    return Table(
        "Differences between strategies, percentage points",
        (*HEAD, *names),
        tuple(lines),
        "Paired by question, 95 % bootstrap intervals; p is two-sided, from the same resamples.",
    )


def _controls(records: Sequence[Record]) -> Table:
    lines = []
    for (of, store, form, strategy), own in grouped(records).items():
        if (
            form not in ("typed", "clean")
            or store != "shared"
            or not any(one.sources for one in own)
        ):
            continue
        if strategy not in ("text", "e2e", "asr"):
            continue
        cells = []
        for control in (shuffled(own), oracle(own)):
            scores = question_scores(control).get("R@1", {})
            cells.append(f"{fmean(scores.values()):.3f}" if scores else "")
        lines.append((of, store, form, strategy, str(len(own)), *cells))
    return Table(
        "Controls: R@1", (*HEAD, "right passages of other questions", "everything found"),
        tuple(lines),
        "The first stands near chance if nothing leaks, the second is 1 if scores are right. "
        "Questions of one passage keep the first above chance.",
    )  # fmt: skip


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"


def _cell(value: Estimate | None) -> str:
    return "" if value is None else str(value)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"

"""The figures of a run: one row for each set, store, form and strategy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Final

import numpy as np

from voicerag_core.evaluation.metrics.answers import refusals
from voicerag_core.evaluation.metrics.intervals import Estimate, compared, estimate, quantiles
from voicerag_core.evaluation.metrics.ranking import CUTS, found_all, ranking_scores
from voicerag_core.evaluation.metrics.recognition import Errors, error_rate
from voicerag_core.evaluation.runs.records import Record

__all__ = [
    "Group",
    "Row",
    "Table",
    "differences",
    "oracle",
    "question_scores",
    "rows",
    "shuffled",
    "tables",
]

Group = tuple[str, str, str, str]
"""Set, store, form and strategy."""

ANSWER_SCORES: Final = ("em", "f1", "contained", "contains_fake")
CONTEXT_SCORES: Final = ("rouge_l_recall", "rouge_l_f1", "context_contains")
STAGES: Final = ("transcribe", "embed", "search", "rerank", "further_query", "read",
                 "first_text", "first_sound", "respond")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one way of asking one set.

    Args:
        group: Which.
        questions: How many were asked.
        refused: For how many no speech was heard, or whose sound was missing; they count as not
            found.
        scores: Means with intervals, by name: R@k, MRR, nDCG@10, all@k, em, f1 and so on.
        words: Word (or character) error rate of the transcripts; None without any.
        spoken_words: The same of the spoken answers.
        refusal_precision: Of the refusals, how many were right.
        refusal_recall: Of the unanswerable questions, how many were refused.
        seconds: Median and 95th percentile from the end of the sound to the hits.
        mean_seconds: The mean of that.
        real_time: Mean of that time by the length of the sound; None for typed questions.
        stages: Median and 95th percentile by stage.
    """

    group: Group
    questions: int
    refused: int
    scores: Mapping[str, Estimate]
    words: float | None
    spoken_words: float | None
    refusal_precision: float | None
    refusal_recall: float | None
    seconds: tuple[float, float]
    mean_seconds: float
    real_time: float | None
    stages: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the report."""

    title: str
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    note: str = ""


def grouped(records: Iterable[Record]) -> dict[Group, list[Record]]:
    """Return the records of each way of asking, in the order of their first one."""
    found: dict[Group, list[Record]] = {}
    for one in records:
        found.setdefault((one.set, one.store, one.form, one.strategy), []).append(one)
    return found


def question_scores(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Return the scores of each question of one group, by name of the score, then by question."""
    found: dict[str, dict[str, float]] = {}
    ranked = ranking_scores(
        {one.question: one.found for one in records}, {one.question: one.sources for one in records}
    )
    for question, scores in ranked.items():
        for name, value in scores.items():
            found.setdefault(name, {})[question] = value
    for one in records:
        if one.all_sources and one.sources:
            for cut in CUTS:
                if cut >= len(one.sources):
                    own = found.setdefault(f"all@{cut}", {})
                    own[one.question] = found_all(one.found, one.sources, cut)
        for name in (*ANSWER_SCORES, *CONTEXT_SCORES):
            if name in one.measures:
                found.setdefault(name, {})[one.question] = one.measures[name]
            elif one.refused and one.answers and name in CONTEXT_SCORES:
                found.setdefault(name, {})[one.question] = 0.0
        for aspect, value in one.judged.items():
            found.setdefault(f"judged {aspect}", {})[one.question] = value
    return found


def rows(records: Iterable[Record]) -> list[Row]:
    """Return the figures of every way of asking."""
    return [_row(group, own) for group, own in grouped(records).items()]


def _row(group: Group, own: Sequence[Record]) -> Row:
    scores = {
        name: estimate(list(values.values())) for name, values in question_scores(own).items()
    }
    answered = [(one.answerable, not one.answered) for one in own if one.answer is not None]
    told = refusals(answered)
    timed = [one.seconds for one in own]
    sound = [one.seconds / one.clip_seconds for one in own if one.clip_seconds]
    stages = {
        stage: quantiles(kept)
        for stage in STAGES
        if (kept := [one.timings[stage] for one in own if stage in one.timings])
    }
    return Row(
        group, len(own), sum(bool(one.refused) for one in own), scores,
        _rate(own, "wrong", "units"), _rate(own, "spoken_wrong", "spoken_units"),
        told.precision, told.recall, quantiles(timed), fmean(timed),
        fmean(sound) if sound else None, stages,
    )  # fmt: skip


def _rate(own: Sequence[Record], wrong: str, units: str) -> float | None:
    return error_rate(
        [
            Errors(round(one.measures[wrong]), round(one.measures[units]))
            for one in own
            if units in one.measures
        ]
    )


def tables(records: Sequence[Record]) -> list[Table]:
    """Return the tables of a report."""
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


def shuffled(records: Sequence[Record], seed: int = 0) -> list[Record]:
    """Return the records with the right passages of another question each: a control."""
    pool = [one for one in records if one.sources]
    by_question = list({one.question: one.sources for one in pool}.items())
    shift = 1 + int(np.random.default_rng(seed).integers(max(1, len(by_question) - 1)))
    moved = {
        question: by_question[(place + shift) % len(by_question)][1]
        for place, (question, _) in enumerate(by_question)
    }
    return [replace(one, sources=moved[one.question]) for one in pool]


def oracle(records: Sequence[Record]) -> list[Record]:
    """Return the records as if everything had been found: the upper end of every score."""
    return [replace(one, found=one.sources, refused="") for one in records if one.sources]


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

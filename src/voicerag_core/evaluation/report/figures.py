"""The figures of a run: one row for each set, store, form and strategy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Final

import numpy as np

from voicerag_core.evaluation.metrics.answers import refusals
from voicerag_core.evaluation.metrics.intervals import Estimate, estimate, quantiles
from voicerag_core.evaluation.metrics.ranking import CUTS, found_all, ranking_scores
from voicerag_core.evaluation.metrics.recognition import Errors, error_rate
from voicerag_core.evaluation.runs.records import Record

__all__ = [
    "Group",
    "Row",
    "counted",
    "grouped",
    "oracle",
    "question_scores",
    "rows",
    "shuffled",
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


def counted(records: Iterable[Record]) -> list[Record]:
    """Return what figures are made of: questions that nothing was chosen by, where a set has any.

    Training, thresholds or earlier development saw the others.
    """
    kept = list(records)
    fresh = {one.set for one in kept if not one.development}
    return [one for one in kept if not one.development or one.set not in fresh]


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

"""Fit the reader's weights and threshold on half of XQuAD English.

    python -m training.thresholds.reader xquad.en.json

Development is the first 24 titles in sorted order, with its questions as written and misrecognized
(xquad_misheard.tsv); weights and threshold see nothing else. They are written into
``voicerag_core.local.reading`` by hand. The last two rows evaluate them and the shipped ones on the
other half; `benchmarks.speech.reader` measures the shipped reader in full.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.speech.reader_cases import (
    COLUMNS,
    Pairs,
    RememberingEmbedder,
    RememberingScorer,
    Table,
    development_titles,
    look,
    retrieve,
    variant,
)
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.features import MEASURES
from voicerag_core.local.reading.reader import WEIGHTS

MISHEARD = Path(__file__).with_name("xquad_misheard.tsv")


def fit_choice(tables: Sequence[Table], right: Sequence[NDArray[np.bool_]]) -> Table:
    """Maximise the softmax probability of the right sentences."""
    usable = [(t, r) for t, r in zip(tables, right, strict=True) if r.any()]
    rows = np.concatenate([table for table, _ in usable])
    good = np.concatenate([flags for _, flags in usable])
    group = np.repeat(np.arange(len(usable)), [len(flags) for _, flags in usable])
    spread = rows.std(axis=0) + 1e-9
    rows = rows / spread
    weights = np.zeros(rows.shape[1])
    for _ in range(4000):
        logits = rows @ weights
        mass = np.exp(logits - logits.max())
        chance = mass / np.bincount(group, mass)[group]
        target = mass * good
        target /= np.bincount(group, target)[group]
        slope = rows.T @ (chance - target) / len(usable) + 0.01 * weights
        weights -= 0.3 * slope
    fitted: Table = weights / spread
    return fitted


def fit_logistic(rows: Table, answerable: Table) -> tuple[Table, float]:
    """Fit weights and offset of a logistic curve by Newton's method, with a small ridge."""
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    design = np.hstack(((rows - mean) / spread, np.ones((len(rows), 1))))
    ridge = np.diag([1.0] * rows.shape[1] + [0.0])
    line = np.zeros(design.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-design @ line))
        curvature = design.T @ (design * (chance * (1 - chance))[:, None]) + ridge
        line += np.linalg.solve(curvature, design.T @ (answerable - chance) - ridge @ line)
    weights: Table = line[:-1] / spread
    return weights, float(line[-1] - weights @ mean)


def fit(pairs: Pairs) -> Table:
    """Print the weights and the threshold; return the weights that choose the sentence."""
    weights = fit_choice([one.table for one, _ in pairs], [one.right for one, _ in pairs])
    rows = np.array([[one.chosen(weights) for one in pair] for pair in pairs])
    truth = np.tile([1.0, 0.0], (len(rows), 1))
    answered, offset = fit_logistic(rows.reshape(-1, rows.shape[-1]), truth.ravel())
    chance = 1 / (1 + np.exp(-(rows @ answered + offset)))
    grid = np.linspace(0.05, 0.95, 181)
    gain = [(chance[:, 0] >= cut).mean() - (chance[:, 1] >= cut).mean() for cut in grid]
    words = [one.table[:, : len(MEASURES)] for one, _ in pairs]
    preview = fit_choice(words, [one.right for one, _ in pairs])
    print(f"development: {len(pairs)} questions")
    print("  PREVIEW_WEIGHTS   ", dict(zip(MEASURES, preview.round(2).tolist(), strict=True)))
    print("  WEIGHTS           ", dict(zip(COLUMNS, weights.round(2).tolist(), strict=True)))
    print("  ANSWERED_WEIGHTS  ", dict(zip(COLUMNS, answered.round(3).tolist(), strict=True)))
    print(f"  ANSWERED_OFFSET    {offset:.3f}")
    print(f"  LEAST_PROBABILITY  {grid[int(np.argmax(gain))]:.3f} (largest right minus wrong)")
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("xquad", type=Path, help="XQuAD English, in SQuAD's form")
    options = parser.parse_args()
    embedder, scorer = RememberingEmbedder(), RememberingScorer(AnswerScorer())
    lines = MISHEARD.read_text(encoding="utf-8").splitlines()
    misheard = retrieve(embedder, options.xquad, dict(line.split("\t") for line in lines))
    cases = retrieve(embedder, options.xquad)
    development = development_titles(cases)
    weights = fit(
        [
            (look(present, scorer), look(absent, scorer))
            for title, present, absent in (*cases, *misheard)
            if title in development
        ]
    )
    others = [
        (look(present, scorer), look(absent, scorer))
        for title, present, absent in cases
        if title not in development
    ]
    print(f"the other titles: {len(others)} questions")
    print("variants                                     gold in  AUROC")
    print(variant("all, as fitted", others, lambda table: table @ weights))
    print(variant("all, as in the package", others, lambda table: table @ WEIGHTS))


if __name__ == "__main__":
    main()

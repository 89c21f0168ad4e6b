"""Weights and threshold of the reader, as they were fitted.

Fitted on development questions of XQuAD English, as written and as misrecognised, and of documents.
`training/thresholds/reader.py` fits all of them; the weights of the evidence are those of an
earlier fit, held while the others were fitted anew: see benchmarks/results/reader.md.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "ANSWERED_EVIDENCE_WEIGHTS",
    "ANSWERED_OFFSET",
    "ANSWERED_WEIGHTS",
    "EVIDENCE_WEIGHTS",
    "LEAST_PROBABILITY",
    "PREVIEW_WEIGHTS",
    "WEIGHTS",
]

PREVIEW_WEIGHTS = np.array([11.83, 3.81, 3.57, -0.97, 0.70])
"""Weights of `features.MEASURES`, to choose sentences of long passages."""

WEIGHTS = np.array([4.69, 2.701, 0.988, -0.37, 0.275, 0.314, 0.343])
"""Weights of the measures, then of `answer_scorer.SCORES`, to choose the sentence."""

ANSWERED_WEIGHTS = np.array([0.79, 0.478, 0.927, -0.512, -0.102, 0.289, 0.139])
ANSWERED_OFFSET = 0.015
"""From the chosen sentence's measures and scores to the log odds that the passages answer."""

EVIDENCE_WEIGHTS = np.array(
    [0.4, 0, 2.298, 0.984, -1.094, 0, -1.193, -4.001, -0.962, -2.254, -2.165, 0, -0.15, 1.0]
)
ANSWERED_EVIDENCE_WEIGHTS = np.array(
    [0.4, 0, 0.839, 0, 0, 0, -1.2, -3, -0.286, -2.9, -3, -1, -0.4, 0.2]
)
"""The same for what the question's form, a table's rows and the names and numbers say besides.

The weights of "unmodified" are chosen by hand: benchmarks/results/realdocs.md."""

LEAST_PROBABILITY = 0.4
"""Chosen on the same questions, and on half of a set of questions about handbooks and manuals: as
many are answered rightly as at 0.35, and more declined of what the passages do not answer."""

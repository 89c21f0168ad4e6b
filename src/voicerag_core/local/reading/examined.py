"""What is known of the sentences of some passages before one of them is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voicerag_core.local.reading.agreement import AGREEMENT
from voicerag_core.local.reading.features import Candidate, candidates, measure
from voicerag_core.local.reading.reader_weights import PREVIEW_WEIGHTS
from voicerag_core.types import Passage

__all__ = [
    "DOCUMENT",
    "EVIDENCE",
    "FORM",
    "KEYED",
    "SECTION",
    "TELLING",
    "Examined",
    "SentenceScorer",
    "examine",
]

EVIDENCE = (
    "form",  # 1 the sentence has the form that is asked for, else 0
    "telling",  # of a row: share of the words that tell the rows of its table apart
    "keyed",  # 1 a row that a code, figure or amount of the question picks out of its table
    "section",  # share of the words that tell the document's sections apart
    *AGREEMENT,  # what speaks against the sentence
    "document",  # share of the words that tell the titles of the documents apart
)
FORM, TELLING, KEYED, SECTION = 0, 1, 2, 3
DOCUMENT = len(EVIDENCE) - 1


class SentenceScorer(Protocol):
    """Scores how well sentences answer a question; thread-safe."""

    def score(
        self,
        question: str,
        passages: Sequence[Passage],
        sentences: Sequence[Candidate],
        preview: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return [N, 2], columns as in `answer_scorer.SCORES`; NaN: not read."""
        ...


@dataclass(frozen=True, slots=True)
class Examined:
    """Passages with what is known of their sentences.

    Args:
        passages: Best first.
        sentences: All sentences of the passages.
        scores: [N, 2] of the sentences; NaN of those that were not read.
        kept: Indices of those that were read, ascending.
        table: Measures and scores of these, one row each.
        evidence: [K, E] of these: columns as in `EVIDENCE`.
        alone: Scores of the rows that were read one by one, by their index.
        at_hand: The passages and those behind them, in which a list may go on.
    """

    passages: Sequence[Passage]
    sentences: list[Candidate]
    scores: NDArray[np.float64]
    kept: list[int]
    table: NDArray[np.float64]
    evidence: NDArray[np.float64]
    alone: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    at_hand: Sequence[Passage] = ()


def examine(
    question: str,
    passages: Sequence[Passage],
    scorer: SentenceScorer,
    before: Examined | None = None,
) -> Examined:
    """Measure and score the sentences of passages.

    Args:
        question: In words.
        passages: Best first.
        scorer: Reads them.
        before: The first of these passages as they were examined; they are not read again.
    """
    sentences = candidates(passages)
    by_words = measure(question, passages, sentences)
    preview = by_words @ PREVIEW_WEIGHTS
    if before is None:
        scores = scorer.score(question, passages, sentences, preview)
    else:
        known, read = len(before.sentences), len(before.passages)
        others = [replace(one, passage=one.passage - read) for one in sentences[known:]]
        more = scorer.score(question, passages[read:], others, preview[known:])
        scores = np.concatenate((before.scores, more))
    kept = np.flatnonzero(~np.isnan(scores).any(axis=1)).tolist()
    table = np.hstack((by_words, scores))[kept]
    evidence = np.zeros((len(kept), len(EVIDENCE)))
    alone = {} if before is None else before.alone
    return Examined(passages, sentences, scores, kept, table, evidence, alone)

"""A closer look at two quotes that are about as likely: each is read alone.

The network reads a passage of many sentences and may pass over the one that answers in other words
than the question's. Alone behind its headings, a quote is judged for itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voicerag_core.local.reading.examined import SentenceScorer
from voicerag_core.local.reading.features import Candidate
from voicerag_core.types import Passage

__all__ = ["read_alone"]

MOST_ALONE = 500
"""Characters of a quote that are read alone."""


def read_alone(
    question: str,
    quotes: Sequence[tuple[str, Candidate]],
    passages: Sequence[Passage],
    scorer: SentenceScorer,
) -> list[float]:
    """Return the network's score of each quote, read alone behind its headings.

    Args:
        question: In words.
        quotes: Their words, each with the sentence that led to it.
        passages: Of the sentences.
        scorer: Reads the quotes.

    Returns:
        Log odds, the mean of `answer_scorer.SCORES`; NaN for a quote that was not read.

    Raises:
        ModelError: The scorer failed.
    """
    alone: list[Passage] = []
    parts: list[Candidate] = []
    for number, (words, sentence) in enumerate(quotes):
        text = words[:MOST_ALONE]
        title = {"title": passages[sentence.passage].title}
        alone.append(Passage(str(number), text, title))
        parts.append(Candidate(number, 0, len(text), text, (), first=True, path=sentence.path))
    scores = scorer.score(question, alone, parts, np.zeros(len(parts)))
    return [float(score) for score in scores.mean(axis=1)]

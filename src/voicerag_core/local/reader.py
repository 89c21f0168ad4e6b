"""Answers out of the passages: the sentence that answers, word for word, or that none does."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicerag_core.local.evidence import Candidate, candidates, measure
from voicerag_core.ports import Embedder
from voicerag_core.types import Citation, Passage

__all__ = ["Reader", "Reading", "examine"]

MOST_PASSAGES = 4
SHORTLIST = 8
"""Sentences that are embedded for a question; the others are ruled out by their words."""

# Weights and threshold: benchmarks/fit_reader.py on the development half of XQuAD English.
PREVIEW_WEIGHTS = np.array([9.84, 3.18, 2.55, -1.20, 0.77])
"""Of the first five `voicerag_core.local.evidence.MEASURES`, for the shortlist."""

WEIGHTS = np.array([7.16, 2.84, 1.95, -0.59, 0.68, 4.43, 4.51])
"""Of all `voicerag_core.local.evidence.MEASURES`, to choose the sentence."""

ANSWERED_SLOPE = 0.831
ANSWERED_OFFSET = -6.870
"""From the chosen sentence's weighted measures to the log odds that the passages answer."""

LEAST_PROBABILITY = 0.48
"""Answers right minus answers wrong is largest here."""

_POINTS_BACK = re.compile(r"(He|She|It|They|This|These|Those|His|Her|Its|Their)\b")


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in the passages.

    Args:
        text: The sentences that answer, as they stand there; "" when none does.
        citations: Their places, in the order of the text.
        score: Probability that the passages answer the question, 0..1.
        answered: False when the passages do not answer.
        closest: The passage that came nearest to an answer, or None when there was no text.
    """

    text: str
    citations: tuple[Citation, ...]
    score: float
    answered: bool
    closest: Passage | None


class Reader:
    """Picks the sentence that answers a question from passages; never words of its own.

    A sentence that opens with a word that points back ("It", "They") is given with the one
    before it. Safe to share between threads when its embedder is.

    Args:
        embedder: Embeds the question and the likeliest sentences.
        least_probability: Below this probability the passages do not answer.
    """

    def __init__(self, embedder: Embedder, *, least_probability: float = LEAST_PROBABILITY) -> None:
        self._embedder = embedder
        self._least_probability = least_probability

    def read(self, question: str, passages: Sequence[Passage]) -> Reading:
        """Read the answer out of the first four passages.

        Args:
            question: In words.
            passages: Best first.

        Raises:
            ModelError: The embedder failed.
        """
        sentences, kept, table = examine(question, passages, self._embedder)
        if not kept:
            return Reading("", (), 0.0, answered=False, closest=None)
        scores = table @ WEIGHTS
        best = int(scores.argmax())
        chosen = kept[best]
        score = 1 / (1 + math.exp(-(ANSWERED_SLOPE * float(scores[best]) + ANSWERED_OFFSET)))
        passage = passages[sentences[chosen].passage]
        if score < self._least_probability:
            return Reading("", (), score, answered=False, closest=passage)
        quoted = [sentences[i] for i in _with_what_it_points_to(sentences, chosen)]
        return Reading(
            " ".join(" ".join(sentence.text.split()) for sentence in quoted),
            tuple(Citation(passage.id, sentence.start, sentence.end) for sentence in quoted),
            score,
            answered=True,
            closest=passage,
        )


def examine(
    question: str,
    passages: Sequence[Passage],
    embedder: Embedder,
    *,
    preview_weights: NDArray[np.float64] = PREVIEW_WEIGHTS,
) -> tuple[list[Candidate], list[int], NDArray[np.float64]]:
    """Measure the sentences of the first four passages that may answer a question.

    Returns:
        All sentences; the indices of those on the shortlist, ascending; their measures, one row
        each.
    """
    near = passages[:MOST_PASSAGES]
    sentences = candidates(near)
    by_words = measure(question, near, sentences)
    preview = by_words[:, : len(preview_weights)] @ preview_weights
    kept = sorted(np.argsort(-preview, kind="stable")[:SHORTLIST].tolist())
    if not kept:
        return sentences, [], by_words
    rows = embedder.embed_texts([question, *(sentences[i].text for i in kept)])
    cosines = np.full(len(sentences), np.nan)
    cosines[kept] = rows[1:] @ rows[0]
    return sentences, kept, measure(question, near, sentences, cosines)[kept]


def _with_what_it_points_to(sentences: Sequence[Candidate], chosen: int) -> list[int]:
    sentence = sentences[chosen]
    if sentence.first or not _POINTS_BACK.match(sentence.text):
        return [chosen]
    return [chosen - 1, chosen]

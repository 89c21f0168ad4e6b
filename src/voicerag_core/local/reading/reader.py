"""Extractive answers: the sentence of the passages that answers, or that none does."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voicerag_core.local.reading.features import Candidate, candidates, measure
from voicerag_core.types import Answer, Citation, Passage, Turn

__all__ = [
    "NOT_ANSWERED",
    "Reader",
    "Reading",
    "SentenceScorer",
    "examine",
    "with_what_it_points_to",
]

NOT_ANSWERED = "The documents do not answer this question."
WORTH_NAMING = 0.1
"""Minimum probability of an answer at which the closest document is named."""

MOST_PASSAGES = 4

# Weights and threshold: training/thresholds/reader.py on the development half of XQuAD English,
# as written and as misrecognized.
PREVIEW_WEIGHTS = np.array([11.83, 3.81, 3.57, -0.97, 0.70])
"""Weights of `features.MEASURES`, to choose sentences of long passages."""

WEIGHTS = np.array([3.08, 0.91, 2.56, -0.46, 0.09, 0.32, 0.31])
"""Weights of the measures, then of `answer_scorer.SCORES`, to choose the sentence."""

ANSWERED_WEIGHTS = np.array([1.367, 1.394, 0.709, -0.396, -0.046, 0.212, 0.237])
ANSWERED_OFFSET = 0.194
"""From the chosen sentence's measures and scores to the log odds that the passages answer."""

LEAST_PROBABILITY = 0.565
"""Maximizes right answers minus wrong answers."""

_POINTS_BACK = re.compile(r"(He|She|It|They|This|These|Those|His|Her|Its|Their)\b")


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer found in the passages.

    Args:
        text: The sentences that answer, verbatim; "" if none does.
        citations: Their positions, in the order of the text.
        score: Probability that the passages answer the question, 0..1.
        answered: False if the passages do not answer.
        closest: The passage closest to an answer, or None if there was no text.
    """

    text: str
    citations: tuple[Citation, ...]
    score: float
    answered: bool
    closest: Passage | None


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


class Reader:
    """Selects the sentence that answers a question from passages, verbatim.

    A sentence that begins with a back-reference ("It", "They") is returned with the one before it.
    Thread-safe if its scorer is.

    Args:
        scorer: Reads the question with the sentences.
        least_probability: Below this probability the passages do not answer.
    """

    def __init__(
        self, scorer: SentenceScorer, *, least_probability: float = LEAST_PROBABILITY
    ) -> None:
        self._scorer = scorer
        self._least_probability = least_probability

    def answer(
        self, question: str, passages: Sequence[Passage], *, history: Sequence[Turn] = ()
    ) -> Generator[Answer, None, None]:
        """Quote the answer in one piece, or report that the passages do not answer.

        Args:
            question: As text.
            passages: Best first.
            history: Ignored: the quote does not depend on earlier turns.

        Raises:
            ModelError: The scorer failed.
        """
        del history
        reading = self.read(question, passages)
        if reading.answered:
            yield Answer(reading.text, citations=reading.citations)
            return
        text = NOT_ANSWERED
        title = "" if reading.closest is None else str(reading.closest.metadata.get("title") or "")
        if title and reading.score >= WORTH_NAMING:
            text += f" The closest passage is from {title}."
        yield Answer(text, answered=False)

    def read(self, question: str, passages: Sequence[Passage]) -> Reading:
        """Find the answer in the first four passages.

        Args:
            question: As text.
            passages: Best first.

        Raises:
            ModelError: The scorer failed.
        """
        sentences, kept, table = examine(question, passages, self._scorer)
        if not kept:
            return Reading("", (), 0.0, answered=False, closest=None)
        best = int((table @ WEIGHTS).argmax())
        chosen = kept[best]
        score = 1 / (1 + math.exp(-(float(table[best] @ ANSWERED_WEIGHTS) + ANSWERED_OFFSET)))
        passage = passages[sentences[chosen].passage]
        if score < self._least_probability:
            return Reading("", (), score, answered=False, closest=passage)
        quoted = [sentences[i] for i in with_what_it_points_to(sentences, chosen)]
        return Reading(
            " ".join(" ".join(sentence.text.split()) for sentence in quoted),
            tuple(Citation(passage.id, sentence.start, sentence.end) for sentence in quoted),
            score,
            answered=True,
            closest=passage,
        )


def examine(
    question: str, passages: Sequence[Passage], scorer: SentenceScorer
) -> tuple[list[Candidate], list[int], NDArray[np.float64]]:
    """Measure and score the sentences of the first four passages.

    Returns:
        All sentences; the indices of those that were read, ascending; their measures and scores,
        one row each.
    """
    near = passages[:MOST_PASSAGES]
    sentences = candidates(near)
    by_words = measure(question, near, sentences)
    scores = scorer.score(question, near, sentences, by_words @ PREVIEW_WEIGHTS)
    kept = np.flatnonzero(~np.isnan(scores).any(axis=1)).tolist()
    return sentences, kept, np.hstack((by_words, scores))[kept]


def with_what_it_points_to(sentences: Sequence[Candidate], chosen: int) -> list[int]:
    """Return the index of a sentence, preceded by that of the one it refers to."""
    sentence = sentences[chosen]
    if sentence.first or not _POINTS_BACK.match(sentence.text):
        return [chosen]
    return [chosen - 1, chosen]

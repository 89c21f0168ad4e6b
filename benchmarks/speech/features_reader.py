"""The reader before the cross-encoder, as a baseline.

It weights common words, the kind of thing asked for, and the vectors of the eight most likely
sentences, fitted on the development half of XQuAD English.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voicerag_core.local.reading.features import Candidate, candidates, measure
from voicerag_core.local.reading.reader import FIRST_PASSAGES
from voicerag_core.local.reading.readings import Reading
from voicerag_core.ports import Embedder
from voicerag_core.types import Citation, Passage

SHORTLIST = 8
PREVIEW_WEIGHTS = np.array([9.84, 3.18, 2.55, -1.20, 0.77])
WEIGHTS = np.array([7.16, 2.84, 1.95, -0.59, 0.68, 4.43, 4.51])
"""Of the words' measures, the sentence's cosine and the highest cosine in its passage."""
ANSWERED_SLOPE = 0.831
ANSWERED_OFFSET = -6.870
LEAST_PROBABILITY = 0.48


class FeaturesReader:
    """Selects the sentence with the best weighted measures."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def read(self, question: str, passages: Sequence[Passage]) -> Reading:
        """Find the answer in the first four passages."""
        near = passages[:FIRST_PASSAGES]
        sentences = candidates(near)
        by_words = measure(question, near, sentences)
        kept = sorted(np.argsort(-(by_words @ PREVIEW_WEIGHTS), kind="stable")[:SHORTLIST].tolist())
        if not kept:
            return Reading("", (), 0.0, answered=False, closest=None)
        rows = self._embedder.embed_passages([question, *(sentences[i].text for i in kept)])
        cosines = (rows[1:] @ rows[0]).astype(np.float64)
        scores = np.hstack((by_words[kept], by_cosine(cosines, sentences, kept))) @ WEIGHTS
        best = int(scores.argmax())
        passage = passages[sentences[kept[best]].passage]
        score = 1 / (1 + math.exp(-(ANSWERED_SLOPE * float(scores[best]) + ANSWERED_OFFSET)))
        answered = score >= LEAST_PROBABILITY
        quoted = [sentences[i] for i in _with_sentence_before(sentences, kept[best]) if answered]
        return Reading(
            " ".join(" ".join(one.text.split()) for one in quoted),
            tuple(Citation(passage.id, one.start, one.end) for one in quoted),
            score,
            answered=answered,
            closest=passage,
        )


def by_cosine(
    cosines: NDArray[np.float64], sentences: Sequence[Candidate], kept: Sequence[int]
) -> NDArray[np.float64]:
    """Return each sentence's cosine, and 0 or more: the highest of its passage."""
    owners = np.array([sentences[i].passage for i in kept])
    highest = [max(0.0, cosines[owners == owner].max()) for owner in owners]
    return np.stack((cosines, np.array(highest)), axis=1)


_POINTS_BACK = re.compile(r"(He|She|It|They|This|These|Those|His|Her|Its|Their)\b")


def _with_sentence_before(sentences: Sequence[Candidate], chosen: int) -> list[int]:
    """Return the index of a sentence, after that of the one it points back to."""
    sentence = sentences[chosen]
    if sentence.first or not _POINTS_BACK.match(sentence.text):
        return [chosen]
    return [chosen - 1, chosen]

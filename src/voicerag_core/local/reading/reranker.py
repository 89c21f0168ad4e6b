"""Sort passages by the reader's network, which reads the question with each of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voicerag_core.cancellation import check_cancelled
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.features import candidates
from voicerag_core.types import Passage

__all__ = ["ReaderReranker"]

NO_ANSWER = -100.0
"""Score of a text without a sentence; those of sentences are log odds of a few units."""


class ReaderReranker:
    """A `Reranker` of English: the score of a text is that of its sentence that answers best.

    Thread-safe.

    Args:
        scorer: Reads the question with a text.
    """

    def __init__(self, scorer: AnswerScorer) -> None:
        self._scorer = scorer

    def warm(self) -> None:
        """Load the network now.

        Raises:
            MissingExtraError: The extra ``local`` is not installed.
            CheckpointError: A weight file is absent, altered or of another form.
        """
        self._scorer.warm()

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return for each of N texts the log odds that it holds the answer, [N]; more is better.

        Raises:
            ModelError: The model cannot be loaded or failed.
            CancelledError: The running call was cancelled; the current text ends first.
        """
        scores = np.full(len(texts), NO_ANSWER, np.float32)
        for number, text in enumerate(texts):
            check_cancelled()
            passage = Passage("", text)
            sentences = candidates([passage])
            if sentences:
                read = self._scorer.score(question, [passage], sentences, np.zeros(len(sentences)))
                best = read[:, 0][~np.isnan(read[:, 0])]
                scores[number] = best.max(initial=NO_ANSWER)
        return scores

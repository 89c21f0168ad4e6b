"""Sort passages by the reader's network, which reads the question with each of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voicerag_core.cancellation import check_cancelled
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.examined import examine
from voicerag_core.local.reading.features import candidates
from voicerag_core.local.reading.questions import without_fillers
from voicerag_core.local.reading.reader import FIRST_PASSAGES
from voicerag_core.types import Passage

__all__ = ["ReaderReranker"]

ORDER_WEIGHT = 4.0
"""Log odds by which a passage at place n, from 1, has to be better than the first one, divided by
ln n. Looked for on the development halves of four sets, with four passages: from 2 to 6 as many
first places are right within 1.3 points, without any such weight HotpotQA loses
(`benchmarks/results/reranking.md`)."""
UNREAD = -9.0
"""Of a passage for which there was no room, or that has no sentence: the network says about that of
passages that do not answer."""
NO_ANSWER = -100.0
"""Score of a text without a sentence; those of sentences are log odds of a few units."""


class ReaderReranker:
    """A `Reranker` of English: the score of a text is that of its sentence that answers best.

    Of passages that a search found it is a `PassageReranker`, which minds their order, too.
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

    def score_passages(self, question: str, passages: Sequence[Passage]) -> NDArray[np.float32]:
        """Return for each of N passages how well it answers and how well it was found, [N].

        A passage is read behind its headings; the reader of the same scorer does not read again
        what was read here.

        Args:
            question: As text.
            passages: In the order in which they were found, best first.

        Raises:
            ModelError: The model cannot be loaded or failed.
            CancelledError: The running call was cancelled; the current passage ends first.
        """
        question = without_fillers(question.strip().rstrip(".,; "))  # as the reader reads it
        scores = np.full(len(passages), UNREAD, np.float32)
        for start in range(0, len(passages), FIRST_PASSAGES):
            check_cancelled()
            seen = examine(question, passages[start : start + FIRST_PASSAGES], self._scorer)
            for row in seen.kept:
                place = start + seen.sentences[row].passage
                scores[place] = max(scores[place], seen.scores[row, 0])
        order = ORDER_WEIGHT * np.log1p(np.arange(len(passages)))
        return (scores - order).astype(np.float32)

"""Answers in Chinese out of the passages: the sentence that answers, or that none does.

There is no network that reads Chinese here. A sentence is chosen by the multilingual embedder's
vectors, by the pairs of characters that it shares with the question, and by the form that the
question asks for.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicerag_core.local.reading.chinese_words import (
    asked_in_chinese,
    fits_chinese,
    numbers,
    pairs,
    question_pairs,
)
from voicerag_core.local.reading.features import Candidate, candidates, passage_path
from voicerag_core.local.reading.quoting.quoter import Quoter
from voicerag_core.local.reading.readings import Reading
from voicerag_core.local.replies import replies_in
from voicerag_core.ports import TextEmbedder
from voicerag_core.types import Answer, Passage, Turn

__all__ = ["ChineseReader", "Measured", "measure_chinese"]

MOST_PASSAGES = 4
MOST_READ = 32
"""Sentences whose vectors are computed for a question: those that share most with it."""
MOST_TRIED = 4
"""Sentences that may fail to give a quote before the reader gives up."""

MEASURES = (
    "below",  # similarity, less that of the most similar sentence
    "share",  # of the question's pairs, weighted by rarity among the sentences, in the sentence
    "fit",  # 1 the sentence has the form that is asked for, 0 it has not, 0.5 there is none
    "first",  # 1 the sentence is of the passage that was found first
    "similarity",  # cosine of question and sentence
    "around",  # share of the question's pairs in the passage, its title and headings
    "unknown",  # 1 the question has a number that the passage and its headings have not
)
SHARE, AROUND = 1, 5

# training/thresholds/chinese_reader.py on the questions of XQuAD's first 24 titles.
WEIGHTS = np.array([34.6, 4.25, 0.59, 3.01, 0.0, 0.0, 0.0])
"""Of the measures, to choose the sentence."""
ANSWERED_WEIGHTS = np.array([0.0, 5.15, 0.0, 0.0, 38.6, 0.84, -2.23])
ANSWERED_OFFSET = -36.97
"""From the chosen sentence's measures to the log odds that the passages answer."""
LEAST_PROBABILITY = 0.3
"""Chosen on the same questions, asked with their paragraph and without it."""
WORTH_NAMING = 0.08
"""Probability from which the closest passage is named where the documents do not answer."""
LEAST_AROUND = 0.5
"""Share of the question's pairs that such a passage has."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The sentences of passages that were read for a question.

    Args:
        sentences: All of them.
        read: Indices of those that were measured.
        table: [N, 7] of these; columns as in `MEASURES`.
    """

    sentences: list[Candidate]
    read: list[int]
    table: NDArray[np.float64]


def measure_chinese(question: str, passages: Sequence[Passage], embedder: TextEmbedder) -> Measured:
    """Measure the sentences of passages against a question.

    Args:
        question: In Chinese.
        passages: Best first.
        embedder: A multilingual one.

    Raises:
        ModelError: The embedder failed.
    """
    sentences = candidates(passages)
    if not sentences:
        return Measured(sentences, [], np.zeros((0, len(MEASURES))))
    texts = [_told(sentence) for sentence in sentences]
    known = [set(pairs(text)) for text in texts]
    asked = question_pairs(question)
    weights = {
        pair: math.log(1 + len(known) / (1 + sum(pair in one for one in known))) for pair in asked
    }
    total = sum(weights.values()) or 1.0
    shares = [sum(weights[pair] for pair in asked if pair in one) / total for one in known]
    read = sorted(np.argsort([-share for share in shares], kind="stable")[:MOST_READ].tolist())
    (own,) = embedder.embed_questions([question])
    similar = (embedder.embed_passages([texts[i] for i in read]) @ own).astype(np.float64)
    whole = [_whole(passage) for passage in passages]
    around = [_share_in(set(pairs(text)), weights, total) for text in whole]
    wanted = numbers(question)
    unknown = [float(not wanted <= numbers(text)) for text in whole]
    rows = [
        (
            similarity - float(similar.max()),
            shares[index],
            fits_chinese(question, sentences[index].text),
            float(sentences[index].passage == 0),
            similarity,
            around[sentences[index].passage],
            unknown[sentences[index].passage],
        )
        for index, similarity in zip(read, similar.tolist(), strict=True)
    ]
    return Measured(sentences, read, np.array(rows))


class ChineseReader:
    """Quotes what answers a Chinese question from passages; never words of its own.

    Thread-safe if the embedder is.

    Args:
        embedder: A multilingual one; its vectors must be those that the measures were fitted on.
        least_probability: Below this probability the passages do not answer.
    """

    most_passages = MOST_PASSAGES

    def __init__(
        self, embedder: TextEmbedder, *, least_probability: float = LEAST_PROBABILITY
    ) -> None:
        self._embedder = embedder
        self._least_probability = least_probability

    def answer(
        self,
        question: str,
        passages: Sequence[Passage],
        *,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Generator[Answer, None, None]:
        """Quote the answer in one piece, or report that the passages do not answer.

        Args:
            question: In Chinese.
            passages: Best first.
            history: Ignored: the quote does not depend on earlier turns.
            instructions: Ignored: a quote has its own manner.

        Raises:
            ModelError: The embedder failed.
        """
        del history, instructions
        reading = self.read(question, passages)
        if reading.answered:
            yield Answer(reading.text, citations=reading.citations)
            return
        replies = replies_in("zh")
        text = replies.not_answered
        if reading.closest is not None and reading.closest.metadata.get("title"):
            text += replies.closest.format(title=reading.closest.title)
        yield Answer(text, answered=False)

    def read(self, question: str, passages: Sequence[Passage]) -> Reading:
        """Read the answer out of the first passages.

        Args:
            question: In Chinese.
            passages: Best first.

        Raises:
            ModelError: The embedder failed.
        """
        asked = asked_in_chinese(question)
        near = passages[:MOST_PASSAGES]
        nothing = Reading("", (), 0.0, answered=False, closest=None)
        if asked.greeting or not asked.words:
            return nothing
        seen = measure_chinese(question, near, self._embedder)
        quoter = Quoter(near, seen.sentences, asked)
        order = np.argsort(-(seen.table @ WEIGHTS), kind="stable")[:MOST_TRIED].tolist()
        for row in order:
            chosen = seen.read[row]
            quote = quoter.quote(chosen)
            if quote is None:
                continue
            odds = float(seen.table[row] @ ANSWERED_WEIGHTS) + ANSWERED_OFFSET
            probability = 1 / (1 + math.exp(-odds))
            passage = near[seen.sentences[chosen].passage]
            if probability >= self._least_probability:
                return Reading(
                    quote.text(near), quote.citations(near), probability, answered=True,
                    closest=passage,
                )  # fmt: skip
            is_close = seen.table[row, AROUND] >= LEAST_AROUND and probability >= WORTH_NAMING
            return Reading(
                "", (), probability, answered=False, closest=passage if is_close else None
            )
        return nothing


def _told(sentence: Candidate) -> str:
    """Return a sentence, an item or a row with the heading above it."""
    if sentence.kind in ("item", "row", "field") and sentence.path:
        return f"{sentence.path[-1]} {sentence.text}"
    return sentence.text


def _whole(passage: Passage) -> str:
    return " ".join(
        (str(passage.metadata.get("title") or ""), *passage_path(passage), passage.text)
    )


def _share_in(known: set[str], weights: dict[str, float], total: float) -> float:
    return sum(weight for pair, weight in weights.items() if pair in known) / total

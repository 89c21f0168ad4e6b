"""What the reader knows of each sentence that it may choose, to fit the weights of the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicerag_core.local.reading.choosing import matching
from voicerag_core.local.reading.evidence import with_evidence
from voicerag_core.local.reading.examined import SentenceScorer, examine
from voicerag_core.local.reading.near_misses import figures, misses_figure, said_around
from voicerag_core.local.reading.questions import asked_for
from voicerag_core.local.reading.quoting.quoter import Quoter
from voicerag_core.types import Passage

__all__ = ["Rows", "rows_of"]


@dataclass(frozen=True, slots=True)
class Rows:
    """The sentences of a question's passages that give a quote and are no near miss.

    Args:
        table: [K, 7], measures and scores.
        evidence: [K, E], columns as in `voicerag_core.local.reading.examined.EVIDENCE`.
        texts: What the reader would say.
        sentences: The sentences themselves.
    """

    table: NDArray[np.float64]
    evidence: NDArray[np.float64]
    texts: tuple[str, ...]
    sentences: tuple[str, ...]


def rows_of(scorer: SentenceScorer, question: str, passages: Sequence[Passage]) -> Rows:
    """Examine passages as the reader does, and quote every sentence.

    Args:
        scorer: Reads them.
        question: In words.
        passages: Best first.
    """
    asked = asked_for(question)
    seen = with_evidence(question, asked, examine(question, passages, scorer), scorer)
    quoter = Quoter(seen.passages, seen.sentences, asked)
    wanted = figures(question)
    missed = [misses_figure(wanted, said_around(passage)) for passage in passages]
    rows: list[int] = []
    texts: list[str] = []
    for row, chosen in enumerate(seen.kept):
        sentence = seen.sentences[chosen]
        quote = None if missed[sentence.passage] else quoter.quote(chosen)
        if quote is not None and asked.many and sentence.kind == "row":
            quote = quoter.rows(matching(question, seen, chosen))
        if quote is not None:
            rows.append(row)
            texts.append(quote.text(seen.passages))
    sentences = tuple(seen.sentences[seen.kept[row]].text for row in rows)
    return Rows(seen.table[rows], seen.evidence[rows], tuple(texts), sentences)

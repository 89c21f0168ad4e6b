"""What speaks for or against a sentence besides its measures: its form, section and table.

Rows of a table are read one by one here, too: the network, which reads sentences of running text,
gives a row among its neighbours little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from voicerag_core.local.reading.agreement import agreement
from voicerag_core.local.reading.answer_scorer import SCORES
from voicerag_core.local.reading.examined import (
    DOCUMENT,
    FORM,
    KEYED,
    SECTION,
    TELLING,
    Examined,
    SentenceScorer,
)
from voicerag_core.local.reading.features import DATE, section_shares, title_shares
from voicerag_core.local.reading.forms import fits
from voicerag_core.local.reading.near_misses import (
    figures,
    misses_figure,
    missing_names,
    said_around,
)
from voicerag_core.local.reading.questions import Asked
from voicerag_core.local.reading.recipes import RECIPE_SCORE, recipes
from voicerag_core.local.reading.rows import (
    MOST_REREAD,
    TableRow,
    keyed_rows,
    read_alone,
    superlative_rows,
    tables,
)
from voicerag_core.types import Passage

__all__ = ["with_evidence"]

EXTREME_SCORE = 1.0
"""Least score, in log odds as the network's, of the row with the extreme that is asked for: the
network reads rows alone and compares none."""


def with_evidence(question: str, asked: Asked, seen: Examined, scorer: SentenceScorer) -> Examined:
    """Add the evidence of forms, sections and rows, and read the likeliest rows one by one.

    Args:
        question: In words.
        asked: What it asks for.
        seen: The sentences, without evidence.
        scorer: Reads the rows.

    Raises:
        ModelError: The scorer failed.
    """
    evidence = np.zeros_like(seen.evidence)
    wanted = figures(question)
    for row, index in enumerate(seen.kept):
        sentence = seen.sentences[index]
        evidence[row, FORM] = fits(asked, sentence)
        if asked.date and wanted and sentence.kind == "heading":
            named = not misses_figure(wanted, said_around(Passage("", sentence.text)))
            evidence[row, KEYED] = float(named and DATE.search(sentence.text) is not None)
    evidence[:, SECTION] = section_shares(question, seen.passages, seen.sentences)[seen.kept]
    evidence[:, DOCUMENT] = title_shares(question, seen.passages, seen.sentences)[seen.kept]
    evidence[:, SECTION + 1 : DOCUMENT] = agreement(
        question, seen.passages, seen.sentences, seen.kept
    )
    seen = replace(seen, table=_with_recipes(asked, seen))
    near = tables(question, seen.passages, seen.sentences)
    if not near:
        return replace(seen, evidence=evidence)
    _add_rows(question, seen, near, evidence)
    return replace(seen, table=_with_rows_reread(question, seen, near, scorer), evidence=evidence)


def _add_rows(
    question: str,
    seen: Examined,
    near: Sequence[Sequence[TableRow]],
    evidence: NDArray[np.float64],
) -> None:
    """Note which rows the question's words, figures and amounts pick out of their tables."""
    places = {index: row for row, index in enumerate(seen.kept)}
    wanted = figures(question)
    for table in near:
        keyed = keyed_rows(question, wanted, table, seen.sentences)
        for one in table:
            if one.sentence not in places:
                continue
            evidence[places[one.sentence], TELLING] = one.overlap
            if one.sentence in keyed:
                passage = seen.passages[seen.sentences[one.sentence].passage]
                known = not missing_names(question, said_around(passage))
                evidence[places[one.sentence], KEYED] = float(known)


def _with_rows_reread(
    question: str, seen: Examined, near: Sequence[Sequence[TableRow]], scorer: SentenceScorer
) -> NDArray[np.float64]:
    """Read rows one by one, and return the table with the better of their two scores."""
    places = {index: row for row, index in enumerate(seen.kept)}
    likely = [one for table in near for one in table[:MOST_REREAD] if one.overlap > 0]
    likely.sort(key=lambda one: -one.overlap)
    read = [one.sentence for one in likely if one.sentence in places][: 2 * MOST_REREAD]
    table = seen.table.copy()
    if fresh := [index for index in read if index not in seen.alone]:
        alone, parts = read_alone(seen.passages, seen.sentences, fresh)
        scores = scorer.score(question, alone, parts, np.zeros(len(parts)))
        seen.alone.update(zip(fresh, scores, strict=True))
    for near_rows in near:
        title = seen.passages[seen.sentences[near_rows[0].sentence].passage].title
        for index in superlative_rows(question, near_rows, seen.sentences, title):
            if index in places:
                row = places[index]
                table[row, -len(SCORES) :] = np.fmax(table[row, -len(SCORES) :], EXTREME_SCORE)
    for index in read:
        row = places[index]
        table[row, -len(SCORES) :] = np.fmax(table[row, -len(SCORES) :], seen.alone[index])
    return table


def _with_recipes(asked: Asked, seen: Examined) -> NDArray[np.float64]:
    """Return the table with at least `RECIPE_SCORE` for what tells the way that is asked for."""
    told = recipes(asked, seen.passages, seen.sentences)
    table = seen.table.copy()
    for row, index in enumerate(seen.kept):
        if index in told:
            table[row, -len(SCORES) :] = np.fmax(table[row, -len(SCORES) :], RECIPE_SCORE)
    return table

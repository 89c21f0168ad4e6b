"""Choose the sentence that answers, with what is quoted for it and how likely it answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from voicerag_core.local.reading.answer_scorer import SCORES
from voicerag_core.local.reading.closely import read_alone
from voicerag_core.local.reading.dates import says_more_exactly
from voicerag_core.local.reading.examined import Examined, SentenceScorer
from voicerag_core.local.reading.features import MEASURES, Candidate
from voicerag_core.local.reading.forms import has_other_condition
from voicerag_core.local.reading.near_misses import (
    figures,
    misses_abbreviation,
    misses_figure,
    said_in,
    written_around,
)
from voicerag_core.local.reading.questions import Asked
from voicerag_core.local.reading.quoting.quoter import Quoter
from voicerag_core.local.reading.quoting.quotes import Part, Quote
from voicerag_core.local.reading.reader_weights import (
    ANSWERED_EVIDENCE_WEIGHTS,
    ANSWERED_OFFSET,
    ANSWERED_WEIGHTS,
    EVIDENCE_WEIGHTS,
    WEIGHTS,
)
from voicerag_core.local.reading.rows import (
    TableRow,
    keyed_rows,
    lacks_attribute,
    lacks_column,
    lacks_value,
    matching_rows,
    named_rows,
    tables,
)
from voicerag_core.local.reading.trimming import clause_spans
from voicerag_core.types import Passage

__all__ = ["Found", "likeliest", "matching"]

AS_LIKELY = 0.88
"""Of the likeliest sentence's probability, what one must have that dates more exactly, or holds
without a condition that nobody asked about."""

CLEARLY_LIKELIER = 0.1
"""By how much a sentence of the same passage must be likelier to answer, to be taken for one that
shares more words with the question."""

LEAST_READ = -4.0
"""Score of the network, in log odds, below which a row needs words for what is asked of it."""

CLOSE_CALL = 1.0
"""Most by which the second sentence may come behind the likeliest for both to be read alone."""

CLEAR_LEAD = 1.0
"""By which the likeliest sentence comes before all others where it stands out."""

LEAST_SHARED = 0.4
"""Share of the question's words that it has with what stands before and above it."""

WORDS = MEASURES.index("before") + 1
"""Measures of the words in a sentence, and before or above it."""

LEAD_WEIGHT = 0.25
"""What that adds to the log odds that it answers."""

ALONE_WEIGHT = 0.2
"""Of the network's score for a quote that it reads alone."""

MOST_TRIED = 8
"""Sentences that may fail to give a quote before the reader gives up."""


@dataclass(frozen=True, slots=True)
class Found:
    """What may be the answer.

    Args:
        quote: What is said.
        passage: In which it was chosen.
        probability: That it answers.
        sentence: Index of the sentence that leads to it.
        choice: By which it goes before others.
    """

    quote: Quote
    passage: Passage
    probability: float
    sentence: int
    choice: float


def likeliest(
    question: str, asked: Asked, seen: Examined, scorer: SentenceScorer, least_probability: float
) -> Found | None:
    """Return the likeliest sentence that gives a quote and is no near miss, if there is one.

    Args:
        question: In words.
        asked: What it asks for.
        seen: The sentences with their evidence.
        scorer: Reads the clauses of a long sentence.
        least_probability: Of one that is preferred to the likeliest, since it says more exactly
            what is asked for.

    Raises:
        ModelError: The scorer failed.
    """
    possible = list(_possible(question, asked, seen))
    if not possible:
        return None
    if not (asked.many or asked.yes_no or asked.reason):
        possible = _read_closely(question, seen, possible, scorer, least_probability)
    found = _preferred(asked, seen, possible, least_probability)
    if _leads(found, possible, seen):
        odds = math.log(found.probability / (1 - found.probability)) + LEAD_WEIGHT
        found = replace(found, probability=1 / (1 + math.exp(-odds)))
    return replace(found, quote=_trimmed(question, seen, found.quote, scorer))


def _leads(found: Found, possible: Sequence[Found], seen: Examined) -> bool:
    """Whether nothing else that would be quoted comes near a sentence with the question's words."""
    row = seen.kept.index(found.sentence)
    if float(seen.table[row, :WORDS].sum()) < LEAST_SHARED:
        return False
    text = found.quote.text(seen.at_hand)
    return all(
        other.choice <= found.choice - CLEAR_LEAD
        for other in possible
        if other is not found and other.quote.text(seen.at_hand) != text
    )


def _read_closely(
    question: str,
    seen: Examined,
    possible: list[Found],
    scorer: SentenceScorer,
    least_probability: float,
) -> list[Found]:
    """Return the likeliest sentences, the second first where it reads better alone.

    Only where the two are running text and about as likely, and where the second is no less of an
    answer.
    """
    if len(possible) == 1:
        return possible
    first, second, *rest = possible
    lead = first.choice - second.choice
    told = [seen.sentences[one.sentence] for one in (first, second)]
    if lead > CLOSE_CALL or any(sentence.kind != "text" for sentence in told):
        return possible
    if second.probability < min(first.probability, least_probability):
        return possible
    words = [one.quote.text(seen.at_hand) for one in (first, second)]
    if words[0] == words[1]:
        return possible
    before, after = read_alone(question, list(zip(words, told, strict=True)), seen.passages, scorer)
    return [second, first, *rest] if ALONE_WEIGHT * (after - before) > lead else possible


def _preferred(
    asked: Asked, seen: Examined, possible: Sequence[Found], least_probability: float
) -> Found:
    """Return the first of the likeliest sentences, or one that answers better."""
    found, *rest = possible
    for other in rest:
        same = other.passage is found.passage
        if same and other.probability >= found.probability + CLEARLY_LIKELIER:
            found = other
    text = found.quote.text(seen.at_hand)
    narrow = not asked.yes_no and has_other_condition(text, asked.words)
    if not asked.date and not narrow:
        return found
    for other in rest:
        said = other.quote.text(seen.at_hand)
        if other.probability < max(least_probability, AS_LIKELY * found.probability):
            continue
        if asked.date and says_more_exactly(said, text):
            return other
        near = other.passage is found.passage and not has_other_condition(said, asked.words)
        if narrow and near:
            return other
    return found


def _possible(question: str, asked: Asked, seen: Examined) -> Iterator[Found]:
    """Yield the likeliest sentences that give a quote and are no near miss, best first."""
    if not seen.kept:
        return
    quoter = Quoter(seen.at_hand, seen.sentences, asked)
    missed: dict[int, bool] = {}
    choice = seen.table @ WEIGHTS + seen.evidence @ EVIDENCE_WEIGHTS
    for row in np.argsort(-choice, kind="stable").tolist()[:MOST_TRIED]:
        chosen = seen.kept[row]
        quote = quoter.quote(chosen)
        if quote is None or _is_other_row(question, seen, chosen):
            continue
        unread = float(seen.table[row, -len(SCORES) :].max()) < LEAST_READ
        if unread and _lacks_value(question, seen, chosen):
            continue
        if asked.many and seen.sentences[chosen].kind == "row":
            quote = quoter.rows(matching(question, seen, chosen))
        index = seen.sentences[chosen].passage
        if index not in missed:
            missed[index] = _misses(question, seen.passages[index])
        if missed[index]:
            continue
        odds = float(seen.table[row] @ ANSWERED_WEIGHTS) + ANSWERED_OFFSET
        odds += float(seen.evidence[row] @ ANSWERED_EVIDENCE_WEIGHTS)
        probability = 1 / (1 + math.exp(-odds))
        yield Found(quote, seen.passages[index], probability, chosen, float(choice[row]))


def _misses(question: str, passage: Passage) -> bool:
    """Whether a passage lacks a figure or an abbreviation of the question."""
    written = written_around(passage)
    return misses_figure(figures(question), said_in(written)) or misses_abbreviation(
        question, written
    )


def _trimmed(question: str, seen: Examined, quote: Quote, scorer: SentenceScorer) -> Quote:
    """Leave the clauses of a long sentence out that do not answer."""
    if len(quote.parts) != 1 or quote.parts[0].kind not in ("text", "note"):
        return quote
    part = quote.parts[0]
    passage = seen.passages[part.passage]
    spans = clause_spans(passage.text[part.start : part.end])
    if len(spans) == 1:
        return quote
    places = [(part.start + start, part.start + end) for start, end in spans]
    clauses = [
        Candidate(0, start, end, passage.text[start:end], (), first=False) for start, end in places
    ]
    scores = scorer.score(question, [passage], clauses, np.zeros(len(clauses)))
    if np.isnan(scores).any():
        return quote
    best = clauses[int(scores.sum(axis=1).argmax())]
    return Quote((Part(part.passage, best.start, best.end, part.kind),))


def _is_other_row(question: str, seen: Examined, chosen: int) -> bool:
    """Whether the question calls another row of the chosen one's table by its name.

    Or it calls this one, which has nothing in the column that is asked for.
    """
    if seen.sentences[chosen].kind != "row":
        return False
    near = _table_of(question, seen, chosen)
    if lacks_attribute(question, near, seen.sentences, chosen):
        return True
    named = named_rows(question, near, seen.sentences)
    return bool(named) and (
        chosen not in named or lacks_column(question, near, seen.sentences, chosen)
    )


def matching(question: str, seen: Examined, chosen: int) -> list[int]:
    """Return all rows of a row's table that match the question as it does."""
    near = _table_of(question, seen, chosen)
    if not near:
        return [chosen]
    keyed = keyed_rows(question, figures(question), near, seen.sentences)
    if chosen in keyed:
        return sorted(keyed)
    return matching_rows(question, near, seen.sentences, chosen)


def _lacks_value(question: str, seen: Examined, chosen: int) -> bool:
    """Whether a row is of a table that has no word for what the question asks of it."""
    sentence = seen.sentences[chosen]
    if sentence.kind != "row":
        return False
    near = _table_of(question, seen, chosen)
    return lacks_value(question, near, seen.sentences, seen.passages[sentence.passage].title)


def _table_of(question: str, seen: Examined, chosen: int) -> Sequence[TableRow]:
    """Return the rows of a row's table, () for other sentences."""
    near = tables(question, seen.passages, seen.sentences)
    return next((one for one in near if any(row.sentence == chosen for row in one)), ())

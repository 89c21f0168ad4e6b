"""Answers out of the passages: what answers, word for word, or that nothing does."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voicerag_core.follow_ups import in_full, turn_before
from voicerag_core.local.reading.agreement import AGREEMENT, agreement
from voicerag_core.local.reading.answer_scorer import SCORES
from voicerag_core.local.reading.dated import of_its_date
from voicerag_core.local.reading.dates import says_more_exactly
from voicerag_core.local.reading.features import (
    DATE,
    Candidate,
    candidates,
    content_words,
    measure,
    passage_path,
    section_shares,
)
from voicerag_core.local.reading.forms import fits, has_other_condition
from voicerag_core.local.reading.hops import described
from voicerag_core.local.reading.near_misses import (
    figures,
    misses_abbreviation,
    misses_figure,
    missing_names,
    said_around,
    written_around,
)
from voicerag_core.local.reading.questions import Asked, asked_for
from voicerag_core.local.reading.quoting import Part, Quote, Quoter
from voicerag_core.local.reading.readings import Reading
from voicerag_core.local.reading.recipes import RECIPE_SCORE, recipes
from voicerag_core.local.reading.rows import (
    MOST_REREAD,
    TableRow,
    keyed_rows,
    lacks_column,
    matching_rows,
    named_rows,
    read_alone,
    superlative_rows,
    tables,
)
from voicerag_core.local.reading.several import by_two_hops, compared
from voicerag_core.local.reading.trimming import clause_spans
from voicerag_core.local.replies import ENGLISH_REPLIES
from voicerag_core.types import Answer, Passage, Turn

__all__ = [
    "FIRST_PASSAGES",
    "MOST_PASSAGES",
    "NOT_ANSWERED",
    "Examined",
    "Reader",
    "Reading",
    "SentenceScorer",
    "examine",
]

NOT_ANSWERED = ENGLISH_REPLIES.not_answered
WORTH_NAMING = 0.12
"""Minimum of the probability of an answer times the share of the question's words that the closest
passage knows, at which its document is named."""
LEAST_KNOWN = 2
"""Of the question's words: one alone is hardly its subject."""

FIRST_PASSAGES = 4
MOST_PASSAGES = 10
"""Passages that are read at once, and in all when the first leave the reader unsure."""

AS_LIKELY = 0.88
"""Of the likeliest sentence's probability, what one must have that dates more exactly, or holds
without a condition that nobody asked about."""

EXTREME_SCORE = -1.0
"""Least score, in log odds as the network's, of the row with the extreme that is asked for: the
network reads rows alone and compares none."""

CLEARLY_LIKELIER = 0.1
"""By how much a sentence of the same passage must be likelier to answer, to be taken for one that
shares more words with the question."""

MOST_TRIED = 8
"""Sentences that may fail to give a quote before the reader gives up."""

# Weights and threshold: training/thresholds/reader.py on the development half of XQuAD English,
# as written and as misrecognized.
PREVIEW_WEIGHTS = np.array([11.83, 3.81, 3.57, -0.97, 0.70])
"""Weights of `features.MEASURES`, to choose sentences of long passages."""

WEIGHTS = np.array([4.862, 2.965, 0.879, -0.301, 0.257, 0.223, 0.285])
"""Weights of the measures, then of `answer_scorer.SCORES`, to choose the sentence."""

ANSWERED_WEIGHTS = np.array([1.085, 0.806, 0.877, -0.548, 0.167, 0.237, 0.09])
ANSWERED_OFFSET = -0.106
"""From the chosen sentence's measures and scores to the log odds that the passages answer."""

EVIDENCE = (
    "form",  # 1 the sentence has the form that is asked for, else 0
    "telling",  # of a row: share of the words that tell the rows of its table apart
    "keyed",  # 1 a row that a code, figure or amount of the question picks out of its table
    "section",  # share of the words that tell the document's sections apart
    *AGREEMENT,  # what speaks against the sentence
)
FORM, TELLING, KEYED, SECTION = 0, 1, 2, 3
EVIDENCE_WEIGHTS = np.array(
    [0.4, 0, 2.298, 0.984, -1.094, 0, -1.193, -4.001, -0.962, -2.254, -2.165, 0]
)
ANSWERED_EVIDENCE_WEIGHTS = np.array([0.4, 0, 0.839, 0, 0, 0, -1.2, -3, -0.286, -2.9, -3, -1])
"""The same for what the question's form, a table's rows and the names and numbers say besides."""

LEAST_PROBABILITY = 0.35
"""Chosen on the same questions, and on half of a set of questions about handbooks and manuals: of
what the documents do not answer, hardly anything lies between this and 0.45."""


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


@dataclass(frozen=True, slots=True)
class Examined:
    """Passages with what is known of their sentences.

    Args:
        passages: Best first.
        sentences: All sentences of the passages.
        scores: [N, 2] of the sentences; NaN of those that were not read.
        kept: Indices of those that were read, ascending.
        table: Measures and scores of these, one row each.
        evidence: [K, E] of these: columns as in `EVIDENCE`.
        alone: Scores of the rows that were read one by one, by their index.
        at_hand: The passages and those behind them, in which a list may go on.
    """

    passages: Sequence[Passage]
    sentences: list[Candidate]
    scores: NDArray[np.float64]
    kept: list[int]
    table: NDArray[np.float64]
    evidence: NDArray[np.float64]
    alone: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    at_hand: Sequence[Passage] = ()


def examine(
    question: str,
    passages: Sequence[Passage],
    scorer: SentenceScorer,
    before: Examined | None = None,
) -> Examined:
    """Measure and score the sentences of passages.

    Args:
        question: In words.
        passages: Best first.
        scorer: Reads them.
        before: The first of these passages as they were examined; they are not read again.
    """
    sentences = candidates(passages)
    by_words = measure(question, passages, sentences)
    preview = by_words @ PREVIEW_WEIGHTS
    if before is None:
        scores = scorer.score(question, passages, sentences, preview)
    else:
        known, read = len(before.sentences), len(before.passages)
        others = [replace(one, passage=one.passage - read) for one in sentences[known:]]
        more = scorer.score(question, passages[read:], others, preview[known:])
        scores = np.concatenate((before.scores, more))
    kept = np.flatnonzero(~np.isnan(scores).any(axis=1)).tolist()
    table = np.hstack((by_words, scores))[kept]
    evidence = np.zeros((len(kept), len(EVIDENCE)))
    alone = {} if before is None else before.alone
    return Examined(passages, sentences, scores, kept, table, evidence, alone)


@dataclass(frozen=True, slots=True)
class _Found:
    """What may be the answer: a quote, the passage it was chosen in, and its probability."""

    quote: Quote
    passage: Passage
    probability: float


class Reader:
    """Quotes what answers a question from passages; never words of its own.

    The likeliest sentence leads to the quote: `voicerag_core.local.reading.quoting` says how. Safe
    to share between threads when its scorer is.

    Args:
        scorer: Reads the question with the sentences.
        least_probability: Below this probability the passages do not answer.
    """

    most_passages = MOST_PASSAGES

    def __init__(
        self, scorer: SentenceScorer, *, least_probability: float = LEAST_PROBABILITY
    ) -> None:
        self._scorer = scorer
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
            question: As text.
            passages: Best first.
            history: Earlier turns, oldest first: a question that leans on the last of them is read
                in full.
            instructions: Ignored: a quote has its own manner.

        Raises:
            ModelError: The scorer failed.
        """
        del instructions
        reading = self._read_in_context(question, passages, history)
        if reading.answered:
            yield Answer(reading.text, citations=reading.citations)
            return
        text = NOT_ANSWERED
        if reading.closest is not None and _is_close(question, reading.closest, reading.score):
            text += f" {ENGLISH_REPLIES.closest.format(title=reading.closest.title)}"
        yield Answer(text, answered=False)

    def _read_in_context(
        self, question: str, passages: Sequence[Passage], history: Sequence[Turn]
    ) -> Reading:
        """Read for every wording of a follow-up in full, and return the likeliest reading.

        One that quotes what the turn before quoted is taken only if there is no other.
        """
        before = turn_before(history)
        full = () if before is None else in_full(question, before)
        if before is None or not full:
            return self.read(question, passages)
        known = set(before.answer.citations)

        def likely(reading: Reading) -> tuple[bool, bool, float]:
            says_more = not known.issuperset(reading.citations)
            return reading.answered, reading.answered and says_more, reading.score

        return max((self.read(one, passages) for one in full), key=likely)

    def read(self, question: str, passages: Sequence[Passage]) -> Reading:
        """Read the answer out of the first four passages, or of ten when those leave it unsure.

        Args:
            question: As text.
            passages: Best first.

        Raises:
            ModelError: The scorer failed.
        """
        # A recogniser ends a question as it ends a statement.
        question = question.strip().rstrip(".,; ")
        asked = asked_for(question)
        if asked.greeting or not any(map(str.isalnum, question)):
            return Reading("", (), 0.0, answered=False, closest=None)
        if asked.sides:
            return compared(asked, passages, self._read_plainly)
        if (hop := described(question)) is not None:
            return by_two_hops(question, hop, passages[:MOST_PASSAGES], self._read_plainly)
        return self._read_plainly(question, passages)

    def further_query(
        self, question: str, passages: Sequence[Passage], *, only_unsure: bool
    ) -> str | None:
        """Return the question joined to the sentence that is closest to an answer.

        Args:
            question: As text.
            passages: Best first.
            only_unsure: Return None where the passages answer.

        Raises:
            ModelError: The scorer failed.
        """
        if only_unsure and self.read(question, passages).answered:
            return None
        seen = examine(question, passages[:FIRST_PASSAGES], self._scorer)
        if not seen.kept:
            return None
        best = seen.kept[int((seen.table @ WEIGHTS).argmax())]
        return f"{question} {seen.sentences[best].text}"

    def answer_probability(self, question: str, passages: Sequence[Passage]) -> float:
        """Return the probability that passages answer a question, 0 where nothing can be quoted.

        Raises:
            ModelError: The scorer failed.
        """
        return self.read(question, passages).score

    def declining_below(self, probability: float) -> Reader:
        """Return a reader with another least probability, and the same scorer."""
        return Reader(self._scorer, least_probability=probability)

    def _read_plainly(self, question: str, passages: Sequence[Passage]) -> Reading:
        """Read the answer to a question about one thing that it names."""
        reading = self._reading(*self._best(question, asked_for(question), passages), passages)
        if not reading.answered and (dated := of_its_date(question, passages)):
            short, near = dated
            other = self._reading(*self._best(short, asked_for(short), near), near)
            return other if other.answered else reading
        return reading

    def _best(
        self, question: str, asked: Asked, passages: Sequence[Passage]
    ) -> tuple[_Found | None, Examined | None]:
        """Look for the answer in the first passages, and in more when it is not sure there."""
        seen: Examined | None = None
        found: _Found | None = None
        for most in (FIRST_PASSAGES, MOST_PASSAGES):
            near = passages[:most]
            if seen is not None and len(near) == len(seen.passages):
                break
            seen = examine(question, near, self._scorer, seen)
            seen = replace(self._looked_into(question, asked, seen), at_hand=passages)
            found = self._found(question, asked, seen) or found
            if found is not None and found.probability >= self._least_probability:
                break
        return found, seen

    def _looked_into(self, question: str, asked: Asked, seen: Examined) -> Examined:
        """Add the evidence of forms, sections and rows, and read the likeliest rows one by one."""
        evidence = np.zeros_like(seen.evidence)
        wanted = figures(question)
        for row, index in enumerate(seen.kept):
            sentence = seen.sentences[index]
            evidence[row, FORM] = fits(asked, sentence)
            if asked.date and wanted and sentence.kind == "heading":
                named = not misses_figure(wanted, said_around(Passage("", sentence.text)))
                evidence[row, KEYED] = float(named and DATE.search(sentence.text) is not None)
        evidence[:, SECTION] = section_shares(question, seen.passages, seen.sentences)[seen.kept]
        evidence[:, SECTION + 1 :] = agreement(question, seen.passages, seen.sentences, seen.kept)
        seen = replace(seen, table=_with_recipes(asked, seen))
        near = tables(question, seen.passages, seen.sentences)
        if not near:
            return replace(seen, evidence=evidence)
        self._add_rows(question, seen, near, evidence)
        return replace(seen, table=self._with_rows_reread(question, seen, near), evidence=evidence)

    @staticmethod
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
        self, question: str, seen: Examined, near: Sequence[Sequence[TableRow]]
    ) -> NDArray[np.float64]:
        """Read rows one by one, and return the table with the better of their two scores."""
        places = {index: row for row, index in enumerate(seen.kept)}
        likely = [one for table in near for one in table[:MOST_REREAD] if one.overlap > 0]
        likely.sort(key=lambda one: -one.overlap)
        read = [one.sentence for one in likely if one.sentence in places][: 2 * MOST_REREAD]
        table = seen.table.copy()
        if fresh := [index for index in read if index not in seen.alone]:
            alone, parts = read_alone(seen.passages, seen.sentences, fresh)
            scores = self._scorer.score(question, alone, parts, np.zeros(len(parts)))
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

    def _trimmed(self, question: str, seen: Examined, quote: Quote) -> Quote:
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
            Candidate(0, start, end, passage.text[start:end], (), first=False)
            for start, end in places
        ]
        scores = self._scorer.score(question, [passage], clauses, np.zeros(len(clauses)))
        if np.isnan(scores).any():
            return quote
        best = clauses[int(scores.sum(axis=1).argmax())]
        return Quote((Part(part.passage, best.start, best.end, part.kind),), 0)

    @staticmethod
    def _is_other_row(question: str, seen: Examined, chosen: int) -> bool:
        """Whether the question calls another row of the chosen one's table by its name.

        Or it calls this one, which has nothing in the column that is asked for.
        """
        if seen.sentences[chosen].kind != "row":
            return False
        for near in tables(question, seen.passages, seen.sentences):
            if any(row.sentence == chosen for row in near):
                named = named_rows(question, near, seen.sentences)
                if named:
                    return chosen not in named or lacks_column(
                        question, near, seen.sentences, chosen
                    )
        return False

    def _matching(self, question: str, seen: Examined, chosen: int) -> list[int]:
        """Return all rows of a row's table that match the question as it does."""
        for near in tables(question, seen.passages, seen.sentences):
            if any(row.sentence == chosen for row in near):
                keyed = keyed_rows(question, figures(question), near, seen.sentences)
                if chosen in keyed:
                    return sorted(keyed)
                return matching_rows(question, near, seen.sentences, chosen)
        return [chosen]

    def _choice(self, asked: Asked, seen: Examined) -> NDArray[np.float64]:
        choice: NDArray[np.float64] = seen.table @ WEIGHTS + seen.evidence @ EVIDENCE_WEIGHTS
        return choice

    def _reading(
        self, found: _Found | None, seen: Examined | None, passages: Sequence[Passage]
    ) -> Reading:
        if found is None:
            closest = None
            if seen is not None and seen.kept:
                best = seen.kept[int((seen.table @ WEIGHTS).argmax())]
                closest = passages[seen.sentences[best].passage]
            return Reading("", (), 0.0, answered=False, closest=closest)
        if found.probability < self._least_probability:
            return Reading("", (), found.probability, answered=False, closest=found.passage)
        return Reading(
            found.quote.text(passages),
            found.quote.citations(passages),
            found.probability,
            answered=True,
            closest=found.passage,
        )

    def _found(self, question: str, asked: Asked, seen: Examined) -> _Found | None:
        """Return the likeliest sentence that gives a quote and is no near miss."""
        possible = list(self._possible(question, asked, seen))
        if not possible:
            return None
        found = self._preferred(asked, seen, possible)
        return replace(found, quote=self._trimmed(question, seen, found.quote))

    def _preferred(self, asked: Asked, seen: Examined, possible: Sequence[_Found]) -> _Found:
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
            if other.probability < max(self._least_probability, AS_LIKELY * found.probability):
                continue
            if asked.date and says_more_exactly(said, text):
                return other
            near = other.passage is found.passage and not has_other_condition(said, asked.words)
            if narrow and near:
                return other
        return found

    def _possible(self, question: str, asked: Asked, seen: Examined) -> Iterator[_Found]:
        """Yield the likeliest sentences that give a quote and are no near miss, best first."""
        if not seen.kept:
            return
        wanted = figures(question)
        quoter = Quoter(seen.at_hand, seen.sentences, asked)
        around: dict[int, frozenset[str]] = {}
        abbreviated: dict[int, bool] = {}
        order = np.argsort(-self._choice(asked, seen), kind="stable").tolist()
        for row in order[:MOST_TRIED]:
            chosen = seen.kept[row]
            quote = quoter.quote(chosen)
            if quote is None or self._is_other_row(question, seen, chosen):
                continue
            if asked.many and seen.sentences[chosen].kind == "row":
                quote = quoter.rows(self._matching(question, seen, chosen))
            index = seen.sentences[chosen].passage
            said = around.setdefault(index, said_around(seen.passages[index]))
            if misses_figure(wanted, said) or abbreviated.setdefault(
                index, misses_abbreviation(question, written_around(seen.passages[index]))
            ):
                continue
            odds = float(seen.table[row] @ ANSWERED_WEIGHTS) + ANSWERED_OFFSET
            odds += float(seen.evidence[row] @ ANSWERED_EVIDENCE_WEIGHTS)
            yield _Found(quote, seen.passages[index], 1 / (1 + math.exp(-odds)))


def _with_recipes(asked: Asked, seen: Examined) -> NDArray[np.float64]:
    """Return the table with at least `RECIPE_SCORE` for what tells the way that is asked for."""
    told = recipes(asked, seen.passages, seen.sentences)
    table = seen.table.copy()
    for row, index in enumerate(seen.kept):
        if index in told:
            table[row, -len(SCORES) :] = np.fmax(table[row, -len(SCORES) :], RECIPE_SCORE)
    return table


def _is_close(question: str, passage: Passage, probability: float) -> bool:
    """Return whether a passage that does not answer is worth naming: it is about the subject."""
    asked = set(content_words(question))
    around = (passage.title, *passage_path(passage), passage.text)
    known = asked.intersection(content_words(" ".join(around)))
    if not passage.metadata.get("title") or len(known) < LEAST_KNOWN:
        return False
    share = len(known) / len(asked)
    return probability * share >= WORTH_NAMING and not missing_names(question, said_around(passage))

"""Answers out of the passages: what answers, word for word, or that nothing does."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from voicerag_core.follow_ups import in_full, turn_before
from voicerag_core.local.reading.choosing import Found, likeliest
from voicerag_core.local.reading.dated import of_its_date
from voicerag_core.local.reading.evidence import with_evidence
from voicerag_core.local.reading.examined import Examined, SentenceScorer, examine
from voicerag_core.local.reading.features import Candidate, content_words, passage_path
from voicerag_core.local.reading.hops import described
from voicerag_core.local.reading.near_misses import missing_names, said_around
from voicerag_core.local.reading.questions import Asked, asked_for, without_fillers
from voicerag_core.local.reading.reader_weights import LEAST_PROBABILITY, WEIGHTS
from voicerag_core.local.reading.readings import Reading
from voicerag_core.local.reading.several import by_two_hops, compared
from voicerag_core.local.replies import ENGLISH_REPLIES
from voicerag_core.types import Answer, Passage, Turn

__all__ = ["FIRST_PASSAGES", "MOST_PASSAGES", "Reader"]

WORTH_NAMING = 0.12
"""Minimum of the probability of an answer times the share of the question's words that the closest
passage knows, at which its document is named."""

LEAST_KNOWN = 2
"""Of the question's words: one alone is hardly its subject."""

FIRST_PASSAGES = 4
MOST_PASSAGES = 10
"""Passages that are read at once, and in all when the first leave the reader unsure."""


class Reader:
    """Quotes what answers a question from passages; never words of its own.

    The likeliest sentence leads to the quote: `voicerag_core.local.reading.quoting.quoter` says
    how. Safe to share between threads when its scorer is.

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
        text = ENGLISH_REPLIES.not_answered
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
        question = without_fillers(question.strip().rstrip(".,; "))
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
        closest = _closest(seen)
        return None if closest is None else f"{question} {closest.text}"

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
    ) -> tuple[Found | None, Examined | None]:
        """Look for the answer in the first passages, and in more when it is not sure there."""
        seen: Examined | None = None
        found: Found | None = None
        least = self._least_probability
        for most in (FIRST_PASSAGES, MOST_PASSAGES):
            near = passages[:most]
            if seen is not None and len(near) == len(seen.passages):
                break
            seen = examine(question, near, self._scorer, seen)
            seen = replace(with_evidence(question, asked, seen, self._scorer), at_hand=passages)
            found = likeliest(question, asked, seen, self._scorer, least) or found
            if found is not None and found.probability >= least:
                break
        return found, seen

    def _reading(
        self, found: Found | None, seen: Examined | None, passages: Sequence[Passage]
    ) -> Reading:
        if found is None:
            best = None if seen is None else _closest(seen)
            closest = None if best is None else passages[best.passage]
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


def _closest(seen: Examined) -> Candidate | None:
    """Return the sentence that is likeliest to answer by its measures and scores alone."""
    if not seen.kept:
        return None
    return seen.sentences[seen.kept[int((seen.table @ WEIGHTS).argmax())]]


def _is_close(question: str, passage: Passage, probability: float) -> bool:
    """Return whether a passage that does not answer is worth naming: it is about the subject."""
    asked = set(content_words(question))
    around = (passage.title, *passage_path(passage), passage.text)
    known = asked.intersection(content_words(" ".join(around)))
    if not passage.metadata.get("title") or len(known) < LEAST_KNOWN:
        return False
    share = len(known) / len(asked)
    return probability * share >= WORTH_NAMING and not missing_names(question, said_around(passage))

"""Proposes and ranks what else a clip may say, besides its transcript.

Three sources: the recogniser's own other texts; the transcript with a word of the collection in the
place where it fits the sound (`placed_words`); and the transcript with some of its words as the
listener heard them. They are ranked by how well they fit the sound to both networks, and by what a
question over the collection is likely to be: its words are English or the collection's, and it
begins as questions begin.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations, pairwise, zip_longest

from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer
from voicerag_core.local.hearing.english_words import english_ranks
from voicerag_core.local.hearing.number_words import with_digits
from voicerag_core.types import Audio, Transcription, Vocabulary

__all__ = ["ASKING_WORTH", "asks", "likeliest", "mingled", "plain_words", "wordings_of"]

MOST_WORDINGS = 6
MOST_LISTENED = 4
"""Wordings that are returned, and texts of the listener that are mingled with the transcript."""
MOST_SCORED = 8
"""Texts of either kind that the recogniser scores."""
TOKEN_WORTH = 2.0
"""Of each subword of a word that was put in: a long word is seldom there by chance."""

MOST_DIFFERENCES = 4
"""Places in which a transcript and the listener's text may differ to be mingled."""
MOST_SWAPPED = 2
"""Of these that are taken from the listener at a time."""

SOUND_WEIGHT = 0.25
"""Of the listener's score of a text, beside the recogniser's."""
PRIOR_WEIGHT = 0.5
"""Of the prior of a word of the collection that was put in."""
ASKING_WORTH = 6.0
"""Of a text that begins as a question does, where the transcript does not."""
UNKNOWN_COST = 4.0
"""Of each word that neither English nor the collection has, and that the transcript has not."""

_WORD = re.compile(r"\w+(?:[-'\u2019]\w+)*")
_ASKING = re.compile(
    r"(?:what|which|who|whom|whose|when|where|why|how|until when|is|are|was|were|am|do|does|did|can"
    r"|could|may|might|must|shall|should|will|would|has|have|had)\b"
    r"|(?:by|in|on|at|for|from|to|since|until|within|after|before) "
    r"(?:what|which|whom|when|where|how)\b",
    re.IGNORECASE,
)


Score = Callable[[Sequence[str]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A text that a clip may say.

    Args:
        text: It.
        sound: The listener's score of it, at most 0.
        prior: What speaks for it besides the sound.
    """

    text: str
    sound: float
    prior: float = 0.0


def asks(text: str) -> bool:
    """Return whether a text begins as an English question does."""
    return _ASKING.match(text.strip()) is not None


def plain_words(text: str) -> str:
    """Return the words of a text in lower case, without marks."""
    return " ".join(_WORD.findall(text.lower()))


def mingled(text: str, listened: Sequence[str]) -> Iterator[str]:
    """Yield a transcript with some of its words as the listener heard them.

    Args:
        text: The transcript.
        listened: The listener's texts.
    """
    written = text.split()
    words = [plain_words(one) for one in written]
    for heard in listened:
        other = with_digits(heard).split()
        matcher = SequenceMatcher(None, words, other, autojunk=False)
        parts = [one[1:] for one in matcher.get_opcodes() if one[0] != "equal"]
        if len(parts) > MOST_DIFFERENCES:
            continue
        swaps = [swap for part in parts for swap in _swaps(*part)]
        for number in range(1, MOST_SWAPPED + 1):
            for swapped in combinations(swaps, number):
                if any(one[1] > next_[0] for one, next_ in pairwise(swapped)):
                    continue
                result = list(written)
                for start, end, first, last in reversed(swapped):
                    result[start:end] = other[first:last]
                yield " ".join(result)


def _swaps(start: int, end: int, first: int, last: int) -> list[tuple[int, int, int, int]]:
    """Return the ways to swap words for others: all, the first ones, or the last ones alone."""
    whole = (start, end, first, last)
    few = range(1, min(end - start, last - first) + 1)
    begins = [(start, start + number, first, first + number) for number in few]
    ends = [(end - number, end, last - number, last) for number in few]
    # The rest behind the first ones, or before the last ones, may differ in its number of words.
    rests = [(start + number, end, first + number, last) for number in few]
    fronts = [(start, end - number, first, last - number) for number in few]
    found = dict.fromkeys((whole, *begins, *ends, *rests, *fronts))
    return sorted(one for one in found if one[0] < one[1] or one[2] < one[3])


def likeliest(
    transcript: str, proposals: Sequence[Proposal], score: Score, known: Callable[[str], bool]
) -> list[str]:
    """Return the likeliest proposals that have other words than the transcript, each once.

    Args:
        transcript: As it was heard.
        proposals: What else may have been said.
        score: The recogniser's natural-log probabilities of texts, given the sound.
        known: Whether a word in lower case is English or the collection's.
    """
    asking = asks(transcript)
    have = frozenset(plain_words(transcript).split())

    def worth(one: Proposal) -> float:
        new = frozenset(plain_words(one.text).split()) - have
        asked = ASKING_WORTH if not asking and asks(one.text) else 0.0
        unknown = sum(not known(word) for word in new)
        return SOUND_WEIGHT * one.sound + one.prior + asked - UNKNOWN_COST * unknown

    best: dict[str, tuple[float, str]] = {}
    for one in proposals:
        plain, value = plain_words(one.text), worth(one)
        if plain and value > best.get(plain, (float("-inf"), ""))[0]:
            best[plain] = (value, one.text)
    best.pop(plain_words(transcript), None)
    chosen = sorted(best.values(), reverse=True)[:MOST_SCORED]
    fits = score([text for _, text in chosen])
    ranked = [(value + fit, text) for (value, text), fit in zip(chosen, fits, strict=True)]
    return [text for _, text in sorted(ranked, reverse=True)]


def wordings_of(
    audio: Audio,
    heard: Transcription,
    vocabulary: Vocabulary,
    listener: CTCRecognizer,
    score: Score,
) -> tuple[str, ...]:
    """Return what else a clip may say, those with words of the collection and others in turn.

    Args:
        audio: At 16 kHz, 30 s at most.
        heard: Its transcription.
        vocabulary: The words of the collection.
        listener: Hears words of the collection.
        score: The recogniser's natural-log probabilities of texts, given the sound.

    Raises:
        AudioError: The clip is not at 16 kHz, is empty or not finite.
        ModelError: A model cannot be loaded or failed.
    """
    english = english_ranks()
    own = frozenset(word.lower() for word, _ in vocabulary.words)

    def known(word: str) -> bool:
        return word in english or word in own or len(word) == 1 or word.isdigit()

    (listened,) = listener.hear([audio], most=MOST_LISTENED, vocabulary=vocabulary)
    texts = [one.text for one in listened.hypotheses]
    near = dict.fromkeys((*heard.others, *mingled(heard.text, texts)))
    heard_so = [Proposal(text, listener.text_score(audio, text)) for text in near]
    with_words = [
        Proposal(
            one.text,
            one.score,
            PRIOR_WEIGHT * one.word.prior + TOKEN_WORTH * len(one.word.tokens),
        )
        for one in listener.placed(audio, heard.text, vocabulary)
    ]
    first, second = (
        likeliest(heard.text, some, score, known) for some in (heard_so, with_words)
    )
    mixed = [text for pair in zip_longest(first, second) for text in pair if text is not None]
    return tuple({plain_words(text): text for text in reversed(mixed)}.values())[::-1][
        :MOST_WORDINGS
    ]

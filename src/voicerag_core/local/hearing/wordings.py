"""Proposes and ranks what else a clip may say, besides its transcript.

Three sources: the recogniser's own other texts; the transcript with a word of the collection in the
place where it fits the sound (`placed_words`); and the transcript with some of its words as the
listener heard them. They are ranked by how well they fit the sound to both networks, and by what a
question over the collection is likely to be: its words are English or the collection's, and it
begins as questions begin.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations, pairwise, zip_longest

from voicerag_core.local.asking import asks
from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer
from voicerag_core.local.hearing.english_words import english_ranks
from voicerag_core.local.hearing.number_words import with_digits
from voicerag_core.local.hearing.placed_words import Placed
from voicerag_core.types import Audio, Transcription, Vocabulary, Wording

__all__ = ["ASKING_WORTH", "mingled", "plain_words", "wordings_of"]

MOST_WORDINGS = 6
MOST_LISTENED = 4
"""Wordings that are returned, and texts of the listener that are mingled with the transcript."""
MOST_SCORED = 10
"""Texts of either kind that the recogniser scores."""
TOKEN_WORTH = 2.0
"""Of each subword of a word that was put in: a long word is seldom there by chance."""

MOST_DIFFERENCES = 4
"""Places in which a transcript and the listener's text may differ to be mingled."""
MOST_SWAPPED = 2
"""Of these that are taken from the listener at a time."""

SOUND_WEIGHT, PLACED_SOUND_WEIGHT = 0.25, 0.75
"""Of the listener's score of a text, beside the recogniser's; of one with a word of the collection,
which the recogniser has seldom seen, the sound tells more."""
UNFAMILIAR_WORTH, PRIOR_WEIGHT = 4.0, 0.5
"""Of a word of the collection that English has seldom, and of its prior."""
ASKING_WORTH = 6.0
"""Of a text that begins as a question does, where the transcript does not."""
UNKNOWN_COST = 4.0
"""Of each new word that neither English nor the collection has, and of each word that only the
collection has, where the transcript has it and the text has not."""

_WORD = re.compile(r"\w+(?:[-'\u2019]\w+)*")


Score = Callable[[Sequence[str]], Sequence[float]]
"""The recogniser's natural-log probabilities of texts, given the sound."""


@dataclass(frozen=True, slots=True)
class _Proposal:
    """A text that a clip may say.

    Args:
        text: It.
        sound: The listener's score of it, at most 0.
        worth: What speaks for it besides the recogniser; only compares proposals of one kind.
    """

    text: str
    sound: float
    worth: float


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
    few = range(1, min(end - start, last - first))
    begins = [(start, start + number, first, first + number) for number in few]
    ends = [(end - number, end, last - number, last) for number in few]
    # The rest behind the first ones, or before the last ones, may differ in its number of words;
    # no word of either side is left out.
    rests = [(start + number, end, first + number, last) for number in few]
    fronts = [(start, end - number, first, last - number) for number in few]
    found = dict.fromkeys((whole, *begins, *ends, *rests, *fronts))
    return sorted(one for one in found if one[0] < one[1] or one[2] < one[3])


def wordings_of(
    audio: Audio,
    heard: Transcription,
    vocabulary: Vocabulary,
    listener: CTCRecognizer,
    score: Score,
) -> tuple[Wording, ...]:
    """Return what else a clip may say: texts heard, and with words of the collection, in turn.

    Args:
        audio: At 16 kHz, 30 s at most.
        heard: Its transcription.
        vocabulary: The words of the collection.
        listener: Hears words of the collection.
        score: Of the recogniser.

    Raises:
        AudioError: The clip is not at 16 kHz, is empty or not finite.
        ModelError: A model cannot be loaded or failed.
    """
    (listened,) = listener.hear([audio], most=MOST_LISTENED, vocabulary=vocabulary)
    own = [one.text for one in listened.hypotheses if one.text]
    words = _Words(english_ranks(), frozenset(word.lower() for word, _ in vocabulary.words))
    near = dict.fromkeys((*heard.others, *mingled(heard.text, own)))
    as_heard = [
        _as_heard(heard.text, text, listener.text_score(audio, text), words) for text in near
    ]
    placed = listener.placed(audio, heard.text, vocabulary)
    with_words = [proposal for one in placed for proposal in _with_word(one)]
    (fit,) = score([heard.text])
    fit += SOUND_WEIGHT * listener.text_score(audio, heard.text)
    found = {plain_words(heard.text): Wording(heard.text)}
    ranked = [_ranked(some, score) for some in (as_heard, with_words)]
    rare = {word for word in plain_words(heard.text).split() if words.rare(word)}
    for one in (one for pair in zip_longest(*ranked) for one in pair if one is not None):
        plain = plain_words(one.text)
        keeps = rare.issubset(plain.split())
        found.setdefault(plain, Wording(one.text, one.lead - fit if keeps else -math.inf))
    return tuple(found.values())[1 : MOST_WORDINGS + 1]


@dataclass(frozen=True, slots=True)
class _Words:
    """Words that are known, in lower case.

    Args:
        english: The common ones of English, each with its place.
        own: Those of the collection.
    """

    english: Mapping[str, int]
    own: frozenset[str]

    def odd(self, word: str) -> bool:
        """Whether neither has it."""
        return not (word in self.english or word in self.own or len(word) == 1 or word.isdigit())

    def rare(self, word: str) -> bool:
        """Whether the collection alone has it: once heard, it is seldom there by chance."""
        return word in self.own and word not in self.english


def _as_heard(transcript: str, text: str, sound: float, words: _Words) -> _Proposal:
    before, after = (set(plain_words(one).split()) for one in (transcript, text))
    against = sum(map(words.odd, after - before)) + sum(map(words.rare, before - after))
    worth = SOUND_WEIGHT * sound - UNKNOWN_COST * against
    if asks(text) and not asks(transcript):
        worth += ASKING_WORTH
    return _Proposal(text, sound, worth)


def _with_word(placed: Placed) -> Iterator[_Proposal]:
    """Yield a transcript with a word of the collection, as a heading and as a sentence has it."""
    word = placed.word
    worth = PLACED_SOUND_WEIGHT * placed.score + TOKEN_WORTH * len(word.tokens)
    worth += PRIOR_WEIGHT * word.prior + UNFAMILIAR_WORTH * (word.prior > 0)
    yield _Proposal(placed.text, placed.score, worth)
    if word.word.istitle() and not placed.text.startswith(word.word):
        text = placed.text.replace(word.word, word.word.lower())
        yield _Proposal(text, placed.score, worth)


def _ranked(proposals: Sequence[_Proposal], score: Score) -> list[Wording]:
    """Return proposals, likeliest first; the lead is the score of the sound by itself."""
    chosen = sorted(proposals, key=lambda one: -one.worth)[:MOST_SCORED]
    scores = score([one.text for one in chosen])
    rows = sorted(zip(chosen, scores, strict=True), key=lambda row: -row[0].worth - row[1])
    return [Wording(one.text, fit + SOUND_WEIGHT * one.sound) for one, fit in rows]

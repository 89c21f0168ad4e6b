"""Is what a chat model says in the passages: its figures, dates, names, denials, its words?"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from enum import Enum

from voicerag_core.languages import ANY, ENGLISH
from voicerag_core.local.reading.chinese_words import pairs
from voicerag_core.local.reading.denial import contradicts
from voicerag_core.local.reading.facts import Facts
from voicerag_core.local.reading.features import content_words, passage_path
from voicerag_core.local.reading.language import language_of
from voicerag_core.local.reading.proper_names import names
from voicerag_core.types import Passage

__all__ = ["Support", "Verdict"]

LEAST_SHARE = 0.34
"""Of a sentence's words that the passages have, where it cites none."""
LEAST_WORDS = 3
"""Words of meaning in a sentence that is judged by its words."""
LANGUAGE_LETTERS = 400
"""Of a passage, that tell its language."""
_CAPITALS_ARE_NAMES = ("en", "fr", "es", "it", "pt", "nl", "zh", "ja")
"""Languages in which only names have a capital within a sentence, or no other letters have."""
_EMPTY = frozenset(
    content_words(
        "roughly about around approximately nearly almost yes according source sources document"
        " documents passage text says states mentions come comes there also therefore however"
    )
)
"""Words that every answer may use, whatever its passages are about."""
_DENYING = ("en", "de", "fr", "es")
"""Languages whose negations are known."""


class Verdict(Enum):
    """What the passages are to a sentence."""

    BORNE = "borne"
    """Nothing in it contradicts them or goes beyond them, as far as that is compared."""
    ELSEWHERE = "elsewhere"
    """The passages that it names do not bear it, others may."""
    NOT_BORNE = "not borne"
    """It has a figure, date or name that is in none of them, denies what they say, or the like."""


class Support:
    """What some passages say, to compare a model's sentences with.

    Compared are figures with their units (in digits or words, converted where the factor is
    exact), dates and times in any form, codes, names, and whether something is denied. Where the
    passages are in another language than the question, names, words and denials are not compared.

    Args:
        texts: The passages with their titles, or what else a model was given.
        question: May be repeated by the model.
        language: Of the sentences.
    """

    def __init__(
        self, texts: Sequence[str], *, question: str = "", language: str = ENGLISH
    ) -> None:
        self._texts = tuple(texts)
        self._question = question
        self.language = language
        """Code of the language of the sentences."""
        self._known: dict[tuple[int, ...], Facts] = {}

    @classmethod
    def of(cls, question: str, passages: Sequence[Passage]) -> Support:
        """Return the support of a question's passages; the question may be repeated, too."""
        return cls(
            [_whole(one) for one in passages], question=question, language=language_of(question)
        )

    def invents(self, sentence: str) -> bool:
        """Tell whether a sentence has a figure, date or name that is in none of the texts."""
        facts = self._facts(self._all)
        return facts.lacks(sentence, self.language) or self._names_another(sentence, facts)

    def verdict(self, sentence: str, cited: Sequence[int] = ()) -> Verdict:
        """Compare a sentence with the passages that it cites, or with all if it cites none.

        Args:
            sentence: Of the model, without its marks.
            cited: Indices of the passages that it names.
        """
        if cited:
            if self._bears(sentence, self._facts(tuple(sorted(set(cited))))):
                return Verdict.BORNE
            borne = self._bears(sentence, self._facts(self._all))
            return Verdict.ELSEWHERE if borne else Verdict.NOT_BORNE
        facts = self._facts(self._all)
        if not self._bears(sentence, facts) or self._is_foreign(sentence, facts):
            return Verdict.NOT_BORNE
        return Verdict.BORNE

    @property
    def _all(self) -> tuple[int, ...]:
        return tuple(range(len(self._texts)))

    def _facts(self, indices: tuple[int, ...]) -> Facts:
        if indices not in self._known:
            texts = [self._texts[index] for index in indices]
            self._known[indices] = Facts(texts, self._source_language, beside=self._question)
        return self._known[indices]

    @functools.cached_property
    def _source_language(self) -> str:
        """Language of the passages; that of the sentences where it cannot be told."""
        beginning = " ".join(text[-LANGUAGE_LETTERS:] for text in self._texts[:3])
        found = language_of(beginning) if beginning.strip() else ANY
        return self.language if found == ANY else found

    @property
    def _same_language(self) -> bool:
        return self._source_language == self.language

    def _bears(self, sentence: str, facts: Facts) -> bool:
        if facts.lacks(sentence, self.language) or self._names_another(sentence, facts):
            return False
        judged = self._same_language and self.language in _DENYING
        return not (judged and contradicts(sentence, facts.clauses))

    def _names_another(self, sentence: str, facts: Facts) -> bool:
        if not self._same_language or self.language not in _CAPITALS_ARE_NAMES:
            return False
        return any(facts.names.lacks(name) for name in names(sentence, facts.names, self.language))

    def _is_foreign(self, sentence: str, facts: Facts) -> bool:
        """Whether a sentence has hardly any of the passages' words."""
        if not self._same_language or facts.measures(sentence, self.language):
            return False
        words = pairs(sentence) if self.language == "zh" else content_words(sentence)
        words = [word for word in words if not word.isdigit() and word not in _EMPTY]
        if len(words) < LEAST_WORDS:
            return False
        return sum(map(facts.has_word, words)) < LEAST_SHARE * len(words)


def _whole(passage: Passage) -> str:
    """Return a passage behind its title, the headings above it, and what announces its list."""
    lead = str(passage.metadata.get("lead") or "")
    above = [part for part in (passage.title, *passage_path(passage), lead) if part]
    return "\n\n".join((*dict.fromkeys(above), passage.text))

"""Is what a chat model says in the passages: its figures, its names, its words?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from voicerag_core.local.reading.features import content_words, passage_path
from voicerag_core.types import Passage

__all__ = ["Support"]

LEAST_SHARE = 0.34
"""Of a sentence's words that the passages have, where it cites none."""

LEAST_WORDS = 3
"""Words of meaning in a sentence that is judged by its words."""

_FIGURE = re.compile(r"\d+(?:[.,:/]\d+)*")
_THOUSANDS = re.compile(r"(?<=\d)[,\u00a0\u202f](?=\d{3}(?!\d))")
_NAME = re.compile(r"(?<![\w'])[A-Z\u00c0-\u00de][\w'\u2019-]*")
_TITLES = frozenset(("Mr", "Mrs", "Ms", "Mx", "Dr", "Prof", "Sir", "Madam", "Rev"))
"""Ways to address a person, which say nothing of who it is."""

_SPELT = frozenset(
    content_words(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
        " fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy"
        " eighty ninety hundred thousand million billion percent first second third"
    )
)


class Support:
    """What some texts say, to compare a model's sentences with.

    Args:
        texts: The passages with their titles, or what else a model was given.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        said = " ".join(texts)
        self._figures = _figures(said)
        self._words = set(content_words(said)) | _SPELT

    @classmethod
    def of(cls, question: str, passages: Sequence[Passage]) -> Support:
        """Return the support of a question's passages; the question may be repeated, too."""
        around = [" ".join((one.title, *passage_path(one), one.text)) for one in passages]
        leads = [str(one.metadata.get("lead") or "") for one in passages]
        return cls([question, *around, *leads])

    def invents(self, sentence: str) -> bool:
        """Tell whether a sentence has a figure or a name that is in none of the texts."""
        if not _figures(sentence) <= self._figures:
            return True
        names = [
            match[0]
            for match in _NAME.finditer(sentence)
            if sentence[: match.start()].strip("\"'( \u201c") and match[0] not in _TITLES
        ]
        return any(not set(content_words(name)) <= self._words for name in names)

    def bears(self, sentence: str, *, cited: bool = False) -> bool:
        """Tell whether the texts may bear a sentence: nothing is invented, and it is about them.

        Args:
            sentence: Of the model, without its marks.
            cited: Whether it names a source.
        """
        if self.invents(sentence):
            return False
        words = content_words(sentence)
        if cited or len(words) < LEAST_WORDS:
            return True
        return sum(word in self._words for word in words) >= LEAST_SHARE * len(words)


def _figures(text: str) -> set[str]:
    plain = _THOUSANDS.sub("", unicodedata.normalize("NFKC", text))
    return {part for match in _FIGURE.finditer(plain) for part in re.split(r"[,:/]", match[0])}

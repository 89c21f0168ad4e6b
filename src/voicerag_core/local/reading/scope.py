"""Outside of what, without what: a question about the rest of a thing is not about the thing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from voicerag_core.local.reading.features import alike, content_words

__all__ = ["Scope"]

_OUTSIDE = re.compile(
    r"\b(?:outside|other than|except(?: for| in| on)?|apart from)\b", re.IGNORECASE
)
_WITHOUT = re.compile(
    r"\bwithout (?:(?:the|an?|any|my|our|your|its|their|prior|further) )*"
    r"(?P<what>[a-z-]+(?: [a-z-]+)?)",
    re.IGNORECASE,
)
_REST = re.compile(
    r"\b(?:outside|out of|beyond|others?|otherwise|else|elsewhere|not|no|never|none|non|except"
    r"|excluding|unless|only|apart|abroad|before|after|remaining|rest)\b|n['\u2019]t\b|\bnon-",
    re.IGNORECASE,
)
"""What may tell of the rest of a thing."""


class Scope:
    """What a question leaves out.

    Args:
        question: In words.
        open_ended: Whether it asks for more than yes or no.
    """

    def __init__(self, question: str, *, open_ended: bool) -> None:
        self._rest = _OUTSIDE.search(question) is not None
        self._without = set(_lacking(question)) if open_ended else set()

    def left_out(self, text: str) -> bool:
        """Return whether a sentence has no word for the rest that is asked about."""
        return self._rest and _REST.search(text) is None

    def other(self, text: str) -> bool:
        """Return whether a sentence is about being without something else than what is asked."""
        said = set(_lacking(text)) if self._without else set()
        return bool(said) and all(alike(one, said).isdisjoint(said) for one in self._without)


def _lacking(text: str) -> Iterator[str]:
    """Yield the stems of what a text says to be without."""
    for match in _WITHOUT.finditer(text):
        yield from content_words(match["what"])

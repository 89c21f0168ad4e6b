"""A long sentence is quoted without the clauses that do not answer."""

from __future__ import annotations

import re

__all__ = ["MOST_SENTENCE_CHARACTERS", "clause_spans"]

MOST_SENTENCE_CHARACTERS = 250
"""Of a quoted sentence that stays whole."""

LEAST_CLAUSE_CHARACTERS = 30

_BORDER = re.compile(
    r"(?:;|\s[\u2013\u2014]|\u2014|,\s+(?:and|but|so|while|whereas|yet)(?= (?:the|a|an|it|they|he"
    r"|she|we|you|this|these|that|those|there|his|her|its|their|our|your|some|many|most|all)\b))\s*"
)
_CONDITIONS = re.compile(
    r"\b(?:unless|except|only if|provided that|not|if|never|no)\b", re.IGNORECASE
)


def clause_spans(sentence: str) -> list[tuple[int, int]]:
    """Cut a sentence where a clause begins that stands alone.

    A sentence with a condition, an exception or a denial stays whole: a part of it might say the
    opposite.

    Returns:
        Start and end of each clause; the sentence itself when it is not longer than 250
        characters or cannot be cut.
    """
    whole = [(0, len(sentence))]
    if len(sentence) <= MOST_SENTENCE_CHARACTERS or _CONDITIONS.search(sentence):
        return whole
    spans = []
    start = 0
    for border in _BORDER.finditer(sentence):
        if min(border.start() - start, len(sentence) - border.end()) < LEAST_CLAUSE_CHARACTERS:
            continue
        spans.append((start, border.start()))
        start = border.end()
    return [*spans, (start, len(sentence))]

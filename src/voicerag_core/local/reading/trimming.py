"""Of a long sentence the clause that answers is quoted, of a long sample the line that does."""

from __future__ import annotations

import re

from voicerag_core.local.reading.features import content_words

__all__ = ["clause_spans", "setting_span"]

MOST_SENTENCE_CHARACTERS = 250
"""Of a quoted sentence that stays whole."""

LEAST_CLAUSE_CHARACTERS = 30

LONG_CODE = 6
"""Lines of code beyond which one that sets something is quoted by itself."""

_COMMENT = ("#", "//")
_SETS = re.compile(r"\s*(?:#|//)?\s*[-\"'\w.]+\s*(?:[:=]|\s\S)")
_SHELL = re.compile(r"\s*(?:\$|>|#!|sudo\b|cd\b)")

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


def setting_span(code: str, words: frozenset[str]) -> tuple[int, int]:
    """Return the line of a long sample configuration that a question names.

    Args:
        code: The sample.
        words: The question's words that carry meaning, stemmed.

    Returns:
        Start and end of the one line with most of the words, with the line that it comments;
        all of the code when it is short, a script, or no line stands out.
    """
    lines = code.splitlines(keepends=True)
    if len(lines) <= LONG_CODE or any(_SHELL.match(line) for line in lines):
        return 0, len(code)
    known = [len(words.intersection(content_words(line))) for line in lines]
    best = known.index(max(known))
    if not known[best] or known.count(known[best]) > 1 or not _SETS.match(lines[best]):
        return 0, len(code)
    last = best + 1
    if lines[best].lstrip().startswith(_COMMENT) and last < len(lines):
        last += 1
    start = sum(map(len, lines[:best]))
    return start, start + len("".join(lines[best:last]).rstrip())

"""Ways to do something that are told by a command or a sample with a line that announces it.

"You can install it using this command:" and the command answer "How do I install it?" together;
the network, which reads sentences of running text, gives either of them little.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from voicerag_core.local.reading.features import Candidate, alike, content_words
from voicerag_core.local.reading.questions import Asked
from voicerag_core.types import Passage

__all__ = ["RECIPE_SCORE", "recipes", "shows_failure"]

RECIPE_SCORE = 2.0
"""Least score of what names all that a question asks how to do, in log odds as the network's."""

MOST_LINES = 8
"""Lines of a sample; what names everything somewhere in a longer one may be about anything."""

LEAST_OWN = 0.5
"""Share of the question's words that stand in the announcement, the sample or their heading."""

_SAYS_LITTLE = frozenset(
    content_words(
        "one single any all every new my own myself yourself simply easily quickly just please "
        "want need would like use using do make get set command line way using can could should run"
    )
)
"""Words of a question that a recipe need not have."""

_FAILS = re.compile(
    r"^\W*(?:Traceback \(most recent|[\w.]*(?:Error|Exception)\b|(?:fatal|error): )", re.MULTILINE
)
"""A line of a sample that shows what went wrong."""

_EXPLAINS = re.compile(r"(?:this|that|it|which)\b", re.IGNORECASE)


def recipes(asked: Asked, passages: Sequence[Passage], sentences: Sequence[Candidate]) -> set[int]:
    """Return the announcements and samples that name all that is asked how to do.

    Args:
        asked: What the question asks for.
        passages: Of the sentences.
        sentences: `voicerag_core.local.reading.features.candidates` of the passages.

    Returns:
        Indices of the sentences; none unless the question asks for a way to do something.
    """
    wanted = asked.words - _SAYS_LITTLE
    if not asked.how_to or not wanted:
        return set()
    found: set[int] = set()
    for at, sample in enumerate(sentences):
        if sample.kind != "code" or sample.text.count("\n") >= MOST_LINES:
            continue
        unit = list(_unit(sentences, at))
        own = {word for i in unit for word in sentences[i].words}
        own.update(content_words(sample.path[-1]) if sample.path else ())
        around = own.union(content_words(" ".join((passages[sample.passage].title, *sample.path))))
        told = sum(_has(own, word) for word in wanted)
        if told >= LEAST_OWN * len(wanted) and all(_has(around, word) for word in wanted):
            found.update(i for i in unit if i <= at)
    return found


def _unit(sentences: Sequence[Candidate], at: int) -> Iterator[int]:
    """Yield what announces a sample, the sample, and what says what it does."""
    sample = sentences[at]
    for step in (-1, 0, 1):
        if not 0 <= at + step < len(sentences):
            continue
        other = sentences[at + step]
        near = other.passage == sample.passage and other.path == sample.path
        announces = step == -1 and other.kind in ("lead", "text")
        explains = step == 1 and other.kind in ("text", "lead") and _EXPLAINS.match(other.text)
        if near and (step == 0 or announces or explains):
            yield at + step


def _has(words: Collection[str], word: str) -> bool:
    return not alike(word, words).isdisjoint(words)


def shows_failure(sentences: Sequence[Candidate], index: int) -> bool:
    """Return whether a sample, or the one that a sentence announces, is of something going wrong.

    It is no way to do anything.
    """
    sentence = sentences[index]
    if sentence.kind == "lead" and index + 1 < len(sentences):
        sentence = sentences[index + 1]
    same = sentence.passage == sentences[index].passage
    return same and sentence.kind == "code" and _FAILS.search(sentence.text) is not None

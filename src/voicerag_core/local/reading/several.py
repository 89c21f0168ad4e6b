"""Answers that take several passages: the sides of a comparison, a name and what it did."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from voicerag_core.local.reading.features import Candidate, candidates, content_words, measure
from voicerag_core.local.reading.hops import Described, about, bridges
from voicerag_core.local.reading.near_misses import missing_names, said_around, said_in
from voicerag_core.local.reading.questions import Asked, asked_for
from voicerag_core.local.reading.readings import Reading
from voicerag_core.types import Citation, Passage

__all__ = ["by_two_hops", "compared"]

Reads: TypeAlias = Callable[[str, Sequence[Passage]], Reading]

FIRST_HOP_WEIGHTS = np.array([1.0, 0.6, 0.3, 0.0, 0.0])
"""Weights of `features.MEASURES`, to find the sentence that names what is described."""

MOST_FIRST_HOPS = 3
MOST_SECOND_HOPS = 5
"""Sentences that may name what is described, and names of which the rest is asked."""

LEAST_OF_BEST = 0.6
"""Of the likeliest such sentence's weight, what another must have to be tried too."""

MOST_UNNAMED = 0.34
"""Share of the description's names that such a sentence may leave to the rest of its passage."""

MOST_UNSAID = 0.5
"""Share of what is asked about the thing described that an answer in one sentence may not say."""


def by_two_hops(question: str, hop: Described, passages: Sequence[Passage], read: Reads) -> Reading:
    """Quote the sentence that names what is described, and the one that answers about it.

    Args:
        question: With the description.
        hop: What it describes.
        passages: Best first.
        read: Reads the answer to a question out of passages.

    Returns:
        Both sentences; one that says all of it; or that nothing answers.
    """
    if not hop.text:
        for asked in (hop.templates[0] + "?", question):
            reading = read(asked, passages)
            if reading.answered and _unsaid(hop.rest, reading.text) <= MOST_UNSAID:
                return reading
        return _declined(reading)
    best: Reading | None = None
    for sentence, name, places in _named(question, hop, passages):
        near = [passages[i] for i in places]
        for template in hop.templates:
            second = template.format(name) + "?"
            reading = read(second, near)
            if not reading.answered or _unsaid(hop.rest, reading.text) > MOST_UNSAID:
                continue
            if best is None or reading.score > best.score:
                best = _behind(sentence, passages[sentence.passage], reading)
            break
    if best is not None:
        return best
    reading = read(question, passages)
    known = said_around(reading.closest) if reading.closest is not None else ()
    is_named = missing_names(hop.text, known) <= MOST_UNNAMED
    if is_named and _unsaid(hop.rest, reading.text) <= MOST_UNSAID:
        return reading
    return _declined(reading)


def _named(
    question: str, hop: Described, passages: Sequence[Passage]
) -> Iterator[tuple[Candidate, str, list[int]]]:
    """Yield sentences that may name what is described, the name, and passages about it."""
    sentences = candidates(passages)
    likely = measure(hop.text, passages, sentences) @ FIRST_HOP_WEIGHTS
    first_hops = []
    for index in np.argsort(-likely, kind="stable").tolist():
        one = sentences[index]
        said = said_in(f"{' '.join((passages[one.passage].title, *one.path))} {one.text}")
        if missing_names(hop.text, said) <= MOST_UNNAMED:
            first_hops.append(index)
        if len(first_hops) == MOST_FIRST_HOPS:
            break
    tried = 0
    for index in first_hops:
        one = sentences[index]
        if likely[index] < LEAST_OF_BEST * likely[first_hops[0]]:
            return
        if one.kind in ("heading", "question"):
            continue
        for name, places in bridges(question, one.text, one.passage, passages):
            yield one, name, places
            tried += 1
            if tried == MOST_SECOND_HOPS:
                return


def compared(asked: Asked, passages: Sequence[Passage], read: Reads) -> Reading:
    """Quote one passage of each of two sides, or decline.

    Args:
        asked: The sides, and what is asked of each.
        passages: Best first.
        read: Reads the answer to a question out of passages.
    """
    sides = []
    for side, question in zip(asked.sides, asked.side_questions, strict=True):
        near = about(side, passages)
        reading = read(question, near)
        explains = asked_for(question).term != "" and reading.answered
        sides.append(_opening_with(side, near, reading) if explains else reading)
    weakest = min(sides, key=lambda side: side.score)
    if not all(side.answered for side in sides):
        return _declined(weakest)
    texts = dict.fromkeys(side.text for side in sides)
    places = dict.fromkeys(place for side in sides for place in side.citations)
    return replace(weakest, text="\n\n".join(texts), citations=tuple(places))


def _opening_with(side: str, passages: Sequence[Passage], reading: Reading) -> Reading:
    """Return a reading that names what it explains, or the first sentence that opens with it."""
    wanted = content_words(side)
    if set(wanted) <= set(content_words(reading.text)):
        return reading
    for one in candidates(passages):
        if one.kind in ("text", "note", "item") and list(one.words[: len(wanted)]) == wanted:
            place = Citation(passages[one.passage].id, one.start, one.end)
            return replace(reading, text=" ".join(one.text.split()), citations=(place,))
    return reading


def _declined(reading: Reading) -> Reading:
    return replace(reading, text="", citations=(), answered=False)


def _behind(first: Candidate, passage: Passage, reading: Reading) -> Reading:
    """Put a sentence in front of a reading, unless it is quoted there."""
    place = Citation(passage.id, first.start, first.end)
    if place in reading.citations:
        return reading
    text = " ".join(first.text.split()) + "\n\n" + reading.text
    return replace(reading, text=text, citations=(place, *reading.citations))


_KIND_ASKED = re.compile(
    r"\b(?:(?:what|which)(?: (?:kind|sort|type|name)s? of)?|how (?:many|much)"
    r"|the (?:names?|year|date|city|country) of) [\w-]+"
    r"|\b(?:can|could|may|will|would|also|now|got|gets?|associated)\b",
    re.IGNORECASE,
)
"""What an answer need not repeat."""


def _unsaid(rest: str, text: str) -> float:
    """Return the share of what is asked about a thing described that a text does not say."""
    asked = set(content_words(_KIND_ASKED.sub(" ", rest)))
    return len(asked - set(content_words(text))) / len(asked) if asked else 0.0

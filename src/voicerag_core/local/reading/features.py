"""Features of a sentence as a candidate answer to a question.

The measures need no training: shared words weighted by how rare they are among the sentences at
hand, the passage around the sentence, and whether the sentence contains the kind of thing that is
asked for. `voicerag_core.local.reading.choosing` weights them.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voicerag_core.blocks import BlockKind
from voicerag_core.local.reading.calendar_words import DAYS, MONTHS
from voicerag_core.local.reading.measured import REPEATED, Measured, measured
from voicerag_core.local.reading.stems import stem
from voicerag_core.local.reading.synonyms import SYNONYMS
from voicerag_core.passages import passage_blocks, passage_sentences
from voicerag_core.types import Passage

__all__ = [
    "DATE",
    "MEASURES",
    "Candidate",
    "alike",
    "candidates",
    "content_words",
    "derived",
    "measure",
    "passage_path",
    "section_shares",
    "title_shares",
]

Kind: TypeAlias = Literal["date", "number", "name", "other"]

MEASURES = (
    "overlap",  # share of the question's word weight found in the sentence
    "before",  # share found only in the sentence before or in the headings above
    "passage",  # share found in the whole passage or its title
    "rank",  # rank of the passage, 0 the best; at most `LOWEST_RANK`
    "cue",  # 1 the sentence contains the kind of thing asked for, -1 it does not, 0 unknown
)
"""Columns of `measure`, in order."""

LOWEST_RANK = 3
"""The weights were found with four passages at hand: one further down counts as their last."""

LEAST_ROOT = 5
"""Minimum letters of a stem that another is derived from."""

_DERIVED = frozenset(
    re.split(
        r"\s",
        "al ation ational ativ ator ment ion or er anc enc ant ent abl ability ity nes y ag "
        "ia ic ical iv ist ism ar ary",
    )
)
"""Endings, as stems have them, by which a word is made of another: "limit" and "limitation"."""

_STOP_WORDS = frozenset(
    re.split(
        r"\s",
        "a an the of in on at to for from by with and or is are was were be been being do does "
        "did has have had what which who whom whose when where why how many much that this these "
        "those it its as than then there their they he she his her him you your we our i not no s",
    )
)
_HYPHENED = re.compile(r"\b([a-z]{1,2})-([a-z]{2,})\b")
"""Words that are written in one as often: "wi-fi", "e-mail"."""

_COMPOUND = re.compile(
    r"\b(back|set|sign|start|clean|look|log|shut|check|roll|turn)(up|out|down|off|back)s?\b"
)
"""Words that are written in two as often: "backup"."""

_UNTIL_WHEN = re.compile(r"\b(?:until|till|since) (?=when\b|what time\b)", re.IGNORECASE)
"""In front of what asks: the answer's own "until" tells nothing of its subject."""

_NOTHING: frozenset[str] = frozenset()
_MEASURE = frozenset(["#"])
"""Stands among the words of a sentence for a measure as it is asked for."""

_BOUNDS = (
    (re.compile(r"\b(?:at (?:the )?most|no more than|not more than|up to)\b"), "maximum"),
    (re.compile(r"\b(?:at (?:the )?least|no less than|not less than|no fewer than)\b"), "minimum"),
)
"""Words that say together what one word says."""

_NUMBER = re.compile(
    r"\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|hundred|thousand|"
    r"million|billion|half|third|quarter|percent|once|twice)\b",
    re.IGNORECASE,
)
DATE = re.compile(
    rf"\b([12]\d{{3}}s?|{'|'.join(map(str.title, (*MONTHS, *DAYS)))}|centur(y|ies)|BC|AD)\b"
)
_NAME = re.compile(r"(?<!^)(?<![.!?] )\b[A-Z][\w'’-]+")
_KINDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (
        "date",
        re.compile(
            r"^when\b|\b(until|till|by|from|since|and|or) when\b|\bwhen(?='s\b|\W*$"
            r"|(?: exactly)? (is|are|was|were|do|does|did|has|have|had|can|must|should|will)\b)"
            r"|\b(what|which) (year|date|day|month|century|decade)\b"
        ),
    ),
    (
        "number",
        re.compile(
            r"\bhow (many|much|long|far|tall|high|old|large|big|often|fast)\b|"
            r"\bwhat (percent|percentage|number|portion|fraction|amount)\b"
        ),
    ),
    (
        "name",
        re.compile(
            r"\b(who|whom|whose|where)\b|"
            r"\b(what|which) (person|people|city|country|state|place|town|region|river|continent)\b"
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence, item, row, heading or the like that may answer or lead to the answer.

    Args:
        passage: Index of its passage.
        start: First character of the sentence in the passage's text.
        end: One past its last character.
        text: The sentence.
        words: Its content words, stemmed, in order.
        first: Whether it opens its passage.
        block: Index of its block in `voicerag_core.passages.passage_blocks`.
        kind: Of its block.
        path: The headings above it, outermost first.
    """

    passage: int
    start: int
    end: int
    text: str
    words: tuple[str, ...]
    first: bool
    block: int = 0
    kind: BlockKind = "text"
    path: tuple[str, ...] = ()


def candidates(passages: Sequence[Passage]) -> list[Candidate]:
    """Cut passages into sentences, items, rows and headings, in order."""
    found = []
    for index, passage in enumerate(passages):
        blocks = passage_blocks(passage)
        for number, sentence in enumerate(passage_sentences(passage)):
            text = passage.text[sentence.start : sentence.end]
            block = blocks[sentence.block]
            words = tuple(content_words(text))
            place = (index, sentence.start, sentence.end, text, words, number == 0)
            found.append(Candidate(*place, sentence.block, block.kind, block.path))
    return found


def content_words(text: str) -> list[str]:
    """Return the words of a text that carry meaning: lower case, no accents, stemmed."""
    plain = text.lower()
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", plain)
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = _COMPOUND.sub(r"\1 \2", _HYPHENED.sub(r"\1\2", plain))
    for bound, word in _BOUNDS:
        plain = bound.sub(word, plain)
    return [stem(word) for word in re.findall(r"[^\W_]+", plain) if word not in _STOP_WORDS]


def measure(
    question: str,
    passages: Sequence[Passage],
    sentences: Sequence[Candidate],
) -> NDArray[np.float64]:
    """Measure every sentence against the question.

    Args:
        question: As text.
        passages: Best first.
        sentences: `candidates` of these passages.

    Returns:
        Shape [N, 5], columns as in `MEASURES`.
    """
    asked = list(dict.fromkeys(content_words(_UNTIL_WHEN.sub(" ", question))))
    known_words = set().union(*(sentence.words for sentence in sentences))
    wants = measured(question)
    said = [_said(sentence, wants) for sentence in sentences]
    akin = {
        word: alike(word, known_words) | (_MEASURE if wants and word in wants.words else _NOTHING)
        for word in asked
    }
    weights = _word_weights(akin, said)
    total = sum(weights.values()) or 1.0
    around = [
        set(content_words(" ".join((passage.title, *passage_path(passage)))))
        for passage in passages
    ]
    for sentence, words in zip(sentences, said, strict=True):
        around[sentence.passage].update(words)
    above = {path: set(content_words(" ".join(path))) for path in {s.path for s in sentences}}
    table = np.zeros((len(sentences), len(MEASURES)))
    kind = "number" if wants is not None and wants.said is not REPEATED else _kind(question)
    known = set(re.findall(r"\w+", question.lower()))
    for row, (sentence, own) in enumerate(zip(sentences, said, strict=True)):
        before = _words_above(sentences, row, above)
        table[row] = (
            sum(weights[word] for word in asked if akin[word] & own) / total,
            sum(weights[word] for word in asked if not akin[word] & own and akin[word] & before)
            / total,
            sum(weights[word] for word in asked if akin[word] & around[sentence.passage]) / total,
            min(sentence.passage, LOWEST_RANK),
            _cue(kind, sentence.text, known),
        )
    return table


def section_shares(
    question: str, passages: Sequence[Passage], sentences: Sequence[Candidate]
) -> NDArray[np.float64]:
    """Return how far the headings above each sentence are those that the question names.

    Sections of one document are often alike but for their headings: "Basic plan", "Pro plan".

    Returns:
        Shape [N], 0..1: of the question's words that the headings of some sections of the document
        have and others lack, weighted by how few have them, the share that stands above the
        sentence or in it. 0 where no words tell the sections apart.
    """
    asked = set(content_words(question))
    shares = np.zeros(len(sentences))
    documents: dict[str, list[int]] = {}
    for row, sentence in enumerate(sentences):
        source = passages[sentence.passage].source.partition("#")[0]
        documents.setdefault(source, []).append(row)
    for rows in documents.values():
        above = {
            path: set(content_words(" ".join(path))) for path in {sentences[i].path for i in rows}
        }
        weights = {}
        for word in asked:
            having = sum(word in words for words in above.values())
            if 0 < having < len(above):
                weights[word] = math.log((len(above) + 1) / having)
        total = sum(weights.values()) or 1.0
        for i in rows:
            known = above[sentences[i].path].union(sentences[i].words)
            shares[i] = sum(weight for word, weight in weights.items() if word in known) / total
    return shares


def title_shares(
    question: str, passages: Sequence[Passage], sentences: Sequence[Candidate]
) -> NDArray[np.float64]:
    """Return how far the title of each sentence's document is what the question names.

    Returns:
        Shape [N], 0..1: of the question's words that some titles of the documents at hand have and
        others lack, the share that the title has. 0 where no words tell the titles apart.
    """
    asked = set(content_words(question))
    titles = [set(content_words(passage.title)) for passage in passages]
    telling = {word for word in asked if 0 < sum(word in words for words in titles) < len(titles)}
    if not telling:
        return np.zeros(len(sentences))
    shares = [len(telling & words) / len(telling) for words in titles]
    return np.array([shares[sentence.passage] for sentence in sentences])


def _words_above(
    sentences: Sequence[Candidate], row: int, above: dict[tuple[str, ...], set[str]]
) -> set[str]:
    """Return the words of the headings above a sentence, and of the one before a running text's."""
    sentence = sentences[row]
    words = set(above[sentence.path])
    if not sentence.first and sentence.kind not in ("row", "field", "item"):
        words.update(sentences[row - 1].words)
    return words


def passage_path(passage: Passage) -> tuple[str, ...]:
    """Return the headings above the first block of a passage, outermost first."""
    path = passage.metadata.get("path")
    return tuple(map(str, path)) if isinstance(path, list) else ()


def derived(word: str, known: Iterable[str]) -> frozenset[str]:
    """Return a stem with those of the words known that are derived from it, or it from them."""
    found = {word}
    for other in known:
        short, long = (word, other) if len(word) < len(other) else (other, word)
        if len(short) >= LEAST_ROOT and long.startswith(short) and long[len(short) :] in _DERIVED:
            found.add(other)
    return frozenset(found)


@cache
def _by_word() -> dict[str, frozenset[str]]:
    """Return for each stem of `SYNONYMS` the stems that say the same."""
    found: dict[str, set[str]] = {}
    for words in SYNONYMS:
        stems = {one for word in words for one in content_words(word)}
        for one in stems:
            found.setdefault(one, set()).update(stems)
    return {one: frozenset(stems) for one, stems in found.items()}


def alike(word: str, known: Iterable[str]) -> frozenset[str]:
    """Return a stem with those of the words known that are derived from it or say the same."""
    same = _by_word().get(word, frozenset())
    return derived(word, known) | same.intersection(known)


def _said(sentence: Candidate, wants: Measured | None) -> set[str]:
    """Return a sentence's words, with a mark for a measure as it is asked for."""
    words = set(sentence.words)
    return words | _MEASURE if wants is not None and wants.said.search(sentence.text) else words


def _word_weights(akin: Mapping[str, frozenset[str]], sets: Sequence[set[str]]) -> dict[str, float]:
    """Weigh each question word by its inverse frequency among the sentences' words."""
    return {
        word: math.log((len(sets) + 1) / (sum(bool(words & own) for own in sets) + 0.5))
        for word, words in akin.items()
    }


def _kind(question: str) -> Kind:
    plain = question.lower()
    for kind, pattern in _KINDS:
        if pattern.search(plain):
            return kind
    return "other"


def _cue(kind: Kind, sentence: str, known: set[str]) -> float:
    """Look for the kind of thing asked for, in words that are not in the question."""
    if kind == "other":
        return 0.0
    pattern = {"date": DATE, "number": _NUMBER, "name": _NAME}[kind]
    news = any(
        not known.issuperset(re.findall(r"\w+", match[0].lower()))
        for match in pattern.finditer(sentence)
    )
    return 1.0 if news else -1.0

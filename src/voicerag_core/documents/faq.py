"""Questions that stand in a text as paragraphs, each with its answer behind it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from voicerag_core.documents.elements import (
    Code,
    Element,
    Heading,
    Item,
    Paragraph,
    Table,
    Term,
)

__all__ = ["ANSWERED", "ASKED", "paired"]

ASKED = re.compile(r"(?:Q|Question|Frage|F)\s*\d{0,3}\s*[:.)]\s*(\S.*)", re.IGNORECASE | re.DOTALL)
ANSWERED = re.compile(r"(?:A|Answer|Antwort)\s*\d{0,3}\s*[:.)]\s*(?=\S)", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:\d{1,3}[.)]\s+)?(\S.*)", re.DOTALL)
_INNER_END = re.compile(r"[.!?\uff1f\u3002]\s")
_LONGEST = 200
LEAST_ASKING = 3
"""Numbered items that ask, from which on a text is taken for questions with answers."""


def paired(elements: Iterable[Element]) -> list[Element]:
    """Make terms of paragraphs that are one question, with what answers it.

    A question that is marked ("Q:") or one of several takes all up to the next question or heading;
    a single one takes the next paragraph, with the list behind it. Questions without an answer
    stay paragraphs.
    """
    split = [part for element in elements for part in _parted(element)]
    asked = [_question(element) for element in split]
    for at, text in _numbered_questions(split).items():
        asked[at] = text
    several = sum(bool(question) for question in asked) > 1
    out: list[Element] = []
    position = 0
    while position < len(split):
        question = asked[position]
        last = position + 1
        if question:
            last = _end(split, asked, last, several or _is_marked(split[position]))
        if last == position + 1:
            out.append(split[position])
            position += 1
            continue
        answer = [_unmarked(element) for element in split[position + 1 : last]]
        out.append(Term(question, answer, getattr(split[position], "place", None)))
        position = last
    return out


def _numbered_questions(elements: Sequence[Element]) -> dict[int, str]:
    """Return the numbered items that ask, each with its answer in paragraphs below it.

    What is numbered among them and states ("I found a bug.") is one of them, too.
    """
    row: dict[int, str] = {}
    last = 0
    for at, element in enumerate(elements[:-1]):
        if not isinstance(element, Item) or element.depth:
            continue
        number = re.fullmatch(r"\(?(\d{1,3})[.)]", element.marker)
        text = " ".join(element.text.split())
        if number is None or int(number[1]) != last + 1 or len(text) > _LONGEST:
            continue
        if isinstance(elements[at + 1], Paragraph | Code):
            last = int(number[1])
            row[at] = text
    asking = sum(text.endswith(("?", "\uff1f")) for text in row.values())
    return row if asking >= LEAST_ASKING and asking * 2 >= len(row) else {}


def _end(elements: Sequence[Element], asked: Sequence[str], start: int, to_the_next: bool) -> int:
    """Return the index behind the last element of an answer that begins at `start`."""
    end = start
    while end < len(elements) and not asked[end]:
        element = elements[end]
        if isinstance(element, Heading | Term):
            break
        if not to_the_next and end > start and not isinstance(element, Item | Table | Code):
            break
        end += 1
    return end


def _parted(element: Element) -> list[Element]:
    """Part a paragraph that holds a marked question and its answer."""
    if not isinstance(element, Paragraph) or not ASKED.match(element.text):
        return [element]
    parts: list[Element] = []
    lines: list[str] = []
    for line in element.text.split("\n"):
        if lines and (ASKED.match(line) or ANSWERED.match(line)):
            parts.append(Paragraph("\n".join(lines), element.place))
            lines = []
        lines.append(line)
    return [*parts, Paragraph("\n".join(lines), element.place)]


def _question(element: Element) -> str:
    """Return the question that a paragraph is, or ""."""
    if not isinstance(element, Paragraph):
        return ""
    text = " ".join(element.text.split())
    if marked := ASKED.fullmatch(text):
        return marked[1] if len(marked[1]) <= _LONGEST else ""
    is_one = len(text) <= _LONGEST and not _INNER_END.search(text) and "\n" not in element.text
    if not text.endswith(("?", "\uff1f")) or not is_one:
        return ""
    numbered = _NUMBERED.fullmatch(text)
    return numbered[1] if numbered else text


def _is_marked(element: Element) -> bool:
    return isinstance(element, Paragraph) and ASKED.match(element.text) is not None


def _unmarked(element: Element) -> Element:
    if isinstance(element, Paragraph):
        return Paragraph(
            ANSWERED.sub("", element.text, count=1)
            if ANSWERED.match(element.text)
            else element.text,
            element.place,
        )
    return element

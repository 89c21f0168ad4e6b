"""Documents with questions, as the product reads them: which sentences answer, which tempt.

A document is Markdown, its questions are lines of JSON beside it (README.md says of what form).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from voicerag_core.chunking import CHUNK_SIZE, chunk_document
from voicerag_core.documents.formats import parse
from voicerag_core.local.reading.features import Candidate, candidates
from voicerag_core.types import Passage

__all__ = ["Asked", "Cut", "Source", "cut", "found_in", "read_sources"]

_WORD = re.compile(r"[^\W_]+")
_CELL = re.compile(r"(?<!\\)\|")
MOST_SPARE = 0.6
"""Share of a row's words that may be others than those of the row that is looked for: the names of
its columns."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question on a document.

    Args:
        text: The question.
        kind: Of the question.
        answers: What answers, in the document's Markdown, one string a sentence, item or row; ()
            when the document does not answer.
        wrong: What looks like an answer and is none, in the same form.
    """

    text: str
    kind: str
    answers: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A document in Markdown with its questions."""

    name: str
    text: str
    asked: tuple[Asked, ...]
    suffix: str = ".md"


@dataclass(frozen=True, slots=True)
class Cut:
    """A document in passages.

    Args:
        passages: In order.
        sentences: All of them, as the reader sees them.
    """

    passages: list[Passage]
    sentences: list[Candidate]


def read_sources(folder: Path) -> Iterator[Source]:
    """Yield the documents below a folder that have questions, in the order of their names."""
    for path in sorted(folder.rglob("*.jsonl")):
        text = path.with_suffix(".md").read_text(encoding="utf-8")
        entries = [
            json.loads(line)
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.strip()
        ]
        asked = (
            Asked(one["question"], one["kind"], tuple(one["answer"]), tuple(one.get("wrong", ())))
            for one in entries
        )  # fmt: skip
        yield Source(path.relative_to(folder).with_suffix("").as_posix(), text, tuple(asked))


def cut(source: Source, size: int = CHUNK_SIZE) -> Cut:
    """Read a document as the product does, and cut it into passages of at most `size`."""
    name = f"{source.name}{source.suffix}"
    parsed = parse(source.text.encode(), name, source.suffix, text_column=None, encoding=None)
    passages = [p for document in parsed.documents for p in chunk_document(document, size=size)]
    return Cut(passages, candidates(passages))


def found_in(text: str, held: Cut) -> list[int]:
    """Return the sentences that a string of the document's Markdown became, [] when there is none.

    A row is known by its cells in their order, anything else by its words in theirs.
    """
    if text.lstrip().startswith("|"):
        cells = [words for cell in _CELL.split(text) if (words := _words(cell))]
        return _row(cells, held)
    wanted = _words(text)
    if not wanted:
        return []
    for index in range(len(held.passages)):
        own = [i for i, one in enumerate(held.sentences) if one.passage == index]
        if found := _run(wanted, own, held.sentences):
            return found
    return []


def _run(wanted: list[str], own: Sequence[int], sentences: Sequence[Candidate]) -> list[int]:
    """Return the sentences that hold a run of words, without those that hold a mere end of it."""
    words: list[str] = []
    owners: list[int] = []
    for i in own:
        spelt = _words(sentences[i].text)
        words += spelt
        owners += [i] * len(spelt)
    size = len(wanted)
    for at in range(len(words) - size + 1):
        if words[at] == wanted[0] and words[at : at + size] == wanted:
            held = owners[at : at + size]
            most = max(held.count(i) for i in set(held))
            return sorted(i for i in set(held) if 3 * held.count(i) >= most)
    return []


def _row(cells: Sequence[list[str]], held: Cut) -> list[int]:
    """Return the row with these cells that has the fewest other words."""
    size = sum(map(len, cells))
    best: tuple[int, int] | None = None
    for i, one in enumerate(held.sentences):
        if one.kind not in ("row", "field", "text"):
            continue
        words = _words(one.text)
        spare = len(words) - size
        if spare < 0 or spare > MOST_SPARE * len(words) + 6 or not _in_order(cells, words):
            continue
        if best is None or spare < best[0]:
            best = (spare, i)
    return [best[1]] if best else []


def _in_order(cells: Sequence[list[str]], words: list[str]) -> bool:
    at = 0
    for cell in cells:
        while words[at : at + len(cell)] != cell:
            at += 1
            if at >= len(words):
                return False
        at += len(cell)
    return True


def _words(text: str) -> list[str]:
    plain = re.sub(r"\]\([^)]*\)", "]", text)
    plain = re.sub(r"^\s*(?:[-*+] |\d{1,3}[.)] |#+ |> )", "", plain)
    return _WORD.findall(plain.lower())

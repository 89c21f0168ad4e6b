"""Questions on Wikipedia: files in SQuAD's form and those that quote SQuAD in others."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

__all__ = ["Question", "paragraphs", "read_training", "shingles"]

SHINGLE = 8
"""Consecutive words that two texts must share to count as the same text."""

MOST_SENTENCES = 6
"""Of a passage that is put together from sentences."""

_TOKENISED = (
    ("-lrb- ", "("), (" -rrb-", ")"), ("`` ", '"'), (" ''", '"'), (" 's", "'s"), (" n't", "n't"),
    (" ,", ","), (" .", "."), (" ;", ";"), (" :", ":"), (" ?", "?"), (" %", "%"), ("$ ", "$"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a training file.

    Args:
        text: The question.
        passage: Index of its passage.
        start: First character of the answer; -1 if the passage does not answer.
        end: One past its last.
        exact: Whether start to end is the answer, not the whole sentence that holds it.
    """

    text: str
    passage: int
    start: int
    end: int
    exact: bool = True


def shingles(text: str) -> set[tuple[str, ...]]:
    """Return every run of eight words of a text."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {tuple(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))}


def paragraphs(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the paragraphs of a training file as in SQuAD, with their article's title."""
    for form, read in _FORMS.items():
        if path.name.endswith(form):
            yield from read(path)
            return
    raise SystemExit(f"{path}: expected a name that ends in one of {', '.join(_FORMS)}")


def read_training(
    paths: list[Path], never: set[tuple[str, ...]]
) -> tuple[list[tuple[str, str]], list[Question]]:
    """Read passages, as title and text, and questions; what shares text with `never` is left out.

    A paragraph that several files hold is read once, with the questions of all.
    """
    passages: dict[str, tuple[str, str]] = {}
    numbers: dict[str, int] = {}
    questions: dict[tuple[int, str], Question] = {}
    dropped = 0
    for path in paths:
        for paragraph in paragraphs(path):
            text = paragraph["context"]
            own = shingles(text)
            if len(own & never) >= max(1, 0.05 * len(own)):
                dropped += 1
                continue
            number = numbers.setdefault(text, len(numbers))
            if number == len(passages) or not passages[text][0]:
                passages[text] = (paragraph.get("title", "").replace("_", " "), text)
            for entry in paragraph["qas"]:
                if (made := _question(entry, number, text)) is not None:
                    questions.setdefault((number, made.text.lower()), made)
    print(f"Wikipedia: {len(questions)} questions, {len(passages)} passages, dropped {dropped}")
    return list(passages.values()), list(questions.values())


def _question(entry: dict[str, Any], number: int, text: str) -> Question | None:
    if not entry["answers"]:
        return Question(entry["question"], number, -1, -1)
    answer = entry["answers"][0]
    start = answer["answer_start"]
    end = start + len(answer["text"])
    if text[start:end] != answer["text"] or start == end:
        return None
    return Question(entry["question"], number, start, end, entry.get("exact", True))


def _squad(path: Path) -> Iterator[dict[str, Any]]:
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            yield {**paragraph, "title": article.get("title", "")}


def _beginning(path: Path) -> Iterator[dict[str, Any]]:
    """Read the paragraphs of a file in SQuAD's form that breaks off."""
    text = path.read_text(encoding="utf-8")
    decoder = json.JSONDecoder()
    title = ""
    for match in re.finditer(r'"title": ("(?:[^"\\]|\\.)*")|\{"context": ', text):
        if match[1]:
            title = json.loads(match[1])
            continue
        try:
            paragraph, _ = decoder.raw_decode(text, match.start())
        except json.JSONDecodeError:
            return
        yield {**paragraph, "title": title}


def _lists(path: Path) -> Iterator[dict[str, Any]]:
    """Read a list of contexts, each with questions and answers written as Python; nothing else."""
    for entry in json.loads(path.read_text(encoding="utf-8")):
        held = entry["qas"]
        asked = ast.literal_eval(held) if isinstance(held, str) else held
        text = entry["context"]
        qas = [
            {"question": one["question"],
             "answers": [{"text": one["answer"], "answer_start": text.find(one["answer"])}]}
            for one in asked
            if text.count(one["answer"]) == 1
        ]  # fmt: skip
        yield {"context": text, "qas": qas}


def _qed(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        text = entry["paragraph_text"]
        spans = [span for group in entry["original_nq_answers"] for span in group]
        answers = [{"text": text[s["start"] : s["end"]], "answer_start": s["start"]} for s in spans]
        if answers:
            qas = [{"question": entry["question_text"], "answers": answers[:1]}]
            yield {"context": text, "qas": qas, "title": entry["title_text"]}


def _sentences(path: Path) -> Iterator[dict[str, Any]]:
    """Put sentences that follow each other together; their questions are in a file beside them."""
    sources = path.read_text(encoding="utf-8").splitlines()
    asked = path.with_name(path.name.replace("src", "tgt")).read_text(encoding="utf-8").splitlines()
    groups = [
        (_plain(source), [_plain(question) for _, question in pairs])
        for source, pairs in groupby(zip(sources, asked, strict=True), key=lambda pair: pair[0])
    ]
    for at in range(0, len(groups), MOST_SENTENCES):
        part = dict(groups[at : at + MOST_SENTENCES])
        text = " ".join(part)
        qas = [
            {"question": question, "exact": False,
             "answers": [{"text": source, "answer_start": text.index(source)}]}
            for source, questions in part.items()
            for question in questions
        ]  # fmt: skip
        yield {"context": text, "qas": qas}


def _plain(text: str) -> str:
    text = text.strip()
    for before, after in _TOKENISED:
        text = text.replace(before, after)
    return text


_FORMS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    ".part.json": _beginning,
    ".lists.json": _lists,
    "src-test.txt": _sentences,
    ".jsonl": _qed,
    ".json": _squad,
}
"""By the end of the file's name."""

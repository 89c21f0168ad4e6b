"""Questions on documents, with the passages that the product finds and a judge of answers.

Two kinds: the documents of `training.reader` that are kept back from the training, and a folder
with `docs`, `questions.jsonl` and `score.py`.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.reader.documents import Asked, cut, read_sources
from training.reader.prepare import is_kept_back
from voicerag_core import index_files, load_settings, open_voicerag
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.local.reading.features import content_words
from voicerag_core.passages import searched_text
from voicerag_core.types import Passage

__all__ = ["Shown", "folder_questions", "own_questions"]

HITS = 10
WORDS_SHARE = 0.3
"""Weight of the words beside the cosine."""
MOST_CHARACTERS = 700
MOST_CHARACTERS_LONG = 1500
LEAST_FOUND = 0.6
"""Of the sentences or items of a gold answer."""

_LONG = ("howto", "list", "table")
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Shown:
    """A question with the passages found.

    Args:
        name: Of the question.
        text: The question.
        kind: Of the question.
        passages: Best first.
        right: Tells whether an answer is right; None when the documents do not answer.
    """

    name: str
    text: str
    kind: str
    passages: tuple[Passage, ...]
    right: Callable[[str], bool] | None


def own_questions(documents: Path) -> Iterator[Shown]:
    """Yield the questions on the documents that are kept back, each with passages of its document.

    Few name their firm, so that another document may answer them as well. The passages are ranked
    by their vectors and by the words that they share with the question.
    """
    embedder = MiniLMEmbedder()
    for source in read_sources(documents):
        if not is_kept_back(source.name):
            continue
        passages = cut(source).passages
        texts = [searched_text(passage) for passage in passages]
        questions = [one.text for one in source.asked]
        scores = embedder.embed_questions(questions) @ embedder.embed_passages(texts).T
        ranked = np.argsort(-(scores + WORDS_SHARE * _shared(questions, texts)), kind="stable")
        for number, (one, row) in enumerate(zip(source.asked, ranked.tolist(), strict=True)):
            right = _judge_of(one) if one.answers else None
            shown = tuple(passages[i] for i in row[:HITS])
            yield Shown(f"{source.name} {number}", one.text, one.kind, shown, right)


def _shared(questions: Sequence[str], texts: Sequence[str]) -> NDArray[np.float64]:
    """Return [Q, P], the rare words of a question in a text; 1 for that of a question's best."""
    sets = [set(content_words(text)) for text in texts]
    rows = []
    for question in questions:
        row = np.zeros(len(texts))
        for word in set(content_words(question)):
            having = np.array([word in words for words in sets])
            row += having * np.log((len(sets) + 1) / (having.sum() + 0.5))
        rows.append(row / (row.max() or 1.0))
    return np.array(rows)


def folder_questions(
    folder: Path, data_dir: Path, wanted: Callable[[Any], bool]
) -> Iterator[Shown]:
    """Yield the English questions of a folder that need no other before them.

    Args:
        folder: Has `docs`, `questions.jsonl` and `score.py`.
        data_dir: Where the index is, or will be, kept.
        wanted: Chooses among the questions.
    """
    spec = importlib.util.spec_from_file_location("score", folder / "score.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"no score.py in {folder}")
    score = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(score)
    lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines if line]
    items = [one for one in items if one["lang"] == "en" and not one.get("after") and wanted(one)]
    questions = [one["question"] for one in items]
    found = _searched([folder / "docs"], data_dir, "folder_documents", questions)
    for item, passages in zip(items, found, strict=True):

        def judge(text: str, item: Any = item) -> bool:  # noqa: ANN401 - a line of the questions
            verdict = score.judge(item, text, True, MOST_CHARACTERS, MOST_CHARACTERS_LONG)
            return bool(verdict[0] == "right")

        right = None if item.get("unanswerable") else judge
        yield Shown(item["id"], item["question"], item["kind"], passages, right)


def _searched(
    docs: Sequence[Path], data_dir: Path, collection: str, questions: Sequence[str]
) -> list[tuple[Passage, ...]]:
    """Index documents, unless the folder holds them already, and search."""
    data_dir.mkdir(parents=True, exist_ok=True)
    kept = data_dir / f"{collection}.json"
    known: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    if not set(questions) <= known.keys():
        settings = load_settings(collection=collection, speak=False, data_dir=data_dir)
        with open_voicerag(settings) as rag:
            index_files(rag, docs)
            for question in questions:
                found = [hit.passage for hit in rag.retrieve(question, limit=HITS).hits]
                known[question] = [[one.id, one.text, dict(one.metadata)] for one in found]
        kept.write_text(json.dumps(known))
    return [tuple(Passage(*one) for one in known[question]) for question in questions]


def _judge_of(asked: Asked) -> Callable[[str], bool]:
    """Return a judge that looks for the words of the gold sentences, rows by their cells."""
    gold = [[_WORD.findall(part.lower()) for part in text.split("|") if part.strip()]
            for text in asked.answers]  # fmt: skip
    limit = MOST_CHARACTERS_LONG if asked.kind in _LONG or len(gold) > 1 else MOST_CHARACTERS

    def judge(text: str) -> bool:
        said = f" {' '.join(_WORD.findall(text.lower()))} "
        have = sum(all(f" {' '.join(part)} " in said for part in parts) for parts in gold)
        return len(text) <= limit and have >= max(1, LEAST_FOUND * len(gold))

    return judge

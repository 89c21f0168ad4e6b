"""Questions by which the training is followed: passages at hand, and which sentences answer."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.reader.documents import Source, cut, found_in
from training.reader.mishearing import mishear, spoken_form
from training.reader.passages import Book
from training.reader.ranking import embed, nearest_by_words
from voicerag_core.passages import searched_text
from voicerag_core.types import Passage

__all__ = ["own_cases", "wikipedia_cases"]

DEVELOPMENT_TITLES = 24
FOUND = 5


def wikipedia_cases(
    book: Book, path: Path, words: dict[str, Any], kept: Path
) -> list[dict[str, Any]]:
    """Return the development half's questions, typed and misheard, with passages."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    ours = sorted(article["title"] for article in articles)[:DEVELOPMENT_TITLES]
    texts: list[str] = []
    asked: list[tuple[str, int, str]] = []
    for article in articles:
        for paragraph in article["paragraphs"] if article["title"] in ours else ():
            asked += [
                (one["question"], len(texts), one["answers"][0]["text"]) for one in paragraph["qas"]
            ]
            texts.append(paragraph["context"])
            title = article["title"].replace("_", " ")
            book.add(Passage(str(len(texts)), texts[-1], {"title": title}))
    columns = embed(texts, kept / "validation_passages.npy")
    chance = random.Random(0)
    cases = []
    for form in ("typed", "misheard"):
        said = [
            q if form == "typed" else mishear(spoken_form(q), words["alternatives"],
                                              words["counts"], chance, 0.7)
            for q, _, _ in asked
        ]  # fmt: skip
        rows = embed(said, kept / f"validation_{form}.npy")
        for question, row, (_, right, answer) in zip(said, rows, asked, strict=True):
            ranked = np.argsort(-(columns @ row)).tolist()
            own = [
                [right, i]
                for i, one in enumerate(book.sentences(right))
                if answer.lower() in one.text.lower()
            ]
            cases.append({"form": form, "t": question, "found": ranked[:4], "right": own})
            without = [i for i in ranked if i != right][:4]
            cases.append({"form": form, "t": question, "found": without, "right": []})
    return cases


def own_cases(book: Book, sources: Sequence[Source], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the questions on the documents that are kept back, with passages of all documents."""
    wanted = set(names)
    passages: list[Passage] = []
    places: list[int] = []
    asked: list[tuple[str, str, list[list[int]]]] = []
    for source in sources:
        held = cut(source)
        own = [book.add(passage) for passage in held.passages]
        passages += held.passages
        places += own
        if source.name not in wanted:
            continue
        first: dict[int, int] = {}
        for number, sentence in enumerate(held.sentences):
            first.setdefault(sentence.passage, number)
        for one in source.asked:
            found = sorted({i for text in one.answers for i in found_in(text, held)})
            right = [
                [own[held.sentences[i].passage], i - first[held.sentences[i].passage]]
                for i in found
            ]
            asked.append((one.text, one.kind, right))
    texts = [searched_text(passage) for passage in passages]
    by_words = nearest_by_words(texts, [question for question, *_ in asked])
    cases = []
    for (question, kind, right), ranked in zip(asked, by_words, strict=True):
        found = [places[i] for i in ranked[:FOUND]]
        for place, _ in right:
            if place not in found:
                found[-1] = place
        cases.append({"form": "own", "kind": kind, "t": question, "found": found, "right": right})
    print(f"followed: {len(asked)} questions on {len(wanted)} documents")
    return cases

"""Create the input folder of train.py: passages, questions, negatives, misheard words, weights.

    python -m training.reader.prepare OUT --squad FILE... --validation xquad.en.json --never FILE...

`--squad` are training files in SQuAD's form. A paragraph that shares text with one of `--never`
is dropped. Of `--validation` only the first 24 titles in sorted order are read, to follow the
training. Needs espeak-ng, the extra "local" and the package onnx.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper

from training.reader.mishearing import alternatives, mishear, spoken_form
from voicerag_core.chunking import sentence_spans
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.local.weights.files import weight_path

DEVELOPMENT_TITLES = 24
NEGATIVES = 12
SHINGLE = 8
"""Consecutive words that two texts must share to count as the same text."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a training file.

    Args:
        text: The question.
        passage: Index of its passage.
        start: First character of the answer; -1 if the passage does not answer.
        end: One past its last.
    """

    text: str
    passage: int
    start: int
    end: int


def shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {tuple(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))}


def paragraphs(path: Path) -> Iterator[dict[str, Any]]:
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        yield from article["paragraphs"]


def read_training(
    paths: Sequence[Path], never: set[tuple[str, ...]]
) -> tuple[list[str], list[Question]]:
    """Read passages and questions that share no text with `never`."""
    passages: list[str] = []
    questions: list[Question] = []
    dropped = 0
    for path in paths:
        for paragraph in paragraphs(path):
            text = paragraph["context"]
            own = shingles(text)
            if len(own & never) >= max(1, 0.05 * len(own)):
                dropped += 1
                continue
            for entry in paragraph["qas"]:
                start, end = -1, -1
                if entry["answers"]:
                    answer = entry["answers"][0]
                    start = answer["answer_start"]
                    end = start + len(answer["text"])
                    if text[start:end] != answer["text"] or start == end:
                        continue
                questions.append(Question(entry["question"], len(passages), start, end))
            passages.append(text)
    print(f"{len(questions)} questions, {len(passages)} passages, dropped {dropped}")
    return passages, questions


def embed(texts: Sequence[str], kept: Path) -> np.ndarray:
    """Embed texts sorted by length, with a cache on disk."""
    if kept.exists() and len(found := np.load(kept)) == len(texts):
        vectors: np.ndarray = found.astype(np.float32)
        return vectors
    embedder = MiniLMEmbedder()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    rows = np.zeros((len(texts), embedder.dim), np.float32)
    for at in range(0, len(order), 256):
        batch = order[at : at + 256]
        rows[batch] = embedder.embed_passages([texts[i] for i in batch])
    np.save(kept, rows.astype(np.float16))
    return rows


def hard_negatives(
    passages: Sequence[str], questions: Sequence[Question], kept: Path
) -> list[list[int]]:
    """Return hard negative passages for each question.

    Half of them share its rare words, half answer the questions nearest to it by MiniLM. None
    contains its answer.
    """
    rows = embed([one.text for one in questions], kept / "question_vectors.npy")
    owners = np.array([one.passage for one in questions])
    lower = [text.lower() for text in passages]
    found: list[list[int]] = []
    most = 6 * NEGATIVES
    for at in range(0, len(questions), 1024):
        alike = rows[at : at + 1024] @ rows.T
        near = np.argpartition(-alike, min(most, len(rows) - 1), axis=1)[:, :most]
        near = np.take_along_axis(near, np.argsort(-np.take_along_axis(alike, near, 1), axis=1), 1)
        found += [list(dict.fromkeys(ranked)) for ranked in owners[near].tolist()]
    by_words = nearest_by_words(passages, [one.text for one in questions])
    negatives = []
    for one, *lists in zip(questions, by_words, found, strict=True):
        answer = passages[one.passage][one.start : one.end].lower()
        chosen: dict[int, None] = {}
        for ranked in lists:
            wrong = [
                i
                for i in ranked
                if i not in chosen
                and i != one.passage
                and (one.start < 0 or answer not in lower[i])
            ]
            chosen.update(dict.fromkeys(wrong[: NEGATIVES // 2]))
        negatives.append(list(chosen))
    return negatives


def nearest_by_words(passages: Sequence[str], questions: Sequence[str]) -> list[list[int]]:
    """Rank passages by the summed inverse frequency of the question's words in them."""
    holders: dict[str, list[int]] = {}
    for index, text in enumerate(passages):
        for word in set(re.findall(r"[a-z0-9]+", text.lower())):
            holders.setdefault(word, []).append(index)
    postings = {word: np.array(rows) for word, rows in holders.items()}
    ranked = []
    for question in questions:
        scores = np.zeros(len(passages), np.float32)
        for word in set(re.findall(r"[a-z0-9]+", question.lower())):
            if word in postings:
                scores[postings[word]] += np.log(len(passages) / len(postings[word]))
        top = np.argpartition(-scores, min(3 * NEGATIVES, len(scores) - 1))[: 3 * NEGATIVES]
        ranked.append(top[np.argsort(-scores[top])].tolist())
    return ranked


def validation_cases(
    path: Path, table: dict[str, list[str]], counts: Counter[str], kept: Path
) -> dict[str, Any]:
    """Return the development half's questions, typed and misheard, with the passages found."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    ours = sorted(article["title"] for article in articles)[:DEVELOPMENT_TITLES]
    texts: list[str] = []
    asked: list[tuple[str, int, str]] = []
    for article in articles:
        for paragraph in article["paragraphs"]:
            if article["title"] in ours:
                asked += [
                    (entry["question"], len(texts), entry["answers"][0]["text"])
                    for entry in paragraph["qas"]
                ]
            texts.append(paragraph["context"])
    own = {i for _, i, _ in asked}
    columns = embed(texts, kept / "validation_passages.npy")
    chance = random.Random(0)
    cases = []
    for form in ("typed", "misheard"):
        said = [
            q if form == "typed" else mishear(spoken_form(q), table, counts, chance, 0.7)
            for q, _, _ in asked
        ]
        rows = embed(said, kept / f"validation_{form}.npy")
        for question, row, (_, right, answer) in zip(said, rows, asked, strict=True):
            ranked = [i for i in np.argsort(-(columns @ row)).tolist() if i in own]
            without = [i for i in ranked if i != right][:4]
            cases.append((form, question, answer, right, ranked[:4], without))
    return {
        "passages": [
            {"text": text, "sentences": sentence_spans(text)} if i in own else None
            for i, text in enumerate(texts)
        ],
        "cases": cases,
    }


def packaged_weights(path: Path) -> dict[str, np.ndarray]:
    """Read the packaged MiniLM: int8 rows with a scale each, [out, in] like torch's layers."""
    graph = onnx.load(path).graph
    held = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    table = {}
    for name in ("word_embeddings", "position_embeddings"):
        stem = f"inner.embeddings.{name}.weight"
        table[f"{name}.q"], table[f"{name}.scale"] = held[f"{stem}_q"], held[f"{stem}_scale"]
    for name, values in held.items():
        if name.startswith("inner.") and values.dtype == np.float32 and "_scale" not in name:
            table[name.removeprefix("inner.")] = values
    places = ("attention.self.query", "attention.self.key", "attention.self.value",
              "attention.output.dense", "intermediate.dense", "output.dense")  # fmt: skip
    linear = [name[:-2] for name in held if name.startswith("val_") and name.endswith("_q")]
    for number, name in enumerate(linear):
        stem = f"encoder.layer.{number // 6}.{places[number % 6]}"
        table[f"{stem}.q"] = np.ascontiguousarray(held[f"{name}_q"].T)
        table[f"{stem}.scale"] = np.ascontiguousarray(held[f"{name}_scale"].T)
    return table


def write_json(path: Path, content: object) -> None:
    path.write_bytes(lzma.compress(json.dumps(content, ensure_ascii=False).encode(), preset=9))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--squad", type=Path, nargs="+", required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--never", type=Path, nargs="*", default=[])
    parser.add_argument("--kept", type=Path, help="cache folder for vectors; default: OUT")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.kept or options.out
    never: set[tuple[str, ...]] = set()
    for path in (options.validation, *options.never):
        never.update(*(shingles(paragraph["context"]) for paragraph in paragraphs(path)))
    passages, questions = read_training(options.squad, never)
    weights: dict[str, Any] = {**packaged_weights(weight_path("minilm-int8/model.onnx"))}
    np.savez(options.out / "base.npz", **weights)

    texts = [*passages, *(one.text for one in questions)]
    spoken = [spoken_form(one.text) for one in questions]
    held = json.loads(options.validation.read_text(encoding="utf-8"))["data"]
    asked = [spoken_form(q["question"]) for a in held for p in a["paragraphs"] for q in p["qas"]]
    table = alternatives(texts, [*spoken, *asked])
    counts = Counter(word for text in texts for word in re.findall(r"[a-z']+", text.lower()))
    write_json(options.out / "misheard.json.xz", {
        "alternatives": table, "counts": {w: n for w, n in counts.items() if n >= 20},
    })  # fmt: skip
    write_json(options.out / "validation.json.xz",
               validation_cases(options.validation, table, counts, kept))  # fmt: skip
    near = hard_negatives(passages, questions, kept)
    write_json(options.out / "training.json.xz", {
        "passages": [{"text": text, "sentences": sentence_spans(text)} for text in passages],
        "questions": [
            {"text": one.text, "spoken": said, "passage": one.passage, "start": one.start,
             "end": one.end, "near": wrong}
            for one, said, wrong in zip(questions, spoken, near, strict=True)
        ],
    })  # fmt: skip


if __name__ == "__main__":
    main()

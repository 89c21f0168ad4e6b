"""Passages that look like those that answer: by words, and by the vectors of alike questions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.reader.wikipedia import Question
from voicerag_core.local.minilm import MiniLMEmbedder

__all__ = ["embed", "hard_negatives", "nearest_by_words"]

NEGATIVES = 12


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

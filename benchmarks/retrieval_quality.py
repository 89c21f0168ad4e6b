"""Is the right paragraph among the first? Typed XQuAD questions, brute force, no database.

    python benchmarks/retrieval_quality.py xquad.en.json

Prints the share of questions whose paragraph is the first, among four and among ten, with one
vector a paragraph, with one a sentence, and with both (a paragraph counts by its nearest vector).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voicerag_core.chunking import split_sentences
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.ports import Embedder
from voicerag_core.types import Embeddings

CUTS = (1, 4, 10)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the paragraph that answers it.

    Args:
        question: In words.
        paragraph: Index of the paragraph.
        answer: The words that the paragraph answers with.
    """

    question: str
    paragraph: int
    answer: str


def load_squad(path: Path) -> tuple[list[str], list[str], list[Asked]]:
    """Read a file in SQuAD's form: paragraphs, the title of each, questions."""
    paragraphs: list[str] = []
    titles: list[str] = []
    asked: list[Asked] = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            asked += [
                Asked(entry["question"], len(paragraphs), entry["answers"][0]["text"])
                for entry in paragraph["qas"]
            ]
            paragraphs.append(paragraph["context"])
            titles.append(article["title"].replace("_", " "))
    return paragraphs, titles, asked


def embed_sentences(
    embedder: Embedder, paragraphs: list[str]
) -> tuple[Embeddings, NDArray[np.int64]]:
    """Embed every sentence: [M, D] and, for each, the index of its paragraph, [M]."""
    cut = [split_sentences(paragraph) for paragraph in paragraphs]
    owners = np.repeat(np.arange(len(cut)), [len(sentences) for sentences in cut])
    return embedder.embed_texts([text for sentences in cut for text in sentences]), owners


def paragraph_scores(
    questions: Embeddings, vectors: Embeddings, owners: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """Give each paragraph the similarity of its nearest vector, [questions, paragraphs]."""
    similar = questions @ vectors.T
    scores = np.full((len(questions), count), -1.0, np.float32)
    for column, owner in enumerate(owners):
        scores[:, owner] = np.maximum(scores[:, owner], similar[:, column])
    return scores


def recall(scores: NDArray[np.float32], right: NDArray[np.int64]) -> list[float]:
    """Give recall at each of `CUTS`; a tie counts against."""
    own = scores[np.arange(len(right)), right]
    ahead = (scores >= own[:, None]).sum(axis=1) - 1
    return [float((ahead < cut).mean()) for cut in CUTS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("xquad", type=Path, help="a file in SQuAD's form")
    paragraphs, _, asked = load_squad(parser.parse_args().xquad)
    embedder = MiniLMEmbedder()
    embedder.warm()
    started = time.perf_counter()
    wholes = embedder.embed_texts(paragraphs)
    sentences, owners = embed_sentences(embedder, paragraphs)
    indexed = time.perf_counter() - started
    questions = embedder.embed_texts([one.question for one in asked])
    right = np.array([one.paragraph for one in asked])
    every = np.arange(len(paragraphs))
    both = np.concatenate((every, owners))
    print(f"{embedder.model_id}: {len(asked)} questions, {len(paragraphs)} paragraphs, "
          f"{len(owners)} sentences, embedded in {indexed:.1f} s")  # fmt: skip
    print("vectors                  " + "".join(f"  R@{cut:<4}" for cut in CUTS))
    for name, vectors, of in (
        ("one a paragraph", wholes, every),
        ("one a sentence", sentences, owners),
        ("both", np.concatenate((wholes, sentences)), both),
    ):
        figures = recall(paragraph_scores(questions, vectors, of, len(paragraphs)), right)
        print(f"{name:<25}" + "".join(f"  {figure:.3f}" for figure in figures))


if __name__ == "__main__":
    main()

"""Retrieval quality for typed XQuAD questions, by brute force, without a database.

    python -m benchmarks.speech.retrieval_quality xquad.en.json
    python -m benchmarks.speech.retrieval_quality xquad.en.json --embedder sonar

Prints the share of questions whose paragraph is first, among four and among ten, with one vector
per paragraph (`voicerag index --no-sentences`), with one per sentence, and with both (`voicerag
index --sentences`; a paragraph counts by its nearest vector). SONAR's files and device are those
of the settings ``VOICERAG_SONAR_*``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import chart
from voicerag_core import load_settings, open_voicerag
from voicerag_core.chunking import split_sentences
from voicerag_core.ports import Embedder
from voicerag_core.types import Embeddings

CUTS = (1, 4, 10)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the paragraph that answers it.

    Args:
        question: As text.
        paragraph: Index of the paragraph.
        answer: The answer in the paragraph.
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
    return embedder.embed_passages([text for sentences in cut for text in sentences]), owners


def paragraph_scores(
    questions: Embeddings, vectors: Embeddings, owners: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """Return the similarity of each paragraph's nearest vector, [questions, paragraphs]."""
    similar = questions @ vectors.T
    scores = np.full((len(questions), count), -1.0, np.float32)
    for column, owner in enumerate(owners):
        scores[:, owner] = np.maximum(scores[:, owner], similar[:, column])
    return scores


def recall(scores: NDArray[np.float32], right: NDArray[np.int64]) -> list[float]:
    """Return recall at each of `CUTS`; ties count against it."""
    own = scores[np.arange(len(right)), right]
    ahead = (scores >= own[:, None]).sum(axis=1) - 1
    return [float((ahead < cut).mean()) for cut in CUTS]


def measured(embedder: Embedder, path: Path) -> tuple[list[str], dict[str, list[float]]]:
    """Return a description of what was embedded, and recall by kind of vector."""
    paragraphs, _, asked = load_squad(path)
    embedder.embed_passages(["loads the model"])
    started = time.perf_counter()
    wholes = embedder.embed_passages(paragraphs)
    sentences, owners = embed_sentences(embedder, paragraphs)
    indexed = time.perf_counter() - started
    questions = embedder.embed_passages([one.question for one in asked])
    right = np.array([one.paragraph for one in asked])
    every = np.arange(len(paragraphs))
    kinds = {
        "one a paragraph": (wholes, every),
        "one a sentence": (sentences, owners),
        "both": (np.concatenate((wholes, sentences)), np.concatenate((every, owners))),
    }
    told = chart.paragraph(
        f"{path.name}: {len(asked):,} typed questions, {len(paragraphs):,} paragraphs, "
        f"{len(owners):,} sentences. `{embedder.model_id}`, all embedded in {indexed:.1f} s. A tie "
        "counts against."
    )
    return told, {
        name: recall(paragraph_scores(questions, vectors, of, len(paragraphs)), right)
        for name, (vectors, of) in kinds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("xquad", type=Path, help="a file in SQuAD's form")
    parser.add_argument("--embedder", choices=("local", "sonar"), default="local")
    parser.add_argument("--out", type=Path, help="Markdown file; the plot is written next to it")
    given = parser.parse_args()
    chosen = "" if given.embedder == "local" else f" --embedder {given.embedder}"
    with open_voicerag(load_settings(embedder=given.embedder)) as rag:
        told, found = measured(rag.embedder, given.xquad)
    where = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores"
    text = [
        "# Is the right paragraph among the first? Brute force",
        "",
        f"{where}, load average {os.getloadavg()[0]:.1f} at the end. Command:",
        "",
        f"    python -m benchmarks.speech.retrieval_quality {given.xquad.name}{chosen}",
        "",
        *told,
        *chart.table(
            ["vectors", *(f"R@{cut}" for cut in CUTS)],
            [[name, *(f"{figure:.3f}" for figure in own)] for name, own in found.items()],
        ),
    ]
    if given.out:
        rows = [
            chart.Bar(f"{name}, R@{cut}", {f"R@{cut}": 100 * figure})
            for place, cut in enumerate(CUTS)
            for name, figure in ((name, own[place]) for name, own in found.items())
        ]
        plot = f"![recall by kind of vector]({given.out.with_suffix('.svg').name})"
        chart.write_report(
            given.out, [*text, plot], [chart.bars("Right paragraph among the first, %", rows)]
        )
    print("\n".join(text))


if __name__ == "__main__":
    main()
